"""The animation stage: newest driving frame in, animated frame out, on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from .budget import FrameBudget
from .engine import Puppeteer, Source
from .follow import FaceState
from .frames import _SEAL, AnimatedFrame, TimedFrame
from .mesh.crop import Image

log = logging.getLogger(__name__)

TRACKING_SIDE = 512  # driving frames are scaled to this for tracking
IDLE_S = 0.5  # how often a waiting stage looks whether it should stop
REST_AFTER_S = 2.0  # a driver that sends nothing for so long lets the puppet rest
SAMPLES = 300


class Feed(Protocol):
    """Where the stage takes driving frames from."""

    def take(self, timeout_s: float) -> TimedFrame | None:
        """The newest frame, waiting for one; None when none came."""


@dataclass
class StageStats:
    """Counted by the stage thread, read by anyone. stage_s: seconds of the last animated frames."""

    frames_in: int = 0
    animated: int = 0
    errors: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    stage_s: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))


class AnimationStage:
    """Owns the engine's puppeteer. `emit` is called on the stage's thread with each new frame.

    A failing engine never stops the stage and never shows the camera: viewers keep the last frame.
    """

    def __init__(
        self,
        open_puppeteer: Callable[[], Puppeteer],
        source: Source,
        feed: Feed,
        budget: FrameBudget,
        emit: Callable[[AnimatedFrame], None],
    ) -> None:
        self._open_puppeteer = open_puppeteer
        self._source = source
        self._feed = feed
        self._emit = emit
        self._number = 0
        self._recalibrate = threading.Event()
        self._restart = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="animation-stage", daemon=True)
        self.budget = budget
        self.stats = StageStats()
        self.mirror = False
        self.face = FaceState.NO_FACE
        self.tracker_name = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Ask the thread to end and wait; whether it did."""
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def set_source(self, source: Source) -> None:
        """Show another portrait from the next frame on."""
        self._source = source
        self._restart.set()

    def recalibrate(self) -> None:
        """Take a new neutral face from the next frames."""
        self._recalibrate.set()

    def _run(self) -> None:
        puppeteer = self._open_puppeteer()
        self.tracker_name = puppeteer.tracker_name
        try:
            self._rest()
            last_s = time.monotonic()
            resting = True
            while not self._stop.is_set():
                frame = self._feed.take(IDLE_S)
                if self._restart.is_set():
                    self._restart.clear()
                    self._rest()
                if self._recalibrate.is_set():
                    self._recalibrate.clear()
                    puppeteer.recalibrate()
                if frame is not None:
                    last_s, resting = time.monotonic(), False
                    self._one(puppeteer, frame)
                elif not resting and time.monotonic() - last_s > REST_AFTER_S:
                    resting = True
                    self.face = FaceState.NO_FACE
                    self._rest()
        finally:
            puppeteer.close()

    def _one(self, puppeteer: Puppeteer, frame: TimedFrame) -> None:
        self.stats.frames_in += 1
        reason = self.budget.admit(frame.captured_s)
        if reason is not None:
            self.stats.skipped[reason] += 1
            return
        start = time.perf_counter()
        try:
            picture = puppeteer.animate(self._source, self._driving_image(frame), frame.captured_s)
            animated = self._seal(picture, frame.captured_s)
        except Exception:  # whatever an engine does, the stream goes on with its last frame
            self._count_error()
            return
        finally:
            spent = time.perf_counter() - start
            self.budget.spent(spent)
        self.face = puppeteer.state
        self.stats.animated += 1
        self.stats.stage_s.append(spent)
        self._emit(animated)

    def _count_error(self) -> None:
        self.stats.errors += 1
        if self.stats.errors & (self.stats.errors - 1) == 0:  # 1, 2, 4, 8, …: a broken engine does not flood the log
            log.exception("animation failed (%d so far); viewers keep the last frame", self.stats.errors)

    def _driving_image(self, frame: TimedFrame) -> Image:
        image = rgb(frame, TRACKING_SIDE)
        return np.asarray(cv2.flip(image, 1), np.uint8) if self.mirror else image

    def _rest(self) -> None:
        """Show the still portrait."""
        self._emit(self._seal(self._source.still, time.monotonic()))

    def _seal(self, picture: Image, captured_s: float) -> AnimatedFrame:
        self._number += 1
        yuv = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), np.uint8)
        return AnimatedFrame(yuv, captured_s, self._number, _SEAL)


def rgb(frame: TimedFrame, max_side: int) -> Image:
    """(h, w, 3) RGB of a driving frame, scaled down to `max_side`."""
    source = frame.frame
    factor = min(1.0, max_side / max(source.width, source.height))
    width, height = max(2, round(source.width * factor)), max(2, round(source.height * factor))
    return np.asarray(source.to_ndarray(width=width, height=height, format="rgb24"), np.uint8)
