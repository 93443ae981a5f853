"""Offers as they come: checked, put into the form that aiortc takes, and answered in the form that they came in.

Sections that cannot be used (rejected by the offerer, or without a codec known here) are kept from aiortc and rejected in the
answer, at their place (RFC 8829 §5.3.1). For publishers any H.264 is taken: the decoder knows all profiles and both
packetization modes, aiortc's table only some.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from aiortc.sdp import H264Profile, parse_h264_profile_level_id

from ..errors import BadOffer
from .sdp import LEAST_PASSWORD, LEAST_UFRAG

MAX_BYTES = 64 * 1024
MAX_MEDIA = 4
MAX_CANDIDATES = 64

Kind = Literal["whip", "whep"]
TRANSPORT = ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:")
DIRECTIONS = ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")
CODECS = {"video": ("VP8", "H264"), "audio": ("OPUS", "PCMU", "PCMA", "G722")}
REFUSED = {"whip": {"recvonly", "inactive"}, "whep": {"sendonly", "inactive"}}
# What each of these must have: without it, it says nothing, and breaks aiortc's parser.
WHOLE = {
    "a=candidate:": re.compile(r"\S+ \d+ \S+ \d+ \S+ \d+ typ \S+"), "a=ssrc:": re.compile(r"\d+ [^:\s]+:"),
    "a=rtcp-fb:": re.compile(r"\S+ \S"), "a=extmap:": re.compile(r"\d+\S* \S"), "a=fmtp:": re.compile(r"\S+ +\S"),
    "a=rtpmap:": re.compile(r"\d+ [^/\s]+/\d+(/\d+)?$"), "a=rtcp:": re.compile(r"\d+( IN IP[46] \S+)?$"),
    "c=": re.compile(r"IN IP[46] \S+$"),
}  # fmt: skip
MEDIUM = re.compile(r"m=(\S+) (\d+)(?:/\d+)?( \S+.*)")  # RFC 8866 §5.14
DIGESTS = {"sha-256": 32, "sha-384": 48, "sha-512": 64}  # bytes
SETUPS = {"whip": ("actpass", "active"), "whep": ("actpass", "active", "passive")}
BASELINE = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
NATIVE = (H264Profile.PROFILE_BASELINE, H264Profile.PROFILE_CONSTRAINED_BASELINE)


@dataclass
class Section:
    """One medium. lines: of it, the first one being its m-line; mapped: payload type to the fmtp line that was offered, or
    None, where aiortc gets another; made_up: whether its mid is ours."""

    lines: list[str]
    mid: str
    made_up: bool = False
    mapped: dict[str, str | None] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.lines[0][2:].split(" ")[0]

    @property
    def protocol(self) -> str:
        return (*self.lines[0].split(" "), "", "", "")[2]

    @property
    def is_rejected(self) -> bool:
        return (*self.lines[0].split(" "), "0")[1] == "0" and "a=bundle-only" not in self.lines

    @property
    def direction(self) -> str:
        return next((line[2:] for line in self.lines if line in DIRECTIONS), "sendrecv")

    def codecs(self) -> dict[str, str]:
        """Payload type -> name, in capitals, in the order of preference."""
        names = {m[1]: m[2].upper() for line in self.lines if (m := re.match(r"a=rtpmap:(\d+) ([^/]+)/", line))}
        return {number: names[number] for number in self.lines[0].split(" ")[3:] if number in names}

    def fmtp(self, number: str) -> str:
        """Parameters of a payload type; nothing where there are none."""
        return next((m[1] for line in self.lines if (m := re.match(rf"a=fmtp:{number} (.*)", line))), "")

    @property
    def is_usable(self) -> bool:
        """Whether it can be handed to aiortc. Data channels can."""
        known = CODECS.get(self.kind, ())
        is_channel = self.kind == "application" and "SCTP" in self.protocol
        return not self.is_rejected and (is_channel or any(name in known for name in self.codecs().values()))


class Offer:
    """A checked offer. sdp: for aiortc; ufrags: of the other side's ICE."""

    def __init__(self, text: str, kind: Kind) -> None:
        """BadOffer says what is wrong with it, in words for who sent it."""
        lines = [line.rstrip() for line in text.removeprefix("\ufeff").strip().splitlines()]
        if not lines or not lines[0].startswith("v=0"):
            raise BadOffer("the body is not SDP: it does not begin with 'v=0'")
        self._session, self._sections = _read([line for line in lines if line and _is_whole(line)])
        self.ufrags = list(dict.fromkeys(re.findall(r"^a=ice-ufrag:(\S+)", "\n".join(lines), re.MULTILINE)))
        for section in self._sections:
            _tidy(section, self._session)
        self._check(kind)
        for section in self._sections:
            if kind == "whip" and section.is_usable:
                _map_h264(section)
        self.sdp = self._for_aiortc()

    def _check(self, kind: Kind) -> None:
        candidates = sum(line.startswith("a=candidate:") for section in self._sections for line in section.lines)
        if len(self._sections) > MAX_MEDIA or candidates > MAX_CANDIDATES:
            raise BadOffer(f"the offer is too large: at most {MAX_MEDIA} media and {MAX_CANDIDATES} candidates")
        live = [section for section in self._sections if not section.is_rejected]
        kinds = [section.kind for section in live]
        if "video" not in kinds:
            raise BadOffer("the offer has no video")
        if kinds.count("video") > 1 or kinds.count("audio") > 1:
            raise BadOffer("the offer has more than one video or audio; one of each is taken (RFC 9725 §4.4.2)")
        if len({section.mid for section in self._sections}) < len(self._sections):
            raise BadOffer("two media of the offer have the same a=mid")
        video = live[kinds.index("video")]
        if video.direction in REFUSED[kind]:
            raise BadOffer(f"the offer's video is {video.direction}; {kind.upper()} needs the other way")
        if not video.is_usable:
            offered = ", ".join(dict.fromkeys(video.codecs().values())) or "no codec"
            raise BadOffer(f"the offer's video has {offered}; {' and '.join(CODECS['video'])} are taken")
        h264 = [video.fmtp(number) for number, name in video.codecs().items() if name == "H264"]
        if kind == "whep" and "VP8" not in video.codecs().values() and not any(map(_is_native, h264)):
            offered = " or ".join(f"'{fmtp}'" for fmtp in h264)
            raise BadOffer(
                f"the offer's video has H264 with {offered}; viewers get VP8, or H264 Baseline in packetization mode 1"
            )
        self._check_transport(kind, video)

    def _check_transport(self, kind: Kind, video: Section) -> None:
        if "SAVP" not in video.protocol:
            raise BadOffer(f"the offer's video is {video.protocol or 'without a protocol'}; UDP/TLS/RTP/SAVPF is expected")
        said = self._session + video.lines
        tagged = self._tagged()
        if "a=bundle-only" in video.lines and tagged is not None:
            said = said + tagged.lines
        for needed, least in (("a=fingerprint:", 1), ("a=ice-ufrag:", LEAST_UFRAG), ("a=ice-pwd:", LEAST_PASSWORD)):
            longest = max((len(line) - len(needed) for line in said if line.startswith(needed)), default=0)
            if not longest:
                raise BadOffer(f"the offer has no {needed[:-1]}: it is not for WebRTC (RFC 8829 §5.2.1)")
            if longest < least:
                raise BadOffer(f"the offer's {needed[:-1]} needs {least} characters (RFC 8839 §5.4)")
        if not any(map(_is_fingerprint, said)):
            raise BadOffer(f"the offer's a=fingerprint is by none of {', '.join(DIGESTS)}, or not whole (RFC 8122 §5)")
        if "a=rtcp-mux" not in said and "a=rtcp-mux-only" not in said:
            raise BadOffer("the offer has no a=rtcp-mux; one port for both is all that is taken (RFC 9725 §4.4.1)")
        for line in said:
            if line.startswith("a=setup:") and line[8:] not in SETUPS[kind]:
                raise BadOffer(f"the offer is {line}; actpass or active is expected (RFC 9725 §4.4.4)")

    def _tagged(self) -> Section | None:
        """The section that a BUNDLE group begins with."""
        bundle = next((line.split()[1:] for line in self._session if line.startswith("a=group:BUNDLE ")), [])
        return next((section for section in self._sections if bundle and section.mid == bundle[0]), None)

    def _for_aiortc(self) -> str:
        usable = [section for section in self._sections if section.is_usable]
        mids = {section.mid for section in usable}
        session = [_of_group(line, mids) for line in self._session]
        _fill_bundled(self._tagged(), usable)
        parts = [session, *(section.lines for section in usable)]
        if any(_is_mdns(line) for part in parts for line in part):
            parts = [[k for k in part if not _is_mdns(k) and k != "a=end-of-candidates"] for part in parts]
        return "\r\n".join(line for part in parts for line in part) + "\r\n"

    def answered(self, answer: str) -> str:
        """aiortc's answer, with a section for each that was offered, in the offer's own words."""
        session, *media = _split(answer.strip().split("\r\n"))
        if not any(line.startswith("a=group:BUNDLE") for line in self._session):  # an answer makes no groups (RFC 5888 §9.3)
            session = [line for line in session if not line.startswith("a=group:BUNDLE")]
        given = iter(media)
        parts = [session]
        for section in self._sections:
            parts.append(_own_words(next(given), section) if section.is_usable else _rejection(section))
        return "\r\n".join(line for part in parts for line in part) + "\r\n"


def _split(lines: list[str]) -> list[list[str]]:
    """The session's lines, then those of each medium."""
    parts: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            parts.append([])
        parts[-1].append(line)
    return parts


def _is_whole(line: str) -> bool:
    """Whether the line says what lines of its kind say."""
    return all(pattern.match(line, len(start)) for start, pattern in WHOLE.items() if line.startswith(start))


def _is_fingerprint(line: str) -> bool:
    found = re.fullmatch(r"a=fingerprint:(\S+) ((?:[0-9a-f]{2}:)*[0-9a-f]{2})", line, re.IGNORECASE)
    return found is not None and len(found[2].split(":")) == DIGESTS.get(found[1].lower())


def _tidy(section: Section, session: list[str]) -> None:
    """What aiortc cannot read, in words that it can; and what goes without saying."""
    names = section.codecs()
    for k, line in enumerate(section.lines):
        if line.startswith("a=fmtp:"):
            section.lines[k] = re.sub(r";\s+", ";", line)
        elif line.startswith("a=extmap:"):
            section.lines[k] = " ".join(line.split()[:2])  # without attributes (RFC 8285 §5)
    if section.kind in CODECS:
        media = section.lines[0].split(" ")
        section.lines[0] = " ".join([*media[:3], *(number for number in media[3:] if number.isdigit())])
        section.lines = [k for k in section.lines if not (m := re.match(r"a=fmtp:(\S+)", k)) or m[1] in names]
        if not set(DIRECTIONS) & set(section.lines):
            section.lines.append(next((line for line in session if line in DIRECTIONS), "a=sendrecv"))  # RFC 8866 §6.7
    if not any(line.startswith("a=setup:") for line in session + section.lines) and "a=bundle-only" not in section.lines:
        section.lines.append("a=setup:active")  # RFC 4145 §4


def _read(lines: list[str]) -> tuple[list[str], list[Section]]:
    session, *media = _split(lines)
    sections = []
    for k, part in enumerate(media):
        if (found := MEDIUM.fullmatch(" ".join(part[0].split()))) is None:
            raise BadOffer(f"'{part[0][:80]}' is no m= line (RFC 8866 §5.14)")
        part[0] = f"m={found[1]} {found[2]}{found[3]}"
        mid = next((line[6:] for line in part if line.startswith("a=mid:")), None)
        sections.append(Section(part, mid or f"m{k}", made_up=mid is None))
        if mid is None:
            part.append(f"a=mid:m{k}")
    return session, sections


def _map_h264(section: Section) -> None:
    """Where a publisher has nothing that aiortc knows, its first H.264 goes for the one that aiortc knows."""
    codecs = section.codecs()
    h264 = [number for number, name in codecs.items() if name == "H264"]
    if not h264 or "VP8" in codecs.values() or any(_is_native(section.fmtp(number)) for number in h264):
        return
    number = h264[0]
    before = [line for line in section.lines if line.startswith(f"a=fmtp:{number} ")]
    section.mapped[number] = before[0] if before else None
    section.lines = [line for line in section.lines if line not in before] + [f"a=fmtp:{number} {BASELINE}"]


def _is_native(fmtp: str) -> bool:
    """Whether aiortc knows such H.264."""
    profile = re.search(r"profile-level-id=(\w+)", fmtp)
    try:
        known = profile is None or parse_h264_profile_level_id(profile[1])[0] in NATIVE
    except ValueError:
        return False
    return known and "packetization-mode=1" in fmtp


def _of_group(line: str, mids: set[str]) -> str:
    """A BUNDLE group without the sections that are kept from aiortc."""
    if not line.startswith("a=group:BUNDLE"):
        return line
    return " ".join(["a=group:BUNDLE", *(mid for mid in line.split()[1:] if mid in mids)])


def _fill_bundled(tagged: Section | None, sections: list[Section]) -> None:
    """Bundle-only sections say nothing of their transport (RFC 9143 §6, as in the offer of RFC 9725 §4.2); aiortc wants
    it said: it is that of the section that the group begins with."""
    if tagged is None:
        return
    transport = [line for line in tagged.lines if line.startswith(TRANSPORT)]
    for section in sections:
        if "a=bundle-only" in section.lines and not any(line.startswith("a=ice-ufrag:") for line in section.lines):
            section.lines = [re.sub(r"^(m=\S+) 0 ", r"\1 9 ", section.lines[0]), *section.lines[1:], *transport]


def _is_mdns(line: str) -> bool:
    """Resolving a name takes a second each, and the browser behind it reaches us first anyway (peer-reflexive, RFC 8445
    §7.3.1.3)."""
    return line.startswith("a=candidate:") and ".local " in line


def _own_words(answer: list[str], section: Section) -> list[str]:
    """A section of the answer with the parameters that were offered: what they say of the stream is the sender's choice."""
    out = []
    for line in answer:
        mapped = re.match(r"a=fmtp:(\d+) ", line)
        if mapped and mapped[1] in section.mapped:
            offered = section.mapped[mapped[1]]
            if offered is not None:
                out.append(offered)
        elif not (section.made_up and line == f"a=mid:{section.mid}"):
            out.append(line)
    return out


def _rejection(section: Section) -> list[str]:
    media, _, *rest = section.lines[0].split(" ")
    mid = [] if section.made_up else [f"a=mid:{section.mid}"]
    return [" ".join([media, "0", *rest]), "c=IN IP4 0.0.0.0", *mid, "a=inactive"]
