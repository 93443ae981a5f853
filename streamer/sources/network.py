"""Cameras and streams on the network: RTSP first, and what else FFmpeg reads live (RTMP, HLS, MJPEG)."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterable

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.video.frame import VideoFrame

from pipeline.clock import Clock, steady
from pipeline.frames import TimedFrame
from pipeline.media.reader import BOUNDS, Reader, video_of

from ..addresses import UNKNOWN, is_known
from ..errors import ConfigError, SourceError
from ..limits import TRANSPORT, Timeouts, Transport
from ..redaction import Address, check_address, redacted
from ..stream.intake import Intake
from .ahead import Ahead
from .pace import Lag, Pace

log = logging.getLogger(__name__)

# What each scheme may speak: a playlist or redirect of a stranger must not open files of this machine.
PROTOCOLS = {
    "rtsp": "rtsp,rtp,tcp,udp", "rtsps": "rtsp,rtsps,rtp,srtp,tcp,udp,tls,crypto", "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tls,tcp,crypto", "http": "http,tcp,hls,crypto,data",
    "https": "https,http,tls,tcp,hls,crypto,data",
}  # fmt: skip
LIVE = {"flags": "low_delay"}
LUMPS = ("hls",)  # FFmpeg's names of formats that come a segment at a time; all others come as they are taken
SEGMENT_S = 9.0  # for which a playlist may have nothing new
NEWEST = {"live_start_index": "-1"}  # of the segments in a playlist
KEY_FRAME_S = 60.0  # after which a stream without one is opened anew
APART_S = 2.0  # sound that is further from its picture has another clock
THREADS = 2
TIMEOUTS = Timeouts()


class NetworkSource:
    """See `Source`. url: user and password in it are used and never shown."""

    live = True

    def __init__(self, url: str, transport: Transport = TRANSPORT, timeouts: Timeouts = TIMEOUTS, clock: Clock = steady) -> None:
        self._url = url
        address = Address.of(url)
        self._scheme, self._host = address.scheme, address.host
        if self._scheme not in PROTOCOLS:
            raise ConfigError(f"'{redacted(url)}': the address must begin with {', '.join(f'{s}://' for s in PROTOCOLS)}")
        check_address(url)
        self._timeouts = timeouts
        self._clock = clock
        self._options = {**LIVE, **NEWEST, "protocol_whitelist": PROTOCOLS[self._scheme]}
        self._other: Transport | None = None  # that a camera may want instead
        if self._scheme == "rtsp":
            self._other = "udp" if transport == "tcp" else "tcp"
        if self._scheme in ("rtsp", "rtsps"):
            # The session description says what is needed; waiting for more only costs a second.
            self._options |= {"rtsp_transport": transport, "analyzeduration": "0", "probesize": "32", "max_delay": "100000"}
            self._options |= {"fflags": "nobuffer"}
        else:  # what is looked at is kept: the only key frame for a while may be in it
            self._options |= {"analyzeduration": "1000000", "rw_timeout": f"{1e6 * timeouts.read_s:.0f}"}
        self._lumps = address.path.endswith(".m3u8")
        self._played = False  # a playlist
        self.name = redacted(url)

    def check(self) -> None:
        """A camera that is off now may be on in a minute: nothing is asked of it yet."""

    def read(self, out: Intake, stop: threading.Event) -> None:
        with self._open() as opened:
            if self._played and opened.duration is not None:  # FFmpeg knows how long what has ended is (RFC 8216 §4.3.3.4)
                raise SourceError(f"{self.name}: the broadcast has ended, its playlist says", retry=True, slow=True)
            self._played = self._lumps
            video = video_of(opened)
            if video is None:
                raise SourceError(f"{self.name}: has no video track", retry=True, slow=True)
            video.codec_context.thread_count = THREADS
            video.codec_context.thread_type = "SLICE"  # threads over frames would hold frames back
            reader = Reader(opened, video, live=True)
            door = _Door(reader, out, stop, self._clock)
            try:
                if self._lumps:
                    with Ahead(reader.packets(), self._clock) as ahead:
                        self._give(door, ahead, out, stop)
                else:
                    self._give(door, ((packet, None) for packet in reader.packets()), out, stop)
            except av.error.FFmpegError as exc:
                raise self._failure(exc, f"nothing came for {self._timeouts.read_s:g} s") from exc
        if not stop.is_set():
            raise SourceError(f"{self.name}: the other side ended the stream", retry=True)

    def _give(self, door: _Door, packets: Iterable[tuple[av.Packet, float | None]], out: Intake, stop: threading.Event) -> None:
        """packets: each with when it came, where that is not now."""
        opened_s = self._clock()
        for packet, came_s in packets:
            if stop.is_set():
                return
            door.take(packet, came_s)
            waited_s = 0.0 if door.seen else self._clock() - opened_s
            if waited_s > KEY_FRAME_S:
                raise SourceError(f"{self.name}: packets came for {KEY_FRAME_S:g} s, but no key frame", retry=True)
            out.waits_for = f"{self.name}: packets come, no key frame yet" if waited_s > self._timeouts.read_s else ""

    def _open(self) -> InputContainer:
        try:
            return self._opened()
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            if self._other is not None and getattr(exc, "errno", None) == errno.EPROTONOSUPPORT:  # the camera said 461
                log.info("%s: the camera does not take this transport; trying RTSP over %s", self.name, self._other)
                self._options["rtsp_transport"], self._other = self._other, None
                return self._open()
            raise self._failure(exc, f"no answer that is a stream within {self._timeouts.open_s:g} s") from exc

    def _opened(self) -> InputContainer:
        # FFmpeg asks once more before it gives up on a read, so half of the time is given; a playlist is asked again and again.
        read_s = self._timeouts.read_s + SEGMENT_S if self._lumps else self._timeouts.read_s / 2
        opened = av.open(
            self._url, options=self._options | BOUNDS, timeout=(self._timeouts.open_s, read_s), metadata_errors="replace"
        )
        if opened.format.name in LUMPS and not self._lumps:
            self._lumps = True
            opened.close()
            return self._opened()
        return opened

    def _failure(self, exc: Exception, silent: str) -> SourceError:
        """In words, and without the address that FFmpeg puts into its messages."""
        match exc:
            case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
                return SourceError(f"{self.name}: user or password is wrong, or missing", retry=True, slow=True)
            case av.error.HTTPNotFoundError():
                return SourceError(f"{self.name}: there is nothing at this path", retry=True, slow=True)
            case ConnectionRefusedError():
                return SourceError(f"{self.name}: nothing listens there", retry=True)
            case OSError(errno=errno.EPROTONOSUPPORT):
                return SourceError(f"{self.name}: it takes RTSP neither over tcp nor over udp", retry=True, slow=True)
            case av.error.ExitError() | TimeoutError() | av.error.InvalidDataError():
                return SourceError(f"{self.name}: {silent}", retry=True)
            case av.error.HTTPServerError():
                return SourceError(f"{self.name}: the server there has a fault of its own (HTTP 5xx)", retry=True)
            case OSError(errno=errno.EIO) if not is_known(self._host):  # FFmpeg has one word for this and the next
                return SourceError(f"{self.name}: {UNKNOWN}", retry=True)
            case av.error.EOFError() | OSError(errno=errno.EIO):
                return SourceError(f"{self.name}: it answered, and then ended the connection", retry=True)
            case av.error.ProtocolNotFoundError():
                return SourceError(f"{self.name}: this FFmpeg has no {self._scheme}", retry=False)
        return SourceError(f"{self.name}: {getattr(exc, 'strerror', None) or type(exc).__name__}", retry=True)


class _Door:
    """Brings what a stream holds into the intake, as soon as it is there; what comes in lumps, at the speed of its times."""

    def __init__(self, reader: Reader, out: Intake, stop: threading.Event, clock: Clock) -> None:
        self.reader = reader
        self.seen = False  # a picture
        self._pace = Pace()
        self._lag, self._jumps = Lag(), 0
        self._out, self._stop, self._clock = out, stop, clock
        self._behind_s: float | None = None  # our clock less the source's, by the last picture

    def take(self, packet: av.Packet, came_s: float | None) -> None:
        """Give what a packet completes; a picture when it is due, where it came at a time that is not now."""
        for at_s, frame in self.reader.decode(packet):
            if isinstance(frame, VideoFrame):
                if came_s is not None:
                    self._stop.wait(max(self._pace.due_s(at_s, came_s) - self._clock(), 0))
                self._show(at_s, frame)
            else:
                self._out.hear(frame, self._captured_s(at_s, frame))

    def _show(self, at_s: float, frame: VideoFrame) -> None:
        now_s = self._clock()
        self.seen = True
        if self.reader.has_clock:
            if self.reader.jumps != self._jumps:  # or the line was broken: nothing can be compared with what was before
                self._lag, self._jumps = Lag(), self.reader.jumps
            self._behind_s = now_s - at_s
            self._out.lag_s = self._lag.seen(at_s, now_s)
        self._out.put(TimedFrame(frame, now_s))

    def _captured_s(self, at_s: float, frame: AudioFrame) -> float:
        """With the picture of the same time; as it comes where the two have clocks of their own."""
        now_s = self._clock()
        if self._behind_s is not None and abs(at_s + self._behind_s - now_s) < APART_S:
            return at_s + self._behind_s
        return now_s - frame.samples / frame.sample_rate
