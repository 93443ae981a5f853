"""The ICE of one session (RFC 9725 §4.3): candidates that come later, and restarts, which aiortc and aioice lack.

A restart (RFC 8445 §9) makes a fresh ICE connection beside the one in use, below the same DTLS transport. The old one carries
the session until the fresh one is connected, and goes on if it never is.
"""

from __future__ import annotations

import asyncio

from aioice import Candidate, Connection
from aiortc import RTCIceGatherer, RTCIceServer, RTCIceTransport, RTCPeerConnection

from ..errors import BadOffer, NoRestart
from .reach import Reach
from .sdp import Fragment


class Ice:
    """ufrags: of the other side, as its offer has them; reach: says which candidates are used."""

    def __init__(self, connection: RTCPeerConnection, ufrags: list[str], reach: Reach) -> None:
        self._offered = ufrags
        self._reach = reach
        media = connection.getTransceivers()
        self._kinds: dict[str, str] = {str(t.mid): t.kind for t in media}
        self._transports: dict[str, RTCIceTransport] = {str(t.mid): t.receiver.transport.transport for t in media}
        if connection.sctp is not None:
            self._transports[str(connection.sctp.mid)] = connection.sctp.transport.transport
        self._fresh: dict[RTCIceTransport, Connection] = {}  # those that are not connected yet

    @property
    def tag(self) -> str:
        """The entity tag of what it is now (RFC 9725 §4.3.1)."""
        return f'"{self._newest(next(iter(self._transports.values()))).local_username}"'

    @property
    def ufrags(self) -> set[str]:
        """Of the other side."""
        given = {self._newest(transport).remote_username or "" for transport in self._transports.values()}
        return given if self._fresh else given | set(self._offered)

    def _newest(self, transport: RTCIceTransport) -> Connection:
        return self._fresh.get(transport, transport._connection)

    async def add(self, candidates: list[tuple[str, str]]) -> None:
        """Take candidates, each with its medium; those that cannot be used here (TCP, names) are passed over (RFC 9725
        §4.3.2). BadOffer where one cannot be read."""
        await self._add(_read(candidates))

    async def _add(self, candidates: list[tuple[str, Candidate]]) -> None:
        first = next(iter(self._transports.values()))
        for mid, candidate in candidates:
            connection = self._newest(self._transports.get(mid, first))
            usable = candidate.transport.lower() == "udp" and self._reach.takes(candidate.host, candidate.port)
            if usable and not connection._remote_candidates_end:
                await connection.add_remote_candidate(candidate)

    async def restart(self, fragment: Fragment, servers: list[RTCIceServer]) -> str:
        """Begin anew with the other side's new credentials and candidates; the fragment that answers. `connect` must follow.

        BadOffer, NoRestart: all goes on as it is.
        """
        media: dict[RTCIceTransport, list[str]] = {}  # those that are bundled share one
        for mid, transport in self._transports.items():
            media.setdefault(transport, []).append(mid)
        if any(transport.state != "completed" for transport in media):
            raise NoRestart("ICE has not connected yet, or is over: it cannot be restarted")
        logins = {transport: fragment.login(mids) for transport, mids in media.items()}
        candidates = _read(fragment.candidates)
        self._reach.anew()
        overtaken, self._fresh = self._fresh, await _prepare(list(media), servers)
        for connection in overtaken.values():
            await _drop(connection)
        answer = [f"a=group:BUNDLE {' '.join(mids)}" for mids in media.values() if len(mids) > 1]
        for transport, fresh in self._fresh.items():
            fresh.remote_username, fresh.remote_password = logins[transport]
            answer += _section(fresh, self._kinds.get(media[transport][0], "application"), media[transport][0])
        await self._add(candidates)
        return "\r\n".join(answer) + "\r\n"

    async def connect(self, limit_s: float) -> None:
        """Let the fresh connections take over; the old ones go on where that takes longer than `limit_s`."""
        await asyncio.gather(*(self._connect(transport, fresh, limit_s) for transport, fresh in list(self._fresh.items())))

    async def _connect(self, transport: RTCIceTransport, fresh: Connection, limit_s: float) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await fresh.connect()
        except (ConnectionError, TimeoutError):
            pass
        else:
            if self._fresh.get(transport) is fresh:
                del self._fresh[transport]
                self._offered = []
                await _take_over(transport, fresh)
        finally:
            if self._fresh.get(transport) is fresh:
                del self._fresh[transport]
                _keep_consent(transport._connection)
                await _drop(fresh)


def _read(candidates: list[tuple[str, str]]) -> list[tuple[str, Candidate]]:
    try:
        return [(mid, Candidate.from_sdp(line)) for mid, line in candidates]
    except ValueError as exc:
        raise BadOffer(f"a candidate cannot be read: {exc}") from exc


async def _prepare(transports: list[RTCIceTransport], servers: list[RTCIceServer]) -> dict[RTCIceTransport, Connection]:
    """A fresh connection for each, with candidates of its own. The old ones are kept from now on, whether or not the other
    side is still there. NoRestart where no port is free."""
    fresh: dict[RTCIceTransport, Connection] = {}
    for transport in transports:
        fresh[transport] = connection = RTCIceGatherer(servers)._connection
        connection.ice_controlling = transport._connection.ice_controlling
        connection._queue = transport._connection._queue  # whoever waits for data there goes on waiting
    await asyncio.gather(*(connection.gather_candidates() for connection in fresh.values()))
    if not all(connection.local_candidates for connection in fresh.values()):
        for connection in fresh.values():
            await _drop(connection)
        raise NoRestart("no port is free for a fresh connection (webrtc.ports)")
    for transport in transports:
        if transport._connection._query_consent_task is not None:
            transport._connection._query_consent_task.cancel()
    return fresh


async def _take_over(transport: RTCIceTransport, fresh: Connection) -> None:
    old = transport._connection
    transport._RTCIceTransport__monitor_task.cancel()  # type: ignore[attr-defined]
    transport._connection = transport.iceGatherer._connection = fresh
    transport._recv, transport._send = fresh.recv, fresh.send  # type: ignore[method-assign]
    transport._RTCIceTransport__monitor_task = asyncio.ensure_future(transport._monitor())  # type: ignore[attr-defined]
    await _drop(old)


async def _drop(connection: Connection) -> None:
    connection._queue = asyncio.Queue()  # its end is not that of whoever waits for data
    await connection.close()


def _keep_consent(connection: Connection) -> None:
    """Ask again whether the other side is there (RFC 7675)."""
    if not connection._closing:
        connection._query_consent_task = asyncio.create_task(connection.query_consent())


def _section(connection: Connection, kind: str, mid: str) -> list[str]:
    candidates = [f"a=candidate:{candidate.to_sdp()}" for candidate in connection.local_candidates]
    login = [f"a=ice-ufrag:{connection.local_username}", f"a=ice-pwd:{connection.local_password}"]
    return [f"m={kind} 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid}", *login, *candidates, "a=end-of-candidates"]
