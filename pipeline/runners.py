"""The threads around lanes and stage: thin loops, all else is told the time and knows no thread."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from .frames import TimedFrame
from .heartbeat import Heartbeat
from .lane import Lane
from .stage import AnimationStage, Turn, Work

log = logging.getLogger(__name__)


class Feed(Protocol):
    """Where a lane's driving frames come from."""

    def take(self, timeout_s: float | None) -> TimedFrame | None:
        """The newest frame, waiting for one; None when none came, or when woken."""

    def wake(self) -> None:
        """Let `take` return now, or the next one if none waits."""


class LaneThread:
    """Steps a lane, at most one frame ahead of the device."""

    def __init__(self, lane: Lane, feed: Feed, stage: StageThread) -> None:
        self._lane, self._feed, self._stage = lane, feed, stage
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self.heart = Heartbeat(self._thread.is_alive)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Ask the thread to end and wait; whether it did."""
        self.leave()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def leave(self) -> None:
        """Ask the thread to end, whenever it can."""
        self._stop.set()
        self._stage.close(self._lane.turn)
        self._feed.wake()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                frame = self._feed.take(self._lane.wait_s)
                with self.heart:
                    work = self._lane.step(frame)
                if work is not None:
                    self._stage.offer(work)
        except Exception:  # who looks after threads sees that it has died, but not why
            log.exception("a follower has died")
        finally:
            self._lane.close()


class StageThread:
    """Runs a stage on a thread of its own."""

    def __init__(self, stage: AnimationStage) -> None:
        self._stage = stage
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="animation-stage", daemon=True)
        self.heart = Heartbeat(self._thread.is_alive)
        self._thread.start()

    def run(self, lane: Lane, feed: Feed) -> LaneThread:
        """Let a lane begin."""
        return LaneThread(lane, feed, self)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Ask the thread to end and wait; whether it did. The lanes have been stopped before."""
        self.leave()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def leave(self) -> None:
        """Ask the thread to end, whenever it can."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def offer(self, work: Work) -> None:
        """Wait until the device takes a lane's frame; what the device does not take any more is dropped."""
        with self._changed:
            self._stage.offer(work)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopping or not self._stage.waits(work))

    def close(self, turn: Turn) -> None:
        """Serve a lane no more."""
        with self._changed:
            self._stage.close(turn)
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while not self._stopping:
                works = self._gather()
                with self.heart:
                    self._stage.step(works)
        except Exception:  # who looks after threads sees that it has died, but not why
            log.exception("the animation stage of engine %s has died", self._stage.engine.name)

    def _gather(self) -> list[Work]:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._stage.wait_s() is not None)
            self._changed.wait_for(lambda: self._stopping or self._stage.wait_s() == 0, self._stage.gather_s)
            works = self._stage.take()
            self._changed.notify_all()
            return works
