"""A stream's sound: as late as the picture, encoded once, silent when muted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import av
import numpy as np
import pytest

from streamer.stream.audio import CHUNK, MOST_WAITING, RATE, SEEN_S, AudioLine

from ..virtual_time import now, virtual

CHUNK_S = CHUNK / RATE


def sound(seconds: float, rate: int = RATE, layout: str = "stereo") -> av.AudioFrame:
    """A tone of 440 Hz."""
    wave = 8000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    channels = {"mono": 1, "stereo": 2}[layout]
    frame = av.AudioFrame.from_ndarray(np.repeat(wave.astype(np.int16), channels)[None], format="s16", layout=layout)
    frame.sample_rate = rate
    return frame


class Ear:
    """Notes when chunks come and were captured, how loud they are, and their packets."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.captured: list[float] = []
        self.levels: list[int] = []
        self.packets: list[av.Packet | None] = []

    def hear(self, chunk: av.AudioFrame, packet: av.Packet | None, captured_s: float) -> None:
        assert (chunk.samples, chunk.sample_rate) == (CHUNK, RATE)
        self.times.append(now())
        self.captured.append(captured_s)
        self.levels.append(int(np.abs(chunk.to_ndarray()).max()))
        self.packets.append(packet)


@asynccontextmanager
async def line(delay_s: Callable[[], float]) -> AsyncIterator[tuple[AudioLine, Ear]]:
    audio, ear = AudioLine(delay_s, now), Ear()
    audio.sinks.add(ear)
    try:
        yield audio, ear
    finally:
        await audio.stop()


async def speak(audio: AudioLine, seconds: float, **kind) -> None:
    """As a microphone does: 20 ms each 20 ms."""
    for _ in range(round(seconds / CHUNK_S)):
        began = now()
        await asyncio.sleep(CHUNK_S)
        audio.put(sound(CHUNK_S, **kind), began)


@virtual
async def test_sound_leaves_as_late_as_the_picture() -> None:
    async with line(lambda: 0.3) as (audio, ear):
        await speak(audio, 2)
        await asyncio.sleep(1)
        assert ear.captured == pytest.approx([CHUNK_S * k for k in range(100)])
        assert ear.times == pytest.approx([0.3 + CHUNK_S * k for k in range(100)])
        assert min(ear.levels) > 7000


@virtual
async def test_it_follows_a_picture_that_becomes_later_and_earlier() -> None:
    async with line(lambda: 0.1 if not 1 < now() < 2 else 0.5) as (audio, ear):
        await speak(audio, 4)
        await asyncio.sleep(1)
        captured = [CHUNK_S * k for k in range(200)]
        late = [time - at for time, at in zip(ear.times, captured, strict=True)]
        assert late[:40] == pytest.approx([0.1] * 40)
        assert late[50:70] == pytest.approx([0.5] * 20)
        assert late[-60:] == pytest.approx([0.1] * 60)
        assert ear.times == sorted(ear.times)


@virtual
async def test_its_times_are_those_at_which_it_leaves() -> None:
    async with line(lambda: 0.2) as (audio, ear):
        await speak(audio, 1)
        await asyncio.sleep(3)
        await speak(audio, 1)
        await asyncio.sleep(1)
        packets = [(time, packet.pts / RATE) for time, packet in zip(ear.times, ear.packets, strict=True) if packet]
        behind = [time - pts for time, pts in packets]
        assert len(packets) >= 98
        assert max(behind) - min(behind) < 5 * CHUNK_S, "also after a pause"
        assert all(b[1] > a[1] for a, b in pairwise(packets))


@virtual
async def test_any_format_becomes_chunks_of_48_khz() -> None:
    async with line(lambda: 0.0) as (audio, ear):
        await speak(audio, 1, rate=44_100, layout="mono")
        await speak(audio, 1, rate=16_000, layout="mono")
        await asyncio.sleep(1)
        assert 95 <= len(ear.times) <= 100, "but for what a resampler keeps"


@virtual
async def test_a_source_whose_clock_leaps_is_followed() -> None:
    async with line(lambda: 0.1) as (audio, ear):
        audio.put(sound(CHUNK_S), 0.0)
        audio.put(sound(CHUNK_S), 5.0)
        await asyncio.sleep(6)
        assert ear.times == pytest.approx([0.1, 5.1])


@virtual
async def test_sound_of_long_ago_is_dropped() -> None:
    async with line(lambda: 60.0) as (audio, ear):
        audio.put(sound(5.0), 0.0)
        await asyncio.sleep(100)
        assert len(ear.times) == MOST_WAITING
        assert ear.times[-1] == pytest.approx(60 + 5 - CHUNK_S), "the newest is kept"


@virtual
@pytest.mark.parametrize("rate", [RATE, 44_100])
async def test_a_clip_that_loops_stays_with_its_picture(rate: int) -> None:
    """Each second's sound comes a little later than the one before has ended, as a file is opened again."""
    async with line(lambda: 0.1) as (audio, ear):
        captured: list[float] = []
        for loop in range(12):
            for k in range(50):
                captured.append(loop * 1.015 + k * CHUNK_S)
                await asyncio.sleep(captured[-1] + CHUNK_S - now())
                audio.put(sound(CHUNK_S, rate), captured[-1])
        await asyncio.sleep(1)
        late = [left - at - 0.1 for left, at in zip(ear.times, captured, strict=False)]
        assert len(late) >= len(captured) - 1
        assert max(map(abs, late)) < 0.016


@virtual
async def test_muted_it_carries_silence() -> None:
    async with line(lambda: 0.0) as (audio, ear):
        audio.muted = True
        await speak(audio, 1)
        await asyncio.sleep(1)
        assert len(ear.times) == 50
        assert max(ear.levels) == 0
        assert sum(packet is not None for packet in ear.packets) >= 49


@virtual
async def test_it_is_encoded_once_for_all() -> None:
    async with line(lambda: 0.0) as (audio, ear):
        other = Ear()
        audio.sinks.add(other)
        await speak(audio, 1)
        await asyncio.sleep(1)
        assert [id(p) for p in ear.packets] == [id(p) for p in other.packets]
        audio.sinks.clear()
        await speak(audio, 1)
        assert len(ear.times) == 50, "nobody listens"


@virtual
async def test_whether_there_is_sound() -> None:
    async with line(lambda: 0.0) as (audio, _):
        assert not audio.has_sound
        await speak(audio, 0.1)
        assert audio.has_sound
        await asyncio.sleep(SEEN_S - 0.1)
        assert audio.has_sound
        await asyncio.sleep(0.2)
        assert not audio.has_sound
        await speak(audio, 0.1)
        audio.clear()
        assert not audio.has_sound


@virtual
async def test_sound_that_has_died_is_begun_anew() -> None:
    async with line(lambda: 0.1) as (audio, ear):
        await speak(audio, 0.2)
        audio._task.cancel()
        await asyncio.sleep(1)
        assert audio.part().heart.trouble(5) == "has died"
        before = len(ear.times)
        await audio.part().restart()
        await speak(audio, 0.5)
        await asyncio.sleep(0.5)
        assert len(ear.times) > before + 20
