"""Commands: one schema, the same answer by every transport; live changes of portrait, engine and limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from pipeline.face.faces import faces_by
from pipeline.frames import planar
from pipeline.portrait import bundled
from pipeline.portraits import DEFAULT
from streamer.config import Puppet
from streamer.control.commands import Change
from streamer.control.state import RecordingState, StreamState
from streamer.errors import BadCommand

from ..broker import Broker, broker
from ..conftest import run_server
from ..faces import two_faces
from ..peers import negotiate, peer
from ..waiting import LIMIT_S, until, until_state, wait_until

Send = Callable[[dict], Awaitable[dict]]  # a change -> the state after it, or {"error": …, "code": …}


@asynccontextmanager
async def by_rest(server, _=None) -> AsyncIterator[Send]:
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:

        async def send(change: dict) -> dict:
            reply = await http.patch("/api/streams/live", json=change)
            data = reply.json()
            return data if reply.status_code == 200 else {"error": data["detail"], "code": data["code"]}

        yield send


@asynccontextmanager
async def by_data_channel(server, _=None, token: str = "") -> AsyncIterator[Send]:
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, peer() as viewer:
        viewer.addTransceiver("video", direction="recvonly")
        channel = viewer.createDataChannel("control")
        answers: asyncio.Queue[dict] = asyncio.Queue()
        channel.on("message", lambda text: answers.put_nowait(json.loads(text)))
        await negotiate(http, viewer, "/live/live/whep", token)
        await until(lambda: channel.readyState == "open")

        async def send(change: dict) -> dict:
            channel.send(json.dumps({"id": 7, "change": change}))
            answer = await asyncio.wait_for(answers.get(), LIMIT_S)
            assert answer.pop("id") == 7
            return answer.get("state", answer)

        yield send


@asynccontextmanager
async def by_mqtt(server, running: Broker) -> AsyncIterator[Send]:
    async with running.client() as client:
        await client.wait("puppetcast/live/state")

        async def send(change: dict) -> dict:
            answer = await client.command("live", "change", json.dumps({"id": 7, "value": change}))
            assert answer.pop("id") == 7
            return answer.get("state", answer)

        yield send


TRANSPORTS = {"rest": by_rest, "data channel": by_data_channel, "mqtt": by_mqtt}


@pytest.fixture(params=list(TRANSPORTS))
def transport(request):
    return request.param


@pytest.fixture
def controlled(model, transport, tmp_path):
    if transport != "mqtt":
        with run_server() as server:
            yield server, None
        return
    with broker(tmp_path) as running, run_server(mqtt={"url": running.url}) as server:
        yield server, running


async def test_one_command_by_every_transport_gives_the_same_state(controlled, transport):
    server, _ = controlled
    async with TRANSPORTS[transport](*controlled) as send:
        change = {"pose_gain": 1.5, "region": "exp", "smoothing": 0.25, "portrait": "drawing", "max_fps": 12, "muted": True}
        state = StreamState.model_validate(await send(change))
        assert state.puppet == Puppet(pose_gain=1.5, region="exp", smoothing=0.25, max_fps=12, muted=True)
        assert (state.portrait, state.previous_portrait) == ("drawing", DEFAULT)
        assert state.rate_limit == 12
        assert state.puppet == server.control.state("live").puppet
        back = await send({"previous_portrait": True, "max_fps": None})
        assert (back["portrait"], back["rate_limit"]) == (DEFAULT, 15)
        assert (await send({"demo": True}))["demo"]
        assert (await send({"recording": False}))["recording"] is None
        assert not (await send({"demo": False}))["publisher"]
        held = await send({"preset": "Smile", "shapes": {"yaw": 10, "jawOpen": 0}})
        assert (held["presets"], held["shapes"]) == (["Smile"], {"yaw": 10, "jawOpen": 0})
        assert (await send({"preset": {"name": "Wink", "on": True}}))["presets"] == ["Smile", "Wink"]
        assert (await send({"preset": "Smile"}))["presets"] == ["Wink"]
        back = await send({"clear_shapes": True})
        assert (back["presets"], back["shapes"]) == ([], {})
        for wrong, code, text in (
            ({"preset": "Smirk", "mirror": True}, "UnknownPreset", "no preset 'Smirk'; presets: Smile, "),
            ({"shapes": {"jawOpen": 2}, "mirror": True}, "BadCommand", "shapes: shape 'jawOpen': a number from 0 to 1"),
            ({"pose_gain": 9}, "BadCommand", "pose_gain"),
            ({"pose_gian": 1}, "BadCommand", "pose_gian: unknown; known: portrait"),
            ({"pose_gain": None}, "BadCommand", "pose_gain"),
            ({"smoothing": "much", "mirror": True}, "BadCommand", "smoothing"),
            ({"portrait": "nobody", "mirror": True}, "UnknownPortrait", "no portrait 'nobody'"),
            ({"engine": "steam"}, "BadCommand", "mesh, liveportrait"),
            ({"eye_retargeting": True}, "BadCommand", "the engine mesh has no such thing"),
        ):
            refused = await send(wrong)
            assert refused["code"] == code, refused
            assert text in refused["error"]
        assert not server.control.state("live").puppet.mirror, "nothing of a wrong command was done"


async def test_a_viewer_who_may_only_watch_commands_nothing(model):
    """A channel that nobody answers is closed; what was sent on it has changed nothing."""
    with run_server(auth={"token": "rule", "view_token": "look"}) as server:
        async with by_data_channel(server, token="rule") as send:
            assert (await send({"mirror": True}))["puppet"]["mirror"]
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, peer() as viewer:
            viewer.addTransceiver("video", direction="recvonly")
            channel = viewer.createDataChannel("control")
            await negotiate(http, viewer, "/live/live/whep", "look")
            await until(lambda: channel.readyState == "open")
            channel.send(json.dumps({"id": 7, "change": {"mirror": False}}))
            await until(lambda: channel.bufferedAmount == 0)
            # What comes after it has come.
            async with by_data_channel(server, token="rule") as send:
                assert (await send({"smoothing": 0.25}))["puppet"]["mirror"]


def test_who_may_only_watch_is_not_told_where_recordings_lie():
    folder = "/home/somebody/recordings"
    recording = RecordingState(
        running=False, file=f"{folder}/live.mp4", seconds=1, frames=30, dropped=0, detail=f"{folder}: the disk is full"
    )
    seen = StreamState.model_construct(recording=recording).for_viewers().recording  # type: ignore[call-arg]
    assert seen.file == "live.mp4"
    assert folder not in seen.model_dump_json()


def test_every_setting_of_the_puppet_can_be_commanded():
    assert set(Puppet.model_fields) < set(Change.model_fields)
    change = Change.model_validate({"pose_gain": 0.5, "max_age_ms": None})
    assert change.model_dump(exclude_unset=True) == {"pose_gain": 0.5, "max_age_ms": None}
    schema = Change.model_json_schema()["properties"]
    assert schema["smoothing"]["anyOf"][0] == {"maximum": 1, "minimum": 0, "type": "number"}
    assert schema["smoothing"]["description"]


def events(http: httpx.Client) -> Iterator[tuple[str, dict]]:
    """Kinds and states, as they come."""
    kind = ""
    with http.stream("GET", "/api/events", timeout=LIMIT_S) as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                yield kind, json.loads(line[6:])


def test_events_tell_changes_and_telemetry(model):
    with run_server() as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        http.patch("/api/streams/live", json={"demo": True})
        seen: list[tuple[str, dict]] = []
        for event in events(http):
            seen.append(event)
            if event[0] == "telemetry" and event[1]["face"] == "tracking":
                break
        assert seen[0][0] == "state"
        assert any(state["face"] == "tracking" for kind, state in seen if kind == "state"), "the change was told"
        animated = [state["animated"] for _, state in seen]
        assert animated == sorted(animated)
        assert animated[0] < animated[-1]
        assert {state["name"] for _, state in seen} == {"live"}
        assert "/api/events" in http.get("/openapi.json").json()["paths"]


def test_an_open_stream_of_events_is_ended_and_not_cut_off(model):
    with run_server() as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        told = events(http)
        next(told)
        server.stop()
        for _ in told:  # httpx raises where the server breaks off
            pass


def test_what_was_changed_is_there_after_a_restart(model, tmp_path, caplog):
    kept = tmp_path / "deep" / "kept.json"
    with run_server(persistence={"file": str(kept)}) as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        http.patch("/api/streams/live", json={"smoothing": 0.75, "portrait": "drawing", "max_fps": 12})
        http.patch("/api/streams/live", json={"mirror": True})
        http.patch("/api/streams/live", json={"mirror": False})
    assert json.loads(kept.read_text()) == {"live": {"portrait": "drawing", "smoothing": 0.75, "max_fps": 12}}
    with run_server(persistence={"file": str(kept)}) as server:
        state = server.control.state("live")
        assert (state.portrait, state.puppet.smoothing, state.rate_limit) == ("drawing", 0.75, 12)
    kept.write_text('{"live": {"portrait": "gone", "smoothing": 0.25}}')
    with run_server(persistence={"file": str(kept)}) as server:
        state = server.control.state("live")
        assert (state.portrait, state.puppet.smoothing) == (DEFAULT, 0.25)
    assert "'portrait' cannot be used (no portrait 'gone'" in caplog.text
    kept.write_text("{")
    with run_server(persistence={"file": str(kept)}) as server:
        assert server.control.state("live").portrait == DEFAULT
    assert "kept.json cannot be used" in caplog.text


def shows_still(stream) -> bool:
    """Whether the last picture is the portrait at rest."""
    still = stream.shown.prepared.still
    if stream.latest is None or stream.latest.yuv.shape[1] != still.shape[1]:
        return False
    marked = stream.screen.marker.marked(planar(still), len(still))
    return marked.shape == stream.latest.yuv.shape and np.abs(stream.latest.yuv.astype(int) - marked).mean() < 0.5


def test_pause_rests_and_another_portrait_goes_on(model, monkeypatch):
    with run_server() as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        http.patch("/api/streams/live", json={"demo": True})
        until_state(http, lambda state: state["face"] == "tracking")
        stream = server.control.streams["live"]
        http.patch("/api/streams/live", json={"paused": True})
        until_state(http, lambda state: state["face"] == "paused")
        wait_until(lambda: shows_still(stream))
        http.patch("/api/streams/live", json={"paused": False})
        until_state(http, lambda state: state["face"] == "tracking")
        prepared, prepare = [], stream.engine.prepare
        monkeypatch.setattr(stream.engine, "prepare", lambda portrait, *a: (prepared.append(portrait), prepare(portrait, *a))[1])
        for name in ("drawing", DEFAULT, "drawing"):
            assert http.patch("/api/streams/live", json={"portrait": name}).json()["portrait"] == name
        assert len(prepared) == 1, "what was shown before is still prepared"
        shape = stream.shown.prepared.still.shape
        wait_until(lambda: stream.latest.yuv.shape, holds=lambda now: now == (shape[0] * 3 // 2, shape[1]))
        state = server.control.state("live")
        assert state.face == "tracking", "a new portrait needs no new neutral"
        assert state.errors == 0


def test_a_portrait_is_prepared_beside_the_stream(model, monkeypatch):
    with run_server() as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        http.patch("/api/streams/live", json={"demo": True})
        until_state(http, lambda state: state["face"] == "tracking")
        stream = server.control.streams["live"]
        prepare = stream.engine.prepare

        def slowly(*args):
            """As if it took as long as ten frames do."""
            before = stream.screen.stats.animated
            wait_until(lambda: stream.screen.stats.animated >= before + 10)
            return prepare(*args)

        monkeypatch.setattr(stream.engine, "prepare", slowly)
        data = cv2.imencode(".png", bundled("astronaut").image[:, ::-1])[1].tobytes()
        added = http.post("/api/portraits", files={"file": ("mirrored.png", data)}).json()
        changed = http.patch("/api/streams/live", json={"portrait": added["id"]})
        assert changed.json()["portrait"] == added["id"]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_engine_is_changed_while_live(model, tiny):
    with run_server(
        engine={"name": "mesh", "max_side": 256}, liveportrait={"checkpoints": str(tiny), "device": "cpu"}
    ) as server, httpx.Client(base_url=server.url, timeout=120) as http:  # fmt: skip
        http.patch("/api/streams/live", json={"demo": True})
        wait_until(lambda: server.control.state("live").face == "tracking")
        stream = server.control.streams["live"]
        frames = stream.screen.stats.animated
        state = http.patch("/api/streams/live", json={"engine": "liveportrait", "eye_retargeting": True}).json()
        assert (state["engine"], state["publisher"]) == ("liveportrait", True)
        assert state["animated"] > frames, "the stream went on meanwhile"
        assert {d["engine"] for d in http.get("/api/devices").json()} == {"mesh", "liveportrait"}
        assert http.patch("/api/streams/live", json={"engine": "mesh"}).json()["engine"] == "mesh"
        frames = stream.screen.stats.animated
        wait_until(lambda: server.control.state("live").face == "tracking")
        assert stream.screen.stats.animated > frames


def test_an_engine_that_cannot_be_had_changes_nothing(model, tmp_path):
    with (
        run_server(liveportrait={"checkpoints": str(tmp_path)}) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):
        refused = http.patch("/api/streams/live", json={"engine": "liveportrait", "mirror": True})
        assert refused.status_code == 422
        cure = "models fetch liveportrait" if find_spec("torch") else "puppetcast[liveportrait]"
        assert cure in refused.json()["detail"]
        assert server.control.state("live").engine == "mesh"
        assert not server.control.state("live").puppet.mirror


def test_of_a_picture_with_two_faces_one_is_chosen(model):
    with run_server() as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        data = cv2.imencode(".png", two_faces()[..., ::-1])[1].tobytes()
        added = http.post("/api/portraits", files={"file": ("pair.png", data)}).json()
        assert len(added["faces"]) == 2
        key, other = added["id"], 1 - added["face"]
        first = http.patch("/api/streams/live", json={"portrait": key}).json()
        stream: Any = server.control.streams["live"]
        before = stream.shown.prepared.crop
        chosen = http.put(f"/api/portraits/{key}/face", json={"face": other}).json()
        assert chosen["face"] == other
        assert http.patch("/api/streams/live", json={"portrait": key}).json()["portrait"] == first["portrait"]
        assert abs(stream.shown.prepared.crop.x - before.x) > before.side / 2
        refused = http.put(f"/api/portraits/{key}/face", json={"face": 5})
        assert refused.status_code == 422
        assert "no face 5" in refused.json()["detail"]
        assert http.put("/api/portraits/astronaut/face", json={"face": 0}).json()["faces"]


async def test_prepared_portraits_are_bounded(model, monkeypatch):
    from pipeline.engine import open_engine
    from streamer.config import Engine
    from streamer.control import gallery, preparing

    monkeypatch.setattr(preparing, "MAX_PREPARED", 2)
    shelf = gallery.Gallery(Engine(max_side=128), faces_by(model), lambda: {"astronaut"})
    engine = open_engine("mesh", faces_by(model))
    for name in ("astronaut", *shelf.keys()):
        await shelf.prepared(engine, name)
    prepared = shelf._preparing._prepared
    assert len(prepared) == 2
    assert (id(engine), "astronaut") in prepared, "what is shown is kept"


def test_bad_commands_name_the_key():
    from streamer.control.commands import read_change

    with pytest.raises(BadCommand, match=r"pose_gain: input should be less than or equal to 3 \(given: 9\)"):
        read_change({"pose_gain": 9})
    with pytest.raises(BadCommand, match="command: "):
        read_change([1])
    with pytest.raises(BadCommand, match="calibrate"):
        read_change({"calibrate": False})
