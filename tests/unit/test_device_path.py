"""A frame's way on the device: the same as step by step, for several streams at once, without a look at the host."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.similarity import psnr
from pipeline.clips import first_seconds
from pipeline.errors import ModelError
from pipeline.follow.smoothing import OneEuroFilter, RotationFilter, ratio
from pipeline.follow.tuning import Region, Tuning
from pipeline.frames import Driving, Image
from pipeline.liveportrait import build
from pipeline.liveportrait.crop import FaceBox
from pipeline.liveportrait.device import (
    FROM_YUV,
    HOLD,
    PLANES,
    TO_YUV,
    TURN,
    DevicePath,
    Rows,
    Shown,
    Sight,
    compose,
    cut_planes,
    flat,
    planes_of,
    to_planes,
    unflat,
)
from pipeline.liveportrait.engine import LivePortraitEngine
from pipeline.liveportrait.follow import BETA, MIN_CUTOFF_HZ, Driven, Seen, driving_input
from pipeline.liveportrait.motion import Controllers, FaceMotion, Ratios, drive
from pipeline.liveportrait.networks import eye_mlp, lip_mlp, stitching_mlp
from pipeline.liveportrait.options import Build, Compile, MotionOptions, Precision, Settings
from pipeline.portrait import bundled

CPU = torch.device("cpu")


def frames_of(path: Path, count: int) -> list[av.VideoFrame]:
    with av.open(str(path)) as opened:
        return list(islice(opened.decode(video=0), count))


def sight(driving: Driving, box: FaceBox, gap_s: float | None = 0.0) -> Sight:
    return Sight(driving, Seen(box, np.array([0.3, 0.3, 0.1], np.float32), gap_s, 0.0), None, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("size", [(512, 512), (640, 360), (1600, 1200)])
def test_the_crop_on_the_device_is_the_one_on_the_host(clip, size, mirrored):
    frame = frames_of(clip("d10"), 1)[0].reformat(*size, format="yuv420p")
    factor = min(1, 512 / max(size))
    small = frame.to_ndarray(format="rgb24", width=round(size[0] * factor), height=round(size[1] * factor))
    image = np.ascontiguousarray(small[:, ::-1]) if mirrored else small
    box = FaceBox(np.array([0.55, 0.45]) * image.shape[1::-1], 0.8 * image.shape[0], 0.0)
    luma, chroma, to_picture = planes_of(sight(Driving(image, 0.0, frame, mirrored), box))
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


def test_planes_are_those_of_opencv(picture):
    image = np.ascontiguousarray(cv2.imread(str(picture("s1")))[:512, :512, ::-1])
    planes = to_planes(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255, torch.tensor(TO_YUV))
    theirs = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    ours = planes.numpy().reshape(theirs.shape)
    assert np.abs(ours[:512].astype(int) - theirs[:512]).max() <= 1
    flat_colour = np.full((64, 64, 3), (200, 40, 90), np.uint8)
    ours = to_planes(torch.from_numpy(flat_colour).permute(2, 0, 1)[None].float() / 255, torch.tensor(TO_YUV))
    assert np.abs(ours.numpy().reshape(96, 64).astype(int) - cv2.cvtColor(flat_colour, cv2.COLOR_RGB2YUV_I420)).max() <= 1


def face(generator: torch.Generator, batch: int) -> FaceMotion:
    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(batch, *shape, generator=generator) * 0.1

    turns = torch.linalg.qr(torch.eye(3) + numbers(3, 3)).Q
    return FaceMotion(numbers(21, 3), numbers(21, 3), turns, 1 + numbers(1), numbers(3))


def controllers() -> Controllers:
    torch.manual_seed(5)
    return Controllers(stitching_mlp().eval(), lip_mlp().eval(), eye_mlp().eval())


def shown(generator: torch.Generator, batch: int) -> Shown:
    nothing = torch.zeros(batch, 1)
    portrait = type("Nothing", (), {"__iter__": lambda self: iter([nothing] * 4)})()
    source = face(generator, batch)
    return Shown(portrait, source, source.keypoints(), Ratios(nothing.expand(-1, 2), nothing), nothing, nothing, nothing)


def numbers(batch: int, tuning: Tuning = Tuning()) -> torch.Tensor:
    """(B, 23) as `_Host.write` makes them, but for the crop."""
    row = [0.0] * 12 + [ratio(tuning.smoothing), 0.0, 0.0, tuning.pose, tuning.scale, *tuning.expression]
    return torch.tensor([row + [float(tuning.eye_retargeting), float(tuning.lip_retargeting)]] * batch)


@torch.inference_mode()
def test_the_filter_on_the_device_is_the_one_of_the_host():
    generator = torch.Generator().manual_seed(3)
    source, reference = shown(generator, 1), face(generator, 1)
    networks = controllers()
    ratios = Ratios(torch.zeros(1, 2), torch.zeros(1, 1))
    references = flat(Driven(reference, ratios))
    state = torch.full((2, 1, references.shape[1]), torch.nan)  # nobody has been here
    blend = torch.full((2, 1, 63), torch.nan)
    filtered, turned = OneEuroFilter(MIN_CUTOFF_HZ, BETA), RotationFilter(MIN_CUTOFF_HZ, BETA)
    for k in range(6):
        motion = face(generator, 1)
        small = numbers(1)
        small[0, 7] = 0.0 if k == 0 else 1 / 30
        _, state, blend = compose(source, motion, small, references, state, blend, networks, MotionOptions())
        expected = filtered(flat(Driven(motion, ratios)), 10 + k / 30)
        expected[:, TURN] = torch.from_numpy(turned(motion.rotation[0].numpy(), 10 + k / 30)).flatten()
        assert torch.allclose(state[0], expected, atol=1e-5)
        assert torch.allclose(torch.linalg.det(state[0][:, TURN].reshape(3, 3)), torch.ones(1), atol=1e-5), "a rotation"
    small[0, 7] = HOLD
    _, held, _ = compose(source, face(generator, 1), small, references, state, blend, networks, MotionOptions())
    assert torch.equal(held[0], state[0]), "a lost face keeps its last motion"
    small[0, 8] = 1.0
    keypoints, _, _ = compose(source, face(generator, 1), small, references, state, blend, networks, MotionOptions())
    assert torch.allclose(keypoints, source.resting), "and comes to rest"
    assert torch.equal(flat(unflat(references, reference.canonical)), references)


@torch.inference_mode()
def test_a_leap_is_taken_back_little_by_little():
    generator = torch.Generator().manual_seed(6)
    source, networks = shown(generator, 1), controllers()
    references = flat(Driven(face(generator, 1), Ratios(torch.zeros(1, 2), torch.zeros(1, 1))))
    state, blend = torch.zeros(2, 1, references.shape[1]), torch.zeros(2, 1, 63)
    small = numbers(1, Tuning(smoothing=0))
    first, state, blend = compose(source, face(generator, 1), small, references, state, blend, networks, MotionOptions())
    after = face(generator, 1)
    there, _, _ = compose(source, after, small, references, state, blend, networks, MotionOptions())
    for leap, left in ((1.0, 1.0), (0.0, 0.25), (0.0, 0.0)):
        small[0, 13], small[0, 14] = leap, left
        out, state, blend = compose(source, after, small, references, state, blend, networks, MotionOptions())
        assert torch.allclose(out, there + (first - there) * left, atol=1e-5)


@torch.inference_mode()
def test_gains_of_a_stream_are_those_of_the_offline_options():
    generator = torch.Generator().manual_seed(7)
    source, driver, reference, networks = shown(generator, 1), face(generator, 1), face(generator, 1), controllers()
    ratios = Ratios(torch.rand(1, 2, generator=generator), torch.rand(1, 1, generator=generator))
    small = numbers(1)
    small[0, 9:12] = torch.cat([ratios.eyes, ratios.lip], dim=1)
    references, state, blend = flat(Driven(reference, ratios)), torch.zeros(2, 1, 79), torch.zeros(2, 1, 63)
    for tuning, options in (
        (Tuning(pose_gain=0.5, expression_gain=1.5), MotionOptions(pose_gain=0.5, expression_gain=1.5)),
        (Tuning(region=Region.LIP), MotionOptions(region=Region.LIP)),
        (Tuning(region=Region.EYES), MotionOptions(region=Region.EYES)),
        (Tuning(region=Region.POSE, scale_lock=True), MotionOptions(region=Region.POSE)),
        (Tuning(region=Region.EXPRESSION), MotionOptions(region=Region.EXPRESSION)),
        (Tuning(eye_retargeting=True), MotionOptions(eye_retargeting=True)),
        (Tuning(lip_retargeting=True), MotionOptions(lip_retargeting=True)),
    ):
        small[:, 12:] = numbers(1, tuning)[:, 12:]
        ours, _, _ = compose(source, driver, small, references, state, blend, networks, MotionOptions())
        theirs = drive(source.face, driver, reference, networks, options, source.ratios, ratios)
        assert torch.allclose(ours, theirs, atol=1e-5), tuning


@pytest.mark.parametrize("region", list(Region))
@pytest.mark.parametrize("relative", [True, False])
@torch.inference_mode()
def test_streams_in_a_batch_do_not_see_each_other(region, relative):
    generator = torch.Generator().manual_seed(4)
    source, motion, networks = shown(generator, 3), face(generator, 3), controllers()
    references = flat(Driven(face(generator, 3), Ratios(torch.zeros(3, 2), torch.zeros(3, 1))))
    state = torch.randn(2, 3, references.shape[1], generator=generator) * 0.1
    state[0][:, TURN] = face(generator, 3).rotation.flatten(1)
    blend = torch.randn(2, 3, 63, generator=generator) * 0.1
    small = torch.rand(3, 23, generator=generator) * 0.1
    options = MotionOptions(relative=relative, region=region, pose_gain=0.7)
    together, _, _ = compose(source, motion, small, references, state, blend, networks, options)
    for k in range(3):
        row = slice(k, k + 1)
        alone_source = Shown.of([t[row] for t in source.tensors()])
        alone, _, _ = compose(
            alone_source, FaceMotion(*(p[row] for p in motion)), small[row], references[row], state[:, row], blend[:, row],
            networks, options,
        )  # fmt: skip
        assert torch.allclose(alone, together[row], atol=1e-6)


class NoHost(TorchDispatchMode):
    """Fails on what cannot be captured: constants brought from the host, values taken to it, sizes that depend on data."""

    FORBIDDEN = ("lift_fresh", "_local_scalar_dense", "nonzero", "index_put", "masked_select", "unique")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().removeprefix("aten::")
        assert not name.startswith(self.FORBIDDEN), f"{name} cannot be captured"
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def engine(checkpoints, model) -> LivePortraitEngine:
    return LivePortraitEngine(model, Settings(checkpoints))


def luma(planes: Image, height: int) -> Image:
    return np.repeat(planes[:height, :, None], 3, axis=2)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_whole_way_is_the_one_step_by_step(engine, clip, tmp_path):
    portraits = [engine.prepare(bundled(name), side, 512) for name, side in (("astronaut", 512), ("drawing", 384))]
    drivers = [clip("d10"), clip("d18")]
    live, steps = [[engine.open() for _ in drivers] for _ in range(2)]
    for path, a, b in zip(drivers, live, steps, strict=True):
        some = list(islice(first_seconds(path), 12))
        a.calibrate(some)
        b.calibrate(some)
    path = DevicePath(engine.runtime, MotionOptions(), 512, portraits[0].shown(512), 2)
    done: list[tuple[int, int]] = []
    path.capture(lambda n, total: done.append((n, total)))
    assert done == [(1, 2), (2, 2)]
    clips = [frames_of(p, 6) for p in drivers]
    for k in (5,):
        work, expected = [], []
        for source, puppeteer, stepper, frames in zip(portraits, live, steps, clips, strict=True):
            image = frames[k].to_ndarray(format="rgb24")
            work.append((source.shown(512), puppeteer.follow(Driving(image, k / 30, frames[k]))))
            expected.append(cv2.cvtColor(stepper.animate(source, image, k / 30), cv2.COLOR_RGB2YUV_I420))
        for (planes, finite), theirs in zip(path.submit(work)(), expected, strict=True):
            height, width = theirs.shape[0] * 2 // 3, theirs.shape[1]
            assert finite
            assert psnr(luma(planes[:, :width], height), luma(theirs, height)) > 36
    with torch.inference_mode(), NoHost():
        path._run(2)
    for puppeteer in (*live, *steps):
        puppeteer.close()


@pytest.mark.slow
def test_values_that_are_not_finite_never_reach_a_viewer(checkpoints, model, clip, monkeypatch):
    engine = LivePortraitEngine(model, Settings(checkpoints, precision=Precision.BF16))
    source, puppeteer = engine.prepare(bundled("drawing"), 256, 512), engine.open()
    puppeteer.calibrate(list(islice(first_seconds(clip("d18")), 10)))
    engine.warm_up(source, lambda done, total: None)
    seen = puppeteer.follow(Driving(frames_of(clip("d18"), 1)[0].to_ndarray(format="rgb24"), 1.0))
    good = engine.submit([(source, seen)])()[0]
    broken = engine.runtime._networks.generator.conv_img[0].bias
    with torch.inference_mode():
        broken.fill_(torch.nan)
    still = cv2.cvtColor(source.still, cv2.COLOR_RGB2YUV_I420)
    assert np.array_equal(engine.submit([(source, seen)])()[0], still), "the portrait at rest instead"
    assert engine.runtime.precision is Precision.FP32
    again = engine.submit([(source, seen)])()[0]
    assert psnr(luma(again, source.still.shape[0]), luma(good, source.still.shape[0])) > 25
    puppeteer.close()


def test_a_compiler_that_fails_is_an_error_unless_told_otherwise(monkeypatch, caplog):
    from torch._dynamo.exc import BackendCompilerFailed

    def broken(*args, **kwargs):
        def run(*_):
            raise BackendCompilerFailed(broken, RuntimeError("no compiler here"), None)

        return run

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(build.Compiled, "warned", False)
    double = lambda x: 2 * x  # noqa: E731
    with pytest.raises(ModelError, match="--compile off"):
        build.compiled(double, Compile.ON)(torch.ones(1))
    automatic = build.compiled(double, Compile.AUTO)
    assert automatic(torch.ones(1)).item() == 2
    assert automatic(torch.ones(1)).item() == 2
    assert build.compiled(double, Compile.AUTO)(torch.ones(1)).item() == 2
    assert sum("going on without" in r.message for r in caplog.records) == 1
    assert build.compiled(double, Compile.OFF) is double


def test_graphs_need_cuda():
    with pytest.raises(ModelError, match="CUDA"):
        build.complete(Build(graph=True), CPU)
    assert build.complete(Build(), CPU) == Build(True, False, Compile.OFF, False)
    assert build.complete(Build(), torch.device("cuda")) == Build(True, True, Compile.AUTO, True)


def test_places_on_the_device_are_given_back():
    rows = Rows()
    taken = [rows.take() for _ in range(64)]
    assert len(set(taken)) == 64
    with pytest.raises(Exception, match="64 streams"):
        rows.take()
    rows.give_back(taken[7])
    assert rows.take() == taken[7]
