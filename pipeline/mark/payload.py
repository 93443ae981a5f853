"""What the mark says: forty bits. A leaf."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
VERSION = 1
FIELDS = {"version": 4, "deployment": 16, "stream": 8, "day": 12}  # bits of each, the first ones foremost
BITS = sum(FIELDS.values())
EPOCH = date(2026, 1, 1)  # days are counted from here, for eleven years


@dataclass(frozen=True, slots=True)
class Payload:
    """deployment: who made the picture, below 2^16; stream: of which stream, see `stream_code`; day: on which, since `EPOCH`.
    ValueError for what has no room."""

    deployment: int
    stream: int
    day: int
    version: int = VERSION

    def __post_init__(self) -> None:
        for name, bits in FIELDS.items():
            if not 0 <= getattr(self, name) < 1 << bits:
                raise ValueError(f"the mark has {bits} bits for its {name}, not enough for {getattr(self, name)}")

    @classmethod
    def of(cls, deployment: int, stream: str, on: date) -> Payload:
        """That of a stream's pictures of one day; of the nearest one that can be said."""
        last = (1 << FIELDS["day"]) - 1
        return cls(deployment, stream_code(stream), min(max((on - EPOCH).days, 0), last))

    @property
    def date(self) -> date:
        """The day it says, UTC."""
        return EPOCH + timedelta(days=self.day)

    @property
    def hex(self) -> str:
        """Ten digits: one of the version, four of the deployment, two of the stream, three of the day."""
        return "".join(f"{getattr(self, name):0{bits // 4}x}" for name, bits in FIELDS.items())

    @classmethod
    def from_hex(cls, text: str) -> Payload:
        """ValueError for what `hex` does not write."""
        if len(text) * 4 != BITS:
            raise ValueError(f"'{text}' is not a mark's payload: it has {BITS // 4} hexadecimal digits")
        value, parts = int(text, 16), {}
        for name, bits in reversed(FIELDS.items()):
            parts[name], value = value & (1 << bits) - 1, value >> bits
        return cls(**parts)

    def bits(self) -> Bits:
        """(40,) of 0 and 1, the version's highest bit first."""
        return np.unpackbits(np.frombuffer(bytes.fromhex(self.hex), np.uint8))

    @classmethod
    def from_bits(cls, bits: Bits) -> Payload:
        """The inverse of `bits`."""
        return cls.from_hex(np.packbits(bits).tobytes().hex())


def stream_code(name: str) -> int:
    """A stream's name in eight bits, 1 to 255; 0 of no name: a file that no stream made."""
    return 1 + hashlib.sha256(name.encode()).digest()[0] % 255 if name else 0
