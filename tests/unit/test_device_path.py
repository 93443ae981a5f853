"""A frame's way on the device: the same as step by step, for several streams at once, without a look at the host."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from platformdirs import user_cache_path
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.similarity import psnr
from pipeline import models
from pipeline.errors import DeviceLost, ModelError
from pipeline.face.faces import faces_by
from pipeline.face.units import in_units
from pipeline.follow.framing import View
from pipeline.follow.smoothing import OneEuroFilter, RotationFilter, ratio
from pipeline.follow.tuning import Region, Tuning
from pipeline.frames import Driving, Image, planar
from pipeline.liveportrait import build, editor
from pipeline.liveportrait.columns import HOLD, WIDTH, WIDTHS, Columns, columns_of, named, numbers
from pipeline.liveportrait.compose import STATE, TURN, compose, filtered, flat, unflat
from pipeline.liveportrait.crop import SIDE, SOURCE, FaceBox, mask_in_picture, mesh_box
from pipeline.liveportrait.device import DevicePath, finishing
from pipeline.liveportrait.engine import LivePortraitEngine, LivePortraitPuppeteer
from pipeline.liveportrait.follow import BETA, MIN_CUTOFF_HZ, Given, MotionFollower, Seen, Sight, driving_input
from pipeline.liveportrait.motion import BROWS, EYES, LIPS, Controllers, Face, FaceMotion, Gains, Ratios, drive
from pipeline.liveportrait.networks import KEYPOINTS, PortraitFeatures
from pipeline.liveportrait.options import Build, Compile, MotionOptions, Precision, Settings
from pipeline.liveportrait.paste import to_bytes, to_nearest_bytes
from pipeline.liveportrait.planes import FROM_YUV, PLANES, TO_YUV, corner, cut_planes, plane_encoder, planes_of, to_planes
from pipeline.liveportrait.prepared import DevicePortrait, LivePortraitPrepared
from pipeline.liveportrait.rows import RowPool
from pipeline.liveportrait.runtime import Runtime
from pipeline.liveportrait.steps import Step
from pipeline.liveportrait.still import MOVED
from pipeline.portrait import DEMO_CLIP, Portrait, bundled, fit
from pipeline.shapes.parse import parse
from pipeline.shapes.shapes import Held

from ..faces import Faces
from ..simple_device import controllers, face

CPU = torch.device("cpu")


def frames_of(path: Path, count: int) -> list[av.VideoFrame]:
    with av.open(str(path)) as opened:
        return list(islice(opened.decode(video=0), count))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("size", [(512, 512), (640, 360), (1600, 1200)])
def test_the_crop_on_the_device_is_the_one_on_the_host(size, mirrored):
    frame = frames_of(DEMO_CLIP, 1)[0].reformat(size[0], size[1], "yuv420p")
    factor = min(1, 512 / max(size))
    small = frame.to_ndarray(format="rgb24", width=round(size[0] * factor), height=round(size[1] * factor))
    image = np.ascontiguousarray(small[:, ::-1]) if mirrored else small
    box = FaceBox(np.array([0.05, -0.03]), 0.8 * image.shape[0] / image.shape[1], 0.0)
    luma, chroma, to_picture = planes_of(Driving(image, 0.0, frame, mirrored), box)
    assert luma.shape[0] <= PLANES[0]
    assert luma.shape[1] <= PLANES[1]
    y, uv = torch.full((1, 1, *PLANES), 16, dtype=torch.uint8), torch.full((1, 2, PLANES[0] // 2, PLANES[1] // 2), 128)
    y[0, 0, : luma.shape[0], : luma.shape[1]] = torch.from_numpy(luma)
    uv[0, :, : chroma.shape[1], : chroma.shape[2]] = torch.from_numpy(chroma)
    matrix = torch.tensor(to_picture[:2].flatten()[None], dtype=torch.float32)
    there = (cut_planes(y, uv, matrix, torch.tensor(FROM_YUV))[0].permute(1, 2, 0) * 255).numpy()
    whole = av.VideoFrame.from_ndarray(np.vstack([luma, chroma.reshape(-1, luma.shape[1])]), format="yuv420p").to_ndarray(
        format="rgb24"
    )
    cut = cv2.warpAffine(whole, to_picture[:2], (512, 512), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    difference = np.abs(there - cv2.resize(cut, (256, 256), interpolation=cv2.INTER_LINEAR))
    assert np.median(difference) < 1.5
    assert difference.mean() < 2.5, "colours: OpenCV's and FFmpeg's chroma lies elsewhere"
    on_host = driving_input(image, box)
    assert np.abs(there - on_host).mean() < 6
    for wrong in (there[:, ::-1], np.roll(there, 4, axis=1), there[..., ::-1]):
        assert np.abs(wrong - on_host).mean() > 1.3 * np.abs(there - on_host).mean()


def test_the_crop_does_not_depend_on_the_size_or_shape_of_the_picture():
    large = bundled("astronaut").image[:512, :512]
    small = cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA)
    tall = cv2.copyMakeBorder(large, 100, 100, 0, 0, cv2.BORDER_REPLICATE)
    box = FaceBox(np.array([0.02, -0.12]), 0.6, 0.0)
    given = driving_input(large, box).astype(int)
    for image, view in ((small, View()), (tall, View(712 / 512))):
        there = driving_input(image, box.under(view))
        assert np.abs(there - given).mean() < 3
        assert np.abs(np.roll(there, 2, axis=1) - given).mean() > 2 * np.abs(there - given).mean()


def test_the_driver_s_box_goes_along_where_4_to_3_is_cut_from_16_to_9():
    def extract(images):
        n = len(images)
        points, turn = torch.zeros(n, 21, 3), torch.eye(3).expand(n, 3, 3)
        return FaceMotion(points, points, turn, torch.ones(n, 1), torch.zeros(n, 3))

    wide, cut = np.zeros((360, 640, 3), np.uint8), np.zeros((360, 480, 3), np.uint8)
    face = fit(bundled("drawing").image, bundled("drawing").landmarks, 300)[1]
    tracker = Faces(in_units(face, wide))
    follower = MotionFollower(lambda: tracker, extract)
    follower.calibrate((k / 30, wide) for k in range(60))
    one = follower.see(wide, 3.0)
    tracker.face = in_units(face - [80, 0, 0], cut)
    other = follower.see(cut, 3.03)
    before, after = one.box.in_pixels(wide), other.box.in_pixels(cut)
    assert after.side == pytest.approx(before.side, rel=1e-3)
    assert after.centre == pytest.approx(before.centre - [80, 0], abs=0.1)
    assert not other.leap


def test_planes_are_those_of_opencv():
    image = np.ascontiguousarray(bundled("astronaut").image[:512, :512])
    planes = to_planes(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255, torch.tensor(TO_YUV))
    theirs = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    ours = planes.numpy().reshape(theirs.shape)
    assert np.abs(ours[:512].astype(int) - theirs[:512]).max() <= 1
    flat_colour = np.full((64, 64, 3), (200, 40, 90), np.uint8)
    flat = to_planes(torch.from_numpy(flat_colour).permute(2, 0, 1)[None].float() / 255, torch.tensor(TO_YUV))
    assert np.abs(flat.numpy().reshape(96, 64).astype(int) - cv2.cvtColor(flat_colour, cv2.COLOR_RGB2YUV_I420)).max() <= 1


def on_device(generator: torch.Generator, batch: int) -> DevicePortrait:
    nothing = torch.zeros(batch, 1)
    source = Face(face(generator, batch), Ratios(nothing.expand(-1, 2), nothing))
    return DevicePortrait(PortraitFeatures(*[nothing] * 4), source, source.motion.keypoints(), nothing, nothing, nothing)


def columns(batch: int = 1, tuning: Tuning = Tuning(), **others: float | list[float]) -> Columns:
    """As the host writes them, for a face that was not seen before. others: columns by name."""
    seen = Seen(FaceBox(np.zeros(2), 1.0, 0.0), np.zeros(3, np.float32), 0.0, 0.0)
    row = columns_of(seen, tuning, [0.0] * 6, 0)._replace(**{k: v if isinstance(v, list) else [v] for k, v in others.items()})
    return named(torch.tensor([numbers(row)] * batch))


def test_every_column_has_a_place_of_its_own():
    assert WIDTH == 24 + editor.WIDTH
    seen = Seen(FaceBox(np.zeros(2), 1.0, 0.0), np.array([0.1, 0.2, 0.3], np.float32), None, 0.4, True, 0.5)
    read = named(torch.tensor([numbers(columns_of(seen, Tuning(pose_gain=0.6), list(range(6)), 7))]))
    assert tuple(part.shape[1] for part in read) == WIDTHS
    assert read.crop[0].tolist() == list(range(6))
    assert read.openings[0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert [part.item() for part in (read.row, read.gap_s, read.leap)] == [7, HOLD, 1]
    assert [part.item() for part in (read.rest, read.cutoff, read.left)] == pytest.approx([0.4, 1.0, 0.5])
    assert read.still.item() == MOVED
    assert read.gains[0].tolist() == pytest.approx(Tuning(pose_gain=0.6).gains)
    assert columns_of(seen._replace(gap_s=0.6), Tuning(), [0] * 6, 0).gap_s == [0.0], "what was seen too long ago says nothing"
    assert columns_of(seen._replace(gap_s=0.1), Tuning(), [0] * 6, 0, anew=True).gap_s == [0.0]
    with pytest.raises(AssertionError, match="another width"):
        numbers(columns_of(seen, Tuning(), [0.0] * 5, 0))


@torch.inference_mode()
def test_the_filter_on_the_device_is_the_one_of_the_host():
    generator = torch.Generator().manual_seed(3)
    ratios = Ratios(torch.zeros(1, 2), torch.zeros(1, 1))
    state = torch.full((2, 1, STATE), torch.nan)  # nobody has been here
    smooth, turn = OneEuroFilter(MIN_CUTOFF_HZ, BETA), RotationFilter(MIN_CUTOFF_HZ, BETA)
    for k in range(6):
        motion = face(generator, 1)
        state = filtered(motion, columns(gap_s=0.0 if k == 0 else 1 / 30), state)
        expected = smooth(flat(Face(motion, ratios)), 10 + k / 30)
        expected[:, TURN] = torch.from_numpy(turn(motion.rotation[0].numpy(), 10 + k / 30)).flatten()
        assert torch.allclose(state[0], expected, atol=1e-5)
        assert torch.allclose(torch.linalg.det(state[0][:, TURN].reshape(3, 3)), torch.ones(1), atol=1e-5), "a rotation"
    held = filtered(face(generator, 1), columns(gap_s=HOLD), state)
    assert torch.equal(held[0], state[0]), "a lost face keeps its last motion"
    assert torch.equal(flat(unflat(state[0], motion.canonical)), state[0])


def composed(portrait, value, reference, row, blend=None, options=MotionOptions()):
    blend = torch.zeros(2, len(value), 63) if blend is None else blend
    return compose(portrait, value, reference, row, blend, controllers(), options)


@torch.inference_mode()
def test_a_face_that_is_lost_comes_to_rest():
    generator = torch.Generator().manual_seed(3)
    portrait = on_device(generator, 1)
    value, reference = (flat(Face(face(generator, 1), portrait.face.ratios)) for _ in range(2))
    keypoints, _ = composed(portrait, value, reference, columns(rest=1.0))
    assert torch.allclose(keypoints, portrait.resting)


@torch.inference_mode()
def test_each_slider_moves_its_keypoints_and_nothing_held_moves_none():
    generator, nothing = torch.Generator().manual_seed(1), torch.zeros(1, 1)
    still = editor.still_face(torch.device("cpu"))
    face = still._replace(motion=still.motion._replace(canonical=torch.randn(1, KEYPOINTS, 3, generator=generator)))
    face.motion.canonical[0, 11, 0], face.motion.canonical[0, 15, 0] = -0.2, 0.2  # the person's right, and left
    resting = face.motion.keypoints()
    portrait = DevicePortrait(PortraitFeatures(*[nothing] * 4), face, resting, nothing, nothing, nothing)

    def network(points: tuple[int, ...]):
        """Moves some points, whatever it is asked."""
        out = torch.zeros(KEYPOINTS, 3)
        out[list(points)] = 0.1
        return lambda asked: out.flatten().expand(len(asked), -1)

    simple = Controllers(lambda asked: asked.new_zeros(len(asked), 65), network(LIPS), network(EYES))

    def moved(**values: float) -> set[int]:
        held = torch.tensor([editor.holding(Held(parse(values)))])
        out = editor.edited(portrait, resting, held, simple, MotionOptions())
        return set((out != resting)[0].any(dim=1).nonzero()[:, 0].tolist())

    mouth = {*LIPS, 3, 7}
    assert moved() == set()
    assert len(moved(yaw=10)) == KEYPOINTS
    assert moved(brows=1) == moved(brows=-1) == set(BROWS)
    for name in ("smile", "frown", "mouthOpen", "pucker"):
        assert set() < moved(**{name: 0.6}) <= mouth, name
    assert moved(blinkRight=1) == {11, 13}
    assert moved(blinkLeft=1) == {15, 16}
    assert moved(blinkLeft=1, blinkRight=1) == set(EYES)
    assert moved(gazeX=1) == {11, 15}
    assert moved(gazeY=-1) == {11, 13, 15, 16}
    assert {"tongueOut", "cheekPuff"} <= editor.UNSEEN
    assert not editor.UNSEEN & {"jawOpen", "eyeBlinkLeft", "mouthSmileLeft"}


@torch.inference_mode()
def test_what_is_held_outlasts_the_driver():
    generator = torch.Generator().manual_seed(3)
    portrait = on_device(generator, 1)
    value, reference = (flat(Face(face(generator, 1), portrait.face.ratios)) for _ in range(2))
    held = editor.holding(Held(parse({"yaw": 10, "smile": 1})))
    for rest in (0.0, 1.0):
        plain, blend = composed(portrait, value, reference, columns(rest=rest))
        shown, kept = composed(portrait, value, reference, columns(rest=rest, held=held))
        assert not torch.allclose(shown, plain)
        assert torch.equal(shown, editor.edited(portrait, plain, torch.tensor([held]), controllers(), MotionOptions()))
        assert torch.equal(kept, blend), "a leap is the driver's"


@torch.inference_mode()
def test_a_leap_is_taken_back_little_by_little():
    generator = torch.Generator().manual_seed(6)
    portrait = on_device(generator, 1)
    before, after, reference = (flat(Face(face(generator, 1), portrait.face.ratios)) for _ in range(3))
    first, blend = composed(portrait, before, reference, columns())
    there, _ = composed(portrait, after, reference, columns(), blend)
    for leap, left in ((1.0, 1.0), (0.0, 0.25), (0.0, 0.0)):
        out, blend = composed(portrait, after, reference, columns(leap=leap, left=left), blend)
        assert torch.allclose(out, there + (first - there) * left, atol=1e-5)


TUNINGS = [
    Tuning(pose_gain=0.5, expression_gain=1.5, brows_gain=0.2),
    *(Tuning(region=region) for region in Region),
    Tuning(scale_lock=True),
    Tuning(eye_retargeting=True),
    Tuning(lip_retargeting=True),
]


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("tuning", TUNINGS, ids=str)
@torch.inference_mode()
def test_gains_of_a_stream_are_those_of_the_offline_options(tuning, relative):
    """By the columns of a stream, and by the composition that is held against the published one."""
    generator = torch.Generator().manual_seed(7)
    portrait, driver, reference = on_device(generator, 1), face(generator, 1), face(generator, 1)
    driver = driver._replace(scale=reference.scale * 1.3)  # nearer
    seen, options = Face(driver, Ratios(torch.tensor([[0.2, 0.3]]), torch.tensor([[0.4]]))), MotionOptions(relative=relative)
    ours, _ = composed(portrait, flat(seen), flat(seen._replace(motion=reference)), columns(tuning=tuning), options=options)
    theirs = drive(portrait.face, seen, reference, Gains.of(tuning, CPU), controllers(), options)
    assert torch.allclose(ours, theirs, atol=1e-5)
    everything, _ = composed(portrait, flat(seen), flat(seen._replace(motion=reference)), columns(), options=options)
    assert torch.allclose(ours, everything) == (tuning == Tuning() or (tuning.scale_lock and not relative))


@pytest.mark.parametrize("region", list(Region))
@pytest.mark.parametrize("relative", [True, False])
@torch.inference_mode()
def test_streams_in_a_batch_do_not_see_each_other(region, relative):
    generator = torch.Generator().manual_seed(4)
    portrait = on_device(generator, 3)
    value, references = (flat(Face(face(generator, 3), portrait.face.ratios)) for _ in range(2))
    blend = torch.randn(2, 3, 63, generator=generator) * 0.1
    rows, options = columns(3, Tuning(region=region, pose_gain=0.7)), MotionOptions(relative=relative)
    rows = rows._replace(rest=torch.rand(3, 1), left=torch.rand(3, 1), leap=torch.tensor([[1.0], [0.0], [1.0]]))
    together, _ = composed(portrait, value, references, rows, blend, options)
    for k in range(3):
        row = slice(k, k + 1)
        alone_portrait = DevicePortrait.of([t[row] for t in portrait.tensors()])
        alone_columns = Columns(*(part[row] for part in rows))
        alone, _ = composed(alone_portrait, value[row], references[row], alone_columns, blend[:, row], options)
        assert torch.allclose(alone, together[row], atol=1e-6)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a")  # of a constant that is kept
@torch.inference_mode()
def test_each_step_can_be_compiled_whole():
    generator = torch.Generator().manual_seed(9)
    portrait = on_device(generator, 2)
    grid = torch.rand(2, 8, 8, 2, generator=generator) - 0.5
    portrait = portrait._replace(grid=grid, mask=torch.rand(2, 8, 8), behind=torch.rand(2, 3, 8, 8))
    state, blend = torch.randn(2, 2, STATE, generator=generator), torch.zeros(2, 2, 63)
    pictures = torch.rand(2, 3, 16, 16, generator=generator)
    for step, arguments in (
        (filtered, (face(generator, 2), columns(2, gap_s=0.1), state)),
        (compose, (portrait, state[0], state[1], columns(2), blend, controllers(), MotionOptions())),
        (finishing(plane_encoder(CPU)), (pictures, portrait)),
        (finishing(to_nearest_bytes), (pictures, portrait)),
    ):
        traced = torch.compile(step, fullgraph=True, dynamic=False, backend="eager")(*arguments)
        plain = step(*arguments)
        for ours, theirs in zip(tree_leaves(traced), tree_leaves(plain), strict=True):
            assert torch.allclose(ours, theirs), step


class NoHost(TorchDispatchMode):
    """Fails on what cannot be captured: constants brought from the host, values taken to it, sizes that depend on data."""

    FORBIDDEN = ("lift_fresh", "_local_scalar_dense", "nonzero", "index_put", "masked_select", "unique")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().removeprefix("aten::")
        assert not name.startswith(self.FORBIDDEN), f"{name} cannot be captured"
        return func(*args, **(kwargs or {}))


FACE_MODEL = models.find(models.FACE_LANDMARKER)  # None in a clone without it: the cascade tracker then follows
START, FPS = 60, 30  # the demo clip begins to move there


@pytest.fixture(scope="module")
def engine(tiny) -> LivePortraitEngine:
    return LivePortraitEngine(faces_by(FACE_MODEL), Settings(tiny, "cpu", Precision.FP32))


@pytest.fixture(scope="module")
def frames() -> list[av.VideoFrame]:
    return frames_of(DEMO_CLIP, START + 12)


def luma(planes: Image) -> Image:
    """(h, w, 3) of planar YUV (h · 3 / 2, w), for `psnr`."""
    return np.repeat(planes[: planes.shape[0] * 2 // 3, :, None], 3, axis=2)


def rgb(frame: av.VideoFrame) -> Image:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def calibrated(engine: LivePortraitEngine, frames: list[av.VideoFrame]) -> LivePortraitPuppeteer:
    puppeteer = engine.open()
    puppeteer.calibrate([(k / FPS, rgb(frame)) for k, frame in enumerate(frames[::4])])
    return puppeteer


def box_of(portrait: Portrait, side: int) -> FaceBox:
    """Of the face in the prepared picture."""
    return mesh_box(fit(portrait.image, portrait.landmarks, side)[1], SOURCE)


class StepByStep:
    """The way of `DevicePath` for one stream in plain steps: M, the filters of NumPy, composition, W and G, OpenCV's
    paste-back. smooth: False leaves the filters out."""

    def __init__(self, engine: LivePortraitEngine, smooth: bool = True) -> None:
        self._runtime = engine.runtime
        self._smooth = smooth
        self._filter, self._turn = OneEuroFilter(MIN_CUTOFF_HZ, BETA), RotationFilter(MIN_CUTOFF_HZ, BETA)

    @torch.inference_mode()
    def __call__(self, prepared: LivePortraitPrepared, box: FaceBox, sight: Sight) -> Image:
        """box: of the portrait's face in its picture."""
        seen, time_s = self._seen(sight), sight.driving.time_s
        if self._smooth:
            strength = ratio(sight.tuning.smoothing)
            value = self._filter(flat(seen), time_s, strength)
            value[:, TURN] = torch.from_numpy(self._turn(seen.motion.rotation[0].numpy(), time_s, strength)).flatten()
            seen = unflat(value, seen.motion.canonical)
        gains = Gains.of(sight.tuning, CPU)
        keypoints = drive(prepared.face, seen, sight.reference.motion, gains, self._runtime.controllers, MotionOptions())
        crop = to_bytes(
            F.interpolate(self._runtime.render(prepared.features, keypoints), SIDE, mode="bilinear", align_corners=True)
        )
        size = prepared.still.shape[1::-1]
        mask = mask_in_picture(box.to_picture(), size)[..., None]
        moved = cv2.warpAffine(crop[0].numpy(), box.to_picture()[:2], size, flags=cv2.INTER_LINEAR)
        return np.clip(mask * moved + (1 - mask) * prepared.still, 0, 255).astype(np.uint8)

    def _seen(self, sight: Sight) -> Face:
        luma, chroma, to_picture = planes_of(sight.driving, sight.seen.box)
        y, uv = torch.full((1, 1, *PLANES), 16, dtype=torch.uint8), torch.full((1, 2, PLANES[0] // 2, PLANES[1] // 2), 128)
        y[0, 0, : luma.shape[0], : luma.shape[1]] = torch.from_numpy(luma)
        uv[0, :, : chroma.shape[1], : chroma.shape[2]] = torch.from_numpy(chroma)
        crop = torch.tensor(to_picture[:2].flatten()[None], dtype=torch.float32)
        left, right, lip = sight.seen.ratios.tolist()
        motion = self._runtime.motion(cut_planes(y, uv, crop, torch.tensor(FROM_YUV)))
        return Face(motion, Ratios(torch.tensor([[left, right]]), torch.tensor([[lip]])))


@pytest.mark.long
def test_the_whole_way_is_the_one_step_by_step(engine, frames):
    """Two streams in one batch, on frames between which the filter takes a step; offline, each by itself; and in plain
    steps with another filter."""
    given = [bundled(name) for name in ("astronaut", "drawing")]
    portraits = [engine.prepare(portrait, side, 512) for portrait, side in zip(given, (512, 384), strict=True)]
    boxes = [box_of(portrait, side) for portrait, side in zip(given, (512, 384), strict=True)]
    live, offline = ([calibrated(engine, frames[:START]) for _ in portraits] for _ in range(2))
    for puppeteer in (*live, *offline):
        puppeteer.tune(Tuning(smoothing=1.0))
    steps, unsmoothed = ([StepByStep(engine, smooth) for _ in portraits] for smooth in (True, False))
    path = DevicePath(engine.runtime, MotionOptions(), 512, portraits[0].on_device(512), 2, plane_encoder(CPU))
    done: list[tuple[int, int]] = []
    path.capture(lambda n, total: done.append((n, total)))
    assert done == [(1, 2), (2, 2)]
    rough = []
    for k in (2, 5):
        chosen = [frames[START + k], frames[START + 11 - 2 * k]]
        drivings = [Driving(rgb(frame), k / FPS, frame) for frame in chosen]
        sights: list[Any] = [p.follow(d) for p, d in zip(live, drivings, strict=True)]
        pictures = path.submit([(p.on_device(512), s) for p, s in zip(portraits, sights, strict=True)])()
        for n, (planes, finite) in enumerate(pictures):
            assert finite
            ours = corner(planes, portraits[n].still.shape)
            alone = offline[n].render(portraits[n], offline[n].follow(drivings[n]))
            assert psnr(luma(ours), luma(planar(alone))) > 45, f"live is offline, frame {k}"
            plain = steps[n](portraits[n], boxes[n], sights[n])
            assert psnr(luma(ours), luma(planar(plain))) > 40, f"and both are the plain steps, frame {k}"
            rough.append(psnr(luma(ours), luma(planar(unsmoothed[n](portraits[n], boxes[n], sights[n])))))
    assert min(rough[:2]) > 40, "the first frame begins the filter"
    assert rough[2] < 37, "without the filter's step between the two the bound would not hold"
    with torch.inference_mode(), NoHost():
        for step in Step:
            path._run(step, 2)
    for puppeteer in (*live, *offline):
        puppeteer.close()


def test_a_calibration_asks_for_sizes_that_are_compiled(tiny, monkeypatch):
    engine = LivePortraitEngine(faces_by(None), Settings(tiny, "cpu", Precision.FP32, build=Build(compile=Compile.ON)))
    plain = LivePortraitEngine(faces_by(None), Settings(tiny, "cpu", Precision.FP32))
    engine.max_batch = 8
    images = [np.full((256, 256, 3), 20 * k, np.uint8) for k in range(11)]
    asked: list[tuple[int, bool]] = []

    def motion(pictures: torch.Tensor) -> FaceMotion:
        asked.append((len(pictures), pictures.is_contiguous()))
        return plain.runtime.motion(pictures)

    monkeypatch.setattr(engine.runtime, "motion", motion)
    for count, sizes in ((1, [1]), (3, [8]), (8, [8]), (11, [8, 8])):
        asked.clear()
        faces = engine.extract(images[:count])
        assert asked == [(size, True) for size in sizes]
        for ours, theirs in zip(faces, plain.extract(images[:count]), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4)


def test_a_motion_that_is_given_needs_no_picture(engine, frames):
    """What a stream was shown, given as it came out of the filter."""
    portrait, puppeteer = engine.prepare(bundled("drawing"), 384, 512), calibrated(engine, frames[:START])
    seen = [puppeteer.follow(Driving(rgb(f), k / FPS, f)) for k, f in enumerate(frames[START : START + 4])]
    shown = [puppeteer.render(portrait, sight) for sight in seen]
    value = engine._single._way.path._filter[0, seen[-1].row]
    face = unflat(value[None].clone(), portrait.face.motion.canonical)
    given = Given(face, seen[-1].reference, seen[-1].row)
    assert np.array_equal(puppeteer.render(portrait, seen[0]), shown[0]), "the filter is elsewhere"
    assert np.array_equal(puppeteer.render(portrait, given), shown[-1])
    assert psnr(shown[0], shown[-1]) < 30
    assert puppeteer.render(portrait, given._replace(rest=1.0)) is portrait.still
    puppeteer.close()


def test_a_stream_that_does_not_move_shows_the_very_picture_of_before(engine):
    portrait, other = (engine.prepare(bundled(name), 64, 512) for name in ("drawing", "astronaut"))
    face = portrait.face
    open_lips = face._replace(motion=face.motion._replace(expression=face.motion.expression + 0.1))

    def shown(prepared: LivePortraitPrepared, row: int, seen: Face = face) -> Image:
        return engine.submit([(prepared, Given(seen, face, row))])()[0]

    first, neighbour = shown(portrait, 7), shown(portrait, 8)
    assert shown(portrait, 7) is first
    assert shown(portrait, 8) is neighbour
    assert not np.array_equal(shown(portrait, 7, open_lips), first)
    assert shown(portrait, 7) is not first
    assert np.array_equal(shown(portrait, 7), first)
    assert not np.array_equal(shown(other, 7), first)
    engine.leave(8)
    again = shown(portrait, 8)
    assert again is not neighbour
    assert np.array_equal(again, neighbour)
    engine.leave(7)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_whole_frame_of_full_size(checkpoints, frames, monkeypatch):
    """Both ways have to ask W and G for the same, and paint with the same crop. What W and G in full size make of it is compared
    with what is published, and that takes half a minute: here they are given one."""
    engine = LivePortraitEngine(faces_by(FACE_MODEL), Settings(checkpoints, "cpu", Precision.FP32))
    engine._proven = Precision.FP32  # tiny networks show that a portrait is rendered first
    portrait = bundled("astronaut")
    prepared, puppeteer = engine.prepare(portrait, 512, 512), calibrated(engine, frames[:8])
    crop = F.interpolate(torch.rand(1, 3, 32, 32), SIDE, mode="bilinear")
    asked: list[torch.Tensor] = []

    def given(features: PortraitFeatures, keypoints: torch.Tensor) -> torch.Tensor:
        asked.append(keypoints.clone())
        return crop

    monkeypatch.setattr(engine.runtime, "render", given)
    sight = puppeteer.follow(Driving(rgb(frames[-1]), 0.0, frames[-1]))
    assert psnr(puppeteer.render(prepared, sight), StepByStep(engine)(prepared, box_of(portrait, 512), sight)) > 40
    first, second = asked
    assert torch.allclose(first, second, atol=1e-4)
    assert not torch.allclose(first, prepared.resting, atol=1e-2), "the face has moved"
    puppeteer.close()


def test_values_that_are_not_finite_never_reach_a_viewer(tiny, frames):
    """A step down is made beside the frames: here, at once."""
    engine = LivePortraitEngine(faces_by(FACE_MODEL), Settings(tiny, "cpu", Precision.BF16, still_px=0), lambda job: job())
    source, puppeteer = engine.prepare(bundled("drawing"), 256, 512), calibrated(engine, frames[:START])
    engine.warm_up(source, lambda done, total: None)
    seen = puppeteer.follow(Driving(rgb(frames[-1]), 1.0))
    good, still = engine.submit([(source, seen)])()[0], planar(source.still)

    def spoil() -> None:
        with torch.inference_mode():
            engine.runtime._networks.generator.conv_img[0].bias.fill_(torch.nan)

    spoil()
    assert np.array_equal(engine.submit([(source, seen)])()[0], still), "the portrait at rest instead"
    assert engine.runtime.precision is Precision.BF16, "until frames go another way"
    seen = puppeteer.follow(Driving(rgb(frames[-1]), 1.0 + 1 / FPS))
    again = engine.submit([(source, seen)])()[0]
    assert engine.runtime.precision is Precision.FP32
    assert psnr(luma(again), luma(good)) > 25, "the filter begins anew, and not from nothing"
    spoil()
    with pytest.raises(ModelError, match="are the checkpoints whole"):
        puppeteer.render(source, seen)
    puppeteer.close()


@pytest.mark.slow
def test_a_step_down_stops_no_frame(tiny, monkeypatch):
    """Neither while networks are loaded nor while another way through them is built."""
    builds: list[Any] = []
    engine = LivePortraitEngine(faces_by(None), Settings(tiny, "cpu", Precision.BF16, still_px=0), builds.append)
    source = engine.prepare(bundled("drawing"), 128, 512)
    work, still = [(source, Given(source.face, source.face, 0))], planar(source.still)
    engine.submit(work)()
    with torch.inference_mode():
        engine.runtime._networks.generator.conv_img[0].bias.fill_(torch.nan)
    lower, meanwhile = Runtime.lower, []
    monkeypatch.setattr(Runtime, "lower", lambda failed: (meanwhile.append(engine.submit(work)()), lower(failed))[1])
    for _ in range(3):
        assert np.array_equal(engine.submit(work)()[0], still)
    [load] = builds
    load()
    assert np.array_equal(meanwhile[0][0], still)
    for _ in range(3):
        assert np.array_equal(engine.submit(work)()[0], still)
    assert engine.runtime.precision is Precision.BF16
    [_, build_way] = builds
    build_way()
    assert not np.array_equal(engine.submit(work)()[0], still)
    assert engine.runtime.precision is Precision.FP32
    assert len(builds) == 2


def test_an_error_that_stays_is_the_end_of_the_device(tiny, monkeypatch):
    engine = LivePortraitEngine(faces_by(None), Settings(tiny, "cpu", Precision.FP32))
    source = engine.prepare(bundled("drawing"), 256, 512)
    work = [(source, Given(source.face, source.face, 0))]
    engine.submit(work)()

    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA …")

    monkeypatch.setattr(engine._live._way.path.steps, "play", broken)
    with pytest.raises(RuntimeError, match="illegal"):
        engine.submit(work)  # the device still answers
    monkeypatch.setattr(engine.runtime, "synchronize", broken)
    with pytest.raises(
        DeviceLost, match=r"^cpu does not answer any more \(CUDA error: an illegal memory access was encountered\)$"
    ):
        engine.submit(work)


@pytest.mark.slow
def test_offline_a_precision_that_fails_costs_no_frame(tiny, frames):
    engine = LivePortraitEngine(faces_by(FACE_MODEL), Settings(tiny, "cpu", precision=Precision.BF16))
    source, puppeteer = engine.prepare(bundled("drawing"), 256, 512), calibrated(engine, frames[:START])
    good = puppeteer.animate(source, rgb(frames[-1]), 1.0)
    with torch.inference_mode():
        engine.runtime._networks.generator.conv_img[0].bias.fill_(torch.nan)
    assert psnr(puppeteer.animate(source, rgb(frames[-1]), 1.0 + 1 / FPS), good) > 25
    assert engine.runtime.precision is Precision.FP32
    puppeteer.close()


@pytest.fixture
def no_compiler(monkeypatch):
    """Compilation fails at a function's first call."""
    from torch._dynamo.exc import BackendCompilerFailed

    def broken(*args, **kwargs):
        def run(*_):
            raise BackendCompilerFailed(broken, RuntimeError("no compiler here"), None)

        return run

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(build.Compiled, "warned", False)


def test_a_compiler_that_fails_is_an_error_unless_told_otherwise(no_compiler, caplog):
    double = lambda x: 2 * x  # noqa: E731
    with pytest.raises(ModelError, match="--compile off"):
        build.compiled(double, Compile.ON)(torch.ones(1))
    automatic = build.compiled(double, Compile.AUTO)
    assert automatic(torch.ones(1)).item() == 2
    assert automatic(torch.ones(1)).item() == 2
    assert build.compiled(double, Compile.AUTO)(torch.ones(1)).item() == 2
    assert sum("going on without" in r.message for r in caplog.records) == 1
    assert build.compiled(double, Compile.OFF) is double


@pytest.fixture
def eager(monkeypatch):
    """Compilation as far as the guards: no kernels are made."""
    whole = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: whole(function, backend="eager", **options))
    monkeypatch.setattr(build.Compiled, "warned", False)
    with torch._dynamo.config.patch(recompile_limit=8):
        yield
    torch.compiler.reset()


def test_ways_and_sizes_do_not_use_up_the_compiler(eager):
    """What three ways compile, one for each size of picture, in every batch size."""
    for side in (4, 6, 8):
        widened = build.compiled(lambda x, side=side: x.expand(-1, side), Compile.ON)
        for batch in (1, 2, 4, 8):
            assert widened(torch.ones(batch, 1)).shape == (batch, side)


def test_a_compiler_that_gives_up_is_one_that_fails(eager, monkeypatch, caplog):
    monkeypatch.setattr(build, "KEPT", 1)
    torch._dynamo.config.recompile_limit = 1

    def last_sum(compile_: Compile) -> float:
        double = build.compiled(lambda x: 2 * x, compile_)
        return [double(torch.ones(n)).sum().item() for n in (2, 3)][-1]

    with pytest.raises(ModelError, match="--compile off"):
        last_sum(Compile.ON)
    assert last_sum(Compile.AUTO) == 6
    assert sum("going on without" in r.message for r in caplog.records) == 1


def test_kernels_are_kept_with_the_checkpoints(tiny, tmp_path, monkeypatch):
    """Where they can be written there."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    settings = Settings(tiny, "cpu", Precision.FP32, build=Build(compile=Compile.ON))
    Runtime(settings)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "mine")
    del os.environ["TORCHINDUCTOR_CACHE_DIR"]
    Runtime(replace(settings, build=Build(compile=Compile.OFF)))
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    Runtime(settings)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tiny / "compiled")
    del os.environ["TORCHINDUCTOR_CACHE_DIR"]
    build.keep_kernels(tmp_path / "nowhere")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(user_cache_path("puppetcast") / "compiled")


def test_a_processor_begins_uncompiled_and_compiles_beside_the_frames(tiny, monkeypatch, caplog):
    """With a compiler that changes nothing: what it makes of whole networks is tested elsewhere."""
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    caplog.set_level("INFO")
    builds: list[Any] = []
    settings = Settings(tiny, "cpu", Precision.FP32, build=Build(compile=Compile.ON), still_px=0)
    engine = LivePortraitEngine(faces_by(None), settings, builds.append)
    source = engine.prepare(bundled("drawing"), 128, 512)
    assert engine.warm_up(source, lambda done, total: None) > 0
    work = [(source, Given(source.face, source.face, 0))]
    [before] = engine.submit(work)()
    in_use = engine._live.runtime
    assert not in_use.compiles
    assert in_use._networks.warping.fourth.weight is engine.runtime._networks.warping.fourth.weight, "the weights are there once"
    [build_way] = builds
    build_way()
    [after] = engine.submit(work)()
    assert engine._live.runtime is engine.runtime
    assert engine.runtime.compiles
    assert "another way is in use: fp32, compiled" in caplog.text
    assert np.abs(before.astype(int) - after).max() <= 1
    engine.submit(work)()
    assert len(builds) == 1


def test_on_a_processor_a_compiler_that_fails_stops_no_frame(tiny, no_compiler, caplog):
    settings = Settings(tiny, "cpu", Precision.FP32, build=Build(compile=Compile.ON), still_px=0)
    engine = LivePortraitEngine(faces_by(None), settings, lambda job: job())
    source = engine.prepare(bundled("drawing"), 128, 512)
    engine.warm_up(source, lambda done, total: None)
    work = [(source, Given(source.face, source.face, 0))]
    assert not np.array_equal(engine.submit(work)()[0], planar(source.still))
    [told] = [r.message for r in caplog.records if r.levelname == "ERROR"]
    assert told.startswith("compilation failed")
    assert "going on" in told


def test_a_processor_does_not_compile_m_and_g(tiny):
    """Which take longer then, and most of a start."""
    for device, compiles in (("cpu", False), ("meta", True)):
        networks = Runtime(Settings(tiny, device, Precision.FP32, build=Build(compile=Compile.ON)))._networks
        assert isinstance(networks.motion.forward, build.Compiled) == compiles
        assert isinstance(networks.generator.forward, build.Compiled) == compiles
        assert isinstance(networks.warping.forward, build.Compiled)


def test_graphs_need_cuda():
    with pytest.raises(ModelError, match="CUDA"):
        build.complete(Build(graph=True), CPU)
    assert build.complete(Build(), CPU) == Build(True, True, Compile.OFF, False)
    assert build.complete(Build(), torch.device("cuda")) == Build(True, True, Compile.AUTO, True)


def test_places_on_the_device_are_given_back():
    rows = RowPool()
    taken = [rows.take() for _ in range(64)]
    assert len(set(taken)) == 64
    with pytest.raises(Exception, match="64 streams"):
        rows.take()
    rows.give_back(taken[7])
    assert rows.take() == taken[7]
