"""Where a session may be asked to send to: its candidates are addresses that the other side chose."""

from __future__ import annotations

from ipaddress import ip_network

from ..addresses import parsed

TRANSLATED = [ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")]  # IPv4 within IPv6


class Reach:
    """Of one session. peer: the address that it was asked for from; most: different places that are tried at most."""

    def __init__(self, peer: str, most: int) -> None:
        self._peer = parsed(peer)
        self._most = most
        self._places: set[tuple[str, int]] = set()

    def takes(self, host: str, port: int) -> bool:
        """Whether a candidate is used. One that is not is passed over: it may be one of many that are fine."""
        if not self._may(host) or not 0 < port < 65536:
            return False
        if len(self._places) < self._most:
            self._places.add((host, port))
        return (host, port) in self._places

    def takes_line(self, line: str) -> bool:
        """The same, of a line "a=candidate:…" (RFC 8839 §5.1)."""
        fields = line.split()
        return self.takes(fields[4], int(fields[5]))

    def anew(self) -> None:
        """ICE restarts: the places of before are none of now."""
        self._places.clear()

    def _may(self, host: str) -> bool:
        """No network within which one packet reaches many or a service of the machine; what is private to a machine or a network
        for those alone who are there themselves."""
        address = parsed(host)
        if address is not None and address.is_loopback:  # of IPv6 it counts as reserved
            return self._peer is None or self._peer.is_loopback
        if address is None or address.is_multicast or address.is_unspecified or address.is_link_local or address.is_reserved:
            return False
        if any(address in network for network in TRANSLATED):
            return False
        return address.is_global or self._peer is None or not self._peer.is_global
