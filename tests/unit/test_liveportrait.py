"""LivePortrait against what the published implementation computes, and checkpoints that cannot be used."""

from __future__ import annotations

import math
import pickle
import shutil
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import ModelError
from pipeline.follow.tuning import Region, Tuning
from pipeline.liveportrait import conformance as verify
from pipeline.liveportrait import motion
from pipeline.liveportrait.build import compiled, precisions
from pipeline.liveportrait.crop import SIDE, FaceBox, mask_in_picture
from pipeline.liveportrait.files import BASE, RETARGETING
from pipeline.liveportrait.folding import Folding, fold, fold_spectral
from pipeline.liveportrait.motion import Controllers, Face, FaceMotion, Gains, Ratios
from pipeline.liveportrait.networks import TINY, DenseMotion, PortraitFeatures, SpadeBlock, SpadeGenerator
from pipeline.liveportrait.options import PLAIN, Build, Compile, MotionOptions, Precision, Settings
from pipeline.liveportrait.paste import PasteBack, pasted, to_nearest_bytes
from pipeline.liveportrait.runtime import Runtime
from pipeline.liveportrait.separable import sparse_motions
from pipeline.liveportrait.spade import Blocks, GatheredConv, PhaseConv
from pipeline.liveportrait.weights import Networks, load_networks, read_state


@pytest.fixture(scope="module")
def networks(checkpoints):
    """In full size, as an engine builds them."""
    return verify.open_networks(checkpoints, replace(PLAIN, fold=True), Precision.FP32, "cpu")


def missed(path, networks, **instead) -> list[str]:
    """Rows that are beyond their tolerance. instead: of what the file has under these names."""
    golden = verify.load_golden(path)
    golden.update(instead)
    rows = list(verify.verify(golden, networks, path))
    assert len(rows) > 20
    return [f"{r.key}: {r.error:.2e} > {r.tolerance:.0e}" for r in rows if not r.ok]


@pytest.mark.long
def test_motion_is_the_published_one(conformance, networks):
    assert missed(conformance / "golden_motion.npz", networks) == []


@pytest.mark.long
def test_crop_and_paste_back_are_the_published_ones(conformance, networks):
    assert missed(conformance / "golden_crop.npz", networks) == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_networks_compute_the_published_pictures(conformance, networks, monkeypatch):
    """With the first of the file's three driving frames; `puppetcast verify` takes all of them. W's motion, which is asked for
    by itself and within W, is computed once."""
    dense = networks.warping.dense_motion_network
    monkeypatch.setattr(dense, "forward", cache(dense.forward))
    golden = conformance / "golden_networks.npz"
    assert missed(golden, networks, driving_images=verify.load_golden(golden)["driving_images"][:1]) == []


# How far pictures and heads may be from the plain networks'; bf16 has 8 bits.
BUILDS = {
    "folded": (replace(PLAIN, fold=True), Precision.FP32, 1e-4),
    "folded, channels-last, compiled": (Build(True, True, Compile.ON, False), Precision.FP32, 1e-4),
    "folded, channels-last, bf16": (replace(PLAIN, fold=True, channels_last=True), Precision.BF16, 0.1),
}
LONG = [pytest.mark.long, pytest.mark.timeout(600)]  # to compile


@pytest.mark.parametrize("name", [pytest.param(n, marks=LONG if "compiled" in n else []) for n in BUILDS])
@torch.inference_mode()
def test_every_build_computes_what_the_plain_networks_do(name, tiny, monkeypatch):
    """The compiled one is traced whole; `puppetcast verify --compile on` runs what a compiler makes of whole networks."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    build, precision, tolerance = BUILDS[name]
    if precision is Precision.BF16 and Precision.BF16 not in precisions(torch.device("cpu")):
        pytest.skip("this processor has no bf16")
    torch.manual_seed(1)
    image, keypoints = torch.rand(1, 3, 256, 256), torch.rand(2, 1, 21, 3) - 0.5
    results = []
    for settings in (Settings(tiny, "cpu", Precision.FP32, build=PLAIN), Settings(tiny, "cpu", precision, build=build)):
        runtime = Runtime(settings)
        features = runtime.features(image, keypoints[0])
        results.append((runtime.motion(image).keypoints(), runtime.render(features, keypoints[1])))
    for plain, fast in zip(*results, strict=True):
        assert (plain - fast).abs().mean() < tolerance * plain.std()


@torch.inference_mode()
def test_mixed_precision_does_not_round_places(tiny):
    warping = load_networks(tiny).warping
    dense: DenseMotion = warping.dense_motion_network
    seen: list[torch.Tensor] = []
    dense.mask.register_forward_hook(lambda module, given, mask: seen.append(mask))
    feature = torch.rand(1, *TINY.volume, TINY.side, TINY.side)
    portrait = warping.prepare(feature, torch.rand(1, 21, 3) - 0.5)
    driving = portrait.keypoints + 0.1 * torch.randn(1, 21, 3)
    with torch.autocast("cpu", torch.bfloat16):
        places, _ = dense(portrait, driving)
    shifts = torch.nn.functional.pad(portrait.keypoints - driving, (0, 0, 1, 0)).double()
    wanted = dense.grid + torch.einsum("bkdhw,bkc->bdhwc", seen[0].double().softmax(dim=1), shifts)
    assert (places - wanted).abs().max() < 1e-6


@pytest.mark.long
@torch.inference_mode()
def test_the_compiler_s_own_kernels_compute_it_too(monkeypatch):
    """Of the layer that asks most of it; a whole network takes a minute to compile."""
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # for one kernel no processes are started
    monkeypatch.setattr("torch._inductor.config.cpp_cache_precompile_headers", False)  # nor headers compiled for many
    monkeypatch.setattr("torch._inductor.config.cpp.vec_isa_ok", True)  # nor trials of each instruction set that there is
    torch.manual_seed(1)
    block = SpadeBlock(8, 4, TINY)
    fold_spectral(block)
    blocks = Blocks([block], 2, gather=True)
    x, seg = torch.rand(1, 8, 8, 8), torch.rand(1, TINY.warped, 8, 8)
    run = lambda x, seg: blocks(x, blocks.maps(seg))  # noqa: E731
    assert torch.allclose(compiled(run, Compile.ON)(x, seg), run(x, seg), atol=1e-5)


def test_a_convolution_of_an_upsampled_map_is_computed_at_its_size():
    torch.manual_seed(1)
    conv = torch.nn.Conv2d(5, 6, 3, padding=1).double()
    x = torch.randn(2, 5, 6, 8, dtype=torch.float64)
    for scale in (2, 3, 4):
        wanted = conv(torch.nn.functional.interpolate(x, scale_factor=scale)).relu()
        kinds = [0, *[1] * (scale - 2), 1 if scale == 2 else 2]
        rows, columns = (torch.tensor([k + len(set(kinds)) * n for n in range(size) for k in kinds]) for size in (6, 8))
        assert torch.allclose(PhaseConv(conv, scale)(x)[:, :, rows][..., columns], wanted, atol=1e-12)
        assert torch.allclose(torch.cat(GatheredConv(conv, scale, 3)(x), dim=1), wanted, atol=1e-12)


@pytest.mark.parametrize("gather", [False, True])
@torch.inference_mode()
def test_blocks_enlarge_what_they_are_given(gather):
    torch.manual_seed(1)
    block = SpadeBlock(8, 4, TINY).double()
    fold_spectral(block)
    for batch, scale in ((1, 2), (1, 4), (2, 2), (2, 4)):
        seg = torch.randn(batch, TINY.warped, 5, 6, dtype=torch.float64)
        x = torch.randn(batch, 8, 5 * scale // 2, 6 * scale // 2, dtype=torch.float64)
        wanted = block(torch.nn.functional.interpolate(x, scale_factor=2), seg)
        blocks = Blocks([block], scale, gather)
        assert torch.allclose(blocks(x, blocks.maps(seg)), wanted, atol=1e-12)


def test_what_w_is_given_can_be_computed_axis_by_axis():
    """Also of places outside, and by itself in mixed precision."""
    torch.manual_seed(1)
    dense = DenseMotion(TINY)
    resting, driven = torch.rand(1, 21, 3) * 2 - 1, torch.rand(2, 21, 3) * 2 - 1
    volume = torch.rand(1, TINY.compressed, TINY.volume[1], TINY.side, TINY.side)
    portrait = PortraitFeatures(volume, volume, resting, dense.heat(resting))
    wanted = dense.sparse_motions(portrait, driven, torch.nn.functional.pad(resting - driven, (0, 0, 1, 0)))
    with torch.autocast("cpu", torch.bfloat16):
        got = sparse_motions(volume, resting, driven, torch.float32)
    assert torch.allclose(got, wanted, atol=1e-6)
    assert got.is_contiguous(memory_format=torch.channels_last_3d)


def computed(networks: Networks) -> list[torch.Tensor]:
    """What M, W in two steps, and G say of a random face in two poses."""
    torch.manual_seed(1)
    image, resting = torch.rand(1, 3, 256, 256).double(), torch.rand(1, 21, 3).double() - 0.5
    driven = resting + 0.1 * torch.randn(2, 21, 3).double()
    portrait = networks.warping.prepare(networks.appearance(image), resting)
    warped = networks.warping(portrait, driven)
    return [
        *networks.motion(image),
        *networks.warping.dense_motion_network(portrait, driven),
        warped,
        networks.generator(warped),
    ]


@pytest.fixture
def in_double(tiny, monkeypatch) -> Networks:
    """Plain networks in which nothing hides behind rounding."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    return Networks(*(module.double() for module in load_networks(tiny).modules()))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@torch.inference_mode()
def test_folding_changes_nothing(device, in_double):
    plain = computed(in_double)
    for once, again in zip(plain, computed(fold(in_double, Folding.of(torch.device(device)))), strict=True):
        assert (once - again).abs().max() <= 1e-10 * once.abs().max()


def test_folding_leaves_no_norm_behind(tiny):
    networks = fold(load_networks(tiny), Folding())
    kinds = {type(m).__name__ for root in networks.modules() for m in root.modules()}
    assert not {"Spade", "BatchNorm2d"} & kinds
    left = [m for root in networks.modules() for m in root.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert len(left) == 6, "the first norm of each residual block stands before its activation"
    assert not [k for root in networks.modules() for k in root.state_dict() if k.endswith("weight_orig")]


@pytest.mark.long
def test_the_command_prints_a_table_and_misses_a_perturbed_weight(conformance, checkpoints, tiny, tmp_path, shell):
    shutil.copytree(tiny, tmp_path / "c")
    file = tmp_path / "c" / f"{RETARGETING}.pth"
    shutil.copy(checkpoints / f"{RETARGETING}.pth", file)  # of full size whatever the others are
    bundle = torch.load(file, weights_only=True)
    command = ["verify", "--checkpoints", tmp_path / "c", "--golden", conformance / "golden_motion.npz"]
    good = shell.run(command)
    assert good.code == 0, good.said
    assert "x_s " in good.said
    bundle["retarget_shoulder"]["module.mlp.6.weight"] *= 1.01
    torch.save(bundle, file)
    bad = shell.run(command)
    assert bad.code == 1
    assert "MISSED" in bad.said


def test_a_golden_file_that_lacks_an_array_is_told_of(tmp_path):
    path = tmp_path / "half.npz"
    np.savez(path, **{"paste.result": np.zeros(1)})
    with pytest.raises(ModelError, match=r"half\.npz: lacks 'landmarks_203'"):
        list(verify.verify_crop(verify.load_golden(path)))


def test_a_golden_file_that_is_damaged_or_holds_something_else_is_told_of(tmp_path):
    path = tmp_path / "golden.npz"
    held = {"paste.result": np.zeros(1), "landmarks_203": np.zeros((203, 2)), "image": np.zeros((64, 64, 3), np.uint8)}
    np.savez(path, **held)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole.replace(bytes(64), b"\xff" * 64, 1)):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"golden\.npz: not a golden file, or not whole"):
            verify.load_golden(path)
    np.savez(path, **held | {"landmarks_203": np.zeros((3, 2))})
    with pytest.raises(ModelError, match=r"golden\.npz: does not hold what a golden file does"):
        list(verify.verify(verify.load_golden(path), None, path))


def test_published_results_that_are_not_there_are_told_of(conformance, tiny):
    """Rows that are not compared would prove nothing."""
    golden, networks = verify.load_golden(conformance / "golden_motion.npz"), load_networks(tiny)
    for instead, words in ((None, "lacks 'laugh.case0.x_d'"), (np.zeros(1), r"'laugh.case0.x_d' is \(1,\), not \(8, 21, 3\)")):
        del golden["laugh.case0.x_d"]
        golden |= {} if instead is None else {"laugh.case0.x_d": instead}
        with pytest.raises(ModelError, match=words):
            list(verify.verify(golden, networks, golden.path))
        golden["laugh.case0.x_d"] = np.zeros(1)


@pytest.mark.parametrize("angle", [0.0, 0.3, -2.0])
def test_a_turned_crop_goes_back_as_opencv_pastes_it(angle):
    """Into a picture in which every pixel is black or white, so that each place counts."""
    some = np.random.default_rng(3)
    picture, made = (np.asarray(some.integers(2, size=(side, side, 3)) * 255, np.uint8) for side in (160, SIDE))
    box = FaceBox(np.array([83.1, 74.6]), 120.3, angle)
    warped = cv2.warpAffine(made, box.to_picture()[:2], (160, 160), flags=cv2.INTER_LINEAR)
    mask = mask_in_picture(box.to_picture(), (160, 160))[..., None]
    canvas = PasteBack(picture, box, torch.device("cpu")).on_canvas(160)
    whole = to_nearest_bytes(pasted(verify.as_input(made[None], torch.device("cpu")), *canvas))[0].numpy()
    assert np.abs(whole - (mask * warped + (1 - mask) * picture)).max() <= 1


def test_safetensors_load_as_well(tiny, tmp_path):
    state = read_state(tiny / f"{BASE}/appearance_feature_extractor.pth")
    save_file(state, tmp_path / "a.safetensors")
    again = read_state(tmp_path / "a.safetensors")
    assert all(torch.equal(state[k], again[k]) for k in state)


class Evil:
    """Unpickled, it would make a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("page", "a web page, not a checkpoint"),
        ("pickle", "nothing of it was run"),
        ("half", "damaged or not whole"),
        ("empty", "damaged or not whole"),
    ],
)
def test_files_that_are_no_checkpoints(kind, message, tiny, tmp_path):
    whole = (tiny / f"{RETARGETING}.pth").read_bytes()
    content = {
        "page": b"<!DOCTYPE html><title>Sign in</title>",
        "pickle": pickle.dumps(Evil(tmp_path / "was-run"), protocol=2),
        "half": whole[: len(whole) // 2],
        "empty": b"",
    }
    path = tmp_path / "x.pth"
    path.write_bytes(content[kind])
    with pytest.raises(ModelError, match=message):
        read_state(path)
    assert not (tmp_path / "was-run").exists()
    pickle.loads(content["pickle"])
    assert (tmp_path / "was-run").exists(), "the pickle is what it seems"


def test_a_checkpoint_of_another_model_names_every_key(tiny, tmp_path):
    base, retargeting = tmp_path / BASE, (tmp_path / RETARGETING).parent
    base.mkdir(parents=True)
    retargeting.mkdir(parents=True)
    with pytest.raises(ModelError, match=r"lacks .*motion_extractor\.pth.*models fetch"):
        load_networks(tmp_path)
    shutil.copy(tiny / f"{RETARGETING}.pth", tmp_path / f"{RETARGETING}.pth")
    for name in ("motion_extractor", "warping_module", "spade_generator"):
        (base / f"{name}.pth").symlink_to(tiny / BASE / f"{name}.pth")
    state = read_state(tiny / f"{BASE}/appearance_feature_extractor.pth")
    state["extra"] = state.pop("second.bias")
    state["first.conv.bias"] = torch.zeros(5)
    torch.save(state, base / "appearance_feature_extractor.pth")
    with pytest.raises(ModelError) as caught:
        load_networks(tmp_path)
    for part in ("missing: second.bias", "unexpected: extra", "first.conv.bias is [5], expected [4]"):
        assert part in str(caught.value)


def test_all_files_are_of_one_size(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "c")
    torch.save(SpadeGenerator(replace(TINY, spade=5)).state_dict(), tmp_path / "c" / BASE / "spade_generator.pth")
    with pytest.raises(ModelError, match=r"up_1\.norm_0\.mlp_shared\.0\.weight is \[5, 8, 3, 3\], expected \[4, 8, 3, 3\]"):
        load_networks(tmp_path / "c")
    first = tmp_path / "c" / BASE / "appearance_feature_extractor.pth"
    torch.save(read_state(first) | {"first.conv.weight": torch.zeros(7, 3, 3, 3)}, first)
    with pytest.raises(ModelError, match=r"first\.conv\.weight is \[7, 3, 3, 3\], expected \[64, 3, 3, 3\]"):
        load_networks(tmp_path / "c")


def faces(batch: int) -> tuple[Face, Face, FaceMotion]:
    """A source, a driver in `batch` frames, and the first of them."""
    generator = torch.Generator().manual_seed(8)

    def face(batch: int) -> FaceMotion:
        some = [torch.randn(batch, *shape, generator=generator) * 0.1 for shape in ((21, 3), (21, 3), (1,), (3,))]
        turn = motion.rotation(*(torch.randn(batch, 1, generator=generator) * 15 for _ in range(3)))
        return FaceMotion(some[0], some[1], turn, 1 + some[2], some[3])

    driving = face(batch)
    source = Face(face(1), Ratios(torch.tensor([[0.3, 0.3]]), torch.tensor([[0.1]])))
    openings = Ratios(torch.rand(batch, 2, generator=generator), torch.rand(batch, 1, generator=generator))
    return source, Face(driving, openings), FaceMotion(*(part[:1] for part in driving))


@torch.inference_mode()
def test_what_this_project_does_otherwise(tiny):
    networks = load_networks(tiny)
    source, driving, reference = faces(8)
    controllers = Controllers(networks.stitching, networks.lip, networks.eye)
    plain = MotionOptions(stitching=False, close_lips=False)
    still = source.motion.keypoints()

    def driven(options: MotionOptions = plain, **tuning) -> torch.Tensor:
        gains = Gains.of(Tuning(**tuning), torch.device("cpu"))
        return motion.drive(source, driving, reference, gains, controllers, options)

    moved = driven()
    change = motion.retarget(networks.lip, still, torch.cat([source.ratios.lip.expand(8, -1), driving.ratios.lip], 1))
    retargeted = driven(lip_retargeting=True)
    assert torch.allclose(retargeted - moved, change, atol=1e-5), "retargeting adds to the driven keypoints"

    doubled = driven(replace(plain, multiplier=2.0))
    assert torch.allclose(doubled - still, 2 * (moved - still), atol=1e-5)
    stitched = driven(MotionOptions(close_lips=False, multiplier=2.0))
    assert torch.allclose(stitched, motion.stitch(networks.stitching, still, doubled), atol=1e-5), "and comes before stitching"
    assert not torch.allclose(stitched, driven(MotionOptions(close_lips=False, multiplier=2.0, compat=True)))


@torch.inference_mode()
def test_gains_and_regions_by_their_own_formulas():
    source, driving, reference = faces(8)
    still, turned = source.motion, driving.motion.rotation @ reference.rotation.transpose(1, 2)

    def moved(options: MotionOptions = MotionOptions(), **tuning) -> FaceMotion:
        return motion.transfer(still, driving.motion, reference, Gains.of(Tuning(**tuning), torch.device("cpu")), options)

    half = moved(pose_gain=0.5, expression_gain=0.0)
    assert torch.allclose(half.expression, still.expression.expand_as(half.expression))
    assert torch.allclose(motion_angle(half.rotation @ still.rotation.transpose(1, 2)), motion_angle(turned) / 2, atol=2e-3)
    for options in (MotionOptions(), MotionOptions(relative=False)):
        pose = moved(options, region=Region.POSE)
        everything = moved(options)
        assert torch.allclose(pose.rotation, everything.rotation, atol=1e-6)
        assert torch.allclose(pose.translation, everything.translation)
        assert torch.equal(pose.scale, still.scale.expand(8, -1)), "as published, a pose has no scale"
        lips = moved(options, region=Region.LIP)
        assert torch.allclose(lips.rotation, still.rotation.expand(8, -1, -1), atol=1e-6)
        changed = (lips.expression - still.expression).abs().amax(dim=(0, 2)) > 0
        assert changed.nonzero().flatten().tolist() == sorted(motion.LIPS)
    place = moved(MotionOptions(keep_place=True))
    assert torch.equal(place.scale, still.scale.expand(8, -1))
    assert torch.equal(place.translation, still.translation.expand(8, -1))
    assert torch.allclose(place.rotation, turned @ still.rotation, atol=1e-6)


def motion_angle(rotations: torch.Tensor) -> torch.Tensor:
    return torch.acos(((rotations.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1))


def test_a_rotation_to_a_power():
    quarter = motion.rotation(torch.tensor([[0.0]]), torch.tensor([[40.0]]), torch.tensor([[0.0]]))
    half = torch.tensor([[0.5]])
    assert torch.allclose(motion.power(quarter, half) @ motion.power(quarter, half), quarter, atol=1e-6)
    assert motion_angle(quarter)[0] == pytest.approx(math.radians(40), abs=1e-5)
