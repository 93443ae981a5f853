"""Two hosts on one machine, with a slow and lossy line between them: network namespaces joined by a TUN device each.

The kernel's netem is not everywhere; here a thread carries the packets from one device to the other, late or not at all. This
machine itself gets no address by it: one that came and went would be gathered, and then lost, by whatever else connects here.
"""

from __future__ import annotations

import ctypes
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
from pathlib import Path

NEAR, FAR = f"pcast-near-{os.getpid()}", f"pcast-far-{os.getpid()}"  # the server's host and the viewer's
NEAR_ADDRESS, FAR_ADDRESS = "10.77.0.1", "10.77.0.2"
OTHER_ADDRESS = "10.78.0.1"  # the near host's in a second network, where it is alone
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def command(host: str, *args: str) -> list[str]:
    """A command line that runs on a host."""
    return ["ip", "netns", "exec", host, *args]


def enter(namespace: Path) -> None:
    """Let this thread, and what it starts from now on, be in a network namespace. OSError where that is not permitted."""
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace.open() as opened:
        if libc.setns(opened.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def enter_host(name: str) -> None:
    """`enter` the namespace of a host."""
    enter(Path("/var/run/netns", name))


@contextmanager
def being_on(host: str) -> Iterator[None]:
    """This thread is on a host, and is at home again afterwards."""
    with Path("/proc/thread-self/ns/net").open() as home:
        enter_host(host)
        try:
            yield
        finally:
            enter(Path(f"/proc/self/fd/{home.fileno()}"))


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
        for device, host, address in ((f"pc{os.getpid()}n", NEAR, NEAR_ADDRESS), (f"pc{os.getpid()}f", FAR, FAR_ADDRESS)):
            _ip(f"netns add {host}")
            stack.callback(_ip, f"netns del {host}")
            ends.append(_tun(device))
            stack.callback(os.close, ends[-1])
            _ip(f"link set {device} netns {host}")
            _ip(f"-n {host} addr add {address}/24 dev {device}")
            _ip(f"-n {host} link set {device} up")
            _ip(f"-n {host} link set lo up")
        _ip(f"-n {NEAR} link add other type veth peer name alone")
        _ip(f"-n {NEAR} addr add {OTHER_ADDRESS}/24 dev other")
        _ip(f"-n {NEAR} link set other up")
        _ip(f"-n {NEAR} link set alone up")
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
