"""The person alone: the matte against outlines drawn by hand, what stands behind, and the picture that carries both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.face import topology as topo
from pipeline.face.faces import faces_by
from pipeline.face.motion import rest
from pipeline.fade import FADE_S, Fade
from pipeline.frames import Image, opaque, planar, stacked, yuv_planes
from pipeline.mesh.backdrop import Backdrop
from pipeline.mesh.finish import Grain
from pipeline.mesh.followed import Followed
from pipeline.mesh.mixing import Mixer
from pipeline.mesh.prepared import MeshPrepared
from pipeline.pictures.covering import covering
from pipeline.pictures.decode import decode
from pipeline.portrait import BUNDLED, bundled, bundled_names, load_portrait
from streamer.config import ORIGINAL, PICTURE, Portraits
from streamer.control.backgrounds import Backgrounds
from streamer.errors import BadBackground, CannotKeep, UnknownBackground
from streamer.stream.stream import Shown

from ..fakes import FakePrepared

# Outlines in pixels of the picture, drawn by hand along hair, skin and clothes; the lower border closes them.
DRAWN = {
    "astronaut": "0,505 45,481 80,441 82,398 95,396 104,382 122,350 150,330 186,318 237,317 236,300 231,282 223,279 212,270 "
    "205,255 199,245 182,226 174,202 171,176 170,149 178,123 199,103 226,86 245,76 252,63 273,47 299,40 335,33 365,37 400,50 "
    "431,69 451,85 467,108 478,141 484,170 485,190 479,217 469,237 451,258 437,274 431,285 419,291 412,289 410,299 405,325 "
    "394,352 389,370 400,378 425,399 450,425 471,454 482,478 490,497 519,513 545,536 564,560 577,589 588,608 595,624 602,640 "
    "0,640",
    "mei": "0,600 32,584 73,565 110,566 113,543 121,510 135,466 148,408 153,350 158,300 166,252 181,204 201,172 232,140 264,117 "
    "297,103 331,104 360,103 396,118 426,146 449,173 468,213 480,251 490,292 496,345 502,409 509,479 513,530 514,560 551,557 "
    "584,571 613,585 640,598 640,768 0,768",
    "samuel": "0,613 40,597 99,572 143,553 175,562 195,542 207,514 209,498 200,480 190,455 184,421 182,401 168,396 164,370 "
    "163,341 160,300 163,287 169,281 168,200 169,154 179,131 204,102 237,80 281,68 293,61 319,64 346,75 386,86 415,98 437,118 "
    "450,145 455,185 456,241 454,287 461,293 465,312 460,352 453,390 443,397 432,394 420,421 418,459 424,499 440,530 460,560 "
    "498,556 520,565 560,580 600,599 640,616 640,768 0,768",
}
POSES = [(0.4, 0, 0, 0, 0, 0), (-0.5, 0.2, 0, 0, 0, 0), (0.3, 0.3, -0.2, -0.1, -0.4, 0.3)]


@pytest.mark.parametrize("name", DRAWN)
def test_the_matte_is_the_outline_that_was_drawn_by_hand(name):
    found = MeshPrepared.of(bundled(name), 768, 768).cut.alpha > 127
    drawn = np.zeros(found.shape, np.uint8)
    cv2.fillPoly(drawn, [np.array([point.split(",") for point in DRAWN[name].split()], np.int32)], 1)
    assert (found & (drawn > 0)).sum() / (found | (drawn > 0)).sum() >= 0.95


@pytest.mark.parametrize("name", ["collins", "s1", "s5"])
def test_the_matte_is_the_same_in_every_size_and_in_one_piece(name, request):
    if name in bundled_names():
        portrait = bundled(name)
    else:
        path, model = request.getfixturevalue("picture")(name), request.getfixturevalue("model")
        portrait = load_portrait(str(path), faces_by(model))
    mattes = [MeshPrepared.of(portrait, side, side).cut.alpha for side in (200, 300, 640, 1280)]
    assert all(cv2.connectedComponents((alpha > 12).astype(np.uint8))[0] == 2 for alpha in mattes), "the ground and the person"
    small, *others = (cv2.resize(alpha, mattes[0].shape[::-1], interpolation=cv2.INTER_AREA) > 127 for alpha in mattes)
    assert all((small & other).sum() / (small | other).sum() >= 0.98 for other in others)


@pytest.mark.parametrize(("name", "told"), [("s9", True), ("s5", False)])
def test_who_is_cut_out_of_a_ground_like_herself_is_told_to_look(name, told, picture, model, tmp_path, shell):
    done = shell.run(["pose", picture(name), "--transparent", "-o", "posed.png", "--engine", "mesh"], tmp_path)
    assert done.code == 0, done.said
    assert (f"{name}.jpg: the body hardly stands out from the background" in done.said) == told, done.said


@pytest.mark.parametrize("driver", [None, "astronaut.jpg"])
def test_a_file_has_what_is_put_behind_the_person(driver, model, tmp_path, shell):
    """A green screen, or a picture of any size, in a posed picture and in an animated one."""
    cv2.imwrite(str(tmp_path / "blue.png"), np.full((70, 90, 3), (200, 40, 20), np.uint8))
    made = ["pose", "collins"] if driver is None else ["animate", "collins", BUNDLED / driver]
    for given, wanted in (("#00b140", (0, 177, 64)), ("blue.png", (20, 40, 200))):
        done = shell.run([*made, "-o", "o.png", "--force", "--background", given, "--engine", "mesh"], tmp_path)
        assert done.code == 0, done.said
        shown = decode((tmp_path / "o.png").read_bytes(), "o.png").image.astype(int)
        own = bundled("collins").image.astype(int)
        assert np.abs(shown[40, 40] - wanted).max() < 12
        place = bundled("collins").landmarks[topo.FOREHEAD, :2].astype(int)
        assert np.abs(shown[place[1], place[0]] - own[place[1], place[0]]).max() < 40, "and the person stays"


def test_of_those_that_come_along_none_is_cut_out_badly():
    assert not [name for name in bundled_names() if MeshPrepared.of(bundled(name), 256, 256).has_doubtful_matte]


def test_what_is_black_behind_a_head_is_no_part_of_it():
    rows, columns = np.indices((256, 256))
    away = np.hypot(rows - 128, columns - 128)
    behind = np.where((rows > 90)[..., None], np.random.default_rng(0).integers(0, 4, (256, 256, 3)), 200)
    picture = np.where((away < 60)[..., None], np.uint8((150, 100, 60)), behind.astype(np.uint8))
    head = Backdrop.of(picture, np.float32(away < 60), np.zeros((256, 256), np.float32), Grain(1.0, 1.0)).head
    assert (head[..., 3][(rows > 110) & (away > 61)] < 12).all()


def posed(*pose: float) -> Followed:
    motion = replace(rest(), pose=np.array(pose, np.float32))
    return Followed(**vars(motion), time_s=0.0, mixer=Mixer())


@pytest.fixture(scope="module")
def astronaut() -> MeshPrepared:
    return MeshPrepared.of(bundled("astronaut"), 256, 256)


def lines(prepared: MeshPrepared) -> Image:
    """A ground of upright lines, as large as the portrait."""
    height, width = prepared.still.shape[:2]
    return np.tile(np.where((np.arange(width) % 12 < 3)[None, :, None], np.uint8(230), np.uint8(40)), (height, 1, 3))


def test_before_another_ground_the_person_is_the_portraits_own(astronaut):
    ground = lines(astronaut)
    before = astronaut.over(ground)
    assert np.array_equal(before.render(rest()), before.still)
    alpha = astronaut.cut.alpha
    assert 0.2 < (alpha == 255).mean() < 0.8
    assert np.array_equal(before.still[alpha == 255], astronaut.still[alpha == 255])
    assert np.array_equal(before.still[alpha == 0], ground[alpha == 0])


def test_straight_lines_behind_a_head_stay_straight_however_it_moves(astronaut):
    ground = lines(astronaut)
    before = astronaut.over(ground)
    for pose in POSES:
        motion = posed(*pose)
        shown = motion.render(before)
        alpha = yuv_planes(before.cut_out(motion, planar(shown)))[0][len(shown) :]
        assert 0.2 < (alpha == 16).mean() < 0.8
        assert np.array_equal(shown[alpha == 16], ground[alpha == 16]), "to the pixel"


@pytest.mark.parametrize("pose", [None, *POSES])
def test_a_cut_out_put_together_is_the_person_before_that_ground(astronaut, pose):
    motion = None if pose is None else posed(*pose)
    ground, height = lines(astronaut), len(astronaut.still)
    wanted = astronaut.over(ground).render(motion or rest())
    shown = astronaut.still if motion is None else motion.render(astronaut)
    whole = cv2.cvtColor(astronaut.cut_out(motion, planar(shown)), cv2.COLOR_YUV2RGB_I420).astype(np.float32)
    got = whole[:height] + ground * (1 - whole[height:] / 255)
    assert np.abs(got - wanted).mean() < 1.5, "but for the halved colours"


def test_a_portrait_without_a_matte_is_shown_whole(astronaut):
    backdrop = Backdrop(astronaut.pixels, None)
    plain = replace(astronaut, backdrop=backdrop, cut=replace(astronaut.cut, backdrop=backdrop, matte=None))
    assert not plain.has_matte
    assert plain.over(lines(plain)) is plain
    yuv = planar(plain.still)
    assert (yuv_planes(plain.cut_out(posed(0, 0, 0, 0, 0, 0), yuv))[0][len(plain.still) :] == 235).all()


def test_a_stacked_picture_has_colours_above_and_coverage_below():
    yuv = planar(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))
    alpha = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    picture = stacked(yuv, alpha)
    assert picture.shape == (18, 8)
    upper = np.concatenate([part[: len(part) // 2].reshape(-1) for part in yuv_planes(picture)])
    assert np.array_equal(upper, yuv.reshape(-1))
    below = cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420)[6:]
    assert np.abs(below.astype(int) - alpha[..., None]).max() <= 1


def test_cut_outs_fade_as_pictures_do():
    dark, light = (opaque(planar(np.full((16, 16, 3), grey, np.uint8))) for grey in (20, 220))
    fade = Fade(dark, 0.0, lambda: dark)
    half = fade.over_cut(lambda: light, FADE_S / 2)()
    assert np.abs(half - (dark / 2 + light / 2)).max() <= 1
    assert np.array_equal(fade.over_cut(lambda: light, FADE_S)(), light)


@pytest.fixture
def kept(tmp_path) -> Callable[[], Backgrounds]:
    """Backgrounds over the test's folder, as after a start."""
    return lambda: Backgrounds(Portraits(folder=tmp_path))


def file_of(colour: int) -> bytes:
    return cv2.imencode(".png", np.full((80, 120, 3), colour, np.uint8))[1].tobytes()


def test_a_background_is_there_after_a_restart(kept):
    with pytest.raises(UnknownBackground, match=r"^stream 'live' has no background picture; PUT /api/streams/live/background"):
        kept().get("live")
    kept().put("live", file_of(90))
    assert kept().get("live")[:2] == b"\xff\xd8"
    with pytest.raises(UnknownBackground):
        kept().get("hall")


def test_what_is_no_background_changes_nothing(kept, tmp_path):
    backgrounds = kept()
    backgrounds.put("live", file_of(90))
    before = backgrounds.get("live")
    with pytest.raises(BadBackground, match=r"^background: not a JPEG"):
        backgrounds.put("live", b"nonsense")
    assert backgrounds.get("live") == before
    assert [path.name for path in (tmp_path / "backgrounds").iterdir()] == ["live.jpg"]


def test_a_folder_that_cannot_be_written_is_told_of(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CannotKeep, match=r"^background: cannot be kept \(.*portraits\.folder$"):
        Backgrounds(Portraits(folder=file)).put("live", file_of(90))


async def test_what_is_wanted_behind_is_there(kept, astronaut, caplog):
    backgrounds, shown = kept(), Shown("astronaut", astronaut)
    assert await backgrounds.behind("live", ORIGINAL, shown) is shown
    assert await backgrounds.behind("live", PICTURE, shown) is shown, "there is none"
    assert "has no background picture" in caplog.text
    backgrounds.put("live", file_of(90))
    for wanted, colour in (("#204060", (32, 64, 96)), (PICTURE, (90, 90, 90))):
        still = (await backgrounds.behind("live", wanted, shown)).prepared.still
        assert np.abs(still[astronaut.cut.alpha == 0].astype(int) - colour).max() <= 1
    plain = Shown("fake", FakePrepared())
    assert await backgrounds.behind("live", "#204060", plain) is plain


@pytest.mark.parametrize(("width", "height"), [(64, 48), (48, 64), (200, 20)])
def test_a_background_covers_the_portrait(width, height):
    picture = np.zeros((90, 160, 3), np.uint8)
    picture[40:50, 70:90] = 255
    out = covering(picture, width, height)
    assert out.shape == (height, width, 3)
    rows, columns = np.nonzero(out[..., 0] > 127)
    assert abs(rows.mean() - (height - 1) / 2) < 1
    assert abs(columns.mean() - (width - 1) / 2) < 1, "its middle is in the middle"
