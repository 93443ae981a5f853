"""One at a time, of several processes of a machine (Linux)."""

from __future__ import annotations

import socket
from contextlib import suppress


def take(name: str) -> socket.socket:
    """Wait until no other process of this machine has the turn of that name, and have it: until the socket is closed, or the
    process has ended, in whatever way. Who waits is connected to who has it: the end of that is seen at once, and nothing that
    may be left behind says that somebody has it."""
    while True:
        own = socket.socket(socket.AF_UNIX)
        try:
            own.bind(f"\0{name}")
            own.listen()
            return own
        except OSError:
            with suppress(OSError), own:
                own.connect(f"\0{name}")
                own.recv(1)  # its end; it sends nothing
