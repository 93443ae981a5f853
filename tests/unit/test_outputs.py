"""Outputs beside the stream: tried again in time, slow ones drop, nothing that was taken is lost at the end."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from itertools import pairwise

import av
import numpy as np
import pytest

from pipeline.frames import _SEAL, AnimatedFrame, planar
from streamer.config import Config
from streamer.config import Sink as SinkConfig
from streamer.errors import ConfigError, SinkError
from streamer.sinks.base import OVER, OutputState, OutputStatus
from streamer.sinks.outputs import Outputs
from streamer.sinks.push import Push
from streamer.sinks.retry import HEALTHY_S, Retry
from streamer.sinks.runner import HANG_S, STILL_S, OutputRunner
from streamer.webrtc.broadcasts import Broadcasts
from streamer.webrtc.ice import IceServers
from streamer.webrtc.whip_push import WhipPush

from ..waiting import until

RESOLUTION_S = 1e-9  # of the clock: a timer is due at the next tick
JITTER = 0.2  # by so much of itself a wait may be longer or shorter


def animated(k: int, time_s: float = 0.0, side: int = 64) -> AnimatedFrame:
    return AnimatedFrame(planar(np.full((side, side, 3), 7 * k % 256, np.uint8)), time_s, k, _SEAL)


class Memory:
    """An output that keeps what it gets, and fails when told to."""

    kind, name, takes_sound = "memory", "a memory", True
    began_s = None

    def __init__(self) -> None:
        self.log: list[str] = []
        self.broken: Callable[[str], Exception | None] = lambda call: None

    def _done(self, call: str, text: str = "") -> None:
        self.log.append(call + text)
        if (exc := self.broken(call)) is not None:
            raise exc

    def open(self, first: AnimatedFrame, time_s: float) -> None:
        self._done("open")

    def write(self, frame: AnimatedFrame, time_s: float) -> None:
        self._done("write", f" {frame.number} at {time_s:g}")

    def write_sound(self, chunk: av.AudioFrame, time_s: float) -> None:
        self._done("sound", f" at {time_s:g}")

    def close(self) -> None:
        self._done("close")

    def abort(self) -> None:
        self._done("abort")


class Bench:
    """A runner without its thread: time passes when told to, from one step to the next that is due."""

    def __init__(self, depth: int = 3) -> None:
        self.time_s = 0.0
        self.output = Memory()
        self.runner = OutputRunner(self.output, depth, lambda: self.time_s)
        self.steps: list[float] = []

    def step(self) -> float | None:
        self.steps.append(self.time_s)
        return self.runner.step()

    def work(self) -> float | None:
        """Until there is nothing to do; the seconds to the next step that is due by itself."""
        while (wait_s := self.step()) == 0:
            pass
        return wait_s

    def wait(self, seconds: float) -> None:
        """Let time pass, without news."""
        end = self.time_s + seconds
        while self.runner.status.state not in OVER:
            wait_s = self.work()
            if wait_s is None or self.time_s + wait_s > end:
                break
            self.time_s += wait_s + RESOLUTION_S
        self.time_s = end

    @property
    def status(self) -> OutputStatus:
        return self.runner.status


def gone(call: str) -> SinkError:
    return SinkError("a memory: nobody is there", retry=True)


def test_it_opens_with_the_first_frame_and_not_before() -> None:
    bench = Bench()
    assert bench.work() is None, "there is nothing to wait for but news"
    assert bench.output.log == []
    bench.runner.offer(animated(1))
    assert bench.work() == STILL_S
    assert bench.output.log == ["open", "write 1 at 0"]
    assert bench.status == OutputStatus("memory", "a memory", OutputState.LIVE, "", frames=1)


def test_it_is_tried_again_ever_more_slowly() -> None:
    bench = Bench()
    bench.output.broken = lambda call: gone(call) if call == "open" else None
    bench.runner.offer(animated(1))
    bench.wait(60)
    waits = [b - a for a, b in pairwise(bench.steps) if b > a]
    for wait_s, step_s in zip(waits, [1.0, 2.0, 5.0, 5.0, 5.0], strict=False):
        assert abs(wait_s - step_s) <= JITTER * step_s + 2 * RESOLUTION_S
    assert bench.output.log == ["open", "close"] * len(waits) + ["open", "close"]
    assert (bench.status.state, bench.status.detail) == (OutputState.WAITING, "a memory: nobody is there")
    bench.output.broken = lambda call: None
    bench.wait(7)
    assert (bench.status.state, bench.status.detail) == (OutputState.LIVE, "")


def test_news_does_not_shorten_the_wait_for_the_next_try() -> None:
    bench = Bench()
    bench.output.broken = gone
    for k in range(9):
        bench.runner.offer(animated(k))
        bench.step()
        bench.time_s += 0.05
    assert bench.output.log == ["open", "close"]


def test_a_failure_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.output.broken = gone
    bench.runner.offer(animated(1))
    bench.wait(60)
    assert [r.message for r in caplog.records] == ["a memory: nobody is there; trying again"]


def test_after_a_healthy_while_the_next_failure_counts_as_the_first() -> None:
    time_s = 0.0
    status = OutputStatus("memory", "a memory")
    retry = Retry(status, lambda: time_s)
    waits = []
    for lasted_s in (0.0, 0.0, 0.0, HEALTHY_S + 1, 0.0):
        retry.begin()
        retry.live()
        assert (status.state, status.detail) == (OutputState.LIVE, "")
        time_s += lasted_s
        waits.append(retry.failed(gone("")) or 0.0)
    for wait_s, step_s in zip(waits, [1.0, 2.0, 5.0, 0.5, 1.0], strict=True):
        assert abs(wait_s - step_s) <= JITTER * step_s


@pytest.mark.parametrize("exc", [SinkError("a memory: the disk is full", retry=False), ZeroDivisionError("a bug")])
def test_where_no_try_can_help_there_is_none(exc: Exception, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.output.broken = lambda call: exc if call == "write" else None
    bench.runner.offer(animated(1))
    bench.wait(60)
    assert bench.output.log == ["open", "write 1 at 0", "close"]
    assert bench.status.state is OutputState.FAILED
    assert bench.status.detail in ("a memory: the disk is full", "a memory: it broke; the log says how")
    assert len(caplog.records) >= 1


def test_a_slow_output_loses_the_oldest_frames() -> None:
    bench = Bench(depth=3)
    for k in range(10):
        bench.runner.offer(animated(k))
    bench.work()
    assert bench.output.log == ["open", "write 7 at 0", "write 8 at 0", "write 9 at 0"]
    assert (bench.status.frames, bench.status.dropped) == (3, 7)


def test_a_still_picture_is_written_each_second() -> None:
    bench = Bench()
    bench.runner.offer(animated(1))
    bench.wait(5.5)
    assert bench.output.log == ["open", *(f"write 1 at {k}" for k in range(6))]


def test_picture_and_sound_have_the_times_of_their_capture() -> None:
    """However long each was on its way: a busy machine takes longer for one of them."""
    bench = Bench()
    bench.time_s = 9.0
    bench.runner.offer(animated(1, 8.9))
    bench.work()
    for k in range(1, 4):
        bench.time_s = 9 + k / 4
        bench.runner.hear(av.AudioFrame(samples=960), None, 8.5 + k / 4)
        assert bench.work() == STILL_S - k / 4, "and does not put off the still picture"
    assert bench.output.log == ["open", "write 1 at 8.9", "sound at 8.75", "sound at 9", "sound at 9.25"]


def test_at_the_end_what_waits_is_written() -> None:
    bench = Bench(depth=60)
    for k in range(40):
        bench.runner.offer(animated(k))
    bench.runner.finish()
    bench.work()
    assert bench.output.log == ["open", *(f"write {k} at 0" for k in range(40)), "close"]
    assert bench.status.state is OutputState.ENDED
    bench.time_s = 99.0
    assert bench.runner.seconds == 0, "it lasts no longer"


def test_an_end_while_it_waits_opens_nothing() -> None:
    bench = Bench()
    bench.output.broken = gone
    bench.runner.offer(animated(1))
    bench.work()
    bench.runner.finish()
    bench.work()
    assert bench.output.log == ["open", "close"]
    assert bench.status.state is OutputState.ENDED


def test_what_goes_wrong_at_the_end_is_told() -> None:
    bench = Bench()
    full = SinkError("a memory: the disk is full", retry=False)
    bench.output.broken = lambda call: full if call == "close" else None
    bench.runner.offer(animated(1))
    bench.work()
    bench.runner.finish()
    bench.work()
    assert (bench.status.state, bench.status.detail) == (OutputState.FAILED, "a memory: the disk is full")


def scenario(seed: int) -> tuple[list[str], OutputStatus]:
    """Ten minutes of 30 frames a second to a server that goes away every half minute and comes back after seven seconds."""
    random.seed(seed)
    bench = Bench()
    bench.output.broken = lambda call: gone(call) if call != "close" and bench.time_s % 30 > 23 else None
    due_s = 0.0
    for k in range(600 * 30):
        bench.time_s = k / 30
        bench.runner.offer(animated(k, side=2))
        if bench.time_s >= due_s:
            bench.work()
    bench.runner.finish()
    bench.work()
    return bench.output.log, bench.status


def test_ten_minutes_with_a_server_that_comes_and_goes() -> None:
    log, status = scenario(1)
    assert (log, status) == scenario(1), "the same way twice"
    opened, closed = log.count("open"), log.count("close")
    assert opened == closed
    assert opened >= 2 * 20, "each time it was away, it was tried again"
    assert status.state is OutputState.ENDED
    assert status.frames + status.dropped > 0.9 * 600 * 30


@pytest.mark.parametrize("target", ["", "http://a/b", "file:///tmp/x.mp4"])
def test_other_targets_are_refused(target: str) -> None:
    with pytest.raises(ConfigError, match="must begin with rtsp://"):
        Push(target, 1)


def test_outputs_of_every_kind_are_checked_before_anything_runs() -> None:
    config = Config(streams={"live": {"sinks": [{"kind": "recording"}, {"kind": "whip", "target": "rtsp://me:hidden@a/b"}]}})  # type: ignore[arg-type]
    ice, broadcasts = IceServers(config.webrtc.ice_servers), Broadcasts(config.webrtc)

    def whip(sink: SinkConfig) -> WhipPush:
        return WhipPush(broadcasts, ice, sink.target, sink.token)

    with pytest.raises(ConfigError, match="must begin with http://") as caught:
        Outputs(config, {"whip": whip}).check(config.streams)
    assert "hidden" not in str(caught.value)


async def test_an_output_that_died_is_begun_anew_and_one_that_hangs_is_made_to_fail() -> None:
    bench = Bench()
    ended = threading.Event()

    def waits(call: str) -> None:
        if call == "write":
            ended.wait(30)

    bench.output.broken = waits
    bench.runner.offer(animated(1))
    assert bench.runner.part().heart.trouble(HANG_S) == "has died", "it has not begun"
    bench.runner._loop = asyncio.get_running_loop()
    await bench.runner.part().restart()
    await until(lambda: bench.output.log == ["open", "write 1 at 0"])
    assert bench.runner.part().heart.trouble(HANG_S) == ""
    bench.time_s = HANG_S + 1
    assert "at one piece of work for more than 30 s" in bench.runner.part().heart.trouble(HANG_S)
    await bench.runner.part().restart()
    assert bench.output.log[-1] == "abort"
    ended.set()
    await bench.runner.stop()
    assert bench.runner.part().heart.trouble(HANG_S) == "", "what is over has not died"
