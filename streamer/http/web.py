"""The web server: uvicorn, ended within a time limit, and its listening socket."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from ..errors import ConfigError

log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; ConfigError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        cure = (
            "choose another with --port"
            if exc.errno in (errno.EADDRINUSE, errno.EACCES)
            else "is that an address of this machine?"
        )
        raise ConfigError(f"http: cannot listen on {host}:{port} ({exc.strerror}); {cure}") from exc
    return listener


class WebServer(uvicorn.Server):
    """requests_s: how long requests that are being answered have when the server ends."""

    on_ready: Callable[[], None]
    on_shutdown: Callable[[], None]

    def __init__(self, app: FastAPI, requests_s: float) -> None:
        super().__init__(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        self._requests_s = requests_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.on_shutdown()  # what streams for ever would hold up the end
        try:
            async with asyncio.timeout(self._requests_s):
                await super().shutdown(sockets)
        except TimeoutError:
            left = list(self.server_state.connections)
            log.warning("%d request%s cut off, not done after %g s", len(left), "s" * (len(left) > 1), self._requests_s)
            for connection in left:
                connection.transport.abort()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone: uvicorn raises what it has caught again before sessions and recordings are closed."""
        yield
