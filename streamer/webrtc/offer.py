"""Offers as they come: checked, put into the form that aiortc takes, and answered in the form that they came in.

Sections that cannot be used (rejected by the offerer, or without a codec known here) are kept from aiortc and rejected in the
answer, at their place (RFC 8829 §5.3.1). For publishers any H.264 is taken: the decoder knows all profiles and both
packetization modes, aiortc's table only some.
"""

from __future__ import annotations

import re
from typing import Literal

from ..errors import BadOffer
from .reach import Reach
from .sdp import LEAST_PASSWORD, LEAST_UFRAG
from .sections import CODECS, Section, is_native, is_whole, map_h264, read, split, tidy

MAX_BYTES = 64 * 1024
MAX_MEDIA = 4
MAX_CANDIDATES = 64
MAX_LINES = 1500
MAX_CODECS = 64

Kind = Literal["whip", "whep"]
TRANSPORT = ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:")
REFUSED = {"whip": {"recvonly", "inactive"}, "whep": {"sendonly", "inactive"}}
DIGESTS = {"sha-256": 32, "sha-384": 48, "sha-512": 64}  # bytes
SETUPS = {"whip": ("actpass", "active"), "whep": ("actpass", "active", "passive")}


class Offer:
    """A checked offer. sdp: for aiortc; ufrags: of the other side's ICE."""

    def __init__(
        self, text: str, kind: Kind, reach: Reach | None = None, max_lines: int = MAX_LINES, max_codecs: int = MAX_CODECS
    ) -> None:
        """BadOffer says what is wrong with it, in words for who sent it. reach: says which candidates are used."""
        lines = [line.rstrip() for line in text.removeprefix("\ufeff").strip().splitlines()]
        if not lines or not lines[0].startswith("v=0"):
            raise BadOffer("the body is not SDP: it does not begin with 'v=0'")
        if len(lines) > max_lines:
            raise BadOffer(f"the offer has {len(lines)} lines; at most {max_lines} are taken (webrtc.max_offer_lines)")
        self._reach, self._max_codecs = reach, max_codecs
        self._session, self._sections = read([line for line in lines if line and is_whole(line)])
        self.ufrags = list(dict.fromkeys(re.findall(r"^a=ice-ufrag:(\S+)", "\n".join(lines), re.MULTILINE)))
        for section in self._sections:
            tidy(section, self._session)
        self._check(kind)
        for section in self._sections:
            if kind == "whip" and section.is_usable:
                map_h264(section)
        self.sdp = self._for_aiortc()

    def _check(self, kind: Kind) -> None:
        candidates = sum(line.startswith("a=candidate:") for section in self._sections for line in section.lines)
        if len(self._sections) > MAX_MEDIA or candidates > MAX_CANDIDATES:
            raise BadOffer(f"the offer is too large: at most {MAX_MEDIA} media and {MAX_CANDIDATES} candidates")
        if any(section.payload_types > self._max_codecs for section in self._sections):
            raise BadOffer(f"a medium of the offer has more than {self._max_codecs} payload types (webrtc.max_codecs)")
        if odd := [number for section in self._sections for number in section.lines[0].split(" ")[3:] if _is_too_high(number)]:
            raise BadOffer(f"payload type {odd[0][:20]}: at most 127 is expected (RFC 3550 §5.1)")
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
        if kind == "whep" and "VP8" not in video.codecs().values() and not any(map(is_native, h264)):
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
        if self._reach is not None:
            takes = self._reach.takes_line
            parts = [[k for k in part if not k.startswith("a=candidate:") or takes(k)] for part in parts]
        return "\r\n".join(line for part in parts for line in part) + "\r\n"

    def answered(self, answer: str) -> str:
        """aiortc's answer, with a section for each that was offered, in the offer's own words."""
        session, *media = split(answer.strip().split("\r\n"))
        if not any(line.startswith("a=group:BUNDLE") for line in self._session):  # an answer makes no groups (RFC 5888 §9.3)
            session = [line for line in session if not line.startswith("a=group:BUNDLE")]
        given = iter(media)
        parts = [session]
        for section in self._sections:
            parts.append(_own_words(next(given), section) if section.is_usable else _rejection(section))
        return "\r\n".join(line for part in parts for line in part) + "\r\n"


def _is_fingerprint(line: str) -> bool:
    found = re.fullmatch(r"a=fingerprint:(\S+) ((?:[0-9a-f]{2}:)*[0-9a-f]{2})", line, re.IGNORECASE)
    return found is not None and len(found[2].split(":")) == DIGESTS.get(found[1].lower())


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


def _is_too_high(number: str) -> bool:
    """Of what stands at the end of an m= line: of a data channel that is a word."""
    return number.isdecimal() and (len(number) > 3 or int(number) > 127)
