"""What is known of the line to a peer, beside what the peer estimates."""

from __future__ import annotations

from ipaddress import ip_address

from aiortc import RTCRtpSender


def cannot_be_full(sender: RTCRtpSender) -> bool:
    """Whether packets stay on this machine and arrive: by the addresses that ICE has chosen, and the peer's last report.

    A browser on a busy machine looks at packets late, takes that for a line that is full, and would have its picture made worse
    and worse for nothing.
    """
    pair = next(iter(sender.transport.transport._connection._nominated.values()), None)
    if pair is None or "relay" in (pair.local_candidate.type, pair.remote_candidate.type):
        return False
    host = pair.remote_addr[0]
    report = sender._RTCRtpSender__stats.get(f"remote-inbound-rtp_{id(sender)}")  # type: ignore[attr-defined]
    return (host == pair.local_addr[0] or ip_address(host).is_loopback) and (report is None or not report.fractionLost)
