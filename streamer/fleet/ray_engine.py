"""The fleet on Ray, which starts its processes, watches them and begins them anew: workers, a director and its stand-in, and the
fronts by Ray Serve. The only file that imports Ray; media and requests to workers never go through it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel

from pipeline.errors import PuppetError

from ..errors import ConfigError, StreamerError, code
from ..timers import pause
from . import ray_node, turn
from .base import At, DirectorAway, FleetFull, UnknownWorker, key_of
from .director import FleetDirector
from .members import error_of
from .processes import end_with_parent

if TYPE_CHECKING:
    from ..config import Config, Fleet

log = logging.getLogger(__name__)

NAMESPACE, FRONT = "puppetcast", "front"
DIRECTORS = ("director", "director2")  # one of them directs, whichever; the other is there for when that one has ended
ASK_S = 2.0  # for what the director knows at once
AGAIN_S = 0.2  # until the one that does not direct is asked once more
DO_S = 40.0  # for what it has workers do
LOOK_S = 2.0  # between two looks at how many places machines offer
ON_HEAD = {ray_node.HEAD: 0.001}
HEADLESS = "the fleet's head is away, and its director with it; 'puppetcast fleet up' on the first machine brings them back"
OWN = {kind.__name__: kind for kind in (FleetFull, UnknownWorker, DirectorAway)}
Answer = tuple[Any, tuple[str, str] | None]


def _ray() -> Any:
    import ray

    return ray


def _serve_of_ray() -> Any:
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # else it tells on the console what it does for us
    return serve


def _own_actors() -> list[str]:
    """Names of those that are the fleet's, whether they run now or are to."""
    every = _ray().util.list_named_actors(all_namespaces=True)
    return [each["name"] for each in every if each["namespace"] == NAMESPACE]


def _head_answers() -> bool:
    return ray_node.answers(_ray().get_runtime_context().gcs_address)


# The processes


def _begin() -> None:
    """What each process begins with. One whose node has been given up ends with it: its clients would be content with it, and the
    fleet has their streams elsewhere."""
    end_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("aioice", "aiortc", "httpx"):  # such as a line for each look at a worker
        logging.getLogger(noisy).setLevel(logging.WARNING)


class WorkerActor:
    """A worker in a process of Ray's. When its server ends, so does the process, and Ray begins another. config: pickled."""

    def __init__(self, config: bytes, name: str, secret: str) -> None:
        from .worker import Worker  # in this process alone: a director that is begun anew is not to load a server

        _begin()
        host = _ray().util.get_node_ip_address()
        self._worker = Worker(pickle.loads(config), name, host, secret, ended=lambda: os._exit(1))

    def at(self) -> At | None:
        """Where it answers, once it does."""
        return self._worker.at() if self._worker.is_ready else None


class DirectorActor:
    """The director, or its stand-in, on a thread with its own loop. To begin a process anew takes seconds on a busy machine: the
    stand-in has begun, and only waits for the other one's end. config: for workers, pickled; fleet: what of it is the fleet's, as
    plain values: to load what reads a configuration takes as long as all else that a new director does. streams: settings of
    those to begin with."""

    def __init__(self, config: bytes, fleet: dict[str, Any], secret: str, token: str, streams: dict[str, dict[str, Any]]) -> None:
        _begin()
        plain = cast("Fleet", SimpleNamespace(**fleet))
        self._director = FleetDirector(_Engine(config, plain, secret), plain, secret, token)
        self._loop = asyncio.new_event_loop()
        self._directs = False
        turn_of = f"puppetcast-director-{key_of(secret, '', '')}"  # each start has another secret
        threading.Thread(target=self._run, args=(turn_of, streams), name="director", daemon=True).start()

    def _run(self, turn_of: str, streams: dict[str, dict[str, Any]]) -> None:
        try:
            # What this loads would else be loaded with the first look at a worker.
            self._loop.run_until_complete(anyio.lowlevel.checkpoint())
            with turn.take(turn_of):
                self._directs = True
                self._loop.run_until_complete(self._director.run(streams))
        except BaseException:
            log.exception("the director has ended")
        os._exit(1)

    async def call(self, method: str, *args: Any) -> Answer | None:
        """What a method gives, or code and words of the error that it raises: errors of ours do not all survive pickling. None of
        the stand-in."""
        if not self._directs:
            return None
        work: Coroutine[Any, Any, Any] = getattr(self._director, method)(*args)
        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop)), None
        except (StreamerError, PuppetError) as exc:
            return None, (code(exc), str(exc))


class _Engine:
    """What the director's process asks of Ray. Whatever may hang does so on a thread or in a task of its own, once."""

    def __init__(self, config: bytes, fleet: Fleet, secret: str) -> None:
        self._config, self._fleet, self._secret = config, fleet, secret
        self._actors: dict[str, Any] = {}
        self._known: dict[str, At] = {}
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._counting: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def workers(self) -> list[At]:
        """Those that have said where they are; the others are asked meanwhile."""
        if self._counting is None:
            self._counting = asyncio.create_task(self._count(), name="count places")
        for name, actor in self._actors.items():
            if name not in self._asked or self._asked[name].done():
                self._asked[name] = asyncio.create_task(self._ask(name, actor), name=f"ask {name}")
        await asyncio.wait(self._asked.values(), timeout=0.05) if self._asked else None
        return list(self._known.values())

    async def _ask(self, name: str, actor: Any) -> None:
        with suppress(_ray().exceptions.RayError):  # it is being begun anew
            if (at := await actor.at.remote()) is not None:
                self._known[name] = at

    async def _count(self) -> None:
        """Have a worker for each place, for ever."""
        there = True
        while True:
            try:
                before, there = there, await asyncio.to_thread(_head_answers)
                if there != before:
                    log.warning("the fleet's head %s", "is back" if there else "is away: nothing new begins until it is back")
                if there:
                    await asyncio.to_thread(self._have_workers)
            except Exception as exc:
                log.warning("workers cannot be started now: %s", exc)
            await asyncio.sleep(LOOK_S)

    def _have_workers(self) -> None:
        ray, wanted = _ray(), self._fleet.workers
        count = wanted if isinstance(wanted, int) else int(ray.cluster_resources().get(ray_node.SLOTS, 0))
        # Those of before are not always the first so many: of two that come back for one place, any has it.
        before = set(_own_actors()) - {*DIRECTORS}
        for name in sorted(before | {f"w{k}" for k in range(count)}):
            if name not in self._actors:
                options: dict[str, Any] = {
                    "name": name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True, "max_restarts": -1,
                    "num_cpus": 0, "num_gpus": self._fleet.gpus, "resources": {ray_node.SLOTS: 1},
                }  # fmt: skip
                self._actors[name] = ray.remote(WorkerActor).options(**options).remote(self._config, name, self._secret)

    async def read(self) -> dict[str, str]:
        return await self._kv(_read_all)

    async def keep(self, key: str, text: str) -> None:
        await self._kv(lambda kv: kv._internal_kv_put(key, text, overwrite=True, namespace=NAMESPACE))

    async def forget(self, key: str) -> None:
        await self._kv(lambda kv: kv._internal_kv_del(key, namespace=NAMESPACE))

    async def _kv(self, work: Callable[[Any], Any]) -> Any:
        """With the head's store. It waits for a head that is away, for an hour: nobody else does."""
        from ray.experimental import internal_kv

        if self._writing.locked():
            await asyncio.sleep(0.1)
        if self._writing.locked():
            raise OSError("Ray's head, or the Redis that it keeps everything in, does not answer")
        await self._writing.acquire()
        task = asyncio.ensure_future(asyncio.to_thread(work, internal_kv))
        task.add_done_callback(self._written)
        try:
            return await asyncio.wait_for(asyncio.shield(task), ASK_S)
        except TimeoutError as exc:
            raise OSError("Ray's head, or the Redis that it keeps everything in, does not answer") from exc
        except _ray().exceptions.RayError as exc:
            raise OSError(str(exc)) from exc

    def _written(self, task: asyncio.Future[Any]) -> None:
        self._writing.release()
        if not task.cancelled():
            task.exception()  # who waited has it, or has gone


def _read_all(kv: Any) -> dict[str, str]:
    keys = kv._internal_kv_list(b"", namespace=NAMESPACE.encode())
    found = kv.internal_kv_get_gcs_client().internal_kv_multi_get(keys, NAMESPACE.encode(), ASK_S)
    return {key.decode(): text.decode() for key, text in found.items()}


class RayDirector:
    """The director as the fronts and the command line ask it."""

    def __init__(self) -> None:
        self._actors: dict[str, Any] = {}

    async def workers(self) -> list[At]:
        return list(await self._call("workers"))

    async def where(self, stream: str) -> At:
        at: At = await self._call("where", stream, limit_s=DO_S)
        return at

    async def gone(self, at: At) -> None:
        await self._call("gone", at)

    async def refused(self, stream: str, at: At) -> None:
        await self._call("refused", stream, at, limit_s=DO_S)

    async def streams(self) -> list[str]:
        return list(await self._call("streams"))

    async def put(self, stream: str, settings: dict[str, Any]) -> bool:
        return bool(await self._call("put", stream, settings, limit_s=DO_S))

    async def delete(self, stream: str) -> None:
        await self._call("delete", stream, limit_s=DO_S)

    async def drain(self, worker: str) -> None:
        await self._call("drain", worker)

    async def keep(self, worker: str) -> None:
        await self._call("keep", worker)

    async def state(self) -> dict[str, Any]:
        """head: whether Ray's is there."""
        head = asyncio.ensure_future(asyncio.to_thread(_head_answers))
        try:
            return {**await self._call("state"), "head": await head}
        except DirectorAway as exc:
            raise exc if await head else DirectorAway(HEADLESS) from exc

    async def _call(self, method: str, *args: Any, limit_s: float = ASK_S) -> Any:
        """What the one that directs says, of both."""
        asked = [asyncio.ensure_future(self._ask(name, method, args)) for name in DIRECTORS]
        try:
            for each in asyncio.as_completed(asked, timeout=limit_s):
                with suppress(ValueError, _ray().exceptions.RayError):
                    answer, error = await each
                    break
            else:
                raise TimeoutError
        except TimeoutError as exc:
            raise DirectorAway("the fleet's director does not answer; try again in a second") from exc
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if error is not None:
            raise OWN[error[0]](error[1]) if error[0] in OWN else error_of(*error)
        return answer

    async def _ask(self, name: str, method: str, args: tuple[Any, ...]) -> Answer:
        """What it says once it directs. Where it has ended: ValueError, what Ray raises, or nothing, as questions to one that is
        begun anew may get lost."""
        if name not in self._actors:
            self._actors[name] = await asyncio.to_thread(_ray().get_actor, name, NAMESPACE)
        while (answer := await self._actors[name].call.remote(method, *args)) is None:
            await pause(AGAIN_S)
        return cast("Answer", answer)


# Starting it


def attach(config: Config, address: str) -> None:
    """Become a program of the cluster's. ConfigError."""
    ray_node.check_installed()
    os.environ.update(ray_node.environment(config.fleet))
    ray = _ray()
    try:
        if not ray_node.answers(address):
            raise ConnectionError
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except Exception as exc:
        token = "token" in str(exc).lower() or "auth" in type(exc).__name__.lower()
        cure = f"its token is another than that of {ray_node.token_file(config.fleet)}" if token else "see fleet.ray.address"
        raise ConfigError(f"fleet: no Ray cluster can be reached at {address}: {cure}") from exc


def begin(config: Config, secret: str) -> bool:
    """Start directors and fronts, which outlive this program; whether the cluster had none."""
    ray = _ray()
    streams = {name: each.model_dump(mode="json", exclude_unset=True) for name, each in config.streams.items()}
    options: dict[str, Any] = {
        "namespace": NAMESPACE, "lifetime": "detached", "max_restarts": -1, "num_cpus": 0, "max_concurrency": 1000,
        "resources": ON_HEAD,
    }  # fmt: skip
    given = pickle.dumps(config), config.fleet.model_dump(), secret, config.auth.token, streams
    try:
        for name in DIRECTORS:
            ray.remote(DirectorActor).options(name=name, **options).remote(*given)
    except ValueError:  # its name is taken
        return False
    try:
        _serve(config, secret)
    except (ray.exceptions.RayError, RuntimeError, TimeoutError) as exc:
        end()
        said = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise StreamerError(f"fleet: its fronts do not start: {said}; Ray's logs, in /tmp/ray, say more") from exc
    return True


def _serve(config: Config, secret: str) -> None:
    from ray.serve.schema import LoggingConfig

    serve, http, quiet = _serve_of_ray(), config.http, LoggingConfig(enable_access_log=False)  # a line for each request
    tls = {} if http.tls_certificate is None else {"ssl_certfile": str(http.tls_certificate), "ssl_keyfile": str(http.tls_key)}
    serve.start(http_options={"host": http.host, "port": http.port, **tls}, proxy_location="HeadOnly", logging_config=quiet)
    front = serve.deployment(
        name=FRONT, num_replicas=config.fleet.fronts, ray_actor_options={"num_cpus": 0, "resources": ON_HEAD},
        max_ongoing_requests=1000, logging_config=quiet,
        health_check_period_s=1.0, health_check_timeout_s=5.0, graceful_shutdown_timeout_s=2.0,
    )  # fmt: skip

    def application() -> Any:
        from .front import create_front

        return create_front(RayDirector(), config, secret)

    app = front(serve.ingress(application)()).bind()
    serve.run(app, name=FRONT, route_prefix="/", blocking=False)


def end() -> None:
    """End the fleet; the cluster stays."""
    ray = _ray()
    _serve_of_ray().shutdown()
    for name in sorted(_own_actors()):  # directors first: they would begin workers anew
        ray.kill(ray.get_actor(name, NAMESPACE), no_restart=True)
    ray.shutdown()  # whoever is still connected when its node ends, ends with it
