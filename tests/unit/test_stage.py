"""The stage under load and under fire."""

from __future__ import annotations

import time

import httpx
import numpy as np
import pytest

from pipeline.engine import open_engine

from ..conftest import run_server


class Slow:
    """A real engine that takes `seconds` longer for each frame, and fails where it is told to."""

    name = "slow"
    max_batch = 1
    overlaps = False
    on_cpu = True

    def __init__(self, model, seconds: float = 0, fail: bool = False, max_batch: int = 1) -> None:
        self._engine, self._seconds, self._fail = open_engine("mesh", model), seconds, fail
        self.prepare, self.open, self.lacks = self._engine.prepare, self._engine.open, self._engine.lacks
        self.max_batch = max_batch

    def warm_up(self, source, progress):
        return self._engine.warm_up(source, progress) + self._seconds

    def submit(self, work):
        time.sleep(self._seconds)
        if self._fail:
            raise RuntimeError("out of memory")
        return self._engine.submit(work)


@pytest.mark.slow
def test_a_slow_engine_steps_down_and_stays_young(model):
    with run_server(Slow(model, 0.08)) as server, httpx.Client(base_url=server.url) as http:
        http.patch("/api/streams/live", json={"demo": True})
        lane = server.control.streams["live"].lane
        ages: list[float] = []
        emit = lane._emit
        lane._emit = lambda frame: (ages.append(time.monotonic() - frame.captured_s), emit(frame))[1]
        time.sleep(9)
        state = http.get("/api/streams/live").json()
        assert 4 <= state["rate_limit"] <= 10
        assert state["skipped"]["busy"] > 35
        assert np.percentile(ages[8:], 95) < 0.4
        assert f'puppetcast_rate_limit{{stream="live"}} {state["rate_limit"]}' in http.get("/metrics").text


def test_a_failing_engine_leaves_the_last_picture(model):
    with run_server(Slow(model, 0, fail=True)) as server, httpx.Client(base_url=server.url) as http:
        stream = server.control.streams["live"]
        deadline = time.monotonic() + 10
        while stream.latest is None and time.monotonic() < deadline:
            time.sleep(0.02)
        still = stream.latest
        http.patch("/api/streams/live", json={"demo": True})
        time.sleep(2)
        state = http.get("/api/streams/live").json()
        assert state["errors"] > 5
        assert state["animated"] == 0
        assert stream.latest is still, "the still portrait stays; the driver's picture is never shown"
        assert http.get("/healthz").status_code == 200


@pytest.mark.slow
def test_four_streams_get_the_same_share_and_a_fifth_is_refused(model, clip):
    streams = {name: {"source": "file", "path": str(clip("d10"))} for name in "abcd"} | {"e": {}}
    budget, device = {"max_frames": 15}, {"max_streams": 4}
    with run_server(streams=streams, budget=budget, device=device) as server, httpx.Client(base_url=server.url) as http:
        time.sleep(3)
        before = {s["name"]: s["animated"] for s in http.get("/api/streams").json()}
        time.sleep(8)
        states = {s["name"]: s for s in http.get("/api/streams").json()}
        animated = {name: states[name]["animated"] - before[name] for name in "abcd"}
        print(animated, {name: states[name]["age_p95_ms"] for name in "abcd"})
        assert max(animated.values()) <= 1.2 * min(animated.values())
        refused = http.patch("/api/streams/e", json={"demo": True})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert "device.max_streams" in refused.json()["detail"]
        assert http.get("/api/devices").json()[0]["driven"] == 4


def test_a_stream_that_would_slow_the_others_down_is_refused(model):
    streams = {"live": {}, "second": {}}
    with run_server(Slow(model, 0.06), streams=streams) as server, httpx.Client(base_url=server.url) as http:
        assert http.patch("/api/streams/live", json={"demo": True}).status_code == 200
        refused = http.patch("/api/streams/second", json={"demo": True})
        assert refused.status_code == 503, "two of them would get less than 8 frames per second"
        assert "device.min_fps" in refused.json()["detail"]
        assert http.patch("/api/streams/live", json={"demo": False}).status_code == 200
        assert http.patch("/api/streams/second", json={"demo": True}).status_code == 200


@pytest.mark.slow
def test_streams_are_animated_in_batches(model):
    streams = {"live": {}, "second": {}, "third": {}}
    engine = Slow(model, 0.03, max_batch=8)
    with run_server(engine, streams=streams, device={"min_fps": 1}) as server, httpx.Client(base_url=server.url) as http:
        for name in streams:
            assert http.patch(f"/api/streams/{name}", json={"demo": True}).status_code == 200
        time.sleep(5)
        batches = http.get("/api/devices").json()[0]["batches"]
        assert sum(count for size, count in batches.items() if int(size) > 1) > 10


def test_one_failing_stream_does_not_spoil_a_batch(model, monkeypatch):
    streams = {"live": {}, "second": {"portrait": "drawing"}}
    engine = Slow(model, 0.02, max_batch=8)
    submit = engine.submit

    def failing(work):
        if any(source is server.control.streams["second"].shown.source for source, _ in work):
            raise RuntimeError("broken portrait")
        return submit(work)

    with run_server(engine, streams=streams, device={"min_fps": 1}) as server, httpx.Client(base_url=server.url) as http:
        engine.submit = failing
        for name in streams:
            http.patch(f"/api/streams/{name}", json={"demo": True})
        time.sleep(4)
        assert server.control.state("live").animated > 20
        assert server.control.state("live").errors == 0
        assert server.control.state("second").errors > 3
        assert server.control.state("second").animated == 0


def test_streams_that_name_the_same_engine_share_it(model):
    streams = {"live": {}, "second": {"engine": "mesh"}}
    with run_server(streams=streams, engine={"name": "auto"}) as server, httpx.Client(base_url=server.url) as http:
        # What "auto" chose here is the same engine as the one that is named: one device, one stage.
        assert [device["engine"] for device in http.get("/api/devices").json()] == ["mesh"]
        assert server.control.streams["live"].lane._stage is server.control.streams["second"].lane._stage
        for name in streams:
            assert http.patch(f"/api/streams/{name}", json={"demo": True}).status_code == 200
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and min(server.control.state(n).animated for n in streams) < 10:
            time.sleep(0.1)
        assert min(server.control.state(name).animated for name in streams) >= 10


def test_a_source_that_fails_leaves_the_others_alone(model, clip):
    streams = {"good": {"source": "file", "path": str(clip("d10"))}, "bad": {"source": "network", "path": "rtsp://127.0.0.1:9/x"}}
    with run_server(streams=streams) as server:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and server.control.state("good").animated < 40:
            time.sleep(0.1)
        assert server.control.state("good").animated >= 40
        assert server.control.state("bad").source.state in ("waiting", "starting")
        assert "nothing listens there" in server.control.state("bad").source.detail
