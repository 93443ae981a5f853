"""The pattern that carries the mark: one tile of noise, repeated over the picture.

Spread spectrum (I. Cox, J. Kilian, T. Leighton, T. Shamoon, "Secure spread spectrum watermarking for multimedia", IEEE Trans.
Image Processing 6(12), 1997), repeated so that it is its own reference for scale and shift (M. Kutter, "Watermarking resisting to
translation, rotation, and scaling", SPIE 3528, 1998). Each frequency of a band has a phase of its own that the key tells. Some
are always sent so and give the shift; the others are sent so or turned round, as the bits of the code say. The key is no
secret: whoever has this code finds the mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .code import CODED, encode
from .payload import Payload

SIDE = 128  # pixels of the tile
BAND = (7, 27)  # cycles a tile: finer ones do not pass encoders, coarser ones are the picture's own
SYNC_EVERY = 4  # of so many frequencies one gives the shift
KEY = 0x70757070


@dataclass(frozen=True)
class Bins:
    """Frequencies of the tile's spectrum as `numpy.fft.rfft2` has it. rows, columns, phases: (n,); phases are unit numbers. bit:
    (n,) which bit of the code each carries; -1 where it gives the shift."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    phases: NDArray[np.complex64]
    bit: NDArray[np.intp]

    @property
    def sync(self) -> NDArray[np.bool_]:
        """(n,) which give the shift."""
        return self.bit < 0


@cache
def bins() -> Bins:
    """Those of the key. Every bit has coarse and fine ones."""
    rows, columns = np.meshgrid(np.fft.fftfreq(SIDE, 1 / SIDE), np.arange(1, SIDE // 2), indexing="ij")
    radius = np.hypot(rows, columns)
    within = (radius >= BAND[0]) & (radius <= BAND[1])
    order = np.argsort(radius[within], kind="stable")
    rows, columns = (part[within][order].astype(np.intp) for part in (rows, columns))
    rng = np.random.Generator(np.random.PCG64(KEY))
    phases = np.exp(2j * np.pi * rng.random(len(rows))).astype(np.complex64)
    bit = np.full(len(rows), -1, np.intp)
    data = np.flatnonzero(np.arange(len(rows)) % SYNC_EVERY)
    laps = [rng.permutation(CODED) for _ in range(len(data) // CODED + 1)]
    bit[data] = np.concatenate(laps)[: len(data)]
    return Bins(rows, columns, phases, bit)


def signs(payload: Payload) -> NDArray[np.float32]:
    """(n,) how each of the `bins` is sent: as it is, or turned round."""
    coded = np.append(encode(payload.bits()), 1).astype(np.float32)  # the last for those of the shift
    return coded[bins().bit]


def tile(payload: Payload) -> NDArray[np.float32]:
    """(128, 128) of mean 0 and standard deviation 1."""
    spectrum = np.zeros((SIDE, SIDE // 2 + 1), np.complex64)
    spectrum[bins().rows, bins().columns] = bins().phases * signs(payload)
    made = np.fft.irfft2(spectrum, (SIDE, SIDE))
    return (made / made.std()).astype(np.float32)
