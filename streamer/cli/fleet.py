"""`puppetcast fleet`: many servers as one."""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.table import Column, Table

from ..config import Config, load_config
from ..errors import ConfigError, StreamerError
from ..fleet import ray_node
from ..http.lan import lan_addresses
from ..http.tokens import closed
from ..http.web import address_for, listen
from .console import console, log_to_console, one_line_errors, warn
from .simulate import simulate

START_S = 120.0
fleet_app = typer.Typer(no_args_is_help=True, help="Many servers as one, on Ray: see docs/fleet.md.")

Config_ = Annotated[Path | None, typer.Argument(help="The fleet's configuration file (YAML), the same on every machine.")]
Host = Annotated[
    str, typer.Option(help="Address of this machine at which the others reach it. Default: its first one in the network.")
]
Places = Annotated[int | None, typer.Option(min=0, help="Workers on this machine. Default: its cores by fleet.cores.")]
ASK_S = 5.0
LOOK_S = 0.5


@fleet_app.command()
def up(config: Config_ = None, host: Host = "", places: Places = None) -> None:
    """Start the fleet's first machine: Ray, director, fronts and workers. It goes on when this command has ended. Where it runs
    already, Ray's head is brought back if that has gone."""
    log_to_console()
    with one_line_errors():
        given, is_new = closed(load_config(config))
        ray_node.check_installed()
        own = [] if given.fleet.ray.address else ray_node.running(given.fleet)
        if own and (back := ray_node.bring_back(given.fleet, own)):
            console.print(f"the fleet's head is back, at {back}")
        if own and _is_up(given):
            console.print("the fleet runs; 'puppetcast fleet status' tells of it")
            return
        port = given.http.port if own else _free(given)
        given = given.model_copy(update={"http": given.http.model_copy(update={"port": port})})
        from ..fleet import ray_engine

        address = given.fleet.ray.address or ray_node.address_of(own)
        address = address or ray_node.start_head(given.fleet, _host(host), places)
        ray_engine.attach(given, address)
        if not ray_engine.begin(given, secrets.token_urlsafe(32)):
            if given.fleet.ray.address:
                raise ConfigError("fleet: one runs already on this cluster; 'puppetcast fleet status' tells of it")
            if not own:
                warn(
                    "Redis has kept a fleet that did not end by 'puppetcast fleet down': it comes back, with its settings of then"
                )
        state = _until(given, _begun, START_S)
        url = address_for(given, port)
        link = f"{url}/#token={quote(given.auth.token, safe='')}" if is_new else url
        console.print(f"the fleet is ready: {link}")
        _tell_waiting(state)
        console.print(f"further machines: puppetcast fleet join {address}, with this configuration and Ray's token, "
                      f"{ray_node.token_file(given.fleet)}", soft_wrap=True)  # fmt: skip


@fleet_app.command()
def join(
    head: Annotated[str, typer.Argument(help="Address of the first machine, as 'puppetcast fleet up' tells it.")],
    config: Config_ = None,
    host: Host = "",
    places: Places = None,
) -> None:
    """Make this machine one of a fleet's. Its workers begin by themselves."""
    with one_line_errors():
        ray_node.check_installed()
        ray_node.join(load_config(config).fleet, head, _host(host), places)
        console.print("this machine is one of the fleet's; 'puppetcast fleet status' tells of it")


@fleet_app.command()
def status(config: Config_ = None) -> None:
    """Workers and streams of a fleet that runs."""
    with one_line_errors():
        state = _asked(closed(load_config(config))[0], "GET", "/api/fleet")
        table = Table("worker", "", "share", "sessions", "streams", Column("address", no_wrap=True), box=None)
        for worker in state["workers"]:
            share = f"{worker['share']:.2f}" if "share" in worker else ""
            table.add_row(
                worker["worker"], _doing(worker), share,
                str(worker.get("sessions", "")), ", ".join(worker["streams"]), worker["url"],
            )  # fmt: skip
        console.print(table)
        for worker in state["workers"]:
            if worker["alive"] and not worker["takes"]:
                console.print(f"{worker['worker']} takes none: {worker['why']}")
        if not state.get("head", True):
            console.print(
                "its head or its Redis is away, and nothing new begins; 'puppetcast fleet up' on the first machine tells which"
            )
        console.print(f"placed {state['placed']}, moved {state['moved']}, refused {state['refused']}")
        _tell_waiting(state)


@fleet_app.command()
def drain(
    worker: Annotated[str, typer.Argument(help="Name of the worker, as 'puppetcast fleet status' shows it.")],
    config: Config_ = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let it keep the streams that it still has, and get others.")] = False,
) -> None:
    """Empty a worker: it gets no streams, and those that it has go elsewhere. Back when it has none."""
    with one_line_errors():
        given = closed(load_config(config))[0]
        _asked(given, "DELETE" if undo else "POST", f"/api/fleet/{quote(worker, safe='')}/drain")
        if undo:
            console.print(f"worker {worker} takes streams")
            return
        told: list[str] | None = None

        def is_over(state: dict[str, Any]) -> bool:
            nonlocal told
            left, drains = _of(state, worker)
            if left != told:
                console.print(f"worker {worker} still has {', '.join(left)}" if left else f"worker {worker} is empty")
            if left and not told:
                console.print(
                    f"a stream that a browser drives stays until its driver has gone, at most for {given.fleet.drain_s:g} s; "
                    f"the others wait for room on another worker. 'puppetcast fleet drain {worker} --undo' lets it keep them"
                )
            told = left
            return not (left and drains)

        left, drains = _of(_until(given, is_over, given.fleet.drain_s + START_S), worker)
        if left:
            raise StreamerError(
                f"worker {worker} still has {', '.join(left)}: {'no other one has room' if drains else 'it is kept'}"
            )


@fleet_app.command()
def down(config: Config_ = None) -> None:
    """End the fleet, and what of its Ray runs on this machine; a cluster of fleet.ray.address goes on."""
    with one_line_errors():
        ray_node.check_installed()
        from ..fleet import ray_engine

        given = load_config(config)
        own = [] if given.fleet.ray.address else ray_node.running(given.fleet)
        if not (own or given.fleet.ray.address):
            raise StreamerError(f"nothing of this fleet runs on this machine{_without_token(given)}")
        address = given.fleet.ray.address or ray_node.address_of(own)
        if own and not (address and ray_node.answers(address)):
            warn("the fleet's head is away: what of the fleet runs on this machine ends, and nothing elsewhere")
        else:
            ray_engine.attach(given, address)
            ray_engine.end()
        ray_node.stop(own)


def _without_token(config: Config) -> str:
    path = ray_node.token_file(config.fleet)
    return "" if path.is_file() else f": its token, {path}, is not here; where it runs, copy it from the first machine"


def _begun(state: dict[str, Any]) -> bool:
    """Whether a worker is there, and it is known of each stream that it has one, or why not."""
    known = (worker is not None or name in state["waiting"] for name, worker in state["streams"].items())
    return any(worker["alive"] for worker in state["workers"]) and all(known)


def _doing(worker: dict[str, Any]) -> str:
    """What a worker does, in a word or two."""
    if not worker["alive"]:
        return "gone"
    return "drains" if worker["draining"] else "takes streams" if worker["takes"] else "takes none"


def _tell_waiting(state: dict[str, Any]) -> None:
    for name, worker in state["streams"].items():
        if worker is None:
            warn(f"stream '{name}' has no worker: {state['waiting'].get(name, 'it is being placed')}")


def _host(given: str) -> str:
    """The address of this machine at which the others reach it; ConfigError for one that Ray would not take."""
    own = next(iter(lan_addresses()), "")
    if own and given in ("localhost", "127.0.0.1", "::1"):
        raise ConfigError(f"--host {given}: Ray would put {own} in its place; give that one, and let nobody else reach its ports")
    return given or own or "127.0.0.1"


def _free(config: Config) -> int:
    """The port of the front, or a free one where the config says 0; ConfigError where it is taken."""
    with listen(config.http.host, config.http.port) as probe:
        return int(probe.getsockname()[1])


def _is_up(config: Config) -> bool:
    try:
        _asked(config, "GET", "/api/fleet")
    except StreamerError:
        return False
    return True


def _of(state: dict[str, Any], worker: str) -> tuple[list[str], bool]:
    """The streams that a worker has, and whether it is being emptied."""
    for each in state["workers"]:
        if each["worker"] == worker:
            return each["streams"], each["draining"]
    return [], False


def _asked(config: Config, method: str, path: str) -> dict[str, Any]:
    """What the fleet's front answers."""
    url, token = address_for(config, config.http.port), config.auth.token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        reply = httpx.request(method, url + path, headers=headers, timeout=ASK_S, verify=_verify(config))
    except httpx.HTTPError as exc:
        raise StreamerError(f"no fleet answers at {url} ({exc or type(exc).__name__}); 'puppetcast fleet up' starts one") from exc
    try:
        answer = reply.json() if reply.content else {}
    except ValueError:
        answer = {}
    if not reply.is_success:
        raise StreamerError(f"{url}: {answer.get('detail') or f'it answers {reply.status_code}; is that a fleet?'}")
    return dict(answer)


def _verify(config: Config) -> ssl.SSLContext | bool:
    """The fleet's own certificate is the one that is good, whatever name it is for."""
    if config.http.tls_certificate is None:
        return True
    context = ssl.create_default_context(cafile=config.http.tls_certificate)
    context.check_hostname = False
    return context


def _until(config: Config, holds: Callable[[dict[str, Any]], bool], limit_s: float) -> dict[str, Any]:
    """The fleet's state, once it is as wanted, or after so long."""
    end, state, problem = time.monotonic() + limit_s, None, None
    while time.monotonic() < end:
        try:
            state = _asked(config, "GET", "/api/fleet")
            if holds(state):
                return state
        except StreamerError as exc:
            problem = exc
        time.sleep(LOOK_S)
    if state is None:
        raise problem or StreamerError("the fleet has not answered")
    return state


fleet_app.command()(simulate)
