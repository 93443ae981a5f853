"""Publishing to another server by RTSP or RTMP, from a process of its own.

FFmpeg holds Python's lock while it connects and shakes hands as a publisher: a server that does not answer would
stop every stream. So a helper (`python -m streamer.sinks.push`) does it. It reads from stdin one line of JSON, then
parts: a letter for its kind, its time as a double, and the planes of a picture or 20 ms of sound. It says "live" once
the server will take them; when it fails, it writes why and exits.
"""

from __future__ import annotations

import errno
import json
import struct
import subprocess
import sys
from typing import IO

import av
import numpy as np

from pipeline.frames import AnimatedFrame

from ..addresses import UNKNOWN, is_known
from ..errors import ConfigError, SinkError
from ..redaction import Address, check_address, redacted
from ..stream.audio import silence
from .container import Container

FORMATS = {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv"}
OPTIONS = {"rtsp": {"rtsp_transport": "tcp"}, "flv": {"flvflags": "no_duration_filesize"}}
WAIT = {"max_interleave_delta": "200000"}  # microseconds for which a picture waits for sound
TIMEOUT_S = 5.0
END_S = 3.0
PICTURE, SOUND = b"p", b"s"
HEAD = struct.Struct("<cd")
SOUND_BYTES = silence().planes[0].buffer_size


class Push:
    """An `Output`."""

    kind = "push"
    takes_sound = True

    def __init__(self, url: str, bitrate: int) -> None:
        self._url, self._bitrate = url, bitrate
        if Address.of(url).scheme not in FORMATS:
            raise ConfigError(f"'{redacted(url)}': the address must begin with {', '.join(f'{s}://' for s in FORMATS)}")
        check_address(url)
        self.began_s: float | None = None
        self._helper: subprocess.Popen[bytes] | None = None
        self._shape: tuple[int, ...] = ()
        self.name = redacted(url)

    def open(self, first: AnimatedFrame, time_s: float) -> None:
        self.began_s = time_s
        command = [sys.executable, "-m", "streamer.sinks.push"]
        # A session of its own: Ctrl-C in the terminal, and its hang-up, are for us; the helper ends with its input.
        self._helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self._shape = first.yuv.shape
        height, width = first.yuv.shape[0] * 2 // 3, first.yuv.shape[1]
        # The address, and a password in it, goes by stdin: a command line can be seen by everybody.
        task = {"url": self._url, "width": width, "height": height, "bitrate": self._bitrate}
        # Pictures follow once it is connected: a server that lines up sound and picture by when the first ones came, as
        # GStreamer's does, would be misled by those that have waited for that.
        self._send(json.dumps(task).encode() + b"\n")
        self._await_live()

    def _await_live(self) -> None:
        assert self._helper is not None
        assert self._helper.stdout is not None
        said = self._helper.stdout.readline().decode().strip()
        if said != "live":
            raise SinkError(f"{self.name}: {said or 'its helper ended'}", retry=True)

    def write(self, frame: AnimatedFrame, time_s: float) -> None:
        if frame.yuv.shape != self._shape:
            raise SinkError(f"{self.name}: the picture has another size now; publishing anew", retry=True)
        self._send(HEAD.pack(PICTURE, time_s) + frame.yuv.tobytes())

    def _send(self, data: bytes) -> None:
        assert self._helper is not None
        assert self._helper.stdin is not None
        try:
            self._helper.stdin.write(data)
            self._helper.stdin.flush()
        except OSError as exc:
            self._await_live()  # the helper is gone: it has said why
            raise SinkError(f"{self.name}: its helper ended", retry=True) from exc

    def close(self) -> None:
        helper, self._helper = self._helper, None
        if helper is None:
            return
        for pipe in (helper.stdin, helper.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                continue  # it is gone already
        try:
            helper.wait(END_S)
        except subprocess.TimeoutExpired:
            helper.kill()
            helper.wait()

    def write_sound(self, chunk: av.AudioFrame, time_s: float) -> None:
        self._send(HEAD.pack(SOUND, time_s) + chunk.to_ndarray().tobytes())

    def abort(self) -> None:
        """Let a write that hangs fail."""
        if self._helper is not None:
            self._helper.kill()


def main(given: IO[bytes] = sys.stdin.buffer) -> int:
    """The helper."""
    task = json.loads(given.readline())
    address = Address.of(task["url"])
    kind = FORMATS[address.scheme]
    width, height = task["width"], task["height"]
    rate = str(task["bitrate"])
    coding = {"preset": "veryfast", "maxrate": rate, "bufsize": rate}
    try:
        target = av.open(task["url"], "w", format=kind, options=OPTIONS[kind] | WAIT, timeout=(TIMEOUT_S, TIMEOUT_S))
        container = Container(target, width, height, coding, task["bitrate"])
        target.start_encoding()
        print("live", flush=True)
        _publish(given, container)
    except (OSError, ValueError, av.error.FFmpegError) as exc:
        print(_reason(exc, address.host), flush=True)
        return 1
    return 0


def _reason(exc: Exception, host: str) -> str:
    if isinstance(exc, av.error.HTTPUnauthorizedError):
        return "user or password is wrong, or missing"
    if getattr(exc, "errno", None) == errno.EIO and not is_known(host):
        return UNKNOWN
    return getattr(exc, "strerror", None) or type(exc).__name__


def _publish(given: IO[bytes], container: Container) -> None:
    width, height = container.size
    sizes = {PICTURE: width * height * 3 // 2, SOUND: SOUND_BYTES}
    while len(head := given.read(HEAD.size)) == HEAD.size:
        part, time_s = HEAD.unpack(head)
        data = np.frombuffer(given.read(sizes[part]), np.uint8)
        if data.size < sizes[part]:
            break
        if part == SOUND:
            chunk = av.AudioFrame.from_ndarray(data.view(np.int16)[None], format="s16", layout="stereo")
            container.write_sound(chunk, time_s)
            continue
        container.write(data.reshape(height * 3 // 2, width), time_s)
    container.close()


if __name__ == "__main__":
    sys.exit(main())
