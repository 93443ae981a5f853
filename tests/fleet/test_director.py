"""The director, with workers that are processes of their own: they die, hang, are emptied, and it begins anew itself."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from pipeline.portrait import BUNDLED
from streamer.config import Fleet
from streamer.errors import ConfigError, UnknownStream
from streamer.fleet.base import At, FleetFull, UnknownWorker
from streamer.fleet.director import FleetDirector

from ..waiting import LIMIT_S, until, until_told
from .workers import WORD, Workers

pytestmark = pytest.mark.long

FLEET = Fleet(dead_after_ms=8000, drain_s=600)
PATTERN = {"source": "pattern", "fps": 5}


@pytest.fixture(scope="module")
def workers(tmp_path_factory, model) -> Iterator[Workers]:
    with started(tmp_path_factory.mktemp("fleet"), "w0", "w1") as running:
        yield running


@contextmanager
def started(folder: Path, *names: str, **sections: Any) -> Iterator[Workers]:
    running = Workers(folder, **sections)
    try:
        running.start(*names)
        yield running
    finally:
        running.end()


@asynccontextmanager
async def directed(
    engine: Any, fleet: Fleet = FLEET, secret: str = WORD, streams: dict[str, Any] | None = None
) -> AsyncIterator[FleetDirector]:
    director = FleetDirector(engine, fleet, secret)
    running = asyncio.create_task(director.run(streams))
    try:
        await until_told(director.workers, lambda found: found is not None)
        yield director
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def director(workers) -> AsyncIterator[FleetDirector]:
    async with directed(workers) as running:
        yield running
        for stream in await running.streams():
            await running.delete(stream)
    workers.kept.clear()  # which one is being emptied


async def ask(at: At, method: str, path: str, secret: str = WORD, **request: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=LIMIT_S) as http:
        return await http.request(method, at.url + path, headers=at.headers(secret), **request)


async def has(at: At, stream: str) -> bool:
    return (await ask(at, "GET", f"/api/streams/{stream}")).status_code == 200


def kept_spec(workers: Workers, stream: str) -> dict[str, Any]:
    return json.loads(workers.kept.get(f"stream:{stream}", "{}")).get("spec") or {}


def is_mirrored(workers: Workers, stream: str) -> bool:
    """As it is kept."""
    return bool(kept_spec(workers, stream).get("puppet", {}).get("mirror"))


async def test_streams_are_spread_and_what_is_wrong_with_one_is_told(director):
    assert await director.put("one", {})
    assert await director.put("two", {})
    assert not await director.put("one", {"puppet": {"mirror": True}}), "it runs: it goes by the settings from now on"
    one, two = await director.where("one"), await director.where("two")
    assert {one.worker, two.worker} == {"w0", "w1"}
    assert (await ask(one, "GET", "/api/streams/one")).json()["puppet"]["mirror"]
    for settings, wrong in [({"colour": 1}, ConfigError), ({"portrait": "nobody-1234"}, Exception)]:
        with pytest.raises(wrong):
            await director.put("three", settings)
    with pytest.raises(UnknownStream):
        await director.where("three")
    with pytest.raises(UnknownWorker):
        await director.drain("w7")
    with pytest.raises(UnknownWorker):
        await director.keep("w7")
    assert await director.streams() == ["one", "two"], "what was refused is not wanted"


async def test_a_worker_answers_its_fleet_alone(workers, director):
    at = (await director.workers())[0]
    async with httpx.AsyncClient() as http:
        wrong: list[dict[str, str]] = [{}, at.headers("another secret"), replace(at, epoch="0").headers(WORD)]
        for headers in wrong:
            reply = await http.get(at.url + "/api/load", headers=headers)
            assert (reply.status_code, reply.json()["code"]) == (403, "WrongKey")
    async with directed(workers, secret="another secret") as stranger:
        assert await stranger.workers() == [], "it cannot see anything of another fleet's"


async def test_a_worker_that_is_emptied_keeps_a_browsers_stream_until_its_driver_has_gone(workers, director):
    await director.put("pattern", PATTERN)
    await director.put("idle", {})
    first = await director.where("pattern")
    assert (await ask(first, "PATCH", "/api/streams/pattern", json={"mirror": True, "recording": True})).status_code == 200
    await director.drain(first.worker)
    moved = await until_at(director, "pattern", first)
    state = (await ask(moved, "GET", "/api/streams/pattern")).json()
    assert state["puppet"]["mirror"], "it goes on as it was"
    assert state["recording"] is not None, "in a new file"
    assert not await has(first, "pattern")
    recordings = (await ask(first, "GET", "/api/recordings")).json()
    assert len({each["name"] for each in recordings if each["name"].startswith("pattern")}) >= 1
    await director.put("new", {})
    assert await director.where("new") == moved, "it gets nothing new"
    fleet = {each["worker"]: each for each in (await director.state())["workers"]}
    assert fleet[first.worker]["draining"]
    assert fleet[first.worker]["streams"] == []
    await director.keep(first.worker)
    assert not any(each["draining"] for each in (await director.state())["workers"])
    await director.delete("new")
    await director.put("newer", {})
    assert await director.where("newer") == first, "the emptiest"


async def until_at(director: FleetDirector, stream: str, before: At) -> At:
    """The worker that a stream has gone to."""
    return await until_told(lambda: director.where(stream), lambda at: at != before)


async def test_a_director_that_begins_anew_finds_everything_as_it_was(workers):
    async with directed(workers) as director:
        await director.put("kept", {})
        await director.put("stray", {})
        at, other = await director.where("kept"), await director.where("stray")
        await ask(at, "PATCH", "/api/streams/kept", json={"mirror": True})
        await until(lambda: kept_spec(workers, "kept").get("puppet", {}).get("mirror"))
    workers.kept.pop("stream:stray")
    async with directed(SimpleNamespace(workers=nobody, read=workers.read, keep=workers.keep, forget=workers.forget)) as director:
        assert await director.where("kept") == at, "it is asked whether it is still there, before the engine names it"
        await until_told(director.streams, lambda streams: "stray" in streams)
        assert await director.where("stray") == other, "what a worker has is wanted, if the store has forgotten it"
        for stream in ("kept", "stray"):
            await director.delete(stream)
        assert not await has(at, "kept")
    assert not [key for key in workers.kept if key.startswith("stream:")]


async def nobody() -> list[At]:
    return []


async def test_of_another_version_a_worker_gets_nothing_and_is_named(workers, caplog):
    at = (await workers.workers())[0]
    workers.kept.clear()  # nobody has met it

    async def older() -> list[At]:
        return [replace(at, version="0.0.9")]

    engine = SimpleNamespace(workers=older, read=workers.read, keep=workers.keep, forget=workers.forget)
    with caplog.at_level(logging.ERROR):
        async with directed(engine) as director:
            assert await director.workers() == []
            with pytest.raises(FleetFull):
                await director.put("one", {})
            assert await director.streams() == []
    assert "worker w0 has version 0.0.9" in caplog.text


async def test_a_full_fleet_refuses_what_is_new_and_leaves_the_others_alone(workers):
    async with directed(workers, FLEET.model_copy(update={"cost": 0.8})) as director:
        for name in ("one", "two"):
            await director.put(name, {})
        with pytest.raises(FleetFull):
            await director.put("three", {})
        at = await director.where("one")
        with pytest.raises(FleetFull):
            await director.refused("one", at)
        assert await director.where("one") == at, "no other has room: it stays"
        await director.delete("two")
        await director.refused("one", at)
        assert await director.where("one") != at
        assert not await has(at, "one")
        await director.delete("one")


async def test_a_worker_that_hangs_is_left_and_has_nothing_twice_when_it_goes_on(workers):
    async with directed(workers, FLEET.model_copy(update={"dead_after_ms": 5000})) as director:
        await director.put("one", {})
        at = await director.where("one")
        await ask(at, "PATCH", "/api/streams/one", json={"mirror": True})
        await until(lambda: kept_spec(workers, "one").get("puppet", {}).get("mirror"))
        workers.signal(at.worker, SIGSTOP)
        try:
            moved = await until_at(director, "one", at)
            assert (await ask(moved, "GET", "/api/streams/one")).json()["puppet"]["mirror"]
        finally:
            workers.signal(at.worker, SIGCONT)
        await until_told(lambda: has(at, "one"), lambda there: not there)
        assert await director.where("one") == moved
        await director.delete("one")


async def test_a_killed_worker_s_streams_go_on_elsewhere_and_then_it_is_there_again(workers):
    async with directed(workers) as director:
        await director.put("one", {})
        at = await director.where("one")
        await ask(at, "PATCH", "/api/streams/one", json={"mirror": True, "recording": True})
        await until(lambda: kept_spec(workers, "one").get("recording"))
        workers.signal(at.worker, SIGKILL)
        await director.gone(at)
        moved = await director.where("one")
        assert moved.worker != at.worker
        state = (await ask(moved, "GET", "/api/streams/one")).json()
        assert state["puppet"]["mirror"]
        assert state["recording"] is not None, "in a new file"
        assert [each.worker for each in await director.workers()] == [moved.worker]
        await asyncio.to_thread(workers.start, at.worker)
        found = await until_told(director.workers, lambda found: len(found) == 2)
        assert at.epoch not in {each.epoch for each in found}
        assert await director.where("one") == moved
        await director.delete("one")


DONE = {"portrait": "drawing", "smoothing": 0.8, "recording": True, "preset": {"name": "Smile", "on": True}}


@pytest.fixture
async def decorated(workers, director) -> At:
    """Where a stream is that does all that one can do."""
    await director.put("one", {})
    at = await director.where("one")
    await change(at, "PUT", "/api/streams/one/background", content=(BUNDLED / "visitor.jpg").read_bytes())
    await change(at, "PATCH", "/api/streams/one", json={**DONE, "background": "picture"})
    await until(lambda: kept_spec(workers, "one").get("puppet", {}).get("background") == "picture")
    return at


async def change(at: At, method: str, path: str, **request: Any) -> None:
    reply = await ask(at, method, path, **request)
    assert reply.status_code == 200, reply.text


def background(workers: Workers) -> Path:
    return workers.folder / "portraits" / "backgrounds" / "one.jpg"


async def check_all_is_there(workers: Workers, at: At, background_is: str = "picture") -> dict[str, Any]:
    state: dict[str, Any] = (await ask(at, "GET", "/api/streams/one")).json()
    puppet = state["puppet"]
    assert (state["portrait"], puppet["smoothing"], puppet["background"]) == ("drawing", 0.8, background_is)
    assert (state["presets"], state["recording"]["running"]) == (["Smile"], True)
    assert background(workers).exists() == (background_is == "picture")
    return state


async def test_a_stream_that_moves_keeps_what_it_did_and_only_a_client_s_delete_forgets_it(workers, director, decorated):
    await director.refused("one", decorated)
    second = await director.where("one")
    assert second != decorated
    await check_all_is_there(workers, second)
    await director.drain(second.worker)
    third = await until_at(director, "one", second)
    await check_all_is_there(workers, third)
    await until_told(lambda: has(second, "one"), lambda there: not there)
    await director.delete("one")
    assert not background(workers).exists()


async def test_what_hangs_and_is_ended_later_takes_nothing_of_a_stream_with_it(workers, decorated, director):
    workers.signal(decorated.worker, SIGSTOP)
    try:
        moved = await until_at(director, "one", decorated)
    finally:
        workers.signal(decorated.worker, SIGCONT)
    await until_told(lambda: has(decorated, "one"), lambda there: not there)
    await check_all_is_there(workers, moved)


async def test_what_a_stream_cannot_go_on_with_is_told_and_the_rest_is_kept(workers, director, decorated, caplog):
    background(workers).unlink()
    await director.refused("one", decorated)
    state = await check_all_is_there(workers, await director.where("one"), "original")
    assert [each.partition(":")[0] for each in state["left_out"]] == ["background"]
    assert "goes on without background" in caplog.text


async def test_a_new_start_goes_by_the_configuration_as_it_is_then_and_keeps_all_else(tmp_path, model, caplog):
    said: dict[str, Any] = {"same": {}, "changed": {"portrait": "mei", **PATTERN}, "ended": {}, "back": {}}
    many = FLEET.model_copy(update={"cost": 0.1})
    with started(tmp_path, "w0") as workers:
        async with directed(workers, many, streams=said) as director:
            await director.put("put", {"portrait": "drawing"})
            for stream in ("same", "changed", "put"):
                at = await until_told(partial(director.where, stream), bool)
                await change(at, "PATCH", f"/api/streams/{stream}", json={"mirror": True})
                await until(partial(is_mirrored, workers, stream))
            await director.delete("back")
        async with directed(workers, many, streams=said) as director:
            assert "back" not in await director.streams(), "the director alone has begun anew"
        workers.signal("w0", SIGKILL)
        workers.start("w0", secret="of another start")
        del said["ended"]
        said["changed"] = {"portrait": "henrik", **PATTERN}
        with caplog.at_level(logging.INFO):
            async with directed(workers, many, "of another start", said) as director:
                assert sorted(await director.streams()) == ["back", "changed", "put", "same"]
                told = {}
                for stream in ("changed", "put", "same"):
                    at = await until_told(partial(director.where, stream), bool)
                    told[stream] = (await ask(at, "GET", f"/api/streams/{stream}", "of another start")).json()
    assert (told["changed"]["portrait"], told["changed"]["puppet"]["mirror"]) == ("henrik", False)
    assert (told["put"]["portrait"], told["put"]["puppet"]["mirror"]) == ("drawing", True)
    assert told["same"]["puppet"]["mirror"], "what was changed while live is kept"
    assert "stream 'changed' begins by what the configuration says of it now" in caplog.text
    assert "stream 'ended' is not in the configuration any more" in caplog.text
    assert "stream 'same' begins by" not in caplog.text


async def test_why_a_stream_has_no_worker_is_told_once_and_not_tried_each_second(workers, caplog):
    async with directed(workers, streams={"misspelt": {"portrait": "nobody"}, "good": {}}) as director:
        state = await until_told(director.state, lambda state: "misspelt" in state["waiting"] and state["streams"]["good"])
        assert "streams.misspelt.portrait: nobody: " in state["waiting"]["misspelt"]
        assert state["waiting"].keys() == {"misspelt"}
        with pytest.raises(Exception, match="nobody"):
            await director.where("misspelt")
        assert caplog.text.count("'misspelt' cannot begin") == 1
        assert not await director.put("misspelt", {"portrait": "mei"}), "it is there already, and cured"
        assert (await director.state())["waiting"] == {}
        for stream in ("misspelt", "good"):
            await director.delete(stream)


async def test_why_there_is_no_room_is_told_as_the_workers_say_it(workers, tmp_path, model):
    async with directed(workers, FLEET.model_copy(update={"cost": 0.8})) as director:
        for name in ("one", "two"):
            await director.put(name, {})
        with pytest.raises(FleetFull, match=r"no worker has room for 'three': full \(2 workers\)"):
            await director.put("three", {})
        assert (await director.state())["refused"] == 1
        for name in ("one", "two"):
            await director.delete(name)
    with started(tmp_path, "w0", http={"max_streams": 1}) as small:
        async with directed(small) as director:
            await director.put("one", {})
            with pytest.raises(FleetFull, match=r"worker w0: there are 1 streams, the limit \(http.max_streams\)"):
                await director.put("two", {})
            small.signal("w0", SIGKILL)
            await director.gone((await director.workers())[0])
            with pytest.raises(FleetFull, match="none of the fleet answers"):
                await director.where("one")
