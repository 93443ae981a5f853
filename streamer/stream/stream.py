"""One stream: source -> intake -> lane and stage -> fan-out -> sinks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median

from pipeline.budget import FrameBudget
from pipeline.clock import Clock, steady
from pipeline.engine import Engine, Prepared, Puppeteer
from pipeline.face.likeness import FaceLock
from pipeline.face.motion import Neutral
from pipeline.frames import AnimatedFrame
from pipeline.label import Label
from pipeline.lane import Lane, Screen
from pipeline.mark.marker import Marker
from pipeline.stage import AnimationStage
from pipeline.terms import ANYBODY, Terms

from ..config import Budget, Kind, Puppet
from ..errors import DriverRefused, StreamBusy, UnknownStream
from .admission import Admission
from .audio import AudioLine
from .intake import Intake
from .poses import Poses
from .stages import Run, Running
from .status import HANG_S, Drives, Named, Part, Sink, Supervised

log = logging.getLogger(__name__)

SAMPLES = 300
AGE_SAMPLES = 30
GIVEN_S = 30.0  # a driver who comes later than that may be somebody else
UNKNOWN_AGE_S = 0.04  # of a picture, before any was sent


@dataclass(frozen=True)
class Shown:
    """The portrait on show. sha256: of its picture, where that is known; terms: who may drive it; lock: the face that they must
    have."""

    id: str
    prepared: Prepared
    sha256: str = ""
    terms: Terms = ANYBODY
    lock: FaceLock | None = None


class Stream:
    """One named stream. All methods belong to the event loop's thread.

    puppeteer: a fresh one of the stage's engine; the stream closes it. run: what lets a lane begin. told: called when who drives,
    what, or whether they may has changed.
    """

    def __init__(
        self,
        name: str,
        stage: AnimationStage,
        puppeteer: Puppeteer,
        shown: Shown,
        limits: Budget,
        puppet: Puppet,
        admission: Admission,
        run: Run,
        marker: Marker,
        clock: Clock = steady,
        told: Callable[[Stream], None] = lambda stream: None,
        label_of: Callable[[Kind], Label | None] = lambda kind: None,
    ) -> None:
        """label_of: what a kind of output has on its pictures."""
        self.name = name
        self.turn = asyncio.Lock()  # of its commands: the second finds the first one done
        self.removed = False
        self.stage = stage
        self.puppet = puppet
        self.before: str | None = None  # the portrait that was on show before
        self.sinks: set[Sink] = set()
        self.latest: AnimatedFrame | None = None  # before labels: outputs take what `seen_by` or `labelled` gives
        self.label_of = label_of
        self._labelled: dict[Label, AnimatedFrame] = {}  # of the latest one
        self.problem = ""  # why it is not animated by the engine that it had, in words
        self.left_out: list[str] = []  # what it did elsewhere, and cannot here
        self.stalled = ""  # why it stands still, in words; whoever looks after it writes that
        self.driver: Drives | None = None
        self._given: tuple[float, Neutral] | None = None  # when, and what the next driver is measured against
        self.named: Named | None = None  # drives again when another that took over has ended
        self._evicting = False
        self.ages_s: deque[float] = deque(maxlen=SAMPLES)
        self._shown = shown
        self._told = told
        self._limits = limits
        self._admission = admission
        self._run = run
        self._running: Running | None = None
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: AnimatedFrame | None = None
        self.poses = Poses()
        self.audio = AudioLine(self.age_s, clock)
        self.intake = Intake(self.audio.put)
        self.budget = FrameBudget(**limits.model_dump(), clock=clock)
        self.screen = Screen(shown.prepared, self._from_stage, marker, clock)
        self._restrict()
        self.lane = self._lane(puppeteer)
        self._set_limits()

    @property
    def engine(self) -> Engine:
        """What animates it."""
        return self.stage.engine

    @property
    def shown(self) -> Shown:
        """The portrait on show."""
        return self._shown

    @property
    def refused(self) -> str:
        """Why who drives, or what is held by hand, does not move the portrait, in words."""
        if self.driver is None and not self.poses.shapes and not self.poses.presets:
            return ""
        return self.screen.gate.barred or ("" if self.driver is None else self.lane.refused)

    def _barred(self) -> str:
        return self._shown.terms.refusal(() if self.driver is None else self.driver.passes) if self._shown.terms.lock else ""

    def _restrict(self) -> None:
        """After another has come to drive, or gone."""
        self.screen.restrict(self._barred(), self._shown.lock)

    def keep_to(self, terms: Terms, lock: FaceLock | None) -> None:
        """Let the portrait on show be driven under other terms."""
        self._shown = replace(self._shown, terms=terms, lock=lock)
        self._restrict()
        self._told(self)

    @property
    def made_of(self) -> tuple[str, str, str]:
        """The engine's name, the SHA-256 of the portrait's picture, and what the mark says; for any thread."""
        payload = self.screen.marker.payload
        return self.engine.name, self._shown.sha256, payload.hex if payload is not None else ""

    def tune(self, puppet: Puppet) -> None:
        """Follow the driver in another way from the next frame on."""
        if puppet.mirror != self.puppet.mirror:  # the neutral would be that of the other side
            self.lane.reset()
        self.puppet = puppet
        self._set_limits()
        self.lane.tune(puppet.tuning())
        self.intake.wake()  # a lane at rest waits for nothing else

    def limit(self, limits: Budget) -> None:
        """Keep to another frame rate and age, where the puppet has none of its own."""
        self._limits = limits
        self._set_limits()

    def _set_limits(self) -> None:
        puppet, limits = self.puppet, self._limits
        self.audio.muted = puppet.muted
        fps, age_ms = puppet.max_fps or limits.max_frames, puppet.max_age_ms or limits.max_age_ms
        frames = max(round(fps * limits.window_s), 1) if puppet.max_fps else fps
        if (frames, age_ms) != (self.budget.max_frames, self.budget.max_age_ms):
            self.budget.limit(frames, age_ms)

    async def switch(self, stage: AnimationStage, shown: Shown) -> None:
        """Go over to another engine, with a portrait prepared for it; viewers see a cross-fade."""
        puppeteer = await asyncio.to_thread(stage.engine.open)
        await self._end_lane()
        self.stage, self._shown, self.problem = stage, shown, ""
        self.screen.change(shown.prepared, self._barred(), shown.lock)
        self.lane = self._lane(puppeteer)
        self.start()
        self._told(self)

    def parts(self) -> Iterator[Part]:
        """Its threads and tasks, as they are now."""
        if self._running is not None:
            # It may wait for the stage's device, where following is that device's work, too.
            yield Part("follower", self._running.heart, lambda: self.go_over(self.stage), self.stage.limit_s(HANG_S))
        yield self.audio.part()
        for each in (self.driver, *self.sinks):
            if isinstance(each, Supervised):
                yield each.part()

    async def go_over(self, stage: AnimationStage) -> None:
        """Begin a fresh lane on a stage of the same engine. The one before, which may hang, is left behind."""
        puppeteer = await asyncio.to_thread(stage.engine.open)
        if self._running is not None:
            self._running.leave()
        self.stage = stage
        self.screen.fade()
        self.lane = self._lane(puppeteer)
        self.start()

    def stands(self, limit_s: float) -> str:
        """Why no frame could be animated for so long, in words; nothing where that is not so."""
        failing_s = self.screen.stats.failing_s
        if failing_s is None or self.driver is None or self._clock() - failing_s < limit_s:
            return ""
        return f"no frame could be animated for more than {limit_s:g} s; the log says why"

    def _lane(self, puppeteer: Puppeteer) -> Lane:
        lane = Lane(puppeteer, self.screen, self.budget, lambda: self.puppet.mirror, self._clock, self.poses.easing, self._judged)
        lane.tune(self.puppet.tuning())
        return lane

    def start(self) -> None:
        self._running = self._run(self.stage, self.lane, self.intake)

    async def stop(self) -> None:
        """End the lane and the sound; also of a stream that was not started."""
        await self._end_lane()
        self.intake.close()
        await self.audio.stop()

    async def _end_lane(self) -> None:
        if self._running is None:
            self.lane.close()
        elif not await asyncio.to_thread(self._running.stop):
            log.error("stream '%s': its thread did not stop", self.name)

    def claim(self, driver: Drives, named: bool = False) -> None:
        """Become the stream's driver; StreamBusy if it has one, Overloaded if the others would become too slow, DriverRefused
        if the portrait on show is not theirs to drive.

        named: by the config, so it is let in all the same; the budget then slows all streams alike, and a portrait that it may
        not drive rests.
        """
        if not named:
            self.check_terms(driver.passes)
        self.check_claim(named)
        self.driver = driver
        self.lane.reset()
        self._restrict()
        self._told(self)
        given, self._given = self._given, None
        if given is not None and self._clock() - given[0] < GIVEN_S:
            self.lane.go_on(given[1])

    def give(self, neutral: Neutral) -> None:
        """Have the driver measured against a neutral that was taken elsewhere, or the next one if it comes soon: a driver whose
        server is gone comes again at once."""
        if self.driver is not None:
            self.lane.go_on(neutral)
        else:
            self._given = self._clock(), neutral

    def check_there(self) -> None:
        """UnknownStream once it is being removed, for whoever had to wait since they looked it up."""
        if self.removed:
            raise UnknownStream(f"stream '{self.name}' has just been removed")

    def check_claim(self, named: bool = False) -> None:
        """What `claim` raises, for a driver that is not there yet."""
        self.check_there()
        if self.driver is not None:
            raise StreamBusy(
                f"stream '{self.name}' already has a publisher; end that one first, or take over (POST …/whip?take_over=true)"
            )
        if not named:
            self._admission.check(self.stage)

    def check_terms(self, passes: Sequence[str]) -> None:
        """DriverRefused for whoever shows these passes, if the portrait on show is not theirs to drive."""
        if self._shown.terms.lock and (why := self._shown.terms.refusal(passes)):
            show = "show it (POST …/whip?pass=PASS; on the page #pass=PASS), or choose another portrait"
            raise DriverRefused(f"stream '{self.name}': {why}; {show}")

    def release(self, driver: Drives) -> None:
        """Stop being the driver; no effect for anyone else. What the config names then drives again."""
        if self.driver is driver:
            self.driver = None
            self.intake.clear()
            self.audio.clear()
            self._restrict()
            self._told(self)
        if self.driver is None and self.named is not None and not self._evicting:
            self.claim(self.named, named=True)
            self.named.start()

    async def evict(self) -> None:
        """End whoever drives, so that another can."""
        if (driver := self.driver) is not None:
            self._evicting = True
            try:
                await driver.end()
                self.release(driver)
            finally:
                self._evicting = False

    def show(self, shown: Shown) -> None:
        """Change the portrait."""
        if shown.id != self._shown.id:
            self.before = self._shown.id
        self._shown = shown
        self.screen.change(shown.prepared, self._barred(), shown.lock)
        self.intake.wake()  # a lane at rest waits for nothing else
        self._told(self)

    def sent(self, age_s: float) -> None:
        """A frame of this age has left for a viewer."""
        self.ages_s.append(age_s)

    def age_s(self) -> float:
        """How old the picture is when it leaves, lately; as it leaves the stage where nobody watches."""
        recent = list(islice(reversed(self.ages_s), AGE_SAMPLES)) or list(
            islice(reversed(self.screen.stats.stage_s), AGE_SAMPLES)
        )
        return median(recent) if recent else UNKNOWN_AGE_S

    def _judged(self) -> None:
        """On the lane's thread: whether the driver's face may drive is known now."""
        with suppress(RuntimeError):  # the loop has been closed: the server is going down
            self._loop.call_soon_threadsafe(self._told, self)

    def _from_stage(self, frame: AnimatedFrame) -> None:
        """On any thread: hand over the newest frame, without letting calls pile up."""
        with self._lock:
            scheduled, self._waiting = self._waiting is not None, frame
        if not scheduled:
            try:
                self._loop.call_soon_threadsafe(self._fan_out)
            except RuntimeError:  # the loop has been closed: the server is going down
                log.debug("frame after the end of stream '%s'", self.name)

    def _fan_out(self) -> None:
        with self._lock:
            frame, self._waiting = self._waiting, None
        if frame is None:
            return
        self.latest = frame
        self._labelled.clear()
        for sink in tuple(self.sinks):
            if (seen := self.seen_by(sink)) is not None:
                sink.offer(seen)

    def seen_by(self, sink: Sink) -> AnimatedFrame | None:
        """The latest frame as a sink is to get it; None before the first."""
        return self.labelled(sink.kind, None if sink.seen_s is None else self._clock() - sink.seen_s)

    def labelled(self, kind: Kind, for_s: float | None = None) -> AnimatedFrame | None:
        """The latest frame as a kind of output shows it, to those who have looked for so many seconds; None before the first."""
        label = self.label_of(kind)
        if self.latest is None or label is None or not label.shows(for_s):
            return self.latest
        if label not in self._labelled:
            self._labelled[label] = self.latest.labelled(label, self.screen.prepared.face_box)
        return self._labelled[label]
