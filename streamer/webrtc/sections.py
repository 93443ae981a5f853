"""The sections of an offer, one for each medium, in a form that aiortc's parser takes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from aiortc.sdp import H264Profile, parse_h264_profile_level_id

from ..errors import BadOffer

DIRECTIONS = ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")
CODECS = {"video": ("VP8", "H264"), "audio": ("OPUS", "PCMU", "PCMA", "G722")}
# What each of these must have: without it, it says nothing, and breaks aiortc's parser.
WHOLE = {
    "a=candidate:": re.compile(r"\S+ \d+ \S+ \d+ \S+ \d+ typ \S+"), "a=ssrc:": re.compile(r"\d+ [^:\s]+:"),
    "a=rtcp-fb:": re.compile(r"\S+ \S"), "a=extmap:": re.compile(r"\d+\S* \S"), "a=fmtp:": re.compile(r"\S+ +\S"),
    "a=rtpmap:": re.compile(r"\d+ [^/\s]+/\d+(/\d+)?$"), "a=rtcp:": re.compile(r"\d+( IN IP[46] \S+)?$"),
    "c=": re.compile(r"IN IP[46] \S+$"),
}  # fmt: skip
MEDIUM = re.compile(r"m=(\S+) (\d+)(?:/\d+)?( \S+.*)")  # RFC 8866 §5.14
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

    @property
    def payload_types(self) -> int:
        """How many, be they of the m-line or told of below it."""
        told = sum(line.startswith("a=rtpmap:") for line in self.lines), sum(line.startswith("a=fmtp:") for line in self.lines)
        return max(len(self.lines[0].split(" ")) - 3, *told)

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


def split(lines: list[str]) -> list[list[str]]:
    """The session's lines, then those of each medium."""
    parts: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            parts.append([])
        parts[-1].append(line)
    return parts


def is_whole(line: str) -> bool:
    """Whether the line says what lines of its kind say."""
    return all(pattern.match(line, len(start)) for start, pattern in WHOLE.items() if line.startswith(start))


def tidy(section: Section, session: list[str]) -> None:
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


def read(lines: list[str]) -> tuple[list[str], list[Section]]:
    """The session's lines, and the sections. BadOffer."""
    session, *media = split(lines)
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


def map_h264(section: Section) -> None:
    """Where a publisher has nothing that aiortc knows, its first H.264 goes for the one that aiortc knows."""
    codecs = section.codecs()
    h264 = [number for number, name in codecs.items() if name == "H264"]
    if not h264 or "VP8" in codecs.values() or any(is_native(section.fmtp(number)) for number in h264):
        return
    number = h264[0]
    before = [line for line in section.lines if line.startswith(f"a=fmtp:{number} ")]
    section.mapped[number] = before[0] if before else None
    section.lines = [line for line in section.lines if line not in before] + [f"a=fmtp:{number} {BASELINE}"]


def is_native(fmtp: str) -> bool:
    """Whether aiortc knows such H.264."""
    profile = re.search(r"profile-level-id=(\w+)", fmtp)
    try:
        known = profile is None or parse_h264_profile_level_id(profile[1])[0] in NATIVE
    except ValueError:
        return False
    return known and "packetization-mode=1" in fmtp
