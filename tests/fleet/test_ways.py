"""The front's table: whatever a server answers has a way, for the same right."""

from __future__ import annotations

from typing import Any

from streamer.app import Server
from streamer.config import Config
from streamer.fleet.base import At
from streamer.fleet.director import FleetDirector
from streamer.fleet.front import create_front
from streamer.http.rights import CONTROL, SERVER, VIEW, Needs

from ..strangers import routes
from .local import OneWorker

OWN = {
    ("GET", "/api/fleet"): Needs(VIEW, SERVER),
    ("POST", "/api/fleet/{worker}/drain"): Needs(CONTROL, SERVER),
    ("DELETE", "/api/fleet/{worker}/drain"): Needs(CONTROL, SERVER),
}


def needs(app: Any) -> dict[tuple[str, str], Needs]:
    return {(method, path): asked for method, path, asked in routes(app)}


def test_every_route_of_the_server_is_the_front_s_too_and_asks_for_the_same():
    config = Config.model_validate({"http": {"port": 0}, "downloads": {"fetch": False}, "portraits": {"keep": False}})
    server, director = Server(config), FleetDirector(OneWorker(At("w0", "", "")), config.fleet, "")
    try:
        assert needs(create_front(director, config, "")) == needs(server.http) | OWN
    finally:
        server._listener.close()
