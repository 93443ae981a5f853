"""Cameras and streams on the network: RTSP first, and what else FFmpeg reads live (RTMP, SRT, HLS, MJPEG)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.video.frame import VideoFrame

from pipeline.clock import steady
from pipeline.frames import TimedFrame

from ..errors import ConfigError, SourceError
from ..limits import TRANSPORT, Timeouts, Transport
from ..redaction import Address, check_login, redacted
from ..stream.intake import Intake

# What each scheme may speak: a playlist or redirect of a stranger must not open files of this machine.
PROTOCOLS = {
    "rtsp": "rtsp,rtp,tcp,udp", "rtsps": "rtsp,rtsps,rtp,srtp,tcp,udp,tls,crypto", "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tls,tcp,crypto", "srt": "srt,udp", "http": "http,tcp,hls,crypto,data",
    "https": "https,http,tls,tcp,hls,crypto,data",
}  # fmt: skip
LIVE = {"fflags": "nobuffer", "flags": "low_delay"}
PACED = ("http", "https")  # come faster than they were taken: a segment at a time
BAD_PACKETS = 100  # in a row, after which the stream is opened anew
THREADS = 2
TIMEOUTS = Timeouts()


class NetworkSource:
    """See `Source`. url: user and password in it are used and never shown."""

    def __init__(self, url: str, transport: Transport = TRANSPORT, timeouts: Timeouts = TIMEOUTS) -> None:
        self._url = url
        self._scheme = Address.of(url).scheme
        if self._scheme not in PROTOCOLS:
            raise ConfigError(f"'{redacted(url)}': the address must begin with {', '.join(f'{s}://' for s in PROTOCOLS)}")
        check_login(url)
        self._timeouts = timeouts
        self._options = {**LIVE, "protocol_whitelist": PROTOCOLS[self._scheme]}
        if self._scheme in ("rtsp", "rtsps"):
            # The session description says what is needed; waiting for more only costs a second.
            self._options |= {"rtsp_transport": transport, "analyzeduration": "0", "probesize": "32", "max_delay": "100000"}
        else:
            self._options |= {"analyzeduration": "1000000"}
        self.name = redacted(url)

    def check(self) -> None:
        """A camera that is off now may be on in a minute: nothing is asked of it yet."""

    def read(self, out: Intake, stop: threading.Event) -> None:
        with self._open() as opened:
            for frame in self._frames(opened, stop):
                if isinstance(frame, VideoFrame):
                    out.put(TimedFrame(frame, steady()))
                else:
                    out.hear(frame, steady() - frame.samples / frame.sample_rate)
        if not stop.is_set():
            raise SourceError(f"{self.name}: the other side ended the stream", retry=True)

    def _open(self) -> InputContainer:
        limits = self._timeouts
        try:
            # FFmpeg asks once more before it gives up on a read, so half of the time is given.
            return av.open(self._url, options=self._options, timeout=(limits.open_s, limits.read_s / 2))
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            raise self._failure(exc, f"no answer that is a stream within {limits.open_s:g} s") from exc

    def _frames(self, opened: InputContainer, stop: threading.Event) -> Iterator[VideoFrame | AudioFrame]:
        if not opened.streams.video:
            raise SourceError(f"{self.name}: has no video track", retry=True, slow=True)
        video = opened.streams.video[0]
        video.codec_context.thread_count = THREADS
        video.codec_context.thread_type = "SLICE"  # threads over frames would hold frames back
        pace = _Pace(stop) if self._scheme in PACED else None
        bad = 0
        try:
            for packet in opened.demux(video, *opened.streams.audio[:1]):
                if stop.is_set():
                    return
                try:
                    frames = packet.decode()
                    bad = 0 if frames else bad
                except av.error.InvalidDataError as exc:
                    bad += 1
                    if bad > BAD_PACKETS:
                        raise SourceError(f"{self.name}: {bad} packets in a row could not be decoded", retry=True) from exc
                    continue
                for frame in frames:
                    if isinstance(frame, VideoFrame | AudioFrame):
                        if pace is not None:
                            pace.wait(frame)
                        yield frame
        except av.error.FFmpegError as exc:
            raise self._failure(exc, f"nothing came for {self._timeouts.read_s:g} s") from exc

    def _failure(self, exc: Exception, silent: str) -> SourceError:
        """In words, and without the address that FFmpeg puts into its messages."""
        match exc:
            case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
                return SourceError(f"{self.name}: user or password is wrong, or missing", retry=True, slow=True)
            case av.error.HTTPNotFoundError():
                return SourceError(f"{self.name}: there is nothing at this path", retry=True, slow=True)
            case ConnectionRefusedError():
                return SourceError(f"{self.name}: nothing listens there", retry=True)
            case av.error.ExitError() | TimeoutError() | av.error.InvalidDataError():
                return SourceError(f"{self.name}: {silent}", retry=True)
            case av.error.ProtocolNotFoundError():
                return SourceError(f"{self.name}: this FFmpeg has no {self._scheme}", retry=False)
        return SourceError(f"{self.name}: {getattr(exc, 'strerror', None) or type(exc).__name__}", retry=True)


class _Pace:
    """Lets frames out at the speed of their own times; starts anew where these jump."""

    JUMP_S = 2.0

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._start: tuple[float, float] | None = None

    def wait(self, frame: VideoFrame | AudioFrame) -> None:
        now, at = steady(), float(frame.time or 0.0)
        ahead = 0.0 if self._start is None else self._start[0] + at - self._start[1] - now
        if self._start is None or abs(ahead) > self.JUMP_S:
            self._start = now, at
        elif ahead > 0:
            self._stop.wait(ahead)
