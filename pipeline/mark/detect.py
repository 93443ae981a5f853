"""Finds the mark in pictures, without the unmarked ones.

A few pictures in a row are added up, of each such sum what is fine is added up over time, and then weighed by how much is going
on there. A pattern that repeats has its energy at the multiples of one frequency, which scaling moves and cropping leaves: so
for each scale that may be, the sum's spectrum is looked up at the tile's own frequencies. Those that are always sent alike tell
by correlation where the tile begins; then the others are read as what the bits of the code say, each with its certainty.

How sure that is: let x be what the data's frequencies show, each turned back by the phase that the key gives it, of which the
real part is taken; c the signs that the decoded payload sends; and the fit t = x·c / |x|. The phases were drawn independently
of all pictures, so without a mark each part of x is as likely of one sign as of the other, whatever its size; by Hoeffding's
inequality P(x·c / |x| >= t) <= exp(-t² / 2) for one c. All payloads that there are, at all places that are decoded, are
counted as tries: P(any fits so well) <= tries · exp(-t² / 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frames import Image
from .code import CODED, decode, encode
from .pattern import SIDE, bins
from .payload import FIELDS, VERSION, Payload

Plane = NDArray[np.float32]
Seen = NDArray[np.complex64]
LARGEST = 1024  # pixels of a picture's longer side; larger ones are made so small
USUAL = (1.0, 0.5, 2.0, 0.75, 1.5)  # scales that are tried before all others
STEP = 1.004  # from one scale to the next: half of it puts the tiles at the edges of 512 pixels out of place by half a pixel
FINE = (0.9985, 0.999, 0.9995, 1.0, 1.0005, 1.001, 1.0015)  # about the scales that fit best
RANGE = (0.4, 2.5)
READ = 4  # places that are decoded in each search: those that fit best
SEARCHES = 6  # of a window and of its mirror image: at the scale of the one before, at the usual ones, at all
GROUP = 10  # pictures that are added up first: what moves is blurred then, and the mark is not
AREA = 13  # pixels, of the median that is taken off: it follows edges, so that of them little is left
EVEN = 9  # pixels around, by whose strength each is weighed
WEAK = 0.6  # grey levels, that are next to nothing
AROUND = 61  # frequencies by which the usual size of one is told
MESSAGES = 1 << sum(FIELDS.values()) - FIELDS["version"]  # of our version; others are not looked for
ALARM = -9.0  # the power of ten that the chance of a false alarm must be below, for each search


@dataclass(frozen=True)
class Found:
    """log10_chance: how likely pictures without a mark look like this at most, as a power of ten. scale: of the pictures
    against what was marked."""

    payload: Payload
    log10_chance: float
    scale: float


class Finder:
    """Adds up pictures of brightness (h, w), all of one size, until `found` is asked for."""

    def __init__(self) -> None:
        self.pictures = 0
        self._size = (0, 0)
        self._sum: Plane | None = None  # of what is fine
        self._group: Plane | None = None
        self._grouped = 0

    def add(self, luma: Image) -> None:
        """One more picture. ValueError for another size."""
        if not self.pictures:
            self._size = luma.shape[0], luma.shape[1]
        elif luma.shape != self._size:
            raise ValueError("pictures of different sizes cannot be added up")
        reduced = _reduced(luma)
        group = np.zeros(reduced.shape, np.float32) if self._group is None else self._group
        self._group = np.asarray(cv2.accumulate(reduced, group), np.float32)
        self._grouped += 1
        self.pictures += 1
        if self._grouped == GROUP:
            self._end_group()

    def _end_group(self) -> None:
        if self._group is not None:
            fine = residual(self._group / np.float32(self._grouped)) * self._grouped
            self._sum = fine if self._sum is None else self._sum + fine
        self._group, self._grouped = None, 0

    def found(self, scales: Iterable[float] | None = None, alarm: float = ALARM) -> Found | None:
        """What the pictures say together, or their mirror images, as a driver's own page shows them. scales: the only ones to be
        tried. alarm: the power of ten that the chance of no mark must be below."""
        self._end_group()
        if self._sum is None or min(self._size) < SIDE // 4:
            return None
        shrunk = max(1.0, max(self._size) / LARGEST)
        plane = evened(np.asarray(self._sum / self.pictures, np.float32))
        groups = [USUAL, tuple(all_scales())] if scales is None else [tuple(scales)]
        for group, seen in product(groups, (plane, plane[:, ::-1])):
            found = search(Spectrum(seen), [scale / shrunk for scale in group], alarm)
            if found is not None:
                return Found(found.payload, found.log10_chance, round(found.scale * shrunk, 3))
        return None


def find(pictures: Iterable[Image], scales: Iterable[float] | None = None) -> Found | None:
    """What pictures (h, w) of brightness, all of one size, say together."""
    finder = Finder()
    for luma in pictures:
        finder.add(luma)
    return finder.found(scales)


def all_scales() -> Iterator[float]:
    """The whole range."""
    low, high = (math.log(end, STEP) for end in RANGE)
    return (STEP**k for k in range(math.ceil(low), math.floor(high) + 1))


def residual(luma: Image | Plane) -> Plane:
    """(h, w) what is fine in a picture, in grey levels."""
    return np.asarray(luma - cv2.medianBlur(np.round(luma).astype(np.uint8), AREA).astype(np.float32), np.float32)


def evened(fine: Plane) -> Plane:
    """(h, w) what is fine, in units of how strong it is around there."""
    return np.asarray(fine / (cv2.blur(np.abs(fine), (EVEN, EVEN)) + WEAK), np.float32)


def _reduced(luma: Image) -> Image:
    share = LARGEST / max(luma.shape)
    size = max(round(luma.shape[1] * share), 1), max(round(luma.shape[0] * share), 1)
    return luma if share >= 1 else np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)


class Spectrum:
    """A plane's, as seen from its middle: there neighbouring frequencies have nearly the same phase."""

    def __init__(self, plane: Plane) -> None:
        h, w = plane.shape
        self._h, self._w = cv2.getOptimalDFTSize(2 * h), 2 * cv2.getOptimalDFTSize(w)
        wide = np.zeros((self._h, self._w), np.float32)
        wide[:h, :w] = plane
        packed = cv2.dft(np.roll(wide, (-(h // 2), -(w // 2)), (0, 1)))  # several times as fast as NumPy's
        self._bins = packed[:, 1:-1].copy().view(np.complex64)  # from the column of one cycle on

    def at(self, rows: NDArray[np.intp], columns: NDArray[np.intp], period: float) -> Seen:
        """(n,) at so many cycles in `period` pixels; 0 where no pixels can show them."""
        y, x = rows * (self._h / period), columns * (self._w / period)
        shown = (np.abs(y) < self._h / 2 - 1) & (x >= 1) & (x < self._w / 2 - 1)
        y, x = np.where(shown, y, 0), np.where(shown, x - 1, 0)
        top, left = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
        down, right = (y - top).astype(np.float32), (x - left).astype(np.float32)
        above = self._bins[top, left] * (1 - right) + self._bins[top, left + 1] * right
        below = self._bins[top + 1, left] * (1 - right) + self._bins[top + 1, left + 1] * right
        return np.asarray((above * (1 - down) + below * down) * shown, np.complex64)


@dataclass(frozen=True)
class Place:
    """Where a tile may begin, at a scale. height: of the correlation, in standard deviations; seen: (n,) what each of the `bins`
    shows, whitened."""

    height: float
    scale: float
    shift: tuple[int, int]
    seen: Seen


def search(spectrum: Spectrum, scales: Sequence[float], alarm: float) -> Found | None:
    """The first of the likeliest places, at scales and those about the best of them, that says something."""
    best = _best(place(spectrum, scale) for scale in scales)
    finer = _best(place(spectrum, scale) for scale in {each.scale * by for each in best for by in FINE})
    return next((found for found in map(read, finer) if found is not None and found.log10_chance < alarm), None)


def _best(places: Iterable[Place]) -> list[Place]:
    return sorted(places, key=lambda each: -each.height)[:READ]


def place(spectrum: Spectrum, scale: float) -> Place:
    """Where the tile begins if it is at this scale."""
    known = bins()
    seen = _whitened(spectrum.at(known.rows, known.columns, SIDE * scale))
    fits = np.zeros((SIDE, SIDE // 2 + 1), np.complex64)
    fits[known.rows[known.sync], known.columns[known.sync]] = seen[known.sync] * known.phases[known.sync].conj()
    heights = np.fft.irfft2(fits, (SIDE, SIDE))
    row, column = divmod(int(heights.argmax()), SIDE)
    return Place(float(heights[row, column]) / (float(heights.std()) + 1e-12), scale, (row, column), seen)


def _whitened(seen: Seen) -> Seen:
    """In units of what is usual at such a frequency; what stands out, as a picture's own stripes do, is held down."""
    size = np.abs(seen)
    usual = np.convolve(np.pad(size, AROUND // 2, mode="reflect"), np.full(AROUND, 1 / AROUND), "valid")
    return np.asarray(seen / (usual + size + 1e-9), np.complex64)


def read(where: Place) -> Found | None:
    """What it says there, however likely by accident; None where the check says no."""
    known = bins()
    turns = np.exp(2j * np.pi / SIDE * (known.rows * where.shift[0] + known.columns * where.shift[1]))
    shown = (where.seen * turns * known.phases.conj()).real[~known.sync]
    carried = known.bit[~known.sync]
    bits = decode(np.bincount(carried, shown, CODED).astype(np.float32))
    payload = None if bits is None else Payload.from_bits(bits)
    if bits is None or payload is None or payload.version != VERSION:
        return None
    fit = max(float(shown @ encode(bits)[carried]) / (float(np.linalg.norm(shown)) + 1e-12), 0.0)
    chance = (math.log(SEARCHES * READ * MESSAGES) - fit * fit / 2) / math.log(10)
    return Found(payload, chance, where.scale)
