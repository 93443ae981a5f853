"""Frames for which nothing has moved: the picture before is shown again, and W, G and paste-back are spared."""

from __future__ import annotations

from weakref import ref

import torch
from torch import Tensor

from .crop import SIDE
from .networks import KEYPOINTS
from .prepared import DevicePortrait

MOVED = -1.0  # in place of a distance: a picture is painted in any case


class Shown:
    """Which portrait each row's last picture is of, on the host. most_px: how far a keypoint may go from where it was in that
    picture before there is another; 0 paints every frame."""

    def __init__(self, most_px: float) -> None:
        self._most_px = most_px
        self._of: dict[int, ref[Tensor]] = {}

    def still(self, row: int, portrait: DevicePortrait) -> float:
        """What `moved` is to know of a row's next frame."""
        of = self._of.get(row)
        return self._most_px if self._most_px and of is not None and of() is portrait.resting else MOVED

    def painted(self, row: int, portrait: DevicePortrait) -> None:
        self._of[row] = ref(portrait.resting)  # of a portrait that nobody shows any more, nothing is kept

    def forget(self, row: int) -> None:
        """There is no picture to show again."""
        self._of.pop(row, None)


def moved(keypoints: Tensor, before: Tensor, still: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which frames need a picture, and their slots before all others.

    keypoints: (B, K, 3); before: (B, 3 · K), those of each row's last picture, which come back as they are with the next;
    still: (B, 1), how many pixels of the 512² crop a keypoint may be from there; MOVED for as little as nothing.
    -> (B,) bool, (B,) slots, (B, 3 · K).
    """
    now = keypoints.flatten(1)
    far = (now - before).abs().amax(dim=1) * (SIDE / 2)  # the crop is two wide
    needed = ~(far <= still[:, 0])  # what is no number does not stand still
    order = torch.argsort((~needed).int(), stable=True)  # not every device sorts truth values
    return needed, order, torch.where(needed[:, None], now, before)


def nowhere(rows: int, device: torch.device) -> Tensor:
    """Keypoints of rows that have no picture yet."""
    return torch.full((rows, 3 * KEYPOINTS), torch.nan, device=device)
