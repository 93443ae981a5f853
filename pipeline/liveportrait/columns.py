"""What the host tells the device of each frame: one row of numbers, with a name for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from ..follow.smoothing import MAX_GAP_S, ratio
from ..follow.tuning import Tuning
from ..shapes.shapes import NOTHING, Held
from . import editor
from .follow import Given, Seen
from .still import MOVED

HOLD = -1.0  # in place of a gap: the face is lost, its last motion stays
T = TypeVar("T")


class Columns(NamedTuple, Generic[T]):
    """The columns of (B, WIDTH) float32 numbers by name.

    crop: crop -> camera's picture, two rows of a matrix. row: the stream's place on the device. gap_s: since its face was
    seen before; 0 lets the filter begin anew, HOLD keeps the last motion. rest: how far the motion has come to rest, 0..1.
    openings: left eye, right eye, lips. cutoff: what the filter's cutoffs are multiplied by. leap: whether what is shown
    leaps here, 0 or 1; left: how much of the last leap is still to be taken back, 0..1. still: see `still.moved`. gains: see
    `Tuning.gains`. held: see `editor.holding`.
    """

    crop: T
    row: T
    gap_s: T
    rest: T
    openings: T
    cutoff: T
    leap: T
    left: T
    still: T
    gains: T
    held: T


WIDTHS: Columns[int] = Columns(
    crop=6, row=1, gap_s=1, rest=1, openings=3, cutoff=1, leap=1, left=1, still=1, gains=8, held=editor.WIDTH
)
WIDTH = sum(WIDTHS)


def named(numbers: Tensor) -> Columns[Tensor]:
    """(B, WIDTH) -> a view (B, n) of each column."""
    return Columns(*torch.split(numbers, list(WIDTHS), dim=1))


def numbers(columns: Columns[Sequence[float]]) -> list[float]:
    """One row, the reverse of `named`."""
    assert tuple(map(len, columns)) == WIDTHS, "a column has another width"
    return [float(number) for column in columns for number in column]


def columns_of(
    seen: Seen, tuning: Tuning, crop: Sequence[float], row: int, anew: bool = False, still: float = MOVED, held: Held = NOTHING
) -> Columns[Sequence[float]]:
    """What there is to say of a face that was seen. anew: its filter starts again."""
    gap_s = HOLD if seen.gap_s is None else seen.gap_s
    if gap_s > MAX_GAP_S or anew:
        gap_s = 0.0
    return Columns(
        crop=crop,
        row=[row],
        gap_s=[gap_s],
        rest=[seen.rest],
        openings=seen.ratios.tolist(),
        cutoff=[ratio(tuning.smoothing)],
        leap=[seen.leap],
        left=[seen.left],
        still=[still],
        gains=_kept(tuning.gains, held),
        held=editor.holding(held),
    )


def _kept(gains: Sequence[float], held: Held) -> Sequence[float]:
    """What is left of the driver's motion. Lids and gaze share their keypoints: they go together."""
    head, mouth, brows, eyes = held.keeps("head"), held.keeps("mouth"), held.keeps("brows"), held.keeps("eyes")
    eyes = min(eyes, held.keeps("gaze"))
    return [gain * keep for gain, keep in zip(gains, (head, head, mouth, eyes, brows, mouth, eyes, mouth), strict=True)]


def columns_of_given(given: Given, still: float = MOVED) -> Columns[Sequence[float]]:
    """The same of a motion that already stands in the filter's place."""
    nothing: Columns[Sequence[float]] = Columns(*([0.0] * width for width in WIDTHS))
    return nothing._replace(
        row=[given.row],
        gap_s=[HOLD],
        rest=[given.rest],
        still=[still],
        gains=given.tuning.gains,
        held=editor.holding(given.held),
    )
