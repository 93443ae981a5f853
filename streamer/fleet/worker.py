"""A worker: the ordinary server, in a process of its own, for its fleet alone.

    PUPPETCAST_FLEET_SECRET=… python -m streamer.fleet.worker CONFIG [--name NAME] [--host ADDRESS]

prints where it answers, as one line of JSON, and serves until it is told to end.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from pipeline.errors import PuppetError

from ..app import Server, run, runner
from ..config import Config, load_config
from ..errors import ConfigError, StreamerError
from .base import At, key_of

SECRET = "PUPPETCAST_FLEET_SECRET"
VERSION = version("puppetcast")
EVERYWHERE = ["0.0.0.0/0", "::/0"]
log = logging.getLogger(__name__)


def config_of(config: Config, name: str, host: str) -> Config:
    """What a worker makes of its fleet's config: no streams but those it is given, and nobody but its fleet to answer. host: the
    address of this machine at which the others reach it."""
    updates = {
        "http": config.http.model_copy(
            update={"host": host, "port": 0, "tls_certificate": None, "tls_key": None, "trusted_proxies": EVERYWHERE}
        ),
        "device": config.device if config.device.cores else config.device.model_copy(update={"cores": config.fleet.cores}),
        "mqtt": config.mqtt.model_copy(update={"server": name}),
        "persistence": config.persistence.model_copy(update={"file": None}),  # what a stream does is the director's to keep
        "streams": {},
    }
    return config.model_copy(update=updates)


class Worker:
    """Serves on a thread. Nothing is raised here: what starts processes would try again for ever, or never again. ended: called
    on that thread when the server has ended, or could not begin."""

    def __init__(self, config: Config, name: str, host: str, secret: str, ended: Callable[[], None] = lambda: None) -> None:
        self._name, self._epoch, self._ended = name, secrets.token_hex(4), ended
        self._ready: Future[At] = Future()
        threading.Thread(target=self._serve, args=(config, host, secret), name="worker", daemon=True).start()

    @property
    def is_ready(self) -> bool:
        """Whether it answers."""
        return self._ready.done()

    def at(self) -> At:
        """Where it answers, as soon as it does."""
        return self._ready.result()

    def _serve(self, config: Config, host: str, secret: str) -> None:
        try:
            server = open_server(config, self._name, host, self._epoch, secret)
            with runner() as loop:
                loop.run(server.serve(lambda url: self._ready.set_result(At(self._name, self._epoch, url, VERSION))))
            log.error("worker %s has ended", self._name)
        except BaseException as exc:
            log.error("worker %s has ended: %s", self._name, exc)
        finally:
            self._ended()


def open_server(config: Config, name: str, host: str, epoch: str, secret: str) -> Server:
    """The server of a worker; what `Server` raises."""
    return Server(config_of(config, name, host), key=key_of(secret, name, epoch))


def main() -> None:
    """In the foreground of a process of its own, without anything that starts and watches it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--name", default="w0")
    parser.add_argument("--host", default="127.0.0.1")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=f"{given.name} %(levelname)s %(message)s")
    epoch = secrets.token_hex(4)
    try:
        if not (secret := os.environ.get(SECRET, "")):
            raise ConfigError(f"{SECRET}: is not set; a worker answers those alone who know it")
        server = open_server(load_config(given.config), given.name, given.host, epoch, secret)
        run(server.serve(lambda url: print(json.dumps(asdict(At(given.name, epoch, url, VERSION))), flush=True)))
    except (PuppetError, StreamerError) as exc:
        sys.exit(f"error: {exc}")


if __name__ == "__main__":
    main()
