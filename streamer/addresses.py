"""IP addresses and names of machines that others write."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
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


def shortened(text: str) -> str:
    """The network of an address, /24 of IPv4 and /48 of IPv6: where somebody is, and not who; "" for what is no address."""
    address = parsed(text.partition("%")[0])
    if address is None or address.is_loopback:
        return "" if address is None else str(address)
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))


def is_known(host: str) -> bool:
    """Whether a machine's name, as in an address with its port, can be resolved now; asks and waits for the name servers."""
    try:
        socket.getaddrinfo(urlsplit(f"//{host}").hostname, None)
    except (OSError, ValueError):
        return False
    return True
