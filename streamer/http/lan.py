"""Where other machines of a network, such as phones, reach the server."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, ip_address

import ifaddr

# Interfaces whose other end is no network of phones: of containers, virtual machines and tunnels, by their names on Linux and
# macOS, and by what Windows calls them.
INNER = re.compile(
    r"(docker|br-|veth|virbr|vmnet|vboxnet|podman|cni|lxc|tun|tap|utun|wg|zt|tailscale)|.*(virtual|vmware|hyper-v|vpn)",
    re.IGNORECASE,
)


def lan_addresses() -> dict[str, str]:
    """This machine's IPv4 addresses that others can reach, and the name of each one's interface; the likeliest first: not of a
    container or a tunnel, and of the network by which others are reached."""
    named = {
        str(ip.ip): adapter.nice_name
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if ip.is_IPv4 and _is_reached(ip_address(str(ip.ip)))  # type: ignore[arg-type]
    }
    ahead = _of_default_route()

    def unlikely(address: str) -> tuple[bool, bool, bool]:
        return bool(INNER.match(named[address])), address != ahead, not ip_address(address).is_private

    return {address: named[address] for address in sorted(named, key=unlikely)}


def _is_reached(address: IPv4Address) -> bool:
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)


def _of_default_route() -> str:
    """The address in the network by which others are reached; nothing if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))  # nothing is sent: the kernel looks for the way alone
        except OSError:
            return ""
        return str(asked.getsockname()[0])
