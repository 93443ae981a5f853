"""Several streams of one server: who is let in, and that none disturbs another."""

from __future__ import annotations

import time
from typing import Any

import httpx

from pipeline.engine import open_engine
from pipeline.face.faces import faces_by

from ..conftest import run_server
from ..fakes import FakeEngine, WallTime
from ..waiting import LIMIT_S


def test_a_driver_that_would_slow_the_others_down_is_refused(model) -> None:
    streams: dict[str, Any] = {"live": {}, "second": {}}
    engine = FakeEngine(WallTime(), open_engine("mesh", faces_by(model)), seconds=0.06)
    with run_server(engine, streams=streams) as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        assert http.patch("/api/streams/live", json={"demo": True}).status_code == 200
        refused = http.patch("/api/streams/second", json={"demo": True})
        assert refused.status_code == 503, "two of them would get less than 8 frames per second"
        assert int(refused.headers["retry-after"]) > 0
        assert "device.min_fps" in refused.json()["detail"]
        assert http.get("/api/devices").json()[0]["driven"] == 1
        assert http.patch("/api/streams/live", json={"demo": False}).status_code == 200
        assert http.patch("/api/streams/second", json={"demo": True}).status_code == 200


def test_streams_that_name_the_same_engine_share_it(model) -> None:
    streams = {"live": {}, "second": {"engine": "mesh"}}
    with (
        run_server(streams=streams, engine={"name": "auto"}) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):
        # What "auto" chose here is the same engine as the one that is named: one device, one stage.
        assert [device["engine"] for device in http.get("/api/devices").json()] == ["mesh"]
        assert server.control.streams["live"].stage is server.control.streams["second"].stage


def test_a_source_that_fails_leaves_the_others_alone(model, clip) -> None:
    streams = {"good": {"source": "file", "path": str(clip("d10"))}, "bad": {"source": "network", "path": "rtsp://127.0.0.1:9/x"}}
    with run_server(streams=streams) as server:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and server.control.state("good").animated < 40:
            time.sleep(0.1)
        assert server.control.state("good").animated >= 40
        assert server.control.state("bad").source.state in ("waiting", "starting")
        assert "nothing listens there" in server.control.state("bad").source.detail
