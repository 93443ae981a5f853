"""What is checked and changed in session descriptions around aiortc."""

from __future__ import annotations

import re
from typing import Literal

from ..errors import BadOffer

MAX_BYTES = 64 * 1024
MAX_MEDIA = 4
MAX_CANDIDATES = 64

Kind = Literal["whip", "whep"]
_REFUSED = {"whip": {"recvonly", "inactive"}, "whep": {"sendonly", "inactive"}}


def check_offer(sdp: str, kind: Kind) -> str:
    """The offer, ready for aiortc; BadOffer says what is wrong with it.

    Candidates with mDNS names are taken out: resolving them takes a second each, and the browser
    behind them reaches us first anyway (peer-reflexive, RFC 8445 §7.3.1.3).
    """
    if not sdp.lstrip().startswith("v=0"):
        raise BadOffer("the body is not SDP: it does not begin with 'v=0'")
    lines = sdp.replace("\r\n", "\n").strip().split("\n")
    media = [k for k, line in enumerate(lines) if line.startswith("m=")]
    if not any(lines[k].startswith("m=video") for k in media):
        raise BadOffer("the offer has no video")
    if len(media) > MAX_MEDIA or sum(line.startswith("a=candidate:") for line in lines) > MAX_CANDIDATES:
        raise BadOffer(f"the offer is too large: at most {MAX_MEDIA} media and {MAX_CANDIDATES} candidates")
    video = next(k for k in media if lines[k].startswith("m=video"))
    section = lines[video : next((k for k in media if k > video), len(lines))]
    direction = next((s[2:] for s in section if s in ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")), "sendrecv")
    if direction in _REFUSED[kind]:
        raise BadOffer(f"the offer's video is {direction}; {kind.upper()} needs the other way")
    if any(_is_mdns(line) for line in lines):
        lines = [line for line in lines if not _is_mdns(line) and line != "a=end-of-candidates"]
    return "\r\n".join(lines) + "\r\n"


def _is_mdns(line: str) -> bool:
    return line.startswith("a=candidate:") and ".local " in line


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
