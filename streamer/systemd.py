"""What a service manager is told: sd_notify(3), over its datagram socket. Without one nothing is done."""

from __future__ import annotations

import logging
import os
import socket
import time

log = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Tell it, such as READY=1; does not wait."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.setblocking(False)
            told.sendto(state.encode(), f"\0{path[1:]}" if path.startswith("@") else path)
    except OSError as exc:
        log.warning("NOTIFY_SOCKET: %s: %s", path, exc.strerror or exc)


def ready() -> None:
    """Everything runs, or runs again after `reloading`."""
    notify("READY=1")


def alive() -> None:
    """Nothing stands still; to be said more often than WatchdogSec= of the unit."""
    notify("WATCHDOG=1")


def reloading() -> None:
    """The config is read anew; `ready` follows."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """The end has begun."""
    notify("STOPPING=1")
