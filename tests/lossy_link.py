"""Two hosts on one machine, with a slow and lossy line between them: network namespaces joined by a TUN device each.

The kernel's netem is not everywhere; here a thread carries the packets from one device to the other, late or not at all.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

NEAR, FAR = "pcast-near", "pcast-far"  # the server's host and the viewer's
NEAR_ADDRESS, FAR_ADDRESS = "10.77.0.1", "10.77.0.2"
CONTROL_NET = "10.78.0."  # that of this process's line to the near host, which has no faults; it is there for a while only
CONTROL_ADDRESS = f"{CONTROL_NET}2"  # the near host on it
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def command(host: str, *args: str) -> list[str]:
    """A command line that runs on a host."""
    return ["ip", "netns", "exec", host, *args]


def _ip(args: str) -> None:
    subprocess.run(["ip", *args.split()], check=True, capture_output=True)


def _tun(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22s", name.encode(), IFF_TUN | IFF_NO_PI, b""))
    return fd


@contextmanager
def lossy_link(delay_s: float, loss: float, seed: int = 1) -> Iterator[list[int]]:
    """Make the hosts; [packets carried, packets lost] so far. OSError or CalledProcessError where that is not permitted."""
    counts = [0, 0]
    over = threading.Event()
    with ExitStack() as stack:
        ends = []
        for host, address in ((NEAR, NEAR_ADDRESS), (FAR, FAR_ADDRESS)):
            _ip(f"netns add {host}")
            stack.callback(_ip, f"netns del {host}")
            ends.append(_tun(f"{host[:11]}t"))
            stack.callback(os.close, ends[-1])
            _ip(f"link set {host[:11]}t netns {host}")
            _ip(f"-n {host} addr add {address}/24 dev {host[:11]}t")
            _ip(f"-n {host} link set {host[:11]}t up")
            _ip(f"-n {host} link set lo up")
        _ip(f"link add pcast-ctl type veth peer name ctl netns {NEAR}")
        stack.callback(_ip, "link del pcast-ctl")  # a namespace outlives its name while connections linger in it
        _ip(f"addr add {CONTROL_NET}1/24 dev pcast-ctl")
        _ip("link set pcast-ctl up")
        _ip(f"-n {NEAR} addr add {CONTROL_ADDRESS}/24 dev ctl")
        _ip(f"-n {NEAR} link set ctl up")
        thread = threading.Thread(target=_carry, args=(ends, delay_s, loss, random.Random(seed), counts, over))
        thread.start()
        stack.callback(thread.join)
        stack.callback(over.set)
        yield counts


def _carry(ends: list[int], delay_s: float, loss: float, rng: random.Random, counts: list[int], over: threading.Event) -> None:
    waiting: list[tuple[float, int, int, bytes]] = []  # when it is due, its number, where to, the packet
    while not over.is_set():
        wait = max(waiting[0][0] - time.monotonic(), 0.0) if waiting else 0.2
        for end in select.select(ends, [], [], min(wait, 0.2))[0]:
            packet = os.read(end, 65536)
            counts[0] += 1
            if rng.random() < loss:
                counts[1] += 1
            else:
                heapq.heappush(waiting, (time.monotonic() + delay_s, counts[0], ends[1 - ends.index(end)], packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, end, packet = heapq.heappop(waiting)
            os.write(end, packet)
