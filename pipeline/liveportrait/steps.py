"""The steps of a frame's way, in each batch size: run as they are, or replayed as CUDA graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from ..clock import steady
from .build import Captured, graph_memory, is_out_of_memory, reserved, searching
from .runtime import Runtime

if TYPE_CHECKING:
    from ..clips import Progress

log = logging.getLogger(__name__)


class Step(Enum):
    """SEE: planes -> keypoints. PAINT: keypoints -> bytes, of the first slots; PAINT_CHOSEN: of others, fewer than were seen."""

    SEE = "see"
    PAINT = "paint"
    PAINT_CHOSEN = "paint chosen"


class Steps:
    """run: does a step for so many slots, from and to tensors that stay where they are."""

    def __init__(self, runtime: Runtime, run: Callable[[Step, int], None]) -> None:
        self._runtime, self._run = runtime, run
        self._graphs: dict[tuple[Step, int], Captured] = {}

    def play(self, step: Step, batch: int) -> None:
        if (step, batch) in self._graphs:
            self._graphs[step, batch].replay()
        else:
            self._run(step, batch)

    def whole(self, batch: int) -> None:
        """A batch's whole way, in turn."""
        self.play(Step.SEE, batch)
        self.play(Step.PAINT, batch)

    def make(self, batches: Sequence[int], progress: Progress) -> tuple[list[int], float]:
        """Run, and where the device can, capture batch sizes from the smallest on: those that are ready, and seconds that one
        frame takes alone. Where memory ends, the sizes up to there; what `is_out_of_memory` if that is none."""
        ready: list[int] = []
        frame_s = 0.0
        device = self._runtime.device
        # What is never under way at once shares memory and the libraries' workspace.
        seeing, painting = (graph_memory(device) if self._runtime.graphs else () for _ in range(2))
        for batch in batches:
            before = reserved(device)
            try:
                if self._runtime.settles:
                    self._make(Step.SEE, batch, *seeing)
                    self._make(Step.PAINT, batch, *painting)
                    if batch < batches[-1]:
                        self._make(Step.PAINT_CHOSEN, batch, *painting)
                seconds = self._seconds(batch)
            except RuntimeError as exc:
                if not ready or not is_out_of_memory(exc):
                    raise
                log.warning("no memory for %d streams in one go: at most %d", batch, ready[-1])
                break
            log.info("batch of %d: %.0f MB", batch, (reserved(device) - before) / 1e6)
            frame_s = frame_s or seconds
            ready.append(batch)
            progress(len(ready), len(batches))
        return ready, frame_s

    def _make(self, step: Step, batch: int, *memory: object) -> None:
        run = partial(self._run, step, batch)
        if self._runtime.graphs:
            self._graphs[step, batch] = Captured(run, self._runtime.device, *memory)
        else:
            with searching():
                run()

    def _seconds(self, batch: int) -> float:
        start = steady()
        self.whole(batch)
        self._runtime.synchronize()
        return steady() - start
