"""Recordings: one file after the other, whole or playable, with picture and sound where they belong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.frames import _SEAL, AnimatedFrame, planar
from streamer.errors import SinkError
from streamer.sinks.recording import Recording
from streamer.stream.audio import CHUNK, RATE

from ..media import seconds_of


def animated(k: int, time_s: float = 0.0, side: int = 64) -> AnimatedFrame:
    return AnimatedFrame(planar(np.full((side, side, 3), 7 * k % 256, np.uint8)), time_s, k, _SEAL)


def test_files_follow_one_another_by_length(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "live", max_minutes=3 / 60, max_mb=100)
    recording.open(animated(0), 100.0)
    for k in range(100):
        recording.write(animated(k), 100 + k / 10)
    assert recording.path.name.endswith(".part.mp4")
    recording.close()
    assert [seconds_of(file)[1] for file in recording.files] == [30, 30, 30, 10]
    assert sorted(recording.files) == sorted(tmp_path.iterdir()), "each is whole, under a name of its own"


def test_files_follow_one_another_by_size_and_when_the_picture_has_another(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    recording = Recording(tmp_path, "live", max_minutes=60, max_mb=0.1)
    for k in range(60):
        side = 128 if k < 50 else 64
        frame = AnimatedFrame(planar(rng.integers(0, 256, (side, side, 3), np.uint8)), 0.0, k, _SEAL)
        if not k:
            recording.open(frame, 0.0)
        recording.write(frame, k / 10)
    recording.close()
    counts = [seconds_of(file)[1] for file in recording.files]
    assert len(counts) >= 3
    assert sum(counts) == 60
    assert counts[-1] == 10, "the one of another size"


def test_a_file_that_was_not_finished_plays_up_to_the_last_second(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "live", max_minutes=60, max_mb=100)
    recording.open(animated(0), 0.0)
    for k in range(58):
        recording.write(animated(k), k / 10)
    assert seconds_of(recording.path)[1] >= 48
    recording.close()


def test_picture_and_sound_stand_in_a_file_as_they_came(tmp_path: Path) -> None:
    """White and loud for the first 0.3 s of each second; the sound begins late and pauses once."""
    recording = Recording(tmp_path, "live", max_minutes=60, max_mb=100, has_sound=lambda: True)
    events = sorted(
        [(k / 25, "picture") for k in range(250)] + [(0.5 + k / 50, "sound") for k in range(475) if not 150 < k < 250]
    )
    for time_s, kind in events:
        on = (time_s + 1e-6) % 1 < 0.3
        if kind == "sound":
            wave = 8000 * on * np.sin(2 * np.pi * 1000 * np.arange(CHUNK) / RATE)
            chunk = av.AudioFrame.from_ndarray(np.repeat(wave.astype(np.int16), 2)[None], format="s16", layout="stereo")
            chunk.sample_rate = RATE
            recording.write_sound(chunk, 100 + time_s)
            continue
        frame = AnimatedFrame(planar(np.full((64, 64, 3), 255 * on, np.uint8)), 0.0, 0, _SEAL)
        if not time_s:
            recording.open(frame, 100.0)
        recording.write(frame, 100 + time_s)
    recording.close()
    with av.open(str(recording.path)) as opened:
        white = [f.time for f in opened.decode(video=0) if f.to_ndarray(format="gray").mean() > 120]
    with av.open(str(recording.path)) as opened:
        loud = [f.time for f in opened.decode(audio=0) if np.abs(f.to_ndarray()).max() > 0.1]
    seen, heard = ([b for a, b in pairwise([-9.0, *times]) if b - a > 0.5] for times in (white, loud))
    assert seen == pytest.approx([float(k) for k in range(10)], abs=0.01)
    assert heard == pytest.approx([1.0, 2.0, 3.0, 6.0, 7.0, 8.0, 9.0], abs=2 * CHUNK / RATE)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="file/folder: Not a directory; what was written plays") as caught:
        Recording(tmp_path / "file" / "folder", "live", 60, 100).open(animated(0), 0.0)
    assert not caught.value.retry
