"""WebRTC sessions: one peer connection each, with timers of our own."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

from pipeline.clock import Clock, steady

from .. import resources
from ..addresses import shortened
from ..config import WebRtc
from ..errors import (
    BadOffer,
    DriverRefused,
    Overloaded,
    PreconditionFailed,
    PreconditionRequired,
    StreamBusy,
    TakenOver,
    TooManySessions,
    UnknownSession,
)
from ..stream.status import Who
from ..stream.stream import Stream
from . import extensions, uplink
from .broadcasts import Broadcasts
from .datachannel import Commands, obey
from .ice import IceServers
from .ice_restart import Ice
from .offer import Kind, Offer
from .reach import Reach
from .sdp import finish_answer, read_fragment, with_uplink_bitrates
from .tracks import SoundTrack, ViewerTrack

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0
DESCRIPTORS = 24  # a session takes some, and what runs already needs others
REMEMBERED = 64  # sessions that others took over, which will ask what has become of them


@dataclass(frozen=True)
class Caller:
    """Who asks for a session. address: of whose sessions there are so many at most; host: the very address; token: what was
    shown, "" where none is needed; passes: that it shows for the portrait."""

    address: str = ""
    host: str = ""
    token: str = ""
    passes: tuple[str, ...] = ()


@dataclass
class Session:
    """A publisher (whip) or a viewer (whep)."""

    id: str
    kind: Kind
    stream: Stream
    connection: RTCPeerConnection
    caller: Caller
    reach: Reach
    close: Callable[[Session], Awaitable[None]]
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    viewer: ViewerTrack | None = None
    sound: SoundTrack | None = None
    mime: str = ""  # of the codec that a viewer gets
    cut_out: bool = False  # whether a viewer gets the person without the background
    ice: Ice | None = None
    takes_over: bool = False
    started: bool = False
    closed: bool = False
    status: None = None  # as a driver: only sources have one

    @property
    def passes(self) -> tuple[str, ...]:
        """What may open a portrait's lock."""
        return self.caller.passes

    @property
    def who(self) -> Who:
        """For the log of drives."""
        return Who("camera", address=shortened(self.caller.host))

    @property
    def tag(self) -> str:
        """The entity tag of its ICE, once it has been answered."""
        assert self.ice is not None
        return self.ice.tag

    async def end(self) -> None:
        """Close it."""
        await self.close(self)


class Sessions:
    """All sessions of the server."""

    def __init__(self, config: WebRtc, ice: IceServers, broadcasts: Broadcasts, clock: Clock = steady) -> None:
        self._config = config
        self._ice = ice
        self._broadcasts = broadcasts
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._taken: deque[str] = deque(maxlen=REMEMBERED)

    def use(self, config: WebRtc) -> None:
        """Keep to other limits from now on."""
        self._config = config

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def free(self) -> int:
        """How many more there may be."""
        return max(self._config.max_sessions - len(self._sessions), 0)

    async def publish(
        self, stream: Stream, offer: str, take_over: bool = False, caller: Caller = Caller()
    ) -> tuple[Session, str]:
        """Take a camera for `stream`; the session and the answer. take_over: end whoever drives it. StreamBusy, DriverRefused,
        BadOffer, TooManySessions.

        The stream becomes the session's when that is connected: who only offers holds nobody up.
        """
        stream.check_terms(caller.passes)
        session, checked = await self._new("whip", stream, offer, caller)
        session.takes_over = take_over
        try:
            if not take_over:
                stream.check_claim()
            answer = await self._answer(session, checked)
        except BaseException:  # whatever ends it, also who hangs up: a session that nobody knows is nobody's to close
            await self._close(session)
            raise
        low, first, most = self._config.uplink_kbps
        return session, with_uplink_bitrates(answer, low, first, most)

    async def _evict(self, stream: Stream) -> None:
        if isinstance(stream.driver, Session):
            self._taken.append(stream.driver.id)
        await stream.evict()

    async def view(
        self, stream: Stream, offer: str, commands: Commands | None = None, caller: Caller = Caller(), cut_out: bool = False
    ) -> tuple[Session, str]:
        """Give the animated picture of `stream`; the session and the answer. commands: answers what comes on data
        channels of a viewer who may control; cut_out: see `AnimatedFrame.cut_out`. BadOffer, TooManySessions."""
        session, checked = await self._new("whep", stream, offer, caller)
        session.cut_out = cut_out
        if commands is not None:
            self._obey(session, commands)
        try:
            session.viewer = ViewerTrack(stream.sent, self._clock)
            answer = await self._answer(session, checked)
        except BaseException:  # whatever ends it, also who hangs up: a session that nobody knows is nobody's to close
            await self._close(session)
            raise
        return session, answer

    async def close(self, session_id: str) -> None:
        """End a session; UnknownSession if there is none."""
        await self._close(self.find(session_id))

    def knows(self, session_id: str, stream: str) -> bool:
        """Whether there is such a session of a stream, or was until another publisher took its place."""
        session = self._sessions.get(session_id)
        return session_id in self._taken if session is None else session.stream.name == stream

    def find(self, session_id: str) -> Session:
        """UnknownSession if there is none, TakenOver if another publisher took its place."""
        if session_id in self._taken:
            raise TakenOver("another has taken over this stream")
        if session_id not in self._sessions:
            raise UnknownSession("no such session; it may have ended already")
        return self._sessions[session_id]

    async def patch(self, session_id: str, text: str, matches: str | None) -> tuple[str, str] | None:
        """Take what came after the offer (RFC 9725 §4.3.1); where it restarts ICE, the fragment that answers and its tag.
        matches: If-Match. UnknownSession, BadOffer, PreconditionRequired, PreconditionFailed, NoRestart."""
        session, fragment = self.find(session_id), read_fragment(text)
        ice = session.ice
        assert ice is not None
        if matches is None:
            raise PreconditionRequired("If-Match is missing: the session's ETag, or * for an ICE restart (RFC 9725 §4.3.1)")
        if not {'"*"', "*", ice.tag} & {tag.strip() for tag in matches.split(",")}:
            raise PreconditionFailed("If-Match names another ICE session than the one that runs")
        if ice.ufrags & set(fragment.ufrags.values()):
            await ice.add(fragment.candidates)
            return None
        answer = await ice.restart(fragment, self._ice.own())
        self._spawn(session, ice.connect(self._config.handshake_timeout_s))
        return finish_answer(answer, self._config.host_address), ice.tag

    def count(self) -> Counter[str]:
        """How many publishers and viewers there are."""
        return Counter({"whip": "publisher", "whep": "viewer"}[s.kind] for s in self._sessions.values())

    async def close_of(self, stream: Stream) -> None:
        """End those of a stream."""
        await asyncio.gather(*(self._close(s) for s in list(self._sessions.values()) if s.stream is stream))

    async def close_all(self) -> None:
        """End every session."""
        await asyncio.gather(*(self._close(s) for s in list(self._sessions.values())))

    def _obey(self, session: Session, commands: Commands) -> None:
        """Take commands from the first few of a viewer's data channels."""
        left = iter(range(self._config.max_channels))

        @session.connection.on("datachannel")
        def _on_channel(channel: RTCDataChannel) -> None:
            if next(left, None) is not None:
                self._spawn(session, obey(channel, session.stream.name, commands))

    def _check_room(self, caller: Caller) -> None:
        """TooManySessions where there is none, or this caller has had theirs."""
        if (left := resources.descriptors_left()) < DESCRIPTORS:
            log.warning("only %g file descriptors are left (ulimit -n): nobody is let in", left)
            raise TooManySessions(f"the server has {left:g} file descriptors left (ulimit -n); try again later")
        config, sessions = self._config, self._sessions.values()
        connecting = [session for session in sessions if not session.connected.is_set()]
        near, near_connecting = (sum(s.caller.address == caller.address for s in each) for each in (sessions, connecting))
        for count, most, text in (
            (len(sessions), config.max_sessions, "the server has {} sessions, its limit (webrtc.max_sessions)"),
            (len(connecting), config.max_connecting, "{} sessions are connecting, the limit (webrtc.max_connecting)"),
            (near, config.max_sessions_per_address, "your address has {} sessions, the limit (webrtc.max_sessions_per_address)"),
            (
                near_connecting, config.max_connecting_per_address,
                "{} sessions of your address are connecting, the limit (webrtc.max_connecting_per_address)",
            ),
            (
                sum(s.caller.token == caller.token != "" for s in sessions), config.max_sessions_per_token,
                "this token has {} sessions, the limit (webrtc.max_sessions_per_token)",
            ),
        ):  # fmt: skip
            if count >= most:
                raise TooManySessions(text.format(count))

    async def _new(self, kind: Kind, stream: Stream, offer: str, caller: Caller) -> tuple[Session, Offer]:
        self._check_room(caller)
        config = self._config
        reach = Reach(caller.host, config.max_candidates)
        # Beside the loop: it takes a while for a long one.
        checked = await asyncio.to_thread(Offer, offer, kind, reach, config.max_offer_lines, config.max_codecs)
        if kind == "whip":
            await self._replace(stream, caller)
        self._check_room(caller)
        stream.check_there()
        return self._open(kind, stream, caller, reach), checked

    async def _replace(self, stream: Stream, caller: Caller) -> None:
        """Whoever offers to publish again before they have connected has given up the offer before."""

        def given_up(other: Session) -> bool:
            same = other.kind == "whip" and other.stream is stream and other.caller == caller
            return same and not other.connected.is_set()

        # Looked for anew after each end, which takes a while: another of their offers may have come in meanwhile.
        while session := next(filter(given_up, self._sessions.values()), None):
            self._taken.append(session.id)
            await self._close(session)

    def _open(self, kind: Kind, stream: Stream, caller: Caller, reach: Reach) -> Session:
        # Given even if empty: aiortc would otherwise ask a public STUN server about every session.
        connection = RTCPeerConnection(RTCConfiguration(iceServers=self._ice.own()))
        session = Session(secrets.token_urlsafe(24), kind, stream, connection, caller, reach, self._close)
        self._sessions[session.id] = session

        @connection.on("connectionstatechange")
        def _on_state() -> None:
            if connection.connectionState == "connected":
                self._start(session)
            elif connection.connectionState in ("failed", "closed"):
                self._spawn(session, self._close(session))

        @connection.on("track")
        def _on_track(track: MediaStreamTrack) -> None:
            if kind == "whip":
                self._spawn(session, (self._receive if track.kind == "video" else self._listen)(session, track))

        self._spawn(session, self._handshake(session))
        return session

    def _start(self, session: Session) -> None:
        """It is connected, for the first time or after a restart of ICE."""
        if session.started:
            return
        session.started = True
        if session.kind == "whip":
            self._spawn(session, self._drive(session))
        else:
            session.connected.set()
            self._join(session)
            self._log(session, "joined")

    async def _drive(self, session: Session) -> None:
        """A publisher is connected: it drives, unless somebody else came first."""
        try:
            session.stream.check_terms(session.passes)  # before anybody is sent away for it
            if session.takes_over:
                await self._evict(session.stream)
            if session.closed:
                return
            session.stream.claim(session)
        except (StreamBusy, Overloaded, DriverRefused) as exc:
            log.warning("stream '%s': a camera came too late (%s)", session.stream.name, exc)
            await self._close(session)
        else:
            session.connected.set()
            self._log(session, "started")

    def _spawn(self, session: Session, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        session.tasks.add(task)
        task.add_done_callback(session.tasks.discard)

    async def _answer(self, session: Session, offer: Offer) -> str:
        connection = session.connection
        try:
            await connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            session.ice = Ice(connection, offer.ufrags, session.reach)
            extensions.negotiate(connection, session.kind)
            sender = None if session.viewer is None else connection.addTrack(session.viewer)
            if session.viewer is not None and any(t.kind == "audio" for t in connection.getTransceivers()):
                session.sound = SoundTrack()
                connection.addTrack(session.sound)
            for transceiver in connection.getTransceivers():
                transceiver.direction = "sendonly" if session.kind == "whep" else "recvonly"
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as exc:  # aiortc raises at least seven kinds for offers it cannot use
            if session.id in self._taken:
                raise StreamBusy("another has taken over this stream meanwhile") from exc
            raise BadOffer(f"the offer cannot be used: {str(exc) or type(exc).__name__}") from exc
        if sender is not None:
            self._attach(session, sender)
        return finish_answer(offer.answered(connection.localDescription.sdp), self._config.host_address)

    def _attach(self, session: Session, sender: RTCRtpSender) -> None:
        """Find out what was negotiated. No viewer takes frames before it is connected."""
        assert session.viewer is not None
        codec = next(t._codecs[0] for t in session.connection.getTransceivers() if t.sender is sender)
        session.mime = codec.mimeType.lower()
        session.viewer.attach(sender, codec, self._config.bitrate_kbps * 1000)
        if session.sound is not None:
            extensions.hold_nothing(sender, but=lambda: session.stream.audio.has_sound)

    def _join(self, session: Session) -> None:
        """Let a viewer that is connected have the packets of its stream and codec."""
        if session.viewer is None or session.closed:
            return
        self._broadcasts.join(session.stream, session.mime, session.viewer, session.cut_out)
        if session.sound is not None:
            session.stream.audio.sinks.add(session.sound)

    def _log(self, session: Session, what: str) -> None:
        name = session.stream.name
        if session.kind == "whip":
            log.info("stream '%s': a camera %s (WHIP)", name, what)
        else:
            here = [s for s in self._sessions.values() if s.viewer and s.connected.is_set() and s.stream is session.stream]
            log.info("stream '%s': a viewer %s; %d now", name, what, len(here))

    def _leave(self, session: Session) -> None:
        if session.viewer is None:
            return
        session.viewer.stop()
        if session.sound is not None:
            session.stream.audio.sinks.discard(session.sound)
            session.sound.stop()
        if session.connected.is_set():
            self._broadcasts.leave(session.stream, session.mime, session.viewer, session.cut_out)

    async def _handshake(self, session: Session) -> None:
        limit = self._config.handshake_timeout_s
        try:
            async with asyncio.timeout(limit):
                await session.connected.wait()
        except TimeoutError:
            log.warning("%s session on '%s' did not connect within %g s", session.kind, session.stream.name, limit)
            await self._close(session)

    async def _receive(self, session: Session, track: MediaStreamTrack) -> None:
        """Take the camera; without it the session has no purpose."""
        await session.connected.wait()
        limit = self._config.idle_timeout_s
        try:
            await uplink.pictures(track, session.stream.intake.put, limit, self._clock)
        except TimeoutError:
            log.warning("publisher of '%s' sent nothing for %g s", session.stream.name, limit)
        await self._close(session)

    async def _listen(self, session: Session, track: MediaStreamTrack) -> None:
        """Take the microphone."""
        await session.connected.wait()
        await uplink.sound(track, session.stream.intake.hear, self._clock)

    async def _close(self, session: Session) -> None:
        if session.closed:
            return
        session.closed = True
        self._sessions.pop(session.id, None)
        self._leave(session)
        session.stream.release(session)
        if session.connected.is_set():
            self._log(session, "ended" if session.kind == "whip" else "left")
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await session.connection.close()
        except Exception as exc:  # aiortc's close can raise on a half-made connection; it must end all the same
            log.warning("a session of '%s' did not close cleanly: %s", session.stream.name, exc or type(exc).__name__)
        for task in session.tasks - {asyncio.current_task()}:
            task.cancel()
