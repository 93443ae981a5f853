"""The gallery on disk: what was uploaded is there again, within bounds, whatever happens to its folder meanwhile."""

from __future__ import annotations

import asyncio
import io
import os
import resource
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import MarksError, PortraitError
from pipeline.face.faces import Faces, faces_by
from pipeline.portrait import DEMO_CLIP, bundled_names, make_portrait
from pipeline.puppetfile import About
from streamer.config import Engine, Portraits
from streamer.control import gallery as galleries
from streamer.control.gallery import Gallery, PortraitInfo
from streamer.control.shelf import ABANDONED_S, ABOUT, PORTRAIT, SIDE, thumbnail
from streamer.control.workshop import Workshop
from streamer.errors import BadCommand, CannotKeep, GalleryFull, UnknownPortrait

from ..faces import two_faces
from ..media import beginning
from ..waiting import until

MARKS = [[30.0, 40.0], [70.0, 40.0], [50.0, 60.0], [36.0, 76.0], [64.0, 76.0]]


def picture(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (120, 100, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def opened(tmp_path) -> Callable[..., Gallery]:
    """A gallery over the test's folder, as after a start; in_use: a set of ids that streams show."""

    def open_gallery(in_use: set[str] | None = None, faces: Faces | None = None, **config) -> Gallery:
        shown = set() if in_use is None else in_use
        kept = Portraits.model_construct(**{**Portraits(folder=tmp_path / "deep" / "kept").model_dump(), **config})
        return Gallery(Engine(max_side=128), faces or faces_by(None), lambda: shown, config=kept)

    return open_gallery


async def added(gallery: Gallery, seed: int, **more) -> PortraitInfo:
    return await gallery.add(f"{seed}.png", picture(seed), MARKS, **more)


async def uploads(gallery: Gallery) -> list[str]:
    return [info.name for info in await gallery.infos() if info.uploaded]


async def test_uploads_are_there_after_a_restart_with_their_own_pictures(opened):
    before = opened()
    infos = [await added(before, seed) for seed in (1, 2)]
    pictures = [(await before.get(info.id)).image for info in infos]
    after = opened()
    assert (await after.infos())[-2:] == infos
    third = await added(after, 3)
    assert len({third.id, *(info.id for info in infos)}) == 3, "an id is never given to another picture"
    for info, image in zip(infos, pictures, strict=True):
        assert np.array_equal((await after.get(info.id)).image, image)
        assert (await after.get(info.id)).about is None, "a picture, no puppet"
        small = np.array(Image.open(io.BytesIO(await after.thumbnail(info.id))))
        assert small.shape == (SIDE, SIDE, 3)
    assert (await after.thumbnail(infos[0].id)) != (await after.thumbnail(third.id))


@pytest.mark.parametrize(("width", "height"), [(480, 1600), (1300, 640), (200, 200)])
def test_a_thumbnail_shows_the_whole_face_in_its_middle(width, height):
    marks = np.array(MARKS, np.float32) + (width - 110, height - 120)
    dark = make_portrait("dark", np.zeros((height, width, 3), np.uint8), faces_by(None), marks)
    [(x, y, across, down)] = dark.boxes()
    left, top = round(x * width), round(y * height)
    dark.image[top : top + round(down * height), left : left + round(across * width)] = 255
    small = np.array(Image.open(io.BytesIO(thumbnail(dark))).convert("L")) > 128
    rows, columns = np.flatnonzero(small.any(axis=1)), np.flatnonzero(small.any(axis=0))
    ratio = round(down * height) / round(across * width)
    assert (rows[-1] - rows[0]) / (columns[-1] - columns[0]) == pytest.approx(ratio, rel=0.05), "nothing is cut off"
    assert 0.35 < (rows[-1] - rows[0]) / SIDE < 0.75, "and it is large"


async def test_an_upload_is_there_while_another_thread_forgets_what_is_known_of_it(opened):
    class Forgetful(dict):
        def __setitem__(self, key: str, known: object) -> None:
            """As if a listing on another thread, which has begun before the upload, had ended just now."""

    gallery = opened()
    info = await added(gallery, 1)
    gallery._shelf._known = Forgetful()
    assert gallery.info(info.id) == info


async def test_the_same_upload_again_changes_nothing(opened):
    gallery = opened()
    first = await added(gallery, 1)
    assert await gallery.add("other.png", picture(1), MARKS) == first
    moved = await gallery.add("moved.png", picture(1), [[x + 9, y] for x, y in MARKS])
    assert moved.id != first.id, "another face"
    assert gallery.changes == 2


async def test_where_it_is_full_what_goes_is_named_before_it_goes(opened):
    in_use: set[str] = set()
    gallery = opened(in_use, max_count=2)
    first, second = await added(gallery, 1), await added(gallery, 2)
    with pytest.raises(GalleryFull, match=r"full \(2 uploads\): '1.png' would have to go for this one; delete") as caught:
        await added(gallery, 3)
    assert caught.value.goes == {first.id: "1.png"}
    in_use.add(first.id)
    with pytest.raises(GalleryFull, match=r"'2\.png' would have to go"):
        await added(gallery, 3, going=[first.id])
    assert await uploads(gallery) == ["1.png", "2.png"]
    await added(gallery, 3, going=[second.id, "nonsense"])
    assert await uploads(gallery) == ["1.png", "3.png"]
    in_use |= {info.id for info in await gallery.infos()}
    with pytest.raises(GalleryFull, match="full of portraits that are shown") as caught:
        await added(gallery, 4)
    assert caught.value.goes == {}


async def test_bytes_are_bounded_too(opened):
    gallery = opened(max_mb=0.2)
    for seed in (1, 2):
        await added(gallery, seed)
    size = sum(about.size for about in gallery._shelf.look().values())
    gallery = opened(max_mb=size / 1e6 + 0.01)
    with pytest.raises(GalleryFull, match=r"'1\.png' would have to go"):
        await added(gallery, 3)


async def test_a_portrait_deleted_while_it_is_shown_stays_with_its_stream(opened):
    in_use: set[str] = set()
    gallery = opened(in_use)
    key = (await added(gallery, 1)).id
    in_use.add(key)
    await gallery.delete(key)
    assert await uploads(gallery) == []
    gallery.check(key)
    assert (await gallery.get(key)).image.shape == (120, 100, 3), "another engine can be chosen for it"
    in_use.clear()
    with pytest.raises(UnknownPortrait):
        await gallery.get(key)
    with pytest.raises(UnknownPortrait):
        await gallery.delete(key)


async def test_an_upload_is_renamed_and_nothing_else_is(opened):
    gallery = opened()
    key = (await added(gallery, 1)).id
    assert (await gallery.rename(key, "  Zoë\n& me ")).name == "Zoë & me"
    assert await uploads(opened()) == ["Zoë & me"]
    with pytest.raises(BadCommand, match="at least one letter"):
        await gallery.rename(key, "\n ")
    for change in (gallery.rename("drawing", "x"), gallery.delete("drawing")):
        with pytest.raises(BadCommand, match="'drawing' was not uploaded"):
            await change
    assert (await gallery.get(key)).name == "Zoë & me"


async def test_another_process_may_change_the_folder(opened, model):
    ours, theirs = opened(faces=faces_by(model)), opened(faces=faces_by(model))
    data = cv2.imencode(".png", two_faces()[..., ::-1])[1].tobytes()
    key = (await ours.add("pair.png", data, None)).id
    kept = await ours.get(key)
    chosen = await theirs.choose_face(key, 1 - kept.face)
    await theirs.rename(key, "both")
    assert ours.info(key).face == chosen.face
    assert (ours.info(key).name, (await ours.get(key)).face) == ("both", chosen.face)
    assert np.allclose((await ours.get(key)).landmarks, kept.others[chosen.face])
    assert await ours.thumbnail(key) == await theirs.thumbnail(key)
    assert (await opened().get(key)).with_face(kept.face).face == kept.face
    await theirs.delete(key)
    assert await uploads(ours) == []
    with pytest.raises(UnknownPortrait):
        ours.info(key)


async def test_a_face_that_is_placed_by_hand_is_there_after_a_restart(opened):
    ours, theirs = opened(), opened()
    info = await added(ours, 1)
    before = await ours.thumbnail(info.id)
    told = np.array(await ours.marks(info.id))
    assert np.allclose(told * (100, 120), MARKS, atol=0.5)
    wanted = (told + (0.05, -0.1)).tolist()
    changes = ours.changes
    placed = await ours.place_face(info.id, wanted)
    assert placed.faces != info.faces
    assert ours.changes == changes + 1
    assert await ours.thumbnail(info.id) != before
    for gallery in (ours, theirs, opened()):
        assert gallery.info(info.id) == placed
        assert np.allclose(await gallery.marks(info.id), wanted, atol=0.005)
    with pytest.raises(MarksError, match=r"^1\.png: marks: the eyes are changed over"):
        await ours.place_face(info.id, [wanted[k] for k in (1, 0, 2, 3, 4)])
    with pytest.raises(UnknownPortrait):
        await ours.place_face("upload-0123456789abcdef", wanted)


async def test_a_damaged_folder_costs_only_what_is_damaged(opened, tmp_path, caplog):
    gallery = opened()
    infos = [await added(gallery, seed) for seed in range(4)]
    folder = tmp_path / "deep" / "kept"
    (folder / infos[0].id / ABOUT).write_text("{")
    (folder / infos[1].id / PORTRAIT).write_bytes(b"nothing")
    (folder / infos[2].id / PORTRAIT).unlink()
    (folder / "upload-0123456789abcdef").write_text("a file")
    gallery = opened()
    assert await uploads(gallery) == ["1.png", "2.png", "3.png"]
    assert "damaged" in caplog.text
    for info in infos[1:3]:
        with pytest.raises(PortraitError, match=info.name):
            await gallery.get(info.id)
    assert (await added(gallery, 0)).id == infos[0].id, "and an upload mends it"
    assert len(await uploads(gallery)) == 4
    for name in ("../kept", "upload-0123456789abcdef", "..", ""):
        with pytest.raises(UnknownPortrait):
            gallery.check(name)
    shutil.rmtree(folder)
    assert await uploads(gallery) == []
    await added(gallery, 5)
    assert await uploads(gallery) == ["5.png"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk that is full: writing on fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_told_of_and_leaves_nothing_behind(opened, tmp_path):
    gallery = opened()
    await added(gallery, 1)
    with files_of_at_most(10_000), pytest.raises(CannotKeep, match=r"^2.png: cannot be kept in .*kept \(File too large\); free"):
        await added(gallery, 2)
    assert await uploads(gallery) == ["1.png"]
    assert len(list((tmp_path / "deep" / "kept").iterdir())) == 1
    await added(gallery, 2)
    assert await uploads(gallery) == ["1.png", "2.png"]


async def test_a_clip_for_which_there_is_no_room_leaves_nothing_behind(opened, monkeypatch, tmp_path):
    async def clip() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield bytes(10_000)

    workshop = Workshop(opened())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    for folder in ("nowhere", "somewhere"):
        with files_of_at_most(20_000), pytest.raises(CannotKeep, match=rf"^me: the clip cannot be kept in .*{folder} \("):
            await workshop.start(About("me", "a clip"), clip())
        assert workshop.states() == []
        (tmp_path / "somewhere").mkdir(exist_ok=True)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "somewhere"))
    assert list((tmp_path / "somewhere").iterdir()) == []


class Elsewhere:
    """Finds no face in this process: it is to be done in another."""

    name = "mediapipe"


async def test_a_clip_is_followed_in_another_process(opened, model, tmp_path):
    beginning(DEMO_CLIP, tmp_path / "ten.mp4", 10)
    gallery = opened(faces=Elsewhere())
    info = await gallery.add("ten.mp4", (tmp_path / "ten.mp4").read_bytes(), None)
    assert (info.moves, info.pictures) == (True, 1)
    made, again = await gallery.get(info.id), await opened().get(info.id)
    assert made.loop is not None
    assert again.loop is not None
    assert len(made.loop) == len(again.loop) >= 10
    assert np.array_equal(made.loop.landmarks, again.loop.landmarks)


async def test_a_damaged_clip_is_not_told_to_be_no_picture(opened):
    """Clips are taken, too; one whose head is gone looks like nothing."""
    gallery, clip = opened(), DEMO_CLIP.read_bytes()
    with pytest.raises(PortraitError, match=r"^half\.mp4: not a clip that can be read, or damaged; MP4, MOV, WebM"):
        await gallery.add("half.mp4", clip[: len(clip) // 2], None)
    for head in (b"", bytes(100)):
        with pytest.raises(
            PortraitError, match=r"^x\.mp4: not a picture, clip or puppet .* damaged; JPEG, .*, and MP4, MOV, WebM"
        ):
            await gallery.add("x.mp4", head + clip[len(clip) // 2 :], None)
    with pytest.raises(PortraitError, match=r"^x\.png: damaged picture"):
        await gallery.add("x.png", picture(1)[:200], None)


async def test_a_clip_that_is_followed_ends_with_the_server(opened, tmp_path):
    beginning(DEMO_CLIP, tmp_path / "ten.mp4", 10)
    gallery = opened(faces=Elsewhere())
    adding = asyncio.create_task(gallery.add("ten.mp4", (tmp_path / "ten.mp4").read_bytes(), None))
    await until(lambda: gallery._helper._process is not None)
    gallery.close()
    with pytest.raises(PortraitError, match=r"^ten\.mp4: it was not done, as its process has ended$"):
        await adding
    assert await uploads(opened()) == []


async def test_a_folder_that_cannot_be_made_is_named(opened, tmp_path):
    (tmp_path / "deep").write_text("a file")
    gallery = opened()
    assert await uploads(gallery) == []
    with pytest.raises(CannotKeep, match=r"deep/kept \(Not a directory\)"):
        await added(gallery, 1)


async def test_what_is_not_to_be_kept_goes_with_the_server(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gallery = Gallery(Engine(), faces_by(None), set)
    key = (await added(gallery, 1)).id
    assert not gallery.lasts(key)
    assert gallery.lasts("drawing")
    assert len(list(tmp_path.iterdir())) == 1
    gallery.close()
    assert list(tmp_path.iterdir()) == []


async def test_what_an_earlier_process_did_not_finish_is_swept_away(opened, tmp_path):
    folder = tmp_path / "deep" / "kept"
    for name, age_s in ((".upload-0123456789abcdef.aa", 2 * ABANDONED_S), (".upload-0123456789abcdef.bb", 0)):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, (os.stat(folder).st_atime, os.stat(folder).st_mtime - age_s))
    opened()
    assert [path.suffix for path in folder.iterdir()] == [".bb"]


async def test_a_long_gallery_is_light(opened):
    gallery = opened()
    names = [(await added(gallery, seed)).name for seed in range(12)]
    gallery = opened()
    assert await uploads(gallery) == names
    assert not gallery._loaded, "no picture is read for the list"
    await asyncio.gather(*(gallery.get(key) for key in await asyncio.to_thread(gallery.keys) if key not in bundled_names()))
    assert len(gallery._loaded) == galleries.MAX_LOADED + 1


async def test_a_large_upload_is_refused_before_it_is_decoded(opened):
    gallery = opened(max_megapixels=1)
    out = io.BytesIO()
    Image.new("1", (2000, 1500)).save(out, "PNG")
    with pytest.raises(PortraitError, match=r"large\.png: 3 megapixels; at most 1 are taken"):
        await gallery.add("large.png", out.getvalue(), MARKS)
    with pytest.raises(PortraitError, match="megapixels"):
        await gallery.preview("large.png", out.getvalue())
