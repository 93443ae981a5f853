"""Recordings: one file after the other, whole or playable, with picture and sound where they belong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.frames import _SEAL, AnimatedFrame, planar
from streamer.errors import SinkError, UnknownRecording
from streamer.sinks.library import Library
from streamer.sinks.recording import Recording
from streamer.stream.audio import CHUNK, RATE

from ..conftest import ROOT
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


def test_files_follow_one_another_by_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    recording = Recording(tmp_path, "live", max_minutes=60, max_mb=0.1)
    for k in range(60):
        frame = AnimatedFrame(planar(rng.integers(0, 256, (128, 128, 3), np.uint8)), 0.0, k, _SEAL)
        if not k:
            recording.open(frame, 0.0)
        recording.write(frame, k / 10)
    recording.close()
    counts = [seconds_of(file)[1] for file in recording.files]
    assert len(counts) >= 3
    assert sum(counts) == 60


def test_a_picture_of_another_size_stays_in_its_file_and_is_letterboxed(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "live", max_minutes=60, max_mb=100)
    red, green = (200, 30, 30), (30, 200, 30)
    pictures = [(red, (96, 128)), (green, (64, 48)), (green, (90, 30)), (red, (96, 128))]
    for k, (colour, (height, width)) in enumerate(pictures):
        frame = AnimatedFrame(planar(np.full((height, width, 3), colour, np.uint8)), 0.0, k, _SEAL)
        if not k:
            recording.open(frame, 0.0)
        recording.write(frame, k / 10)
    recording.close()
    [file] = recording.files
    with av.open(str(file)) as opened:
        images = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    assert [image.shape for image in images] == [(96, 128, 3)] * 4
    for image, (colour, (height, width)) in zip(images, pictures, strict=True):
        shown = np.abs(image.astype(int) - colour).max(axis=2) < 60
        wide = width * 96 / height
        assert shown[4:-4, 64].all(), "from top to bottom"
        assert shown[48].sum() == pytest.approx(wide, abs=4)
        assert (image[48, : max(int(61 - wide / 2), 0)] < 40).all(), "beside it is black"


def test_a_file_that_was_not_finished_plays_up_to_the_last_second(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "live", max_minutes=60, max_mb=100)
    recording.open(animated(0), 0.0)
    for k in range(58):
        recording.write(animated(k), k / 10)
    assert seconds_of(recording.path)[1] >= 48
    recording.close()


@pytest.mark.parametrize("later_s", [0.0, 0.1, 0.4])
def test_picture_and_sound_stand_in_a_file_as_they_were_captured(tmp_path: Path, later_s: float) -> None:
    """White and loud for the first 0.3 s of each second; the sound begins late and pauses once. later_s: by which it comes after
    its picture, as where a viewer's pictures take long to encode."""
    recording = Recording(tmp_path, "live", max_minutes=60, max_mb=100)
    pictures = [(k / 25, k / 25, "picture") for k in range(250)]
    sounds = [(0.5 + later_s + k / 50, 0.5 + k / 50, "sound") for k in range(475) if not 150 < k < 250]
    for _, time_s, kind in sorted(pictures + sounds):
        on = (time_s + 1e-6) % 1 < 0.3
        if kind == "sound":
            wave = 8000 * on * np.sin(2 * np.pi * 1000 * np.arange(CHUNK) / RATE)
            chunk = av.AudioFrame.from_ndarray(np.repeat(wave.astype(np.int16), 2)[None], format="s16", layout="stereo")
            chunk.sample_rate = RATE
            recording.write_sound(chunk, 100 + time_s)
            assert chunk.pts is None, "another output may be about to write the same one"
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
    with pytest.raises(SinkError, match="file/folder: Not a directory; nothing was recorded") as caught:
        Recording(tmp_path / "file" / "folder", "live", 60, 100).open(animated(0), 0.0)
    assert not caught.value.retry


def test_a_folder_that_goes_is_an_error_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    recording = Recording(folder, "live", max_minutes=60, max_mb=100)
    recording.open(animated(0), 0.0)
    recording.write(animated(0), 0.0)
    shutil.rmtree(folder)
    with pytest.raises(SinkError, match=r"/r: the file was deleted, or its folder; nothing was recorded, the stream goes on"):
        recording.write(animated(1), 0.1)
    recording.close()
    assert not folder.exists()


FULL = """
import resource, signal, sys
from pathlib import Path
from streamer.errors import SinkError
from streamer.sinks.recording import Recording
from tests.unit.test_recording import noise
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
recording = Recording(Path(sys.argv[1]), "live", 60, 100)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    recording.open(noise(0), 0.0)
    for k in range(200):
        recording.write(noise(k), k / 10)
except SinkError as exc:
    print(exc)
recording.close()
"""


def noise(k: int) -> AnimatedFrame:
    picture = np.random.default_rng(k).integers(0, 256, (64, 64, 3), np.uint8)
    return AnimatedFrame(planar(picture), k / 10, k, _SEAL)


@pytest.mark.parametrize("most", [0, 4_000, 200_000])
def test_a_disk_that_is_full_leaves_what_plays_or_nothing(tmp_path: Path, most: int) -> None:
    told = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(most)], capture_output=True, text=True, check=True
    ).stdout
    left = list(tmp_path.iterdir())
    assert ("what was written plays" if left else "nothing was recorded") in told
    for file in left:
        with av.open(str(file)) as opened:
            assert next(opened.decode(video=0)).width == 64


KILLED = """
import os, sys, signal
from pathlib import Path
from streamer.sinks.recording import Recording
from tests.unit.test_recording import animated
recording = Recording(Path(sys.argv[1]), "live", 60, 100)
recording.open(animated(0), 0.0)
for k in range(58):
    recording.write(animated(k), k / 10)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_what_a_killed_process_left_is_finished_and_nothing_that_is_written_to(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
    (tmp_path / "live-empty.part.mp4").touch()
    running = Recording(tmp_path, "hall", max_minutes=60, max_mb=100)
    running.open(animated(0), 0.0)
    library = Library(tmp_path)
    assert not library.files()
    library.finish_left_over()
    [left] = library.files()
    assert left.name.startswith("live-")
    assert seconds_of(tmp_path / left.name)[1] >= 48
    assert {path.name for path in tmp_path.iterdir()} == {left.name, running.path.name}
    running.write(animated(1), 0.1)
    running.close()
    assert len(library.files()) == 2


def test_the_oldest_recordings_go_beyond_the_limits_and_no_other_file(tmp_path: Path) -> None:
    now = 1e9
    for age_days in range(5):
        path = tmp_path / f"live-{age_days}.mp4"
        path.write_bytes(bytes(400_000))
        os.utime(path, (now - age_days * 86_400, now - age_days * 86_400))
    (tmp_path / "mine.txt").write_bytes(bytes(5_000_000))

    def left(**limits: float) -> list[str]:
        Library(tmp_path, now=lambda: now, **limits).keep_limits()
        return sorted(path.name for path in tmp_path.iterdir())

    assert len(left()) == 6, "no limit"
    assert left(max_days=3.5) == ["live-0.mp4", "live-1.mp4", "live-2.mp4", "live-3.mp4", "mine.txt"]
    assert left(max_total_mb=1) == ["live-0.mp4", "live-1.mp4", "mine.txt"]


def test_only_recordings_are_given_and_deleted(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "secret.mp4").touch()
    (tmp_path / "r" / "a.part.mp4").touch()
    (tmp_path / "r" / "a.txt").touch()
    library = Library(tmp_path / "r")
    for name in ("../secret.mp4", "a.part.mp4", "a.txt", "", ".", "/etc/passwd"):
        with pytest.raises(UnknownRecording):
            library.delete(name)
    assert (tmp_path / "secret.mp4").exists()
