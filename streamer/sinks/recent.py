"""The last seconds of a stream, coded, in memory: whoever has just seen something can still save it."""

from __future__ import annotations

import threading
from collections import deque

import av

from pipeline.frames import AnimatedFrame

from ..errors import NothingKept, SinkError
from .container import Container
from .recording import FAILURES, FRAGMENTS

CODING = {"preset": "ultrafast", "crf": "22"}
MOST_BYTES_S = 1_500_000  # of a second; noise that codes worse is kept for less long
FRAGMENT_WAIT_S = 1.5  # a fragment ends with each second


class Fragments:
    """A file that FFmpeg writes as fragments (ISO/IEC 14496-12, 8.8), of which it keeps the beginning and the newest ones."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._raw = bytearray()
        self._head = b""
        self._open = b""  # a fragment whose data is still to come
        self._kept: deque[bytes] = deque()
        self.size = self.count = 0  # bytes that are kept; fragments ever

    def write(self, data: bytes) -> int:
        """Take bytes as they come, in pieces of any size."""
        self._raw += data
        while len(self._raw) >= 8 and (size := int.from_bytes(self._raw[:4], "big")) <= len(self._raw):
            box, self._raw = bytes(self._raw[:size]), self._raw[size:]
            self._take(box, box[4:8])
        return len(data)

    def _take(self, box: bytes, kind: bytes) -> None:
        if kind in (b"ftyp", b"moov"):
            self._head += box
        elif kind == b"moof":
            self._open = box
        elif kind == b"mdat":
            self._kept.append(self._open + box)
            self.size += len(self._kept[-1])
            self.count += 1
            while self.size > self._most:
                self.drop()

    def __len__(self) -> int:
        return len(self._kept)

    def drop(self) -> None:
        """Forget the oldest fragment."""
        self.size -= len(self._kept.popleft())

    def newest(self, count: int) -> bytes:
        """A file of the newest fragments."""
        return self._head + b"".join(list(self._kept)[-count:])


class Recent:
    """An `Output`. seconds: how many are kept; fragments of a second each. A picture of another size begins anew."""

    kind = "recent"
    takes_sound = True

    def __init__(self, stream: str, seconds: int) -> None:
        self.began_s: float | None = None  # what is saved of them may begin at any second
        self.name = f"last seconds of '{stream}'"
        self.seconds = seconds
        self._container: Container | None = None
        self._changed = threading.Condition()
        self._fragments = Fragments(0)

    def open(self, first: AnimatedFrame, time_s: float) -> None:
        height, width = first.yuv.shape[0] * 2 // 3, first.yuv.shape[1]
        fragments = Fragments((self.seconds + 1) * MOST_BYTES_S)
        try:
            target = av.open(fragments, "w", format="mp4", options=FRAGMENTS)
            self._container = Container(target, width, height, CODING, None)
        except FAILURES as exc:
            raise self._failure(exc) from exc
        with self._changed:
            self._fragments = fragments

    def write(self, frame: AnimatedFrame, time_s: float) -> None:
        assert self._container is not None
        if self._container.size != (frame.yuv.shape[1], frame.yuv.shape[0] * 2 // 3):
            self.close()
            self.open(frame, time_s)
        try:
            with self._changed:
                before = self._fragments.count
                self._container.write(frame.yuv, time_s)
                while len(self._fragments) > self.seconds + 1:  # what is asked for begins within one
                    self._fragments.drop()
                if self._fragments.count != before:
                    self._changed.notify_all()
        except FAILURES as exc:
            raise self._failure(exc) from exc

    def write_sound(self, chunk: av.AudioFrame, time_s: float) -> None:
        if self._container is None:
            return
        try:
            with self._changed:
                self._container.write_sound(chunk, time_s)
        except FAILURES as exc:
            raise self._failure(exc) from exc

    def clip(self, seconds: float) -> bytes:
        """An MP4 file of fragments that ends with the present second, for which it waits, and has so many before it, or what
        there is. NothingKept where there is nothing yet."""
        with self._changed:
            self._changed.wait(FRAGMENT_WAIT_S)
            if not len(self._fragments):
                raise NothingKept(f"{self.name}: there is nothing yet; try again in a second or two")
            return self._fragments.newest(int(seconds) + 2)

    def close(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            try:
                container.close()
            except FAILURES as exc:
                raise self._failure(exc) from exc

    def abort(self) -> None:
        """Memory answers."""

    def _failure(self, exc: Exception) -> SinkError:
        return SinkError(f"{self.name}: {getattr(exc, 'strerror', None) or type(exc).__name__}", retry=True)
