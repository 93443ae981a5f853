"""Finds the mark in pictures, without the unmarked ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frames import Image
from .code import CODED, decode, encode
from .pattern import SIDE, Bins, bins
from .payload import FIELDS, VERSION, Payload

Plane = NDArray[np.float32]
Spectrum = NDArray[np.complex64]
FIRST = (1.0, 0.5, 2.0, 0.75, 1.5)  # scales that are tried before all others
STEP = 1.005  # from one scale to the next: half of it puts a pattern's edges in 512 pixels out of place by 0.6
RANGE = (0.4, 2.5)
TRIED = 4  # places that are decoded, of those where the shift fits best
SMOOTH = 3.0  # pixels, of the Gaussian whose result is taken off
MESSAGES = 1 << sum(FIELDS.values()) - FIELDS["version"]  # of our version; others are not looked for
ALARM = 1e-9  # how likely a window without a mark may be taken for one with it


@dataclass(frozen=True)
class Found:
    """payload; log10_chance: how likely pictures without a mark look like this at most, as a power of ten. scale: of the
    pictures against what was marked."""

    payload: Payload
    log10_chance: float
    scale: float


def residual(luma: Image) -> Plane:
    """(h, w) what is fine in a picture, in units of how strong that is around there."""
    y = luma.astype(np.float32)
    fine = y - cv2.GaussianBlur(y, (0, 0), SMOOTH)
    around = cv2.blur(np.abs(fine), (9, 9)) + 1.0
    return np.asarray(fine / around, np.float32)


def find(pictures: Iterable[Image], scales: Iterable[float] | None = None) -> Found | None:
    """What pictures (h, w) of brightness, all of one size, say together. scales: those to be tried; all by default."""
    total = sum(map(residual, pictures), np.zeros((), np.float32))
    return search(total, scales) if total.ndim else None


def search(total: Plane, scales: Iterable[float] | None = None) -> Found | None:
    """The same of the sum of `residual`."""
    groups = [list(scales)] if scales is not None else [list(FIRST), list(all_scales())]
    for group in groups:
        places = sorted((place for scale in group for place in _places(total, scale)), key=lambda p: -p.height)[:TRIED]
        for place in places:
            found = _read(place)
            if found is not None:
                return found
    return None


def all_scales() -> Iterator[float]:
    """The whole range."""
    low, high = (math.log(end, STEP) for end in RANGE)
    return (STEP**k for k in range(math.ceil(low), math.floor(high) + 1))


@dataclass(frozen=True)
class _Place:
    """Where the shift fits. height: in standard deviations; spectrum: (n,) what each of the `bins` has, turned back."""

    height: float
    scale: float
    spectrum: Spectrum


def folded(total: Plane, scale: float) -> Plane:
    """(128, 128) the sum of all tiles of a picture that is `scale` times as large as what was marked."""
    h, w = (max(round(n / scale), 1) for n in total.shape)
    if scale != 1:
        method = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
        total = np.asarray(cv2.resize(total, (w, h), interpolation=method), np.float32)
    rows, columns = -(-h // SIDE), -(-w // SIDE)
    whole = cv2.copyMakeBorder(total, 0, rows * SIDE - h, 0, columns * SIDE - w, cv2.BORDER_CONSTANT, value=0)
    return np.asarray(whole.reshape(rows, SIDE, columns, SIDE).sum(axis=(0, 2)), np.float32)


def whitened(spectrum: Spectrum) -> Spectrum:
    """(n,) in units of what is usual at such a frequency; what stands out, as a picture's own stripes do, is held down."""
    size = np.abs(spectrum)
    usual = np.convolve(np.pad(size, 30, mode="reflect"), np.full(61, 1 / 61), "valid")
    return np.asarray(spectrum / (usual + size + 1e-9), np.complex64)


def _places(total: Plane, scale: float, most: int = 2) -> list[_Place]:
    if min(total.shape) / scale < SIDE / 2:
        return []
    known = bins()
    found = whitened(np.fft.rfft2(folded(total, scale)).astype(np.complex64)[known.rows, known.columns])
    sync = known.bit < 0
    fits = np.zeros((SIDE, SIDE // 2 + 1), np.complex64)
    fits[known.rows[sync], known.columns[sync]] = found[sync] * known.phases[sync].conj()
    heights = np.fft.irfft2(fits, (SIDE, SIDE))
    spread = float(heights.std()) + 1e-12
    best = np.argpartition(heights.reshape(-1), -most)[-most:]
    return [_Place(float(heights.reshape(-1)[k]) / spread, scale, _turned(found, known, divmod(int(k), SIDE))) for k in best]


def _turned(found: Spectrum, known: Bins, shift: tuple[int, int]) -> Spectrum:
    """The spectrum as if the tile began at `shift`, against the key's phases."""
    turns = np.exp(2j * np.pi / SIDE * (known.rows * shift[0] + known.columns * shift[1]))
    return np.asarray(found * turns * known.phases.conj(), np.complex64)


def _read(place: _Place) -> Found | None:
    known = bins()
    data = known.bit >= 0
    seen = place.spectrum.real[data]
    soft = np.bincount(known.bit[data], seen, CODED).astype(np.float32)
    bits = decode(soft)
    if bits is None:
        return None
    payload = Payload.from_bits(bits)
    fit = float(seen @ encode(bits)[known.bit[data]]) / float(np.linalg.norm(seen) + 1e-12)
    chance = (math.log(MESSAGES * TRIED * 2) - fit * fit / 2) / math.log(10)
    if payload.version != VERSION or fit < 0 or chance > math.log10(ALARM):
        return None
    return Found(payload, chance, place.scale)
