"""Publishing a stream to another server by WHIP (RFC 9725), again and again until it is stopped."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urljoin

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from pipeline.clock import Clock, steady

from ..client import received, until_gone
from ..config import Kind
from ..errors import ConfigError, SinkError
from ..redaction import check_address, redacted, unlogged
from ..sinks.base import OutputState, OutputStatus
from ..sinks.retry import Retry
from ..stream.stream import Stream
from ..timers import pause
from .broadcasts import Broadcasts
from .ice import IceServers
from .tracks import SoundTrack, ViewerTrack

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
REDIRECTS = 5
GONE = 410  # what it means that nobody listens where the session was


class WhipPush:
    """A `Running` output. Its packets come from the encoder that the stream's viewers share."""

    def __init__(self, broadcasts: Broadcasts, ice: IceServers, url: str, token: str, clock: Clock = steady) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"'{redacted(url)}': the address must begin with http:// or https://")
        check_address(url)
        try:
            httpx.URL(url)
        except httpx.InvalidURL as exc:
            raise ConfigError(f"'{redacted(url)}': not an address that can be asked") from exc
        self.status = OutputStatus("whip", redacted(url))
        self._broadcasts, self._ice, self._url, self._clock = broadcasts, ice, url, clock
        self._headers = {"Content-Type": "application/sdp"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._retry = Retry(self.status, clock)
        self._task: asyncio.Task[None] | None = None

    def start(self, stream: Stream) -> None:
        self._task = asyncio.create_task(self._run(stream), name=f"whip-{self.status.name}")

    def finish(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def stop(self, timeout_s: float = TIMEOUT_S) -> None:
        self.finish()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        self.status.state = OutputState.ENDED

    async def _run(self, stream: Stream) -> None:
        while True:
            self._retry.begin()
            try:
                with unlogged():
                    await self._publish(stream)
                failure = SinkError(f"{self.status.name}: the other side ended the session", retry=True)
            except SinkError as exc:
                failure = exc
            except Exception:  # whatever goes wrong with another server, this one goes on
                log.exception("publishing to %s broke", self.status.name)
                failure = SinkError(f"{self.status.name}: it broke; the log says how", retry=True)
            wait_s = self._retry.failed(failure)
            if wait_s is None:
                return
            await pause(wait_s)

    async def _publish(self, stream: Stream) -> None:
        """One session, from the offer to its end."""
        connection = RTCPeerConnection(RTCConfiguration(iceServers=self._ice.own()))
        before = self.status.dropped

        def sent(age_s: float) -> None:
            self.status.frames, self.status.dropped = self.status.frames + 1, before + viewer.dropped
            stream.sent(age_s)

        viewer, sound = ViewerTrack(sent, self._clock), SoundTrack()
        connected, ended = asyncio.Event(), asyncio.Event()

        @connection.on("connectionstatechange")
        def _on_state() -> None:
            if connection.connectionState == "connected":
                connected.set()
            elif connection.connectionState in ("failed", "closed"):
                ended.set()
                connected.set()

        location = ""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as http:
            try:
                transceiver = connection.addTransceiver(viewer, direction="sendonly")
                connection.addTransceiver(sound, direction="sendonly")
                await connection.setLocalDescription(await connection.createOffer())
                location = await self._offer(http, connection)
                codec = transceiver._codecs[0]
                viewer.attach(transceiver.sender, codec)
                async with asyncio.timeout(TIMEOUT_S):
                    await connected.wait()
                if ended.is_set():
                    raise SinkError(f"{self.status.name}: no connection came about", retry=True)
                watching = asyncio.create_task(self._watch(http, location, connection), name="whip-watch")
                watching.add_done_callback(lambda _: ended.set())
                try:
                    await self._send(stream, codec.mimeType.lower(), viewer, sound, ended)
                finally:
                    watching.cancel()
            except (httpx.HTTPError, TimeoutError) as exc:
                raise SinkError(f"{self.status.name}: {type(exc).__name__}", retry=True) from exc
            finally:
                if location:
                    await asyncio.shield(self._delete(http, location))
                await connection.close()

    async def _send(self, stream: Stream, mime: str, viewer: ViewerTrack, sound: SoundTrack, ended: asyncio.Event) -> None:
        """Give the other side pictures and sound until it has ended."""
        self._broadcasts.join(stream, mime, viewer, kind=Kind.PUSH)
        stream.audio.sinks.add(sound)
        self._retry.live()
        try:
            await ended.wait()
        finally:
            stream.audio.sinks.discard(sound)
            self._broadcasts.leave(stream, mime, viewer, kind=Kind.PUSH)

    async def _watch(self, http: httpx.AsyncClient, location: str, connection: RTCPeerConnection) -> None:
        """Until the server has lost the session. Where a redirect has led to it, it may be one of many, and gone for good."""
        await until_gone(http, location, lambda: received(connection), self._token_for(location), refused=GONE)
        log.warning("%s: the server has the session no more", self.status.name)

    async def _post(self, http: httpx.AsyncClient, offer: str) -> httpx.Response:
        """The answer of the server, or of the one that it sends us to for now (RFC 9725 §4.5)."""
        url = self._url
        for _ in range(REDIRECTS):
            reply = await http.post(url, content=offer, headers=self._headers_for(url))
            if reply.status_code not in (307, 308):
                return reply
            url = self._next(url, reply.headers.get("location", ""))
        raise SinkError(f"{self.status.name}: redirected more than {REDIRECTS} times", retry=True)

    async def _offer(self, http: httpx.AsyncClient, connection: RTCPeerConnection) -> str:
        """Send the offer and take the answer; the session's address."""
        reply = await self._post(http, connection.localDescription.sdp)
        if reply.status_code != 201:
            raise SinkError(f"{self.status.name}: the server answered {reply.status_code}", retry=True)
        try:
            await connection.setRemoteDescription(RTCSessionDescription(reply.text, "answer"))
        except Exception as exc:  # aiortc raises at least seven kinds for answers it cannot use
            raise SinkError(f"{self.status.name}: the answer cannot be used ({exc})", retry=True) from exc
        return self._next(str(reply.url), reply.headers.get("location", ""))

    def _next(self, url: str, location: str) -> str:
        """Where an answer sends us; SinkError where that is no place to go to, such as one without TLS."""
        try:
            following = httpx.URL(urljoin(url, location))
        except (httpx.InvalidURL, ValueError) as exc:
            raise SinkError(f"{self.status.name}: it sends to what is no address", retry=True) from exc
        if following.scheme not in ("http", "https") or (url.startswith("https:") and following.scheme != "https"):
            raise SinkError(f"{self.status.name}: it sends on to what has no TLS, or is no web server", retry=True)
        return str(following)

    def _headers_for(self, url: str) -> dict[str, str]:
        """The token is for the address of the config alone, and what else is at its origin."""
        same = _origin(url) == _origin(self._url)
        return {name: value for name, value in self._headers.items() if same or name != "Authorization"}

    def _token_for(self, url: str) -> dict[str, str]:
        return {name: value for name, value in self._headers_for(url).items() if name == "Authorization"}

    async def _delete(self, http: httpx.AsyncClient, location: str) -> None:
        try:
            await http.delete(location, headers=self._token_for(location), timeout=2)
        except httpx.HTTPError as exc:
            log.debug("%s: %s", self.status.name, exc)  # it is gone: what was to be reached


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 6454); without its user and password."""
    parts = httpx.URL(url)
    return parts.scheme, parts.host, parts.port
