"""What is changed in answers around aiortc, and what comes after an offer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import BadOffer

MAX_CANDIDATES = 64


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
        elif line.startswith("a=candidate:") and line != "a=candidate:":
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
