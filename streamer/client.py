"""A small WHIP and WHEP client: it publishes to a stream or watches one, and posts again as soon as its server is gone.

async def main():
    player = MediaPlayer("/dev/video0", format="v4l2")

    def camera():
        connection = RTCPeerConnection()
        connection.addTrack(player.video)
        return connection

    await Client("http://127.0.0.1:8080/live/live/whip", camera).run()
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urljoin

import httpx
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.stats import RTCTransportStats

from .backoff import Backoff
from .errors import StreamerError
from .timers import pause

log = logging.getLogger(__name__)

LOOK_S = 0.25
SILENT_S = 1.0
MOST_S = 4.0  # between questions where the server says that all is well: a puppet at rest sends nothing new
ASK_S = 1.0
POST_S = 10.0
GONE = (401, 403, 404, 410)  # what else a proxy may say in its place tells nothing


class Refused(StreamerError):
    """The server does not take the offer now."""


class Client:
    """url: …/live/NAME/whip or …/whep. make: a connection with the tracks that it sends and takes, anew for each session.
    sessions: how many there were."""

    def __init__(self, url: str, make: Callable[[], RTCPeerConnection], token: str = "") -> None:
        self._url = url
        self._make = make
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.sessions = 0

    async def run(self) -> None:
        """One session after the other, until cancelled."""
        backoff = Backoff(0.0, 0.25, 0.5, 1.0)
        async with httpx.AsyncClient(headers=self._headers, timeout=POST_S, follow_redirects=True) as http:
            while True:
                before = self.sessions
                try:
                    await self._session(http)
                except (httpx.HTTPError, Refused) as exc:
                    log.debug("%s: %s", self._url, exc or type(exc).__name__)
                await pause(backoff.after(self.sessions > before))

    async def _session(self, http: httpx.AsyncClient) -> None:
        """From the offer until it is gone, or the connection has failed."""
        connection, location = self._make(), ""
        try:
            location = await self._offer(http, connection)
            self.sessions += 1
            watching = asyncio.ensure_future(until_gone(http, location, lambda: received(connection)))
            failed = asyncio.ensure_future(_failed(connection))
            try:
                await asyncio.wait((watching, failed), return_when=asyncio.FIRST_COMPLETED)
            finally:
                watching.cancel()
                failed.cancel()
        finally:
            await connection.close()
            if location:
                await asyncio.shield(_goodbye(http, location))

    async def _offer(self, http: httpx.AsyncClient, connection: RTCPeerConnection) -> str:
        """The session's address."""
        await connection.setLocalDescription(await connection.createOffer())
        offer = connection.localDescription.sdp
        reply = await http.post(self._url, content=offer, headers={"Content-Type": "application/sdp"})
        if reply.status_code != 201:
            raise Refused(f"the server answered {reply.status_code}: {reply.text[:200]}")
        await connection.setRemoteDescription(RTCSessionDescription(reply.text, "answer"))
        return urljoin(str(reply.url), reply.headers["location"])


async def until_gone(
    http: httpx.AsyncClient,
    location: str,
    heard: Callable[[], Awaitable[int]],
    token: dict[str, str] | None = None,
    refused: int = 0,
) -> None:
    """Back when the server says that it has no such session, which it is asked when nothing comes for a second. heard: a number
    that changes while something does. No answer says nothing: there may be no network, and then nobody could be asked anew.
    token: headers to ask with. refused: the status that stands for nobody listening there, where that tells something."""
    loop = asyncio.get_running_loop()
    seen, since_s, wait_s = -1, loop.time(), SILENT_S
    while True:
        await pause(LOOK_S)
        if (now := await heard()) != seen:
            seen, since_s, wait_s = now, loop.time(), SILENT_S
        elif loop.time() - since_s >= wait_s and (code := await _asked(http, location, token, refused)):
            if code in GONE:
                return
            if code < 300:
                since_s, wait_s = loop.time(), min(2 * wait_s, MOST_S)


async def _asked(http: httpx.AsyncClient, location: str, token: dict[str, str] | None, refused: int) -> int:
    """The status of an answer; 0 for none."""
    try:
        return (await http.head(location, headers=token, timeout=ASK_S)).status_code
    except httpx.ConnectError:
        return refused
    except httpx.HTTPError:
        return 0


async def received(connection: RTCPeerConnection) -> int:
    """Bytes that the other side has sent, if only reports."""
    report = await connection.getStats()
    return sum(each.bytesReceived for each in report.values() if isinstance(each, RTCTransportStats))


async def _failed(connection: RTCPeerConnection) -> None:
    ended = asyncio.Event()

    @connection.on("connectionstatechange")
    def _on_state() -> None:
        if connection.connectionState in ("failed", "closed"):
            ended.set()

    await ended.wait()


async def _goodbye(http: httpx.AsyncClient, location: str) -> None:
    try:
        await http.delete(location, timeout=ASK_S)
    except httpx.HTTPError as exc:
        log.debug("%s: %s", location, exc)  # it is gone: what was to be reached
