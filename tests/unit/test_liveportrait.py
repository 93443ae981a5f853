"""LivePortrait against what the published implementation computes, and checkpoints that cannot be used."""

from __future__ import annotations

import math
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import ModelError
from pipeline.liveportrait import conformance as verify
from pipeline.liveportrait import motion
from pipeline.liveportrait.build import PhaseConv, fold, precisions
from pipeline.liveportrait.files import BASE, RETARGETING
from pipeline.liveportrait.motion import Controllers, FaceMotion, Ratios
from pipeline.liveportrait.options import PLAIN, Build, Compile, MotionOptions, Precision
from pipeline.liveportrait.weights import load_networks, read_state

from ..conftest import ROOT


@pytest.fixture(scope="module")
def networks(checkpoints):
    return load_networks(checkpoints)


def missed(path, networks) -> list[str]:
    rows = list(verify.verify(verify.load_golden(path), networks, path))
    assert len(rows) > 20
    return [f"{r.key}: {r.error:.2e} > {r.tolerance:.0e}" for r in rows if not r.ok]


def test_motion_is_the_published_one(conformance, networks):
    assert missed(conformance / "golden_motion.npz", networks) == []


def test_crop_and_paste_back_are_the_published_ones(conformance, networks):
    assert missed(conformance / "golden_crop.npz", networks) == []


BUILDS = {
    "plain": (PLAIN, Precision.FP32),
    "folded": (replace(PLAIN, fold=True), Precision.FP32),
    "folded, channels-last, compiled": (Build(True, True, Compile.ON, False), Precision.FP32),
    "channels-last, bf16": (replace(PLAIN, channels_last=True), Precision.BF16),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BUILDS)
def test_networks_compute_the_published_pictures(name, conformance, checkpoints):
    """The portrait is computed once, and the three driving frames go as one batch."""
    build, precision = BUILDS[name]
    if precision is Precision.BF16 and Precision.BF16 not in precisions(torch.device("cpu")):
        pytest.skip("this processor has no bf16")
    golden = conformance / "golden_networks.npz"
    networks = verify.open_networks(checkpoints, build, precision, "cpu")
    rows = list(verify.verify(verify.load_golden(golden), networks, golden, precision))
    assert len(rows) > 40
    assert [f"{r.key}: {r.error:.2e} > {r.tolerance:.0e}" for r in rows if not r.ok] == []


def test_a_convolution_of_an_upsampled_map_is_computed_at_its_size():
    torch.manual_seed(1)
    conv = torch.nn.Conv2d(5, 7, 3, padding=1).double()
    x = torch.randn(2, 5, 6, 8, dtype=torch.float64)
    for scale in (2, 3, 4):
        wanted = conv(torch.nn.functional.interpolate(x, scale_factor=scale))
        assert torch.allclose(PhaseConv(conv, scale)(x), wanted, atol=1e-12)


def test_folding_leaves_no_norm_behind(checkpoints):
    networks = fold(load_networks(checkpoints))
    kinds = {type(m).__name__ for root in networks.modules() for m in root.modules()}
    assert not {"Spade", "BatchNorm2d"} & kinds
    left = [m for root in networks.modules() for m in root.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert len(left) == 6, "the first norm of each residual block stands before its activation"
    assert not [k for root in networks.modules() for k in root.state_dict() if k.endswith("weight_orig")]


def test_the_command_prints_a_table_and_misses_a_perturbed_weight(conformance, checkpoints, tmp_path):
    shutil.copytree(checkpoints, tmp_path / "c", copy_function=os.link)
    file = tmp_path / "c" / f"{RETARGETING}.pth"
    bundle = torch.load(file, weights_only=True)
    command = [sys.executable, "-m", "streamer", "verify", "--checkpoints", str(tmp_path / "c")]
    command += ["--golden", str(conformance / "golden_motion.npz")]
    good = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert good.returncode == 0, good.stderr
    assert "x_s " in good.stdout
    bundle["retarget_shoulder"]["module.mlp.6.weight"] *= 1.01
    file.unlink()
    torch.save(bundle, file)
    bad = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert bad.returncode == 1
    assert "MISSED" in bad.stdout


def test_safetensors_load_as_well(checkpoints, tmp_path):
    state = read_state(checkpoints / f"{BASE}/appearance_feature_extractor.pth")
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
def test_files_that_are_no_checkpoints(kind, message, checkpoints, tmp_path):
    whole = (checkpoints / f"{RETARGETING}.pth").read_bytes()
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


def test_a_checkpoint_of_another_model_names_every_key(checkpoints, tmp_path):
    base, retargeting = tmp_path / BASE, (tmp_path / RETARGETING).parent
    base.mkdir(parents=True)
    retargeting.mkdir(parents=True)
    with pytest.raises(ModelError, match=r"lacks .*motion_extractor\.pth.*models fetch"):
        load_networks(tmp_path)
    shutil.copy(checkpoints / f"{RETARGETING}.pth", tmp_path / f"{RETARGETING}.pth")
    for name in ("motion_extractor", "warping_module", "spade_generator"):
        (base / f"{name}.pth").symlink_to(checkpoints / BASE / f"{name}.pth")
    state = read_state(checkpoints / f"{BASE}/appearance_feature_extractor.pth")
    state["extra"] = state.pop("second.bias")
    state["first.conv.bias"] = torch.zeros(65)
    torch.save(state, base / "appearance_feature_extractor.pth")
    with pytest.raises(ModelError) as caught:
        load_networks(tmp_path)
    for part in ("missing: second.bias", "unexpected: extra", "first.conv.bias is [65], expected [64]"):
        assert part in str(caught.value)


def faces(golden, name: str):
    get = {k: torch.from_numpy(golden[k]) for k in golden if golden[k].dtype.kind == "f"}
    source = FaceMotion(get["source.kp"], get["source.exp"], get["source.R"], get["source.scale"], get["source.t"])
    driving = FaceMotion(source.canonical, *(get[f"{name}.{part}"][:, 0] for part in ("exp", "R", "scale", "t")))
    return source, driving, FaceMotion(source.canonical, *(part[:1] for part in driving[1:]))


@torch.inference_mode()
def test_what_this_project_does_otherwise(conformance, networks):
    golden = verify.load_golden(conformance / "golden_motion.npz")
    source, driving, reference = faces(golden, "d5")
    controllers = Controllers(networks.stitching, networks.lip, networks.eye)
    source_ratios = Ratios(torch.tensor([[0.3, 0.3]]), torch.tensor([[0.1]]))
    ratios = Ratios(torch.from_numpy(golden["d5.c_eyes"]), torch.from_numpy(golden["d5.c_lip"]))
    plain = MotionOptions(stitching=False, close_lips=False)
    still = source.keypoints()

    moved = motion.drive(source, driving, reference, controllers, plain)
    retargeted = motion.drive(
        source, driving, reference, controllers, replace(plain, lip_retargeting=True), source_ratios, ratios
    )
    change = motion.retarget(networks.lip, still, torch.cat([source_ratios.lip.expand(8, -1), ratios.lip], 1))
    assert torch.allclose(retargeted - moved, change, atol=1e-6), "retargeting adds to the driven keypoints"

    doubled = motion.drive(source, driving, reference, controllers, replace(plain, multiplier=2.0))
    assert torch.allclose(doubled - still, 2 * (moved - still), atol=1e-5)
    stitched = motion.drive(source, driving, reference, controllers, MotionOptions(multiplier=2.0))
    assert torch.allclose(stitched, motion.stitch(networks.stitching, still, doubled), atol=1e-6), "and comes before stitching"
    assert not torch.allclose(
        stitched, motion.drive(source, driving, reference, controllers, MotionOptions(multiplier=2.0, compat=True))
    )

    half = motion.transfer(source, driving, reference, replace(plain, pose_gain=0.5, expression_gain=0.0))
    assert torch.allclose(half.expression, source.expression.expand_as(half.expression))
    angle = motion_angle(half.rotation @ source.rotation.transpose(1, 2))
    assert torch.allclose(angle, motion_angle(driving.rotation @ reference.rotation.transpose(1, 2)) / 2, atol=2e-3)
    with pytest.raises(ValueError, match="needs the ratios"):
        motion.drive(source, driving, reference, controllers, replace(plain, eye_retargeting=True))


def motion_angle(rotations: torch.Tensor) -> torch.Tensor:
    return torch.acos(((rotations.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1))


def test_a_rotation_to_a_power():
    quarter = motion.rotation(torch.tensor([[0.0]]), torch.tensor([[40.0]]), torch.tensor([[0.0]]))
    assert torch.allclose(motion.power(quarter, 0.5) @ motion.power(quarter, 0.5), quarter, atol=1e-6)
    assert motion_angle(quarter)[0] == pytest.approx(math.radians(40), abs=1e-5)
