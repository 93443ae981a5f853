"""What front and director say to each other, whatever carries it.

A worker is an ordinary server in a process of its own; all that is asked of it goes by its HTTP interface. The director knows the
workers and which of them has which stream. The front is what clients see: it asks the director, and passes requests on.

A worker answers nobody without its key (403), and believes who has it what X-Forwarded-For says of the client. The key is made of
the fleet's secret and the worker's epoch: what is meant for a process that has ended is never done by the one after it. Names,
Origin and CORS are the front's business: it passes neither Host nor Origin on. Clients' tokens are the worker's, as any server's.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

from ..errors import StreamerError
from ..http.key import KEY

VERSION = version("puppetcast")


@dataclass(frozen=True)
class At:
    """Where a worker's server answers. epoch: of its process; what was begun in another one is gone. url: http://HOST:PORT;
    version: of its puppetcast."""

    worker: str
    epoch: str
    url: str
    version: str = ""

    def headers(self, secret: str) -> dict[str, str]:
        """What lets a request in there."""
        return {KEY: key_of(secret, self.worker, self.epoch)}


def key_of(secret: str, worker: str, epoch: str) -> str:
    """The key of a worker's process, by the fleet's secret."""
    return hmac.new(secret.encode(), f"puppetcast {worker}.{epoch}".encode(), hashlib.sha256).hexdigest()


class FleetFull(StreamerError):
    """No worker has room; more may have in `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnknownWorker(StreamerError):
    """The fleet has no such worker."""


class DirectorAway(StreamerError):
    """Nobody can say now where a stream is; sessions that are known go on."""

    retry_after_s = 1.0


class Director(Protocol):
    """Whoever knows. Every method may raise DirectorAway."""

    async def workers(self) -> list[At]:
        """Those that answer."""

    async def where(self, stream: str) -> At:
        """The worker that has the stream, which is placed and begun there if none has it. UnknownStream; FleetFull."""

    async def gone(self, at: At) -> None:
        """Whoever tells it could not connect: the worker is dead until it answers again."""

    async def refused(self, stream: str, at: At) -> None:
        """The worker refused a driver for the stream (503): it is to be placed elsewhere."""

    async def streams(self) -> list[str]:
        """All that there are, on a worker or not."""

    async def put(self, stream: str, settings: dict[str, Any]) -> bool:
        """As PUT /api/streams/NAME; whether it is new. What that raises; FleetFull."""

    async def delete(self, stream: str) -> None:
        """As DELETE /api/streams/NAME; UnknownStream."""

    async def drain(self, worker: str) -> None:
        """No new streams there, and those that are there leave. UnknownWorker."""

    async def keep(self, worker: str) -> None:
        """It is not to be emptied after all: it keeps the streams that it still has, and gets others. UnknownWorker."""

    async def state(self) -> dict[str, Any]:
        """For GET /api/fleet: workers with share, sessions, streams and whether they drain; why streams wait that have none; what
        was placed, moved, refused."""
