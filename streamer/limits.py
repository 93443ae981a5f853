"""What parts of the server are told to keep to, and by default: config takes it from here, and so do they."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Transport = Literal["tcp", "udp"]  # of RTSP
TRANSPORT: Transport = "tcp"
STALE_AFTER_S = 5.0  # a source without a frame for so long is opened again


@dataclass(frozen=True)
class Timeouts:
    """Seconds until opening, and until a read, is given up."""

    open_s: float = 5.0
    read_s: float = 5.0


@dataclass(frozen=True)
class Bitrates:
    """Bits per second of one encoder."""

    start: int = 2_500_000
    least: int = 300_000
    most: int = 4_000_000
