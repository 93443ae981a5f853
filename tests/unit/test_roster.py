"""Streams that come and go while the server runs: by request, and by a config that is read anew."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from pipeline.face.canonical import five_points
from pipeline.portrait import BUNDLED, bundled
from pipeline.portraits import DEFAULT
from streamer.app import Server
from streamer.config import Config
from streamer.control.events import News

from ..fakes import FakeEngine, WallTime
from ..peers import negotiate, peer
from ..waiting import LIMIT_S, until

RUNNING = {"source": "pattern", "sinks": [{"kind": "recording"}]}


@asynccontextmanager
async def serving(
    folder: Path, read: Callable[[], Config] | None = None, **sections: Any
) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    """A server without streams, in this loop, and a client of it that needs no network."""
    server = Server(config(folder, **sections), FakeEngine(WallTime(), name="mesh"), read=read)
    ready = asyncio.Event()
    running = asyncio.create_task(server.serve(lambda url: ready.set()))
    await asyncio.wait_for(ready.wait(), LIMIT_S)
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(server.http), base_url="http://localhost") as http:
            yield server, http
    finally:
        server.stop()
        assert await asyncio.wait_for(running, LIMIT_S) == 0


def config(folder: Path, **sections: Any) -> Config:
    data: dict[str, Any] = {
        "http": {"port": 0}, "downloads": {"fetch": False}, "streams": {}, "webrtc": {"bind_addresses": ["127.0.0.1"]},
        "portraits": {"folder": folder / "portraits"}, "recording": {"folder": folder / "recordings"},
    }  # fmt: skip
    return Config(**{key: {**data.get(key, {}), **sections.get(key, {})} for key in data.keys() | sections.keys()})


async def test_a_stream_comes_and_goes_and_nothing_of_it_is_left(tmp_path):
    async with serving(tmp_path, http={"max_streams": 1}, persistence={"file": tmp_path / "kept.json"}) as (server, http):
        assert (await http.get("/readyz")).json() == {"ready": True}, "without any stream"
        heard: list[News] = []
        listening = asyncio.create_task(hear(server, heard))
        await http.put("/api/streams/live", json=RUNNING)
        await until(lambda: list((tmp_path / "recordings").glob("*")))  # a recording begins with its first picture
        await http.delete("/api/streams/live")  # what begins with the first stream, and stays, is here now
        before = left()
        come = await http.put("/api/streams/live", json=RUNNING)
        assert (come.status_code, come.json()["name"], come.json()["recording"]["running"]) == (201, "live", True)
        full = await http.put("/api/streams/more", json={})
        assert (full.status_code, full.json()["code"]) == (503, "TooManyStreams")
        assert (await http.patch("/api/streams/live", json={"smoothing": 0.25})).status_code == 200
        async with peer() as viewer:
            viewer.addTransceiver("video", direction="recvonly")
            session = (await negotiate(http, viewer, "/live/live/whep")).headers["location"]
            await until(lambda: (state := server.control.state("live")).viewers and state.animated > 3)
            assert "live" in (await http.get("/metrics")).text
            load = (await http.get("/api/load", params={"fps": 15})).json()
            assert (load["sessions"], load["sessions_free"], load["takes"], load["why"]) == (1, 31, True, "")
            told = load["streams"]["live"]
            assert (told["driven"], told["viewers"], told["bitrate_kbps"]) == (True, 1, load["bitrate_kbps"])
            assert load["share"] >= told["share"] >= 0 < load["free"] < 0.9 + told["cost"]
            assert (await http.delete("/api/streams/live")).status_code == 204
            assert (await http.head(session)).status_code == 404
        for method, path in (("GET", "/api/streams/live"), ("DELETE", "/api/streams/live"), ("POST", "/live/live/whep")):
            assert (await http.request(method, path)).status_code == 404
        assert (await http.get("/readyz")).status_code == 200
        assert 'stream="live"' not in (await http.get("/metrics")).text
        assert (tmp_path / "kept.json").read_text() == "{}"
        await until(left, holds=lambda now: now <= before)
        assert [path.suffix for path in sorted((tmp_path / "recordings").iterdir())] == [".mp4"] * 2, "finished, and kept"
        await until(lambda: heard and heard[-1].gone)
        assert {(news.state.name, news.gone) for news in heard} == {("live", False), ("live", True)}
        listening.cancel()


def left() -> set[str]:
    """The names of what runs."""
    names = [thread.name for thread in threading.enumerate()] + [task.get_name() for task in asyncio.all_tasks()]
    return {name for name in names if not name.startswith(("Task-", "AnyIO", "asyncio_", "encoder_"))}


async def hear(server: Server, heard: list[News]) -> None:
    async for news in server.control.events.listen():
        heard.append(news)


WRONG: tuple[tuple[str, Any, str], ...] = (
    ("Live!", {}, "streams.Live!: a name has up to 40 small letters"),
    ("live", {"portriat": "drawing"}, "streams.live.portriat: unknown key; did you mean 'portrait'?"),
    ("live", {"puppet": {"pose_gain": 9}}, "streams.live.puppet.pose_gain: input should be less than or equal to 3"),
    ("live", {"source": "file"}, "'path' is missing"),
    ("live", {"portrait": "nobody"}, "streams.live.portrait: nobody:"),
    ("live", {"source": "file", "path": "nowhere.mp4"}, "nowhere.mp4"),
    ("live", {"sinks": [{"kind": "push", "target": "x"}]}, "streams.live.sinks.0.target: "),
    ("live", [], "a mapping of keys is expected"),
)


async def test_what_a_stream_may_be_is_checked_as_in_a_config(tmp_path):
    async with serving(tmp_path) as (server, http):
        for name, settings, words in WRONG:
            reply = await http.put(f"/api/streams/{name}", json=settings)
            assert (reply.status_code, server.control.streams, server.config.streams) == (422, {}, {}), (settings, reply.text)
            assert words in reply.json()["detail"]
        assert server.control._first == {}
        file, marks = (BUNDLED / "drawing.jpg").read_bytes(), five_points(bundled("drawing").landmarks).tolist()
        upload = await http.post("/api/portraits", files={"file": ("me.jpg", file)}, data={"marks": json.dumps(marks)})
        key = upload.json()["id"]
        assert (await http.put("/api/streams/live", json={"portrait": key})).json()["portrait"] == key
        placed = await http.put("/api/streams/more", json={"portrait": key, "face": 0})
        assert f"PUT /api/portraits/{key}/face" in placed.json()["detail"]
        again = await http.put("/api/streams/live", json={"puppet": {"pose_gain": 0.5}, "source": "pattern"})
        assert (again.status_code, again.json()["puppet"]["pose_gain"], again.json()["portrait"]) == (200, 0.5, DEFAULT)
        assert again.json()["source"]["name"] == "test pattern"
        fixed = await http.put("/api/streams/live", json={"sinks": [{"kind": "recording"}]})
        assert (fixed.status_code, fixed.json()["detail"]) == (
            422,
            "sinks: cannot change while the stream runs; delete the stream first",
        )


async def test_what_a_stream_does_is_taken_and_given(tmp_path):
    """What it shows, how, and for its driver, who comes again soon, the neutral; of a spec that cannot be, nothing is left."""
    async with serving(tmp_path) as (server, http):
        await http.put("/api/streams/live", json={})
        change = {"portrait": "drawing", "pose_gain": 0.5, "preset": {"name": "Smile", "on": True}, "recording": True}
        assert (await http.patch("/api/streams/live", json=change)).status_code == 200
        spec = (await http.get("/api/streams/live/spec")).json()
        assert (spec["version"], spec["portrait"], spec["presets"], spec["recording"]) == (1, "drawing", ["Smile"], True)
        face = ((bundled("drawing").landmarks - 256) / 512).tolist()
        spec["neutral"] = {"tracker": "fake", "landmarks": face, "blink": None}
        come = await http.put("/api/streams/more", json={"spec": spec})
        assert come.status_code == 201, come.text
        one, other = (server.control.state(name) for name in ("live", "more"))
        for key in ("portrait", "engine", "puppet", "presets", "shapes"):
            assert getattr(one, key) == getattr(other, key), key
        assert (await http.get("/api/streams/more/spec")).json() == {**spec, "neutral": None}
        await http.patch("/api/streams/more", json={"demo": True})
        puppeteer: Any = server.control.stream("more").lane.puppeteer
        await until(lambda: puppeteer.given is not None)
        assert np.allclose(puppeteer.given.landmarks, face)
        for wrong, code, words in (
            ({"portrait": "nobody"}, 404, "no portrait 'nobody'"),
            ({"version": 2}, 422, "spec.version: input should be 1"),
            ({"presets": ["Nobody"]}, 404, "no preset 'Nobody'"),
            ({"puppet": {"pose_gain": 9}}, 422, "spec.puppet.pose_gain"),
        ):
            refused = await http.put("/api/streams/third", json={"spec": spec | wrong})
            assert (refused.status_code, words in refused.json()["detail"]) == (code, True), refused.text
            assert server.control.streams.keys() == {"live", "more"}


async def test_what_cannot_be_gone_on_with_is_left_out_where_that_is_asked_for_and_told(tmp_path):
    async with serving(tmp_path) as (_, http):
        picture = (BUNDLED / "visitor.jpg").read_bytes()
        await http.put("/api/streams/live", json={})
        assert (await http.put("/api/streams/live/background", content=picture)).status_code == 200
        await http.patch("/api/streams/live", json={"portrait": "drawing", "smoothing": 0.8, "background": "picture"})
        spec = (await http.get("/api/streams/live/spec")).json()
        assert (await http.delete("/api/streams/live?keep=true")).status_code == 204
        wrong = {**spec, "portrait": "nobody", "presets": ["Nobody", "Smile"], "neutral": None}
        assert (await http.put("/api/streams/live", json={"spec": wrong})).status_code == 404
        partly = (await http.put("/api/streams/live?partly=true", json={"spec": wrong})).json()
        told = [each.partition(":")[0] for each in partly["left_out"]]
        assert (told, partly["portrait"], partly["presets"]) == (["portrait", "preset"], DEFAULT, ["Smile"])
        assert (partly["puppet"]["smoothing"], partly["puppet"]["background"]) == (0.8, "picture"), "its picture was kept"
        assert (await http.patch("/api/streams/live", json={"mirror": True})).json()["left_out"] == []
        older = (await http.put("/api/streams/more?partly=true", json={"spec": {**spec, "version": 0}})).json()
        assert older["left_out"] == ["spec.version: input should be 1"]
        await http.delete("/api/streams/live")
        await http.put("/api/streams/live", json={})
        gone = await http.patch("/api/streams/live", json={"background": "picture"})
        assert gone.json()["code"] == "UnknownBackground"


async def test_a_config_that_is_read_anew_leaves_alone_what_was_put(tmp_path):
    now: dict[str, Any] = {"streams": {"live": {}}}
    async with serving(tmp_path, read=lambda: config(tmp_path, **now)) as (server, http):
        streams: dict[str, Any]
        for streams in ({"live": {}}, {"live": {"portrait": "visitor"}, "hall": {"source": "pattern"}}, {"hall": {}}, {}):
            now["streams"] = streams
            await server.reload()
            await http.put("/api/streams/put", json={})
            assert server.control.streams.keys() == server.config.streams.keys() == {*streams, "put"}
        await http.put("/api/streams/live", json={})
        now["streams"] = {"live": {"portrait": "visitor"}}
        await server.reload()
        assert server.control.state("live").portrait == "visitor", "what the config has of that name is the config's"
        now["streams"] = {"bad": {"portrait": "nobody"}}
        await server.reload()
        assert server.control.streams.keys() == {"live", "put"}
