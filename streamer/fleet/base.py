"""What front and director say to each other, whatever carries it.

A worker is an ordinary server in a process of its own; all that is asked of it goes by its HTTP interface. The director knows the
workers and which of them has which stream. The front is what clients see: it asks the director, and passes requests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import StreamerError


@dataclass(frozen=True)
class At:
    """Where a worker's server answers. epoch: of its process; what was begun in another one is gone. url: http://HOST:PORT."""

    worker: str
    epoch: str
    url: str


class FleetFull(StreamerError):
    """No worker has room; more may have in `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DirectorAway(StreamerError):
    """Nobody can say now where a stream is; sessions that are known go on."""


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

    async def state(self) -> dict[str, Any]:
        """For GET /api/fleet: workers with share, sessions, streams and whether they drain; what was placed, moved, refused."""
