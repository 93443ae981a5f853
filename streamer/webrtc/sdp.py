"""What is checked and changed in session descriptions around aiortc."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..errors import BadOffer

MAX_BYTES = 64 * 1024
MAX_MEDIA = 4
MAX_CANDIDATES = 64

Kind = Literal["whip", "whep"]
TRANSPORT = ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:")
_REFUSED = {"whip": {"recvonly", "inactive"}, "whep": {"sendonly", "inactive"}}


def check_offer(sdp: str, kind: Kind) -> str:
    """The offer, ready for aiortc; BadOffer says what is wrong with it.

    Candidates with mDNS names are taken out: resolving them takes a second each, and the browser
    behind them reaches us first anyway (peer-reflexive, RFC 8445 §7.3.1.3).
    """
    if not sdp.lstrip().startswith("v=0"):
        raise BadOffer("the body is not SDP: it does not begin with 'v=0'")
    lines = sdp.replace("\r\n", "\n").strip().split("\n")
    session, *media = _sections(lines)
    kinds = [section[0][2:].split(" ")[0] for section in media]
    if "video" not in kinds:
        raise BadOffer("the offer has no video")
    if len(media) > MAX_MEDIA or sum(line.startswith("a=candidate:") for line in lines) > MAX_CANDIDATES:
        raise BadOffer(f"the offer is too large: at most {MAX_MEDIA} media and {MAX_CANDIDATES} candidates")
    if kinds.count("video") > 1 or kinds.count("audio") > 1:
        raise BadOffer("the offer has more than one video or audio; one of each is taken (RFC 9725 §4.4.2)")
    for section, media_kind in zip(media, kinds, strict=True):
        _check_direction(section, media_kind, kind)
        if kind == "whip" and "a=setup:passive" in section:
            raise BadOffer("the offer is a=setup:passive; actpass or active is expected (RFC 9725 §4.4.4)")
    if any(_is_mdns(line) for line in lines):
        session, *media = (
            [k for k in section if not _is_mdns(k) and k != "a=end-of-candidates"] for section in (session, *media)
        )
    _fill_bundled(session, media)
    return "\r\n".join(line for section in (session, *media) for line in section) + "\r\n"


def _sections(lines: list[str]) -> list[list[str]]:
    """The session's lines, then those of each medium."""
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def _check_direction(section: list[str], media_kind: str, kind: Kind) -> None:
    direction = next((s[2:] for s in section if s in ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")), "sendrecv")
    if media_kind == "video" and direction in _REFUSED[kind]:
        raise BadOffer(f"the offer's video is {direction}; {kind.upper()} needs the other way")


def _fill_bundled(session: list[str], media: list[list[str]]) -> None:
    """Bundle-only sections say nothing of their transport (RFC 9143 §6, as in the offer of RFC 9725 §4.2); aiortc wants
    it said: it is that of the section that the group begins with."""
    bundle = next((line.split()[1:] for line in session if line.startswith("a=group:BUNDLE ")), [])
    tagged = next((m for m in media if bundle and f"a=mid:{bundle[0]}" in m), None)
    if tagged is None:
        return
    transport = [line for line in tagged if line.startswith(TRANSPORT)]
    for section in media:
        if "a=bundle-only" in section and not any(line.startswith("a=ice-ufrag:") for line in section):
            section[0] = re.sub(r"^(m=\S+) 0 ", r"\1 9 ", section[0])
            section.extend(transport)


def _is_mdns(line: str) -> bool:
    return line.startswith("a=candidate:") and ".local " in line


def finish_answer(answer: str, host_address: str) -> str:
    """What RFC 9725 asks of an answer and aiortc leaves out: rtcp-mux-only (§4.4.1) and trickle (§4.3.2).

    host_address: takes the place of local addresses in candidates, for a machine that is reached by another one.
    """
    out: list[str] = []
    for line in answer.split("\r\n"):
        if host_address and line.startswith("a=candidate:") and " typ host" in line:
            fields = line.split(" ")
            fields[4] = host_address
            line = " ".join(fields)
        out.append(line)
        if line == "a=rtcp-mux":
            out.append("a=rtcp-mux-only")
        if line.startswith("a=ice-pwd:"):
            out.append("a=ice-options:trickle")
    return "\r\n".join(out)


@dataclass(frozen=True)
class Fragment:
    """An SDP fragment (RFC 8840 §9). candidates: medium (a=mid) and candidate, as SDP has it after "candidate:"."""

    ufrag: str
    candidates: list[tuple[str, str]]


def read_fragment(text: str) -> Fragment:
    """BadOffer if the text is no fragment."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or any(line[1:2] != "=" for line in lines):
        raise BadOffer("the body is not an SDP fragment")
    ufrag, mid = "", ""
    candidates = []
    for line in lines:
        if line.startswith("a=ice-ufrag:"):
            ufrag = line.partition(":")[2]
        elif line.startswith("a=mid:"):
            mid = line.partition(":")[2]
        elif line.startswith("a=candidate:"):
            candidates.append((mid, line.partition(":")[2]))
    if not ufrag:
        raise BadOffer("the fragment has no a=ice-ufrag (RFC 8840 §9)")
    if len(candidates) > MAX_CANDIDATES:
        raise BadOffer(f"the fragment has more than {MAX_CANDIDATES} candidates")
    return Fragment(ufrag, candidates)


def with_uplink_bitrates(answer: str, least: int, first: int, most: int) -> str:
    """The answer with bitrate hints (kbit/s) on its video codecs.

    Without them Chromium's estimate starts so low that a busy camera arrives at a quarter of its size.
    """
    hints = f"x-google-min-bitrate={least};x-google-start-bitrate={first};x-google-max-bitrate={most}"
    out: list[str] = []
    hinted = set(re.findall(r"^a=fmtp:(\d+) ", answer, re.MULTILINE))
    coded = set(re.findall(r"^a=rtpmap:(\d+) (?:VP8|H264)/90000", answer, re.MULTILINE))
    for line in answer.split("\r\n"):
        fmtp = re.match(r"a=fmtp:(\d+) ", line)
        out.append(f"{line};{hints}" if fmtp and fmtp[1] in coded else line)
        mapped = re.match(r"a=rtpmap:(\d+) VP8/90000", line)
        if mapped and mapped[1] not in hinted:
            out.append(f"a=fmtp:{mapped[1]} {hints}")
    return "\r\n".join(out)
