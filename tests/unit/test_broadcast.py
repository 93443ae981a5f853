"""Encoding once: one encoder for all viewers of a codec, and what a slow one of them costs the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import pairwise

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from pipeline.frames import _SEAL, CLOCK, AnimatedFrame, planar
from streamer.limits import Bitrates
from streamer.stream.status import HANG_S
from streamer.webrtc import encoders, tracks
from streamer.webrtc.broadcast import KEY_GAP_S, KEY_WAIT_S, RESEND_S, Broadcast
from streamer.webrtc.encoders import LiveEncoder, LiveH264Encoder, LiveVp8Encoder
from streamer.webrtc.tracks import BACKLOG, Encoded, ViewerTrack

from ..media import picture
from ..virtual_time import AtOnce, now, virtual

FPS = 30
AGE_S = 0.04  # of each frame when it comes


def animated(k: int) -> AnimatedFrame:
    image = np.full((64, 64, 3), 7 * k % 256, np.uint8)
    return AnimatedFrame(planar(image), now() - AGE_S, k, _SEAL)


class Viewer:
    """Takes what it is sent, at once, and notes when."""

    def __init__(self) -> None:
        self.ages: list[float] = []
        self.track = ViewerTrack(self.ages.append, now)
        self.got: list[tuple[float, av.Packet]] = []
        self._task = asyncio.create_task(self._take())

    async def _take(self) -> None:
        try:
            while True:
                packet = await self.track.recv()
                self.got.append((now(), packet))
        except MediaStreamError:
            return

    @property
    def keys(self) -> list[float]:
        """When key frames came."""
        return [time for time, packet in self.got if packet.is_keyframe]


@asynccontextmanager
async def broadcasting(encoder: LiveEncoder | None = None, shared_bitrate: int = 900_000) -> AsyncIterator[Broadcast]:
    broadcast = Broadcast("live", encoder or LiveVp8Encoder(Bitrates()), shared_bitrate, AtOnce(), now)
    try:
        yield broadcast
    finally:
        broadcast.stop()


async def offer(broadcast: Broadcast, count: int) -> None:
    """So many frames at 30 a second."""
    for k in range(count):
        broadcast.offer(animated(k))
        await asyncio.sleep(1 / FPS)


@virtual
async def test_viewers_share_one_encoder() -> None:
    async with broadcasting() as broadcast:
        viewers = [Viewer() for _ in range(3)]
        for viewer in viewers:
            broadcast.join(viewer.track)
        await offer(broadcast, 60)
        status = broadcast.encoder()
        assert (status.viewers, status.frames, status.key_frames, status.dropped) == (3, 60, 1, 0)
        first = [id(packet) for _, packet in viewers[0].got]
        assert len(first) == 60
        assert all([id(packet) for _, packet in v.got] == first for v in viewers), "the very same packets"
        assert viewers[0].ages == pytest.approx([AGE_S] * 60)


@virtual
async def test_viewers_of_the_cut_out_get_a_picture_twice_as_high() -> None:
    broadcast = Broadcast("live", LiveVp8Encoder(Bitrates()), 0, AtOnce(), now, cut_out=True)
    viewer, decoder = Viewer(), av.CodecContext.create("vp8", "r")
    broadcast.join(viewer.track)
    await offer(broadcast, 3)
    broadcast.stop()
    pictures = [frame for _, packet in viewer.got for frame in decoder.decode(packet)]
    assert {(picture.width, picture.height) for picture in pictures} == {(64, 128)}
    assert all((picture.to_ndarray()[64:128] > 230).all() for picture in pictures), "of this portrait all is the person"
    assert broadcast.encoder().codec == "video/VP8 cut-out"


@virtual
async def test_a_frame_that_was_not_encoded_in_time_is_replaced_by_the_newest() -> None:
    async with broadcasting() as broadcast:
        viewer = Viewer()
        broadcast.join(viewer.track)
        for k in range(5):
            broadcast.offer(animated(k))
        await asyncio.sleep(RESEND_S / 2)
        assert broadcast.encoder().frames == 1


@virtual
async def test_a_still_picture_is_sent_again_at_the_time_it_is_sent() -> None:
    async with broadcasting() as broadcast:
        viewer = Viewer()
        broadcast.join(viewer.track)
        broadcast.offer(animated(0))
        await asyncio.sleep(10.1)
        times = [time for time, _ in viewer.got]
        assert times == pytest.approx([RESEND_S * k for k in range(21)])
        pts = [packet.pts for _, packet in viewer.got]
        assert all(b > a for a, b in pairwise(pts))
        assert (pts[-1] - pts[1]) * CLOCK == pytest.approx(times[-1] - times[1])
        assert len(viewer.ages) == 1, "its age is told once"


@virtual
async def test_requests_for_key_frames_become_one_and_are_apart() -> None:
    async with broadcasting() as broadcast:
        viewer = Viewer()
        broadcast.join(viewer.track)
        frames = asyncio.create_task(offer(broadcast, 5 * FPS))
        for _ in range(80):  # four seconds
            broadcast.request_key()
            await asyncio.sleep(0.05)
        await frames
        gaps = [b - a for a, b in pairwise(viewer.keys)]
        assert len(viewer.keys) == 9, "at most one in half a second, and the last request is not forgotten"
        assert min(gaps) >= KEY_GAP_S
        assert max(gaps) < KEY_GAP_S + 2 / FPS


@virtual
async def test_a_late_viewer_begins_with_a_key_frame() -> None:
    async with broadcasting() as broadcast:
        first, late = Viewer(), Viewer()
        broadcast.join(first.track)
        await offer(broadcast, 2 * FPS)
        broadcast.join(late.track)
        joined = now()
        await asyncio.sleep(1)  # nothing moves: the last picture is sent again
        time, packet = late.got[0]
        assert packet.is_keyframe
        assert time - joined <= KEY_WAIT_S
        assert len(first.keys) == 2


class Broken(LiveVp8Encoder):
    """Fails on every second frame, in one way and another."""

    def __init__(self) -> None:
        super().__init__(Bitrates())
        self._count = 0

    def encode(self, frame: av.VideoFrame, key: bool = False) -> av.Packet | None:
        self._count += 1
        if self._count % 2:
            raise av.error.InvalidDataError(1, "broken", "here") if self._count % 4 == 1 else ValueError("no such format")
        return super().encode(frame, key)


@virtual
async def test_a_frame_that_cannot_be_encoded_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with broadcasting(Broken()) as broadcast:
        viewer = Viewer()
        broadcast.join(viewer.track)
        await offer(broadcast, 40)
        assert len(viewer.got) == 20
        said = [record for record in caplog.records if "encoding failed" in record.message]
        assert len(said) == 5, "after 1, 2, 4, 8 and 16 of them"


@virtual
async def test_a_viewer_that_takes_nothing_costs_the_others_nothing() -> None:
    async with broadcasting() as broadcast:
        viewer, stuck = Viewer(), ViewerTrack(lambda age: None, now)
        broadcast.join(viewer.track)
        broadcast.join(stuck)
        await offer(broadcast, 4 * FPS)
        assert len(viewer.got) == 4 * FPS
        assert stuck.dropped >= 4 * FPS - BACKLOG
        assert broadcast.encoder().dropped == stuck.dropped
        assert not broadcast.leave(stuck)
        assert broadcast.encoder().dropped == stuck.dropped, "they stay counted"
        assert broadcast.leave(viewer.track), "the last one"


@virtual
async def test_the_slowest_viewer_sets_the_bitrate_down_to_the_shared_floor() -> None:
    async with broadcasting(LiveH264Encoder(Bitrates(start=2_000_000))) as broadcast:
        wide, narrow = Viewer(), Viewer()
        wide.track.estimate, narrow.track.estimate = 3_000_000, 1_500_000
        broadcast.join(wide.track)
        broadcast.join(narrow.track)
        targets = []
        rng = np.random.default_rng(0)
        for k in range(12 * FPS):
            if k == 4 * FPS:
                narrow.track.estimate = 350_000
            if k == 8 * FPS:
                broadcast.leave(wide.track)
            noise = rng.integers(0, 256, (128, 128, 3), np.uint8)  # as much as the encoder may spend
            broadcast.offer(AnimatedFrame(planar(noise), now(), k, _SEAL))
            await asyncio.sleep(1 / FPS)
            targets.append(broadcast.encoder().bitrate)
        assert targets[4 * FPS - 1] == 1_500_000, "nobody is above what the slower one takes"
        assert targets[8 * FPS - 1] == 900_000, "but for its sake nobody is below the shared floor"
        assert targets[-1] == 350_000, "alone it gets what it can take"
        assert wide.track.dropped == 0
        assert narrow.track.dropped > FPS


@virtual
async def test_a_broadcast_that_was_stopped_encodes_no_more() -> None:
    async with broadcasting() as broadcast:
        broadcast.join(Viewer().track)
        await offer(broadcast, 5)
    broadcast.offer(animated(9))
    await asyncio.sleep(2 * RESEND_S)
    assert broadcast.encoder().frames == 5


async def test_encoding_is_done_on_the_pool_s_threads() -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "encoder") as pool:
        broadcast = Broadcast("live", LiveVp8Encoder(Bitrates()), 0, pool, loop.time)
        viewer = ViewerTrack(lambda age: None, loop.time)
        broadcast.join(viewer)
        broadcast.offer(animated(0))
        assert (await asyncio.wait_for(viewer.recv(), 60)).is_keyframe
        broadcast.stop()


@pytest.mark.parametrize("codec", [LiveVp8Encoder, LiveH264Encoder])
def test_a_narrow_line_gets_whole_groups_of_pictures_and_no_more_than_it_can_take(codec: type[LiveEncoder]) -> None:
    time_s = 0.0
    wanted = False

    def want() -> None:
        nonlocal wanted
        wanted = True

    wide, narrow = (ViewerTrack(lambda age: None, lambda: time_s) for _ in range(2))
    wide.request_key = narrow.request_key = want
    narrow.estimate = 100_000
    coder = codec(Bitrates(start=250_000, least=50_000))
    got: list[tuple[float, av.Packet]] = []
    fps, seconds = 15, 20
    for k in range(fps * seconds):
        time_s = k / fps
        frame = picture(k // 3, 128)
        frame.pts, frame.time_base = k * 90_000 // fps, CLOCK
        key, wanted = wanted or not k, False
        packet = coder.encode(frame, key)
        assert packet is not None
        for viewer in (wide, narrow):
            viewer.push(Encoded(packet, time_s), 250_000)
        got += [(time_s, e.packet) for e in narrow._queue]
        wide._queue.clear()
        narrow._queue.clear()
    assert wide.dropped == 0
    assert narrow.dropped > fps
    bits = 8 * sum(p.size for _, p in got)
    assert bits < 100_000 * (seconds + tracks.CREDIT_S) + 500_000
    assert got[-1][0] > seconds / 2, "it is served again and again"
    gaps = [b for (a, _), (at, b) in pairwise(got) if at - a > 1.5 / fps]
    assert gaps, "frames were left out"
    assert all(p.is_keyframe for p in gaps), "after a gap comes a key frame"


def test_a_viewer_that_falls_behind_goes_on_at_the_next_key_frame() -> None:
    asked: list[int] = []
    viewer = ViewerTrack(lambda age: None, lambda: 0.0)
    viewer.request_key = lambda: asked.append(1)
    coder = LiveVp8Encoder(Bitrates())
    packets = []
    for k in range(8):
        frame = picture(k, 128)
        frame.pts, frame.time_base = k * 3000, CLOCK
        packets.append(coder.encode(frame, k in (0, 7)))
        viewer.push(Encoded(packets[-1], 0.0), 2_000_000)
    assert viewer.dropped == 7
    assert [e.packet for e in viewer._queue] == [packets[7]]
    assert asked


def test_libvpx_is_built_anew_at_most_every_two_seconds_of_video() -> None:
    coder = LiveVp8Encoder(Bitrates(start=2_000_000))
    keys = []
    for k in range(5 * FPS):
        coder.target_bitrate = 2_000_000 if k // 10 % 2 else 500_000
        frame = picture(k, 64)
        frame.pts, frame.time_base = k * 3000, CLOCK
        packet = coder.encode(frame)
        assert packet is not None
        if packet.is_keyframe:
            keys.append(k)
    assert len(keys) == 3, "a new encoder begins with a key frame"
    assert min(b - a for a, b in pairwise(keys)) > encoders.REBUILD_AFTER_S * FPS


def test_where_nvenc_does_not_open_there_is_x264(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.NVENC, "preset", "no such preset")
    encoders.h264_encoder.cache_clear()
    try:
        assert encoders.h264_encoder() == "libx264"
        frame = picture(1, 64)
        frame.pts, frame.time_base = 0, CLOCK
        packet = LiveH264Encoder(Bitrates()).encode(frame, key=True)
    finally:
        encoders.h264_encoder.cache_clear()
    assert packet is not None
    assert packet.is_keyframe
    assert bytes(packet)[:4] == b"\0\0\0\1"


@virtual
async def test_an_encoder_that_hangs_or_dies_is_replaced() -> None:
    async with broadcasting() as broadcast:
        viewer = Viewer()
        broadcast.join(viewer.track)
        await offer(broadcast, 5)
        before, first = len(viewer.got), broadcast._encoder
        broadcast._task.cancel()
        await offer(broadcast, 5)
        assert broadcast.part().heart.trouble(HANG_S) == "has died"
        assert len(viewer.got) == before
        await broadcast.part().restart()
        await offer(broadcast, 5)
        assert broadcast.part().heart.trouble(HANG_S) == ""
        assert len(viewer.got) > before
        assert viewer.got[before][1].is_keyframe
        assert broadcast._encoder is not first
        viewer.track.stop()
