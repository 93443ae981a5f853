"""UDP sockets for aioice: on ports of the config's range, and with the kernel's word of when a datagram came.

An event loop that is late, as on a busy machine, would otherwise look to a sender like a line that is full.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

TIMESTAMPS = 35  # SO_TIMESTAMPNS of Linux
HAS_TIMESTAMPS = sys.platform == "linux"
TIMESPEC = struct.Struct("@ll")
LARGEST, AT_ONCE = 65_536, 64  # bytes of a datagram; datagrams that are read before others of the loop have their turn
MOST_WAITING = 512  # datagrams for which the kernel has no room; of more, as on a line that is full, the oldest are lost


class Datagram(bytes):
    """What came. arrived_s: when, by the time of day."""

    arrived_s: float


class Transport(asyncio.DatagramTransport):
    """As the event loops' own, for Linux."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__({"socket": sock, "sockname": sock.getsockname()})
        self._loop, self._sock, self._protocol = loop, sock, protocol
        self._waiting: deque[tuple[Any, Any]] = deque(maxlen=MOST_WAITING)
        self._is_closing = self._is_full = False
        protocol.connection_made(self)
        loop.add_reader(sock.fileno(), self._read)

    def _read(self) -> None:
        for _ in range(AT_ONCE):
            try:
                data, notes, _, address = self._sock.recvmsg(LARGEST, socket.CMSG_SPACE(TIMESPEC.size))
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                self._protocol.error_received(exc)
                return
            datagram = Datagram(data)
            datagram.arrived_s = _arrival_s(notes)
            self._protocol.datagram_received(datagram, address)
            if self._is_closing:
                return

    def sendto(self, data: Any, addr: Any = None) -> None:
        if self._is_closing:
            return
        self._waiting.append((data, addr))
        if not self._is_full:
            self._write()

    def _write(self) -> None:
        """Send what waits, as far as the kernel's buffer has room."""
        while self._waiting:
            try:
                self._sock.sendto(*self._waiting[0])
            except (BlockingIOError, InterruptedError):
                if not self._is_full:
                    self._loop.add_writer(self._sock.fileno(), self._write)
                self._is_full = True
                return
            except OSError as exc:
                self._protocol.error_received(exc)
            self._waiting.popleft()
        self._end_waiting()

    def _end_waiting(self) -> None:
        if self._is_full:
            self._loop.remove_writer(self._sock.fileno())
        self._is_full = False

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._end_waiting()
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close


def _arrival_s(notes: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in notes:
        if (level, kind) == (socket.SOL_SOCKET, TIMESTAMPS):
            seconds, nanoseconds = TIMESPEC.unpack(data)
            return float(seconds + nanoseconds / 1e9)
    return time.time()


class Asyncio:
    """Stands in for the module asyncio in aioice, where it binds its sockets: to any port, or to free ones of a range, in
    turn."""

    def __init__(self, ports: tuple[int, int] | None) -> None:
        first, last = ports or (0, 0)
        self._ports = itertools.cycle(range(first, last + 1))
        self._count = last - first + 1

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    def get_running_loop(self) -> Any:
        return _Loop(asyncio.get_running_loop(), self._ports, self._count)


class _Loop:
    def __init__(self, loop: asyncio.AbstractEventLoop, ports: Iterator[int], count: int) -> None:
        self._loop, self._ports, self._count = loop, ports, count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_datagram_endpoint(
        self, factory: Callable[[], asyncio.DatagramProtocol], local_addr: tuple[str, int]
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        sock = self._bound(local_addr[0])
        sock.setblocking(False)
        if not HAS_TIMESTAMPS:
            return await self._loop.create_datagram_endpoint(factory, sock=sock)
        sock.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)
        protocol = factory()
        return Transport(self._loop, sock, protocol), protocol

    def _bound(self, host: str) -> socket.socket:
        """A socket on the first port that is free; OSError."""
        for port in itertools.islice(self._ports, self._count):  # each address has all of them
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.bind((host, port))
            except OSError as exc:
                sock.close()
                if exc.errno != errno.EADDRINUSE:
                    raise
            else:
                return sock
        raise OSError(errno.EADDRINUSE, "every port of webrtc.ports is in use")
