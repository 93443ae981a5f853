"""Publishing a stream to another server by WHIP (RFC 9725), again and again until it is stopped."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urljoin

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from ..backoff import Backoff
from ..errors import SinkError
from ..redaction import redacted
from ..stream.status import OutputStatus
from ..stream.stream import Stream
from .sessions import Sessions
from .tracks import SoundTrack, ViewerTrack

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
HEALTHY_S = 10.0


class WhipPush:
    """One publication. Its packets come from the stream's shared encoder."""

    def __init__(self, sessions: Sessions, stream: Stream, url: str, token: str) -> None:
        self._sessions, self._stream, self._url = sessions, stream, url
        self._headers = {"Content-Type": "application/sdp"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self.status = OutputStatus("whip", redacted(url))
        stream.outputs.append(self.status)

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(0.5, 1.0, 2.0, 5.0)
        while True:
            start_s = loop.time()
            self.status.state = "starting"
            try:
                await self._publish()
                self.status.detail = f"{self.status.name}: the other side ended the session"
            except SinkError as exc:
                if str(exc) != self.status.detail:
                    log.warning("%s; trying again", exc)
                self.status.detail = str(exc)
            except Exception:  # whatever goes wrong with another server, this one goes on
                log.exception("publishing to %s broke; trying again", self.status.name)
                self.status.detail = f"{self.status.name}: it broke; the log says how"
            self.status.state = "waiting"
            await asyncio.sleep(backoff.after(loop.time() - start_s > HEALTHY_S))

    async def _publish(self) -> None:
        """One session, from the offer to its end."""
        connection = RTCPeerConnection(RTCConfiguration(iceServers=self._sessions.ice.own()))
        viewer, sound = ViewerTrack(self._stream.sent), SoundTrack()
        connected, ended = asyncio.Event(), asyncio.Event()

        @connection.on("connectionstatechange")
        def _on_state() -> None:
            if connection.connectionState == "connected":
                connected.set()
            elif connection.connectionState in ("failed", "closed"):
                ended.set()
                connected.set()

        location, mime = "", ""
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
                mime = codec.mimeType.lower()
                self._sessions.join(self._stream, mime, viewer)
                self._stream.audio.sinks.add(sound)
                self.status.state, self.status.detail = "live", ""
                await ended.wait()
            except (httpx.HTTPError, TimeoutError) as exc:
                raise SinkError(f"{self.status.name}: {type(exc).__name__}", retry=True) from exc
            finally:
                self._stream.audio.sinks.discard(sound)
                if mime:
                    self._sessions.leave(self._stream, mime, viewer)
                if location:
                    await asyncio.shield(self._delete(http, location))
                await connection.close()

    async def _offer(self, http: httpx.AsyncClient, connection: RTCPeerConnection) -> str:
        """Send the offer and take the answer; the session's address."""
        reply = await http.post(self._url, content=connection.localDescription.sdp, headers=self._headers)
        if reply.status_code in (307, 308):  # another server of the same service (RFC 9725 §4.5)
            self._url = urljoin(self._url, reply.headers.get("location", ""))
            raise SinkError(f"{self.status.name}: redirected", retry=True)
        if reply.status_code != 201:
            raise SinkError(f"{self.status.name}: the server answered {reply.status_code}", retry=True)
        try:
            await connection.setRemoteDescription(RTCSessionDescription(reply.text, "answer"))
        except Exception as exc:  # aiortc raises at least seven kinds for answers it cannot use
            raise SinkError(f"{self.status.name}: the answer cannot be used ({exc})", retry=True) from exc
        return urljoin(self._url, reply.headers.get("location", ""))

    async def _delete(self, http: httpx.AsyncClient, location: str) -> None:
        try:
            await http.delete(location, headers={k: v for k, v in self._headers.items() if k == "Authorization"}, timeout=2)
        except httpx.HTTPError as exc:
            log.debug("%s: %s", self.status.name, exc)  # it is gone: what was to be reached
