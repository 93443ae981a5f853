"""What comes over a network is taken at once, what comes in lumps is spread, and a lag is seen; in no time of a clock."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import av
import pytest
from PIL import Image as Pillow

from pipeline.clock import steady
from pipeline.frames import TimedFrame
from streamer.addresses import UNKNOWN
from streamer.errors import SourceError
from streamer.limits import Timeouts
from streamer.sinks import push
from streamer.sources.network import KEY_FRAME_S, PROTOCOLS, NetworkSource
from streamer.sources.pace import Lag, Pace
from streamer.stream.intake import Intake

from ..fakes import ManualTime
from ..recorded import FPS, Recorder, joined

LIVE = {"bf": "0"}  # as cameras code: no picture waits for another
Answer = Callable[[socket.socket, bytes], None]


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """Answers every request that it gets; its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections: list[socket.socket] = []

        def serve(connection: socket.socket) -> None:
            with connection:
                try:
                    while request := connection.recv(65_536):
                        answer(connection, request)
                except OSError:  # the reader has gone
                    return

        def accept() -> None:
            while True:
                try:
                    connections.append(listener.accept()[0])
                except OSError:
                    return
                threading.Thread(target=serve, args=(connections[-1],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                connection.close()


def http(files: dict[str, tuple[str, bytes]]) -> Answer:
    """Serves files by path: type and content."""

    def answer(connection: socket.socket, request: bytes) -> None:
        kind, body = files[request.split()[1].decode().partition("?")[0]]
        connection.sendall(f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode() + body)
        connection.shutdown(socket.SHUT_RDWR)

    return answer


class Door(Intake):
    """Keeps what comes, and when."""

    def __init__(self, time: ManualTime) -> None:
        self.shown: list[float] = []
        self.heard: list[float] = []
        self.said: list[str] = []
        self._time = time
        super().__init__(lambda frame, captured_s: self.heard.append(captured_s))

    def put(self, frame: TimedFrame) -> None:
        self.shown.append(frame.captured_s)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "waits_for" and value and hasattr(self, "said"):
            self.said.append(str(value))


class Waits(threading.Event):
    """Lets the time pass that a source waits."""

    def __init__(self, time: ManualTime) -> None:
        super().__init__()
        self._time = time

    def wait(self, timeout: float | None = None) -> bool:
        self._time.sleep(timeout or 0.0)
        return False


def read(url: str, each_s: float = 0.0) -> tuple[Door, str]:
    """What came of a stream until it ended, and what was said then. each_s: passes whenever the clock is looked at."""
    time = ManualTime()

    def clock() -> float:
        time.sleep(each_s)
        return time()

    door = Door(time)
    with pytest.raises(SourceError) as ended:
        NetworkSource(url, timeouts=Timeouts(10, 5), clock=clock).read(door, Waits(time))
    return door, str(ended.value)


def mjpeg(count: int) -> tuple[str, bytes]:
    picture = io.BytesIO()
    Pillow.new("RGB", (64, 64), "grey").save(picture, "JPEG")
    part = b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture.getvalue()) + picture.getvalue()
    return "multipart/x-mixed-replace;boundary=b", (part + b"\r\n") * count + b"--b--\r\n"


def test_pictures_over_http_wait_for_nothing() -> None:
    """nager/Nager.VideoStream#12: a camera that is faster than FFmpeg believes."""
    with server(http({"/": mjpeg(100)})) as there:
        door, _ = read(f"http://{there}/")
    assert len(door.shown) >= 99, "but the last, perhaps, whose end FFmpeg waits for"
    assert set(door.shown) == {0.0}, "nothing was waited for"
    assert door.lag_s is None, "it has no clock to compare with"


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        ("200 OK", "multipart/x-mixed-replace; boundary=x", "it answered, and then ended the connection"),
        ("503 Busy", "text/plain", "the server there has a fault of its own (HTTP 5xx)"),
    ],
)
def test_a_camera_that_sends_nothing_is_told_of_in_words(status: str, kind: str, told: str) -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_RDWR)

    with server(answer) as address:
        _, said = read(f"http://{address}/cam")
    assert said.endswith(f": {told}")


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "http"])
def test_a_name_that_nobody_knows_is_told_of(scheme: str) -> None:
    _, said = read(f"{scheme}://nosuch.invalid/live/x")
    assert said.endswith(f": {UNKNOWN}")


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp"])
def test_a_push_to_a_name_that_nobody_knows_tells_of_it(scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    task = {"url": f"{scheme}://nosuch.invalid/live/x", "width": 64, "height": 64, "bitrate": 100_000}
    assert push.main(io.BytesIO(json.dumps(task).encode() + b"\n")) == 1
    assert capsys.readouterr().out == f"{UNKNOWN}\n"


def test_what_a_camera_sends_opens_no_file_of_this_machine():
    """By a redirect or a playlist: FFmpeg is told which protocols there are."""
    for scheme in PROTOCOLS:
        taken = NetworkSource(f"{scheme}://camera/x")._options["protocol_whitelist"].split(",")
        assert not {"file", "concat", "concatf", "subfile", "pipe", "fd", "unix", "cache", "async"} & set(taken), scheme


def test_a_burst_is_over_at_once(tmp_path: Path) -> None:
    """What go2rtc and icecast send first: all since the last key frame."""
    clip = Recorder(sound="aac", options=LIVE).write(tmp_path / "a.ts")
    with server(http({"/": ("video/mp2t", clip.read_bytes())})) as there:
        door, _ = read(f"http://{there}/")
    assert len(door.shown) == FPS
    assert set(door.shown) == {0.0}
    assert len(door.heard) > 40
    assert door.lag_s == pytest.approx(0)


def test_a_line_that_was_broken_is_no_lag(tmp_path: Path) -> None:
    parts = [Recorder(start_s=s, options=LIVE).write(tmp_path / f"{s}.ts") for s in (5.0, 100.0)]
    both = joined(tmp_path / "both.ts", *parts)
    with server(http({"/": ("video/mp2t", both.read_bytes())})) as there:
        door, _ = read(f"http://{there}/", each_s=0.001)
    assert len(door.shown) == 2 * FPS
    assert door.lag_s == pytest.approx(0, abs=0.01)


def test_segments_are_spread(tmp_path: Path) -> None:
    """By a clock that is read on two threads, so by the real one; a busy machine can only spread more."""
    clip = Recorder(sound="aac", start_s=5.0, options=LIVE, times_s=[k / FPS for k in range(15)]).write(tmp_path / "a.ts")
    listed = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-VERSION:3\n#EXTINF:0.5,\na.ts\n#EXT-X-ENDLIST\n"
    files = {"/live.m3u8": ("application/vnd.apple.mpegurl", listed), "/a.ts": ("video/mp2t", clip.read_bytes())}
    door, began_s = Door(ManualTime()), steady()
    with server(http(files)) as there:
        source = NetworkSource(f"http://{there}/live.m3u8", timeouts=Timeouts(10, 5))
        with pytest.raises(SourceError):
            source.read(door, threading.Event())
        with pytest.raises(SourceError, match="the broadcast has ended, its playlist says") as ended:
            source.read(door, threading.Event())
        assert ended.value.slow, "it is not played, nor asked for, again and again"
    assert len(door.shown) == 15
    for k, shown in enumerate(door.shown):
        assert shown - began_s > k / FPS / Pace.SPEED
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_a_segment_may_last_longer_than_a_read_may_take(tmp_path: Path) -> None:
    length = 36  # pictures: more than is looked at when it is opened
    parts = [
        Recorder(start_s=5.0 + k * length / FPS, options=LIVE, times_s=[n / FPS for n in range(length)]).write(
            tmp_path / f"{k}.ts"
        )
        for k in (0, 1)
    ]
    listed = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-VERSION:3\n#EXTINF:1.2,\n0.ts\n"
    files = {f"/{k}.ts": ("video/mp2t", part.read_bytes()) for k, part in enumerate(parts)}
    began_s = steady()

    def answer(connection: socket.socket, request: bytes) -> None:
        later = "#EXTINF:1.2,\n1.ts\n#EXT-X-ENDLIST\n" if steady() > began_s + 2 else ""
        http({**files, "/live": ("application/vnd.apple.mpegurl", (listed + later).encode())})(connection, request)

    door = Door(ManualTime())
    with server(answer) as there, pytest.raises(SourceError):
        NetworkSource(f"http://{there}/live", timeouts=Timeouts(10, 1)).read(door, threading.Event())
    assert len(door.shown) == 2 * length


def test_a_camera_without_a_key_frame_says_so(tmp_path: Path) -> None:
    whole = Recorder(times_s=[k / FPS for k in range(60)], options=LIVE | {"g": "1000"}).write(tmp_path / "whole.ts")
    cut = tmp_path / "cut.ts"
    with av.open(str(whole)) as given, av.open(str(cut), "w") as out:
        track = out.add_stream_from_template(given.streams.video[0])
        for k, packet in enumerate(given.demux(video=0)):
            if k and packet.dts is not None:
                packet.stream = track
                out.mux(packet)
    with server(http({"/": ("video/mp2t", cut.read_bytes())})) as there:
        patient, _ = read(f"http://{there}/", each_s=0.15)
        _, given_up = read(f"http://{there}/", each_s=KEY_FRAME_S / 20)
    assert patient.shown == []
    assert patient.said[0].endswith("packets come, no key frame yet")
    assert given_up.endswith(f"packets came for {KEY_FRAME_S:g} s, but no key frame")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_that_wants_the_other_transport_gets_it(transport: str) -> None:
    asked: list[str] = []
    describes = (
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
        b"a=rtpmap:96 H264/90000\r\na=control:track1\r\n"
    )

    def answer(connection: socket.socket, request: bytes) -> None:
        lines = request.decode().splitlines()
        head = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        code, more, body = "200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n", b""
        if lines[0].startswith("DESCRIBE"):
            more, body = f"Content-Type: application/sdp\r\nContent-Length: {len(describes)}\r\n", describes
        if lines[0].startswith("SETUP"):
            asked.append("tcp" if "RTP/AVP/TCP" in head["transport"] else "udp")
            code = "461 Unsupported Transport"
        connection.sendall(f"RTSP/1.0 {code}\r\nCSeq: {head['cseq']}\r\n{more}\r\n".encode() + body)

    with server(answer) as there, pytest.raises(SourceError, match="it takes RTSP neither over tcp nor over udp"):
        NetworkSource(f"rtsp://{there}/x", transport, Timeouts(5, 5)).read(Intake(), threading.Event())  # type: ignore[arg-type]
    assert list(dict.fromkeys(asked)) == [transport, {"tcp": "udp", "udp": "tcp"}[transport]]


def test_a_lag_that_grows_is_seen_and_a_clock_that_is_a_little_off_is_none() -> None:
    lag = Lag()
    off = [lag.seen(1000 + t * 1.0001, 5 + t) for t in range(3600)] + [
        lag.seen(4600.36 + t * 0.9999, 3605 + t) for t in range(3600)
    ]
    assert max(off) < 0.01
    behind = [lag.seen(8200 + t, 7205 + 1.1 * t) for t in range(31)]
    assert behind[-1] - behind[0] == pytest.approx(3, abs=0.05)
    assert lag.seen(8300, 7305) == pytest.approx(0, abs=0.05), "it has caught up"


def ages_of_segments(seconds: int, comes_s: Callable[[float], float]) -> list[float]:
    """How old each picture of 30 a second is when it is shown. comes_s: when the segment is there that begins at a time."""
    pace = Pace()
    times_s = [k / 30 for k in range(30 * seconds)]
    return [pace.due_s(at_s, comes_s(at_s // 2 * 2)) - at_s for at_s in times_s]


def test_a_cushion_shrinks_until_nothing_waits() -> None:
    """Segments of two seconds come every two seconds; four seconds of them wait at the start."""
    ages = [age + 4 for age in ages_of_segments(400, lambda begins_s: max(0.0, begins_s - 4))]
    assert ages[0] == pytest.approx(4)
    assert max(ages[-3000:]) < 2.5, "what is left is the segment itself"
    stalls = sum(b - a > 0.1 for a, b in pairwise(ages))
    assert not stalls


def test_a_line_that_stood_still_is_caught_up_with() -> None:
    """Twice nothing comes for six seconds, whatever became of the tries before."""
    stood = (300, 1500)

    def comes_s(begins_s: float) -> float:
        return max([begins_s + 2, *(s + 6 for s in stood if s - 2 <= begins_s < s + 6)])

    ages = ages_of_segments(2100, comes_s)
    for s in stood:
        assert max(ages[30 * s : 30 * (s + 10)]) > 6
        assert max(ages[30 * (s + 200) : 30 * (s + 300)]) < 2.5
    assert max(ages) < 9, "what two segments that came at once need"
