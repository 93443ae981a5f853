"""What is asked of all streams, or of what every worker has: one answer made of those of all workers."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from pipeline.mark.payload import stream_code

from ..errors import CannotKeep
from .base import At, Director
from .known import Known
from .proxy import NoWorker, Passed, Proxy, Unreachable

log = logging.getLogger(__name__)

NO_STORE = {"Cache-Control": "no-store"}
Answers = dict[At, httpx.Response]


class Merged:
    """Ways that ask more than one worker."""

    def __init__(self, known: Known, proxy: Proxy) -> None:
        self._known, self._proxy = known, proxy

    async def any(self, request: Request) -> Response:
        """The first worker that has it: of what all have, and of what one of them has, which is not known by its name."""
        problem: Unreachable | None = None
        reply: httpx.Response | None = None
        for at in await self._known.workers():
            try:
                fresh = await self._proxy.send(request, at)
            except Unreachable as exc:
                problem = exc
                continue
            if reply is not None:
                await reply.aclose()
            reply = fresh
            if reply.status_code != 404:
                break
        if reply is None:
            raise problem or NoWorker()
        return Passed(reply)

    async def one(self, request: Request) -> Response:
        """Some worker, whichever."""
        workers = await self._known.workers()
        if not workers:
            raise NoWorker()
        return Passed(await self._proxy.send(request, random.choice(workers)))

    async def all(self, request: Request) -> Response:
        """Every worker is told the same; the first one's answer says whether it can be, and is the answer."""
        body = await request.body()
        if not (workers := await self._known.workers()):
            raise NoWorker()
        first, *others = workers
        answer = await self._proxy.read(request, first, content=body)
        if answer.is_success:
            for at, reply in (await self._each(request, others, body)).items():
                if not reply.is_success and reply.status_code != 404:  # of a folder that they share, the first has deleted it
                    log.warning("%s %s: worker %s: %s", request.method, request.url.path, at.worker, reply.text[:200])
        return Passed(answer)

    async def identified(self, request: Request) -> Response:
        """One worker looks at the file; which streams it may be of is asked of the whole fleet's."""
        if not (workers := await self._known.workers()):
            raise NoWorker()
        answer = await self._proxy.read(request, random.choice(workers))
        if not answer.is_success:
            return Passed(answer)
        said, streams = answer.json(), await self._known.streams()
        names = [name for name in streams if said["ours"] and stream_code(name) == said["stream"]]
        return JSONResponse({**said, "streams": names})

    async def restricted(self, request: Request, director: Director) -> Response:
        """Who may drive a portrait is said to one worker, which makes the pass: that of the driver whose face it is to be. The
        others, whose streams may show it too, read it from the folder that they share. CannotKeep where they do not."""
        change = await request.json()
        driver = change.get("face_of") if isinstance(change, dict) else None
        workers = await self._known.workers()
        first = await director.where(driver) if isinstance(driver, str) else next(iter(workers), None)
        if first is None:
            raise NoWorker()
        answer = await self._proxy.read(request, first, content=await request.body())
        if answer.is_success:
            others = await self._each(request, [at for at in workers if at != first], b"{}")
            for at, reply in others.items():
                if not reply.is_success or reply.json()["portrait"] != answer.json()["portrait"]:
                    raise CannotKeep(
                        f"portraits.folder: worker '{at.worker}' does not share it: there anybody may still drive this"
                    )
        return Passed(answer)

    async def joined(self, request: Request, join: Callable[[Answers], Any], of_none: bool = False) -> Response:
        """`join` of the answers that are none of an error; if all are, the first of those. of_none: it says something of no
        answer, too. Else NoWorker: that there is nothing is not known."""
        answers = await self._each(request, await self._known.workers())
        if not answers and not of_none:
            raise NoWorker()
        good = {at: reply for at, reply in answers.items() if reply.is_success}
        if answers and not good:
            return Passed(next(iter(answers.values())))
        made = join(good)
        return made if isinstance(made, Response) else JSONResponse(made, headers=NO_STORE)

    async def _each(self, request: Request, workers: list[At], content: bytes | None = None) -> Answers:
        async def of(at: At) -> httpx.Response | None:
            try:
                return await self._proxy.read(request, at, content=content)
            except Unreachable as exc:
                log.info("%s", exc)
                return None

        replies = await asyncio.gather(*(of(at) for at in workers))
        return {at: reply for at, reply in zip(workers, replies, strict=True) if reply is not None}


def _items(answers: Answers) -> list[dict[str, Any]]:
    return [item for reply in answers.values() for item in reply.json()]


def by(key: str) -> Callable[[Answers], list[dict[str, Any]]]:
    """Lists of what several workers may have the same of, told apart by `key`."""
    return lambda answers: list({item[key]: item for item in reversed(_items(answers))}.values())[::-1]


def streams(answers: Answers) -> list[dict[str, Any]]:
    """The states of all. While one moves two workers may have it: the newer state is it."""
    ordered = sorted(_items(answers), key=lambda state: state["serial"])
    return sorted({state["name"]: state for state in ordered}.values(), key=lambda state: state["name"])


def of_workers(answers: Answers) -> list[dict[str, Any]]:
    """Lists of what is each worker's own."""
    return [{**item, "worker": at.worker} for at, reply in answers.items() for item in reply.json()]


def newest(answers: Answers) -> list[dict[str, Any]]:
    """Recordings; workers of one machine may have one folder: then one of them has what lies there."""
    every = {(item["name"], item["ended"]): item for item in reversed(of_workers(answers))}
    return sorted(every.values(), key=lambda item: item["ended"], reverse=True)


def drives(answers: Answers) -> list[dict[str, Any]]:
    """Of GET /api/drives; workers of one machine may have one file."""
    return sorted({json.dumps(item, sort_keys=True): item for item in _items(answers)}.values(), key=lambda item: item["at"])


def rights(answers: Answers) -> dict[str, Any]:
    """Of GET /api/me."""
    told = [reply.json() for reply in answers.values()]
    return {**told[0], "streams": {name: right for me in told for name, right in me["streams"].items()}}


def load(answers: Answers) -> dict[str, Any]:
    """Of GET /api/load. share: of all cores; free: where it is most, as one stream is on one worker."""
    told = [reply.json() for reply in answers.values()]
    cores = sum(each["cores"] for each in told)
    takes = any(each["takes"] for each in told)
    sums = {key: sum(each[key] for each in told) for key in ("sessions", "sessions_free", "bitrate_kbps")}
    return {
        "cores": cores, "share": round(sum(each["share"] * each["cores"] for each in told) / cores, 3) if told else 0.0,
        "free": max((each["free"] for each in told), default=0.0), **sums, "takes": takes,
        "why": "" if takes else next((each["why"] for each in told), "no worker answers"),
        "streams": {name: stream for each in told for name, stream in each["streams"].items()},
    }  # fmt: skip


def ready(answers: Answers) -> Response:
    """Of GET /readyz, where no worker has said why it is not: whether there is one."""
    return JSONResponse({"ready": bool(answers)}, 200 if answers else 503)


class _Told:
    """A collector of what was parsed."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def metrics(answers: Answers, fleet: dict[str, Any]) -> Response:
    """Of GET /metrics: those of all workers, with a label that names it. fleet: the director's state, as far as it is known."""
    families: dict[str, Metric] = {}
    for at, reply in answers.items():
        for told in text_string_to_metric_families(reply.text):
            family = families.setdefault(told.name, Metric(told.name, told.documentation, told.type))
            for sample in told.samples:
                family.add_sample(sample.name, {"worker": at.worker, **sample.labels}, sample.value)
    registry = CollectorRegistry()
    registry.register(_Told([*families.values(), *_of_fleet(fleet)]))  # type: ignore[arg-type]
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")


def _of_fleet(state: dict[str, Any]) -> Iterator[Metric]:
    for key, text in (
        ("placed", "How often a stream was placed."),
        ("moved", "How often one was placed anew, as its worker was gone."),
        ("refused", "How often a worker had no room for a driver or a stream, or the whole fleet none for a new stream."),
    ):
        yield CounterMetricFamily(f"puppetcast_fleet_{key}", text, value=state.get(key, 0))
    alive = GaugeMetricFamily("puppetcast_fleet_worker_alive", "1 for a worker that answers.", labels=["worker"])
    share = GaugeMetricFamily("puppetcast_fleet_worker_share", "How much of a worker streams take.", labels=["worker"])
    for worker in state.get("workers", ()):
        alive.add_metric([worker["worker"]], float(worker["alive"]))
        share.add_metric([worker["worker"]], worker.get("share", 0.0))
    yield alive
    yield share
