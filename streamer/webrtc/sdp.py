"""What is changed in answers around aiortc, and what comes after an offer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import BadOffer

MAX_CANDIDATES = 64
LEAST_UFRAG, LEAST_PASSWORD = 4, 22  # characters


def finish_answer(answer: str, host_address: str) -> str:
    """What RFC 9725 asks of an answer, or a fragment, and aiortc leaves out: rtcp-mux-only (§4.4.1) and trickle (§4.3.2).

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
    """An SDP fragment (RFC 8840 §9). ufrags, passwords: of ICE, by medium (a=mid; "" where they are for all of them);
    candidates: medium and candidate, as SDP has it after "candidate:"."""

    ufrags: dict[str, str]
    passwords: dict[str, str]
    candidates: list[tuple[str, str]]

    def login(self, mids: list[str]) -> tuple[str, str]:
        """Ufrag and password for these media, which share a transport. BadOffer where there is none."""
        for mid in (*mids, ""):
            if mid in self.ufrags and mid in self.passwords:
                ufrag, password = self.ufrags[mid], self.passwords[mid]
                if len(ufrag) < LEAST_UFRAG or len(password) < LEAST_PASSWORD:
                    raise BadOffer(f"a=ice-ufrag needs {LEAST_UFRAG} characters, a=ice-pwd {LEAST_PASSWORD} (RFC 8839 §5.4)")
                return ufrag, password
        raise BadOffer(f"the fragment has no a=ice-ufrag and a=ice-pwd for a=mid:{mids[0]} (RFC 8840 §9)")


def read_fragment(text: str) -> Fragment:
    """BadOffer if the text is no fragment."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or any(line[1:2] != "=" for line in lines):
        raise BadOffer("the body is not an SDP fragment")
    fragment, mid = Fragment({}, {}, []), ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.startswith("m="):
            mid = ""
        elif name == "a=mid":
            mid = value
        elif name == "a=ice-ufrag":
            fragment.ufrags[mid] = value
        elif name == "a=ice-pwd":
            fragment.passwords[mid] = value
        elif name == "a=candidate" and value:
            fragment.candidates.append((mid, value))
    if not any(fragment.ufrags.values()):
        raise BadOffer("the fragment has no a=ice-ufrag (RFC 8840 §9)")
    if len(fragment.candidates) > MAX_CANDIDATES:
        raise BadOffer(f"the fragment has more than {MAX_CANDIDATES} candidates")
    return fragment


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
