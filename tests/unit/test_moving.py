"""A clip as portrait: it goes on without a jump, and what drives it takes the place of what its own face does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.errors import ClipError, PortraitError
from pipeline.face.faces import faces_by
from pipeline.face.motion import rest
from pipeline.frames import Image, planar
from pipeline.loop import TURN, Loop
from pipeline.mesh.engine import MeshEngine
from pipeline.mesh.followed import Followed
from pipeline.mesh.mixing import Mixer
from pipeline.portrait import Picture, Portrait, bundled, pack_puppet
from pipeline.puppet import moving as module
from pipeline.puppet.make import face_of
from pipeline.puppet.moving import is_moving, loop_pictures, moving
from pipeline.puppetfile import About
from streamer.control.shelf import Shelf

FPS, COUNT, WAY = 25.0, 9, 2.0  # pixels that the head goes from one picture to the next


def of_frames(count: int, closes: bool) -> Loop:
    return Loop(np.zeros((count, 3, 2), np.uint8), np.zeros((count, 478, 3), np.float32), FPS, closes)


def test_a_clip_that_does_not_close_goes_there_and_back_and_turns_slowly():
    loop = of_frames(40, closes=False)
    shown = [loop.at(k / FPS) for k in range(300)]
    steps = np.abs(np.diff(shown))
    assert set(shown) == set(range(40))
    assert steps.max() == 1
    turns = [k for k in range(1, 299) if shown[k] in (0, 39)]
    assert all(steps[k - 2 : k + 2].sum() <= 2 for k in turns), "half as fast as on the way"
    assert shown[0] == shown[round(2 * (39 + TURN))] == 0, "and so on for ever"


@pytest.mark.parametrize(("back", "closes"), [(1, True), (200, False)])
def test_whether_a_clip_closes_is_seen(back, closes):
    levels = [100, 104, 108, 104, 100 + back * 0.5]
    yuv = np.stack([planar(np.full((64, 64, 3), level, np.uint8)) for level in levels])
    loop = Loop.of(yuv, np.zeros((5, 478, 3), np.float32), FPS)
    assert loop.closes is closes
    if closes:
        assert [loop.at(k / FPS) for k in range(7)] == [0, 1, 2, 3, 4, 0, 1]


@pytest.fixture(scope="module")
def swaying() -> Portrait:
    """The default portrait, small, whose whole picture goes to the right."""
    portrait = bundled("collins")
    factor = 512 / max(portrait.image.shape[:2])
    width, height = (round(side * factor) // 2 * 2 for side in portrait.image.shape[1::-1])
    size = width, height
    image = np.asarray(cv2.resize(portrait.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = np.array([size[0] / portrait.image.shape[1], size[1] / portrait.image.shape[0], factor], np.float32)
    landmarks = portrait.landmarks * scale
    frames, faces = [], []
    for k in range(COUNT):
        there = np.array([[1, 0, WAY * k], [0, 1, 0]], np.float32)
        frames.append(planar(np.asarray(cv2.warpAffine(image, there, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)))
        faces.append(landmarks + np.array([WAY * k, 0, 0], np.float32))
    loop = Loop.of(np.stack(frames), np.stack(faces).astype(np.float32), FPS)
    return Portrait("swaying", image, landmarks, more=(face_of(Picture(image, landmarks)),), loop=loop)


def driven(prepared, time_s: float, **change) -> Image:
    return Followed(**vars(replace(rest(), **change)), time_s=time_s, mixer=Mixer()).render(prepared)


def test_a_driver_at_rest_sees_the_clip_go_on_and_an_expression_is_laid_on_top(swaying):
    prepared = MeshEngine(faces_by(None)).prepare(swaying, 512, 512)
    assert prepared.fps == FPS
    for time_s in (0.0, 0.2):
        still = prepared.at(time_s).still
        assert np.abs(driven(prepared, time_s).astype(int) - still).mean() < 2.0, "bent by nothing, it is itself"
    assert np.abs(prepared.at(0.2).still.astype(int) - prepared.at(0.0).still).mean() > 3.0
    shut = driven(prepared, 0.2, openness=np.zeros(2, np.float32)).astype(int)
    eyes = np.abs(shut - prepared.at(0.2).still).mean(axis=2) > 25
    assert eyes.sum() > 50
    rows = np.flatnonzero(eyes.any(axis=1))
    assert rows.min() > swaying.landmarks[10, 1]
    assert rows.max() < swaying.landmarks[1, 1] + 10, "the lids and nothing below"
    assert not prepared.has_matte


def written(folder: Path, count: int, size: tuple[int, int] = (64, 48)) -> Path:
    with av.open(str(folder / "clip.mp4"), "w") as target:
        video = target.add_stream("libx264", rate=50)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        for k in range(count):
            target.mux(video.encode(av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), 5 * k, np.uint8), format="rgb24")))
        target.mux(video.encode(None))
    return folder / "clip.mp4"


def test_of_a_clip_so_many_pictures_are_taken_and_no_more(tmp_path, monkeypatch):
    path = written(tmp_path, 40)
    assert is_moving(path)
    fps, yuv = loop_pictures(path, "clip")
    assert (fps, yuv.shape) == (30.0, (24, 72, 64)), "half of fifty a second is too few, all too many"
    monkeypatch.setattr(module, "LONGEST_S", 0.5)
    monkeypatch.setattr(module, "LONGEST_SIDE", 32)
    assert loop_pictures(path, "clip")[1].shape == (15, 36, 32)
    monkeypatch.setattr(module, "FEWEST", 100)
    with pytest.raises(PortraitError, match=r"mine\.mp4: 15 pictures; a clip that is a portrait has at least 100"):
        loop_pictures(path, "mine.mp4")


def test_a_clip_without_a_face_is_refused_in_a_line(tmp_path):
    with pytest.raises(PortraitError, match=r"mine\.mp4: a face is seen in 0 of its first 24 pictures; a clip as portrait needs"):
        moving(written(tmp_path, 40), "mine.mp4", faces_by(None))


@pytest.mark.parametrize(
    "head",
    [b"\0\0\0\x20ftypisom", b"\0\0\0\x08wide\0\0\1\0mdat", b"\x1aE\xdf\xa3" * 3, b"RIFF....AVI "],
    ids=["mp4", "mov", "webm", "avi"],
)
def test_a_damaged_clip_is_named_as_one(tmp_path, head):
    path = tmp_path / "cut.mp4"
    path.write_bytes(head + bytes(64))
    with pytest.raises(ClipError, match=r"cut\.mp4: "):
        is_moving(path)


def test_a_clip_is_kept_as_it_came(swaying, tmp_path):
    shelf, key = Shelf(tmp_path / "kept"), "upload-0123456789abcdef"
    clip = written(tmp_path, 40)
    fps, yuv = loop_pictures(clip, "clip")
    loop = Loop.of(yuv, np.stack([swaying.landmarks] * len(yuv)), fps)
    shelf.put(key, replace(swaying, loop=loop), pack_puppet(swaying, About("swaying")), clip.read_bytes())
    kept = shelf.about(key)
    assert kept is not None
    assert (kept.moves, kept.pictures) == (True, 1)
    assert kept.size > clip.stat().st_size
    again = shelf.load(key)
    assert again is not None
    assert again.loop is not None
    assert np.array_equal(again.loop.yuv, yuv)
    assert len(again.more) == 1
    assert again.about is None
    (tmp_path / "kept" / key / "clip").write_bytes(b"")
    with pytest.raises(PortraitError, match="what was kept of it cannot be read; delete it"):
        shelf.load(key)
