"""The LivePortrait engine: geometry, following, precision, files in and out, and the live graph."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.similarity import psnr, ssim
from pipeline import models
from pipeline.clips import open_clip, timed
from pipeline.engine import choose, open_engine
from pipeline.errors import ClipError, ModelError, PortraitError, PuppetError
from pipeline.face.faces import faces_by
from pipeline.face.mediapipe import find_landmarks
from pipeline.follow.neutral import FaceState
from pipeline.follow.tuning import Tuning
from pipeline.liveportrait.build import precisions
from pipeline.liveportrait.crop import DRIVING, SIDE, SOURCE, DrivingBox, FaceBox, mesh_box, mesh_ratios, transform
from pipeline.liveportrait.engine import LivePortraitEngine
from pipeline.liveportrait.files import BASE
from pipeline.liveportrait.follow import mean_motion
from pipeline.liveportrait.motion import FaceMotion, rotation
from pipeline.liveportrait.options import MotionOptions, Precision, Settings
from pipeline.liveportrait.paste import to_bytes
from pipeline.loop import Loop
from pipeline.offline.animate import animate
from pipeline.offline.mux import Output, Sound
from pipeline.portrait import BUNDLED, DEMO_CLIP, bundled, load_portrait, read_picture

from ..conftest import run_server
from ..faces import assert_at_rest

CPU = torch.device("cpu")
FACE_MODEL = models.find(models.FACE_LANDMARKER)  # None in a clone without it: the cascade tracker then follows
FACE = BUNDLED / "astronaut.jpg"
# Centre and side of the source rectangle by the 68 landmarks of dlib, which span jaw and brows as the published ones do.
BY_68 = {"s1": (528, 482, 763), "s5": (354, 241, 334), "s9": (370, 302, 476), "s12": (190, 164, 300)}


@pytest.mark.parametrize("name", BY_68)
def test_the_rectangle_is_that_of_jaw_and_brows(name, picture, model):
    box = mesh_box(find_landmarks(read_picture(picture(name)), model)[0], SOURCE)
    x, y, side = BY_68[name]
    assert box.side == pytest.approx(side, rel=0.04)
    assert np.abs(box.centre - (x, y)).max() < 0.03 * side


@pytest.mark.parametrize("name", ["s1", "s5", "s9", "s12", "s22", "s30"])
def test_the_crop_stands_upright_around_the_face(name, picture, model):
    landmarks = find_landmarks(read_picture(picture(name)), model)[0]
    inside = transform(landmarks[:, :2], mesh_box(landmarks, SOURCE).to_crop())
    eyes = inside[[33, 133, 362, 263]].reshape(2, 2, 2).mean(axis=1)
    lips = inside[[61, 291]].mean(axis=0)
    assert abs(lips[0] - eyes.mean(axis=0)[0]) < 0.01 * SIDE, "eyes above the mouth"
    assert 0.42 * SIDE < eyes.mean(axis=0)[1] < 0.53 * SIDE
    assert inside.min() > 0
    assert inside.max() < SIDE


def test_openings_are_ratios(picture, model):
    landmarks = find_landmarks(read_picture(picture("s5")), model)[0]
    ratios = mesh_ratios(landmarks)
    assert ratios == pytest.approx(mesh_ratios(landmarks * 3 + 7), abs=1e-5)
    opened = landmarks.copy()
    opened[14, 1] += np.linalg.norm(landmarks[61, :2] - landmarks[291, :2]) / 2
    change = mesh_ratios(opened) - ratios
    assert change[:2] == pytest.approx(0, abs=1e-6)
    assert change[2] == pytest.approx(0.5, abs=0.1)


def test_the_driving_box_moves_slowly_and_never_loses_the_face():
    start = FaceBox(np.array([100.0, 100.0]), 200.0, 0.0)
    away = FaceBox(np.array([130.0, 100.0]), 200.0, 0.0)
    box = DrivingBox(start, 0.0)
    for k in range(1, 31):
        box.follow(away, k / 30)
    assert box.box.centre[0] == pytest.approx(100 + 30 * (1 - np.exp(-1 / 20)), abs=0.2), "the head's own motion survives"
    for k in range(31, 3000):
        box.follow(away, k / 30)
    assert box.box.centre[0] == pytest.approx(130, abs=0.5), "who moves for good is followed"
    far = FaceBox(np.array([500.0, 100.0]), 400.0, 0.0)
    box.follow(far, 100.03)
    assert np.linalg.norm(box.box.centre - far.centre) <= DrivingBox.LEASH * box.box.side + 1e-6
    assert far.side / box.box.side <= DrivingBox.ZOOM + 1e-6


def test_the_mean_of_rotations_is_one():
    turns = rotation(torch.tensor([[10.0], [-10.0]]), torch.tensor([[20.0], [20.0]]), torch.zeros(2, 1))
    face = FaceMotion(*(torch.zeros(2, 21, 3),) * 2, turns, torch.tensor([[1.0], [2.0]]), torch.zeros(2, 3))
    mean = mean_motion(face)
    assert mean.scale.item() == 1.5
    wanted = rotation(torch.zeros(1, 1), torch.tensor([[20.0]]), torch.zeros(1, 1))
    assert torch.allclose(mean.rotation, wanted, atol=1e-6)


def test_quality_measures_agree_with_another_implementation():
    skimage = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(1)
    a = rng.integers(0, 256, (60, 70, 3), np.uint8)
    b = np.clip(a + rng.normal(0, 9, a.shape), 0, 255).astype(np.uint8)
    assert psnr(a, b) == pytest.approx(skimage.peak_signal_noise_ratio(a, b), abs=1e-6)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    assert ssim(a, b) == pytest.approx(skimage.structural_similarity(a, b, channel_axis=2, **options), abs=1e-3)


def test_a_clip_as_portrait_is_refused_and_told_where_it_moves(engine) -> None:
    clip = replace(bundled("astronaut"), loop=Loop(np.zeros((1, 3, 2), np.uint8), np.zeros((1, 478, 3), np.float32), 25.0, True))
    with pytest.raises(PortraitError, match="a clip as portrait moves live with the engine mesh alone; choose that engine"):
        engine.prepare(clip, 512, 512)


@pytest.fixture(scope="module")
def engine(tiny) -> LivePortraitEngine:
    return LivePortraitEngine(faces_by(FACE_MODEL), Settings(tiny, "cpu", Precision.FP32))


@pytest.fixture(scope="module")
def faceless(tmp_path_factory) -> Path:
    """A clip of noise."""
    path = tmp_path_factory.mktemp("clips") / "noise.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for k in range(8):
            noise = np.random.default_rng(k).integers(0, 256, (240, 320, 3), np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    with open_clip(path) as opened:
        return [image for _, image in timed(opened)]


def test_a_face_that_is_lost_lets_the_puppet_rest(engine, short):
    source, puppeteer = engine.prepare(bundled("astronaut"), 640, 512), engine.open()
    frames = frames_of(short)
    black = np.zeros_like(frames[0])
    assert puppeteer.animate(source, black, 0.0) is source.still, "no face yet"
    for time_s in (0.1, 0.2):  # where no face was, every second picture is searched in its parts, for one far away
        assert puppeteer.animate(source, frames[0], time_s) is source.still, "no reference yet"
    assert puppeteer.state is FaceState.CALIBRATING
    puppeteer.calibrate([(k / 30, f) for k, f in enumerate(frames)])
    moved = puppeteer.animate(source, frames[-1], 1.0)
    rows, columns = source.paste.part
    outside = np.ones(moved.shape[:2], bool)
    outside[rows, columns] = False
    assert np.array_equal(moved[outside], source.still[outside])
    assert not np.array_equal(moved, source.still)
    for _ in range(3):  # the tracker looks again before it gives up
        puppeteer.animate(source, black, 1.1)
    assert puppeteer.state is FaceState.NO_FACE
    assert puppeteer.animate(source, black, 3.0) is source.still
    puppeteer.close()


def test_at_the_reference_the_portrait_rests(tiny, short):
    """Relative motion of a driver against itself, lips left alone, is the portrait's own picture by the networks."""
    for paste_back in (True, False):
        options = MotionOptions(close_lips=False, stitching=False)
        engine = LivePortraitEngine(faces_by(FACE_MODEL), Settings(tiny, "cpu", Precision.FP32, paste_back, options))
        puppeteer, source = engine.open(), engine.prepare(bundled("astronaut"), 640, 512)
        given = puppeteer.look(frames_of(short)[0])
        itself = given._replace(reference=given.face)
        with torch.inference_mode():
            crop = engine.runtime.render(source.features, source.resting)
        alone = to_bytes(F.interpolate(crop, SIDE, mode="bilinear", align_corners=True))[0].numpy()
        rows, columns = source.paste.part
        picture = puppeteer.render(source, itself)
        assert picture.shape == source.still.shape == ((SIDE, SIDE, 3) if not paste_back else (640, 640, 3))
        if not paste_back:
            assert psnr(picture, alone) > 45, "the crop alone, as published"
        else:
            outside = np.ones(picture.shape[:2], bool)
            outside[rows, columns] = False
            assert np.array_equal(picture[outside], source.still[outside]), "bytes that nothing covers stay as they were"
            assert not np.array_equal(picture, source.still)
        assert np.array_equal(puppeteer.render(source, itself._replace(rest=1.0)), source.still)
        puppeteer.close()


def test_a_portrait_posed_by_nothing_is_itself(engine, tmp_path):
    assert_at_rest(engine, tmp_path / "out.png")


@pytest.mark.long
def test_every_kind_of_driver_and_source(engine, short, tmp_path, tiny, shell):
    portrait = bundled("astronaut")
    made = tmp_path / "t.safetensors"
    done = shell.run(
        ["template", "make", short, "-o", made, "--engine", "liveportrait", "--checkpoints", tiny, "--precision", "fp32"]
    )
    assert done.code == 0, done.said
    by_template, by_clip = tmp_path / "t.mp4", tmp_path / "c.mp4"
    assert animate(engine, portrait, made, Output(by_template, max_frames=2)).frames == 2
    assert animate(engine, portrait, short, Output(by_clip, max_frames=2, side_by_side=True)).frames == 2
    beside, alone = frames_of(by_clip), frames_of(by_template)
    width = alone[0].shape[1]
    assert beside[0].shape[1] > 2 * width
    assert psnr(beside[1][:, -width:], alone[1]) > 25, "a template does what its clip does"

    by_picture = tmp_path / "p.png"
    assert animate(engine, portrait, FACE, Output(by_picture)).frames == 1
    assert read_picture(by_picture).shape == alone[0].shape
    moving = tmp_path / "m.mp4"
    result = animate(engine, short, FACE, Output(moving, max_frames=2, sound=Sound.NONE))
    assert result.frames == len(frames_of(moving)) == 2
    with pytest.raises(PuppetError, match=r"x\.mp4: portrait and driver are both pictures, .*choose a name that ends in \.png"):
        animate(engine, portrait, FACE, Output(tmp_path / "x.mp4"))
    with pytest.raises(PuppetError, match=r"x\.doc: "):
        animate(engine, portrait, short, Output(tmp_path / "x.doc"))
    left = {f.name for f in tmp_path.iterdir()}
    assert left == {"t.safetensors", "t.mp4", "c.mp4", "p.png", "m.mp4"}, "nothing half done is left"


def test_no_face_anywhere(engine, faceless, short, tmp_path):
    result = animate(engine, bundled("drawing"), faceless, Output(tmp_path / "rest.mp4"))
    assert (result.frames, result.tracked) == (8, 0), "the portrait rests, and the command says so"
    with pytest.raises(PuppetError, match="no face in its first frame"):
        animate(engine, faceless, short, Output(tmp_path / "x.mp4"))
    from pipeline.liveportrait import template

    puppeteer = engine.open()
    with pytest.raises(ClipError, match="no face was found in it"):
        template.make(puppeteer, faceless)
    puppeteer.close()
    assert [f.name for f in tmp_path.iterdir()] == ["rest.mp4"]


def test_the_mesh_engine_goes_through_a_clip_that_a_picture_drives_once(short, tmp_path):
    mesh = open_engine("mesh", faces_by(FACE_MODEL))
    assert animate(mesh, short, BUNDLED / "astronaut.jpg", Output(tmp_path / "y.mp4")).frames == 12  # type: ignore[arg-type]
    first, last = (list(timed(open_clip(tmp_path / "y.mp4")))[k][1].astype(int) for k in (0, -1))
    assert np.abs(first - last).max() > 20


def test_auto_says_which_engine_and_why(tmp_path, tiny):
    assert choose(Settings(tmp_path)) == ("mesh", "LivePortrait's checkpoints are not here")
    name, why = choose(Settings(tiny))
    if torch.cuda.is_available():
        assert name == "liveportrait"
        assert torch.cuda.get_device_name() in why
    else:
        assert name == "mesh"
        assert "without a CUDA device" in why


@pytest.fixture
def broken(tiny, tmp_path):
    """Checkpoints in which one tensor of the generator is changed."""

    def make(key: str, change) -> Path:
        shutil.copytree(tiny, tmp_path / "c")
        files = {name: tmp_path / "c" / BASE / f"{name}.pth" for name in ("warping_module", "spade_generator")}
        file = files["warping_module" if key.startswith(("fourth", "third")) else "spade_generator"]
        state = torch.load(file, weights_only=True)
        change(state[key])
        torch.save(state, file)
        return tmp_path / "c"

    return make


def test_networks_that_give_no_numbers_are_refused(broken):
    folder = broken("fc.weight", lambda weight: weight.fill_(float("nan")))
    with pytest.raises(ModelError, match="values that are not finite; are the checkpoints whole"):
        LivePortraitEngine(faces_by(FACE_MODEL), Settings(folder, "cpu", Precision.FP32)).prepare(bundled("drawing"), 512, 512)


def test_a_precision_that_overflows_gives_way_to_the_next(broken, caplog):
    if Precision.BF16 not in precisions(CPU):
        pytest.skip("this processor has no bf16: the fall to fp32 was not tested")

    def overflow(weight: torch.Tensor) -> None:
        weight[0, 1] = 3.4e38  # finite in fp32, beyond the last number of bf16; its input is made to be zero

    folder = broken("fc.weight", overflow)
    file = folder / BASE / "warping_module.pth"
    state = torch.load(file, weights_only=True)
    state["fourth.weight"][1] = 0
    state["fourth.bias"][1] = 0
    torch.save(state, file)
    engine = LivePortraitEngine(faces_by(FACE_MODEL), Settings(folder, "cpu"))
    assert engine.runtime.precision is Precision.BF16
    source = engine.prepare(bundled("drawing"), 512, 512)
    assert engine.runtime.precision is Precision.FP32
    assert [r.message for r in caplog.records if "not finite" in r.message] == [
        "bf16 gives values that are not finite on cpu; going on in fp32, more slowly"
    ]
    with torch.inference_mode():
        assert engine.runtime.render(source.features, source.resting).isfinite().all()


def test_a_device_that_is_not_there(tiny):
    with pytest.raises(ModelError, match="device 'cuda:77' cannot be used"):
        LivePortraitEngine(faces_by(None), Settings(tiny, "cuda:77"))


@pytest.mark.slow
def test_the_live_graph_runs_it(tiny):
    """A real server, the engine by its config, driven by the demo clip."""
    engine = {"name": "liveportrait"}
    budget = {"max_age_ms": 5000, "max_busy": 1.0}
    with (
        run_server(engine=engine, liveportrait={"checkpoints": str(tiny)}, budget=budget) as server,
        httpx.Client(base_url=server.url, timeout=60) as http,
    ):
        assert http.patch("/api/streams/live", json={"demo": True}).status_code == 200
        end = time.monotonic() + 90
        while (state := http.get("/api/streams/live").json())["face"] != "tracking" or state["animated"] < 3:
            assert time.monotonic() < end, state
            time.sleep(0.2)
        assert state["engine"] == "liveportrait"
        assert state["errors"] == 0


@pytest.mark.long
def test_options_that_the_engine_lacks_are_named(tmp_path, shell):
    options = ["--absolute", "--no-paste-back", "--multiplier", 2, "--device", "cpu", "--lip-retargeting"]
    done = shell.run(["animate", "drawing", DEMO_CLIP, "--engine", "mesh", *options, "--force", "-o", tmp_path / "o.mp4"])
    assert done.code == 2
    assert done.said.splitlines()[-1] == (
        "error: --absolute, --device, --lip-retargeting, --multiplier, --no-paste-back: the engine mesh has no such option; "
        "add '--engine liveportrait' or leave it out"
    )
    assert "Traceback" not in done.said


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("t.safetensors", {"mirror": True}, "a motion template cannot be mirrored; leave '--mirror' out"),
        ("t.safetensors", {"tuning": Tuning(smoothing=1)}, "was smoothed when it was made; leave '--smoothing' out"),
        (FACE, {"tuning": Tuning(smoothing=0)}, "a picture has nothing to smooth; leave '--smoothing' out"),
    ],
)
def test_options_that_the_driver_lacks_are_named(driver, options, message, engine, tmp_path):
    (tmp_path / "t.safetensors").touch()
    out = tmp_path / ("o.png" if driver == FACE else "o.mp4")
    with pytest.raises(PuppetError, match=message):
        animate(engine, bundled("drawing"), tmp_path / driver, Output(out), **options)


@pytest.mark.long
@pytest.mark.parametrize("name", ["mesh", "liveportrait"])
def test_motion_is_tuned_in_both_engines(name, engine, short, tmp_path):
    """What each gain does, the tests of the composition and of the mesh engine's motion say."""
    opened = engine if name == "liveportrait" else open_engine("mesh", faces_by(FACE_MODEL))

    def last(**options) -> np.ndarray:
        animate(opened, bundled("astronaut"), short, Output(tmp_path / "o.mp4", max_frames=3), **options)
        return frames_of(tmp_path / "o.mp4")[-1]

    plain = last()
    assert np.array_equal(last(tuning=Tuning()), plain), "the same twice"
    for options in ({"tuning": Tuning(pose_gain=0.5)}, {"tuning": Tuning(smoothing=1.0)}, {"mirror": True}):
        assert not np.array_equal(last(**options), plain), options


@pytest.mark.long
def test_the_command_takes_them_for_every_engine(tiny, short, tmp_path, shell):
    options = ["--region", "pose", "--pose-gain", "0.5", "--smoothing", "0.2", "--scale-lock", "--mirror", "--max-frames", "2"]
    for engine in (["--engine", "mesh"], ["--engine", "liveportrait", "--checkpoints", tiny, "--precision", "fp32"]):
        done = shell.run(["animate", "drawing", short, *engine, *options, "--force", "-o", tmp_path / "o.mp4"])
        assert done.code == 0, done.said
        assert len(frames_of(tmp_path / "o.mp4")) == 2


def test_the_config_is_the_engine_s(tiny):
    from streamer.config import LivePortrait

    given = LivePortrait(checkpoints=tiny, multiplier=0.5, precision="fp32")
    motion = replace(MotionOptions(), multiplier=0.5)
    assert given.settings() == Settings(tiny, None, Precision.FP32, motion=motion)
    assert LivePortrait().settings() == Settings()


def test_driving_boxes_do_not_turn(picture, model):
    portrait = load_portrait(str(picture("s1")), faces_by(model))
    assert mesh_box(portrait.landmarks, DRIVING).angle == 0
    assert mesh_box(portrait.landmarks, SOURCE).angle != 0
