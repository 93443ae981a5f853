"""The stage under load and under fire."""

from __future__ import annotations

import time

import httpx
import numpy as np
import pytest

from pipeline.engine import open_engine
from pipeline.follow import FaceState

from .conftest import run_server


class Slow:
    """A real engine that takes `seconds` longer for each frame, and fails where it is told to."""

    name = "slow"

    def __init__(self, model, seconds: float, fail: bool = False) -> None:
        self._engine, self._seconds, self._fail = open_engine("mesh", model), seconds, fail

    def prepare(self, *args):
        return self._engine.prepare(*args)

    def open(self):
        return SlowPuppeteer(self._engine.open(), self._seconds, self._fail)


class SlowPuppeteer:
    def __init__(self, puppeteer, seconds: float, fail: bool) -> None:
        self._puppeteer, self._seconds, self._fail = puppeteer, seconds, fail
        self.tracker_name = puppeteer.tracker_name
        self.state = FaceState.TRACKING

    def animate(self, source, image, time_s):
        out = self._puppeteer.animate(source, image, time_s)
        time.sleep(self._seconds)
        if self._fail:
            raise RuntimeError("out of memory")
        return out

    def recalibrate(self):
        self._puppeteer.recalibrate()

    def close(self):
        self._puppeteer.close()


@pytest.mark.slow
def test_a_slow_engine_steps_down_and_stays_young(model):
    with run_server(Slow(model, 0.08)) as server, httpx.Client(base_url=server.url) as http:
        http.post("/api/streams/live/demo")
        stage = server.control.streams["live"].stage
        ages: list[float] = []
        emit = stage._emit
        stage._emit = lambda frame: (ages.append(time.monotonic() - frame.captured_s), emit(frame))[1]
        time.sleep(12)
        state = http.get("/api/streams/live").json()
        assert 4 <= state["rate_limit"] <= 10
        assert state["skipped"]["busy"] > 50
        assert np.percentile(ages[10:], 95) < 0.4
        assert f'puppetcast_rate_limit{{stream="live"}} {state["rate_limit"]}' in http.get("/metrics").text


def test_a_failing_engine_leaves_the_last_picture(model):
    with run_server(Slow(model, 0, fail=True)) as server, httpx.Client(base_url=server.url) as http:
        stream = server.control.streams["live"]
        deadline = time.monotonic() + 10
        while stream.latest is None and time.monotonic() < deadline:
            time.sleep(0.02)
        still = stream.latest
        http.post("/api/streams/live/demo")
        time.sleep(2)
        state = http.get("/api/streams/live").json()
        assert state["errors"] > 5
        assert state["animated"] == 0
        assert stream.latest is still, "the still portrait stays; the driver's picture is never shown"
        assert http.get("/healthz").status_code == 200
