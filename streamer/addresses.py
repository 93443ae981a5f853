"""IP addresses and names of machines that others write."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

UNKNOWN = "no machine of this name is known; is it spelt right, and is there a network?"


def parsed(text: str) -> IPv4Address | IPv6Address | None:
    """The address, one of IPv4 within IPv6 as itself; None for what is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Whether an address or name is one by which a machine reaches itself alone."""
    address = parsed(host)
    return host == "localhost" if address is None else address.is_loopback


def is_known(host: str) -> bool:
    """Whether a machine's name, as in an address with its port, can be resolved now; asks and waits for the name servers."""
    try:
        socket.getaddrinfo(urlsplit(f"//{host}").hostname, None)
    except (OSError, ValueError):
        return False
    return True
