"""Does this machine compute what the published implementation computes? `puppetcast verify`.

A golden file holds inputs and the published results; which kind it is, its keys tell.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from ..errors import ModelError
from ..follow.tuning import Region, Tuning
from . import crop, motion
from .build import Captured, apply, autocast, autocast_face, complete
from .motion import Controllers, Face, FaceMotion, Gains, Ratios
from .options import Build, MotionOptions, Precision
from .paste import PasteBack, pasted, to_bytes, to_nearest_bytes
from .runtime import find_device
from .weights import Networks, load_networks

# How much coarser than in float32 the networks' rows may be: pictures' means, and everything else. Measured with twice the room:
# bf16 on a processor (F and M stay in float32 beside it); fp16, with M in it too, on an H100, where the published networks
# themselves are off by 0.359 grey levels and by 0.036 under autocast.
COARSER = {Precision.FP32: (1.0, 1.0), Precision.BF16: (40.0, 300.0), Precision.FP16: (14.4, 71.0)}
KEYPOINT_TOLERANCE = 1e-4
FEATURE_TOLERANCE = 1e-3  # in standard deviations of the sample
MATRIX_TOLERANCE = 1e-3  # pixels
MEAN_LEVELS, MOST_LEVELS = 0.05, 2.0  # of a picture, in grey levels
PASTE_LEVELS = 1.0
DRIVERS = ("d5", "laugh")  # of the file of motion; without a driver's openings nothing is retargeted


class Golden(dict[str, Any]):
    """Arrays of a file by name; ModelError names the one that it lacks."""

    def __init__(self, path: Path, arrays: Mapping[str, Any]) -> None:
        super().__init__(arrays)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise ModelError(f"{self.path}: lacks '{key}'; take the golden file as it was published")


@dataclass(frozen=True)
class Row:
    """One comparison."""

    key: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """NaN is not."""
        return self.error <= self.tolerance


def load_golden(path: Path) -> Golden:
    """ModelError if the file is no golden file."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # which would not shut one that is damaged
            return Golden(path, arrays)
    except OSError as exc:
        raise ModelError(f"{path}: {exc.strerror or 'not a golden file'}") from exc
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as exc:
        raise ModelError(f"{path}: not a golden file, or not whole ({str(exc).splitlines()[0]})") from exc


def verify(golden: Golden, networks: Networks, where: Path, precision: Precision = Precision.FP32) -> Iterator[Row]:
    """Compare everything that `golden` holds, on the networks' device; ModelError where it does not hold what it is to."""
    try:
        yield from _rows(golden, networks, where, precision)
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except (ValueError, TypeError, LookupError, RuntimeError) as exc:
        said = f"{type(exc).__name__}: {exc}".splitlines()[0]
        raise ModelError(f"{where}: does not hold what a golden file does ({said}); take it as it was published") from exc


def _rows(golden: Golden, networks: Networks, where: Path, precision: Precision) -> Iterator[Row]:
    if "G.image0" in golden:
        yield from verify_networks(golden, networks, precision)
    elif "cases" in golden:
        yield from verify_motion(golden, networks)
    elif "paste.result" in golden:
        yield from verify_crop(golden)
    else:
        raise ModelError(f"{where}: holds neither networks, motion nor crop")


def open_networks(checkpoints: Path, build: Build, precision: Precision, device: str | None) -> Networks:
    """The networks as an engine would build them; with a graph, each of them is replayed by itself."""
    where = find_device(device)
    build = complete(replace(build, graph=build.graph or False), where)
    networks = apply(build, load_networks(checkpoints), precision, where)
    if build.graph:
        for root in (networks.motion, networks.warping, networks.generator):
            root.forward = Replayed(root.forward, where)  # type: ignore[method-assign,assignment]
    return networks


class Replayed:
    """A network's forward as a CUDA graph for each shape of its input."""

    def __init__(self, forward: Callable[..., Any], device: torch.device) -> None:
        self._forward, self._device = forward, device
        self._captured: dict[Any, tuple[list[Tensor], Captured, list[Any]]] = {}

    def __call__(self, *args: Any) -> Any:
        tensors, structure = tree_flatten(args)
        key = tuple(t.shape for t in tensors)
        if key not in self._captured:
            held = [t.clone() for t in tensors]
            out: list[Any] = [None]

            def run() -> None:
                out[0] = self._forward(*tree_unflatten(held, structure))

            self._captured[key] = held, Captured(run, self._device), out
        held, graph, out = self._captured[key]
        for to, given in zip(held, tensors, strict=True):
            to.copy_(given)
        graph.replay()
        return tree_map(torch.clone, out[0])


def as_input(images: Any, device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) in 0..1."""
    return torch.from_numpy(np.asarray(images)).to(device).permute(0, 3, 1, 2).float() / 255


@torch.inference_mode()
def verify_networks(golden: Golden, networks: Networks, precision: Precision = Precision.FP32) -> Iterator[Row]:
    """F, M, S, R, W and G, with the portrait computed once and the three driving frames as one batch."""
    picture, other = COARSER[precision]
    for row in _network_rows(golden, networks, precision):
        if row.key.endswith(" most") and precision is not Precision.FP32:
            continue  # single pixels at hard edges say nothing then
        yield replace(row, tolerance=row.tolerance * (picture if row.key.endswith(" mean") else other))


def _network_rows(golden: Golden, networks: Networks, precision: Precision) -> Iterator[Row]:
    device = next(networks.motion.parameters()).device
    source_image = as_input(golden["source_image"][None], device)
    with autocast_face(device, precision):
        feature = networks.appearance(source_image).float()
        heads = networks.motion(source_image)
        driving_heads = networks.motion(as_input(golden["driving_images"], device))
    yield _feature("F.feature_volume_sample", feature[0, ::4, ::4, ::8, ::8], golden)
    for name, value in heads._asdict().items():
        yield _row(f"M.raw.{name}", value, golden, KEYPOINT_TOLERANCE * 10)
    source = motion.face_motion(heads)
    yield from _face("M.source", source, 0, golden)
    resting = source.keypoints()
    yield _row("x_s", resting, golden, KEYPOINT_TOLERANCE)
    yield _row("R_s", source.rotation, golden, KEYPOINT_TOLERANCE)
    driving = motion.face_motion(driving_heads)
    reference = FaceMotion(*(part[:1] for part in driving))
    plain = Gains.of(Tuning(), device)
    relative = motion.transfer(source, driving, reference, plain, MotionOptions()).keypoints()
    stitched = motion.stitch(networks.stitching, resting, relative)
    with autocast(device, precision):
        features = networks.warping.prepare(feature, resting)
        deformation, occlusion = networks.warping.dense_motion_network(features, stitched)
        warped = networks.warping(features, stitched)
        picture = networks.generator(warped).float()
    for k in range(len(stitched)):
        yield from _face(f"M.driving{k}", driving, k, golden)
        yield _row(f"x_d_relative{k}", relative[k : k + 1], golden, KEYPOINT_TOLERANCE)
        yield _row(f"x_d_stitched{k}", stitched[k : k + 1], golden, KEYPOINT_TOLERANCE)
        yield _feature(f"W.deformation_sample{k}", deformation[k, ::4, ::8, ::8], golden)
        yield _feature(f"W.occlusion_map{k}", occlusion[k, 0], golden)
        yield _feature(f"W.out_sample{k}", warped[k, ::8, ::8, ::8], golden)
        name = f"G.image_float_sample{k}"
        levels = Golden(golden.path, {name: 255 * golden[name]})
        yield from _picture(name, _array(255 * picture[k, :, ::8, ::8]), levels, MEAN_LEVELS, MOST_LEVELS)
        yield from _picture(f"G.image{k}", to_bytes(picture[k : k + 1])[0].cpu().numpy(), golden, MEAN_LEVELS, MOST_LEVELS)
    for name, network in (("lip", networks.lip), ("eye", networks.eye)):
        ratios = torch.from_numpy(golden[f"R.{name}_in_ratios"]).to(device)
        yield _row(f"R.{name}_delta", motion.retarget(network, resting, ratios).flatten(1), golden, KEYPOINT_TOLERANCE)


@torch.inference_mode()
def verify_motion(golden: Golden, networks: Networks) -> Iterator[Row]:
    """Every option of the composition, for every driver in the file.

    Relative motion with retargeting is left out: the published code then throws the driving motion away.
    """
    device = next(networks.stitching.parameters()).device

    def get(key: str) -> Tensor:
        return torch.from_numpy(golden[key]).to(device)

    angles = (get(f"source.{a}") for a in ("pitch", "yaw", "roll"))
    turn = motion.rotation(*angles)
    source = FaceMotion(get("source.kp"), get("source.exp"), turn, get("source.scale"), get("source.t"))
    yield _row("source.R", turn, golden, KEYPOINT_TOLERANCE)
    yield _row("x_s", source.keypoints(), golden, KEYPOINT_TOLERANCE)
    controllers = Controllers(networks.stitching, networks.lip, networks.eye)
    openings = Ratios(*(torch.from_numpy(r).to(device) for r in ratios_203(golden["source_landmarks_203"])))
    face = Face(source, openings)
    for name in DRIVERS:
        driving = FaceMotion(
            source.canonical, *(get(f"{name}.{part}")[:, 0] for part in ("exp", "R", "scale", "t"))
        )  # the driver's canonical keypoints are not used
        reference = FaceMotion(source.canonical, *(part[:1] for part in driving[1:]))
        has_openings = f"{name}.c_lip" in golden
        seen = Ratios(get(f"{name}.c_eyes"), get(f"{name}.c_lip")) if has_openings else openings
        for k, text in enumerate(golden["cases"].tolist()):
            tuning, options = _case(text)
            key = f"{name}.case{k}.x_d"
            retargets = tuning.eye_retargeting or tuning.lip_retargeting
            if not retargets or (has_openings and not options.relative):
                gains = Gains.of(tuning, device)
                driven = motion.drive(face, Face(driving, seen), reference, gains, controllers, options)
                yield _row(key, driven, golden, KEYPOINT_TOLERANCE)


def _case(text: str) -> tuple[Tuning, MotionOptions]:
    flags = dict(part.split("=") for part in text.split(";"))
    tuning = Tuning(
        region=Region(flags["animation_region"]),
        eye_retargeting=flags["flag_eye_retargeting"] == "True",
        lip_retargeting=flags["flag_lip_retargeting"] == "True",
    )
    options = MotionOptions(
        relative=flags["flag_relative_motion"] == "True",
        stitching=flags["flag_stitching"] == "True",
        close_lips=flags["flag_normalize_lip"] == "True",
        compat=True,
    )
    return tuning, options


def ratios_203(points: Any) -> tuple[Any, Any]:
    """Openings by the published 203 landmarks (203, 2): eyes (1, 2) left and right, lip (1, 1), float32."""

    def ratio(a: int, b: int, c: int, d: int) -> float:
        return float(np.linalg.norm(points[a] - points[b]) / (np.linalg.norm(points[c] - points[d]) + 1e-6))

    eyes = [[ratio(6, 18, 0, 12), ratio(30, 42, 24, 36)]]
    return np.array(eyes, np.float32), np.array([[ratio(90, 102, 48, 66)]], np.float32)


def verify_crop(golden: Golden) -> Iterator[Row]:
    """Rectangles, matrices, cuts and the paste-back."""
    points, image = golden["landmarks_203"], golden["image"]
    rectangles = {"source": (crop.SOURCE, 512), "tight": (crop.TIGHT, 224), "driving": (crop.DRIVING, 512)}
    rectangles["no_rot"] = (crop.Rectangle(crop.SOURCE.scale, crop.SOURCE.up, rotate=False), 512)
    for name, (rectangle, size) in rectangles.items():
        to_crop = crop.box_203(points, rectangle).to_crop(size)
        yield _row(f"{name}.M_o2c", to_crop, golden, MATRIX_TOLERANCE)
        if name != "driving":
            yield _row(f"{name}.M_c2o", np.linalg.inv(to_crop), golden, MATRIX_TOLERANCE)
            yield _row(f"{name}.landmarks", crop.transform(points, to_crop), golden, MATRIX_TOLERANCE)
        yield from _picture(f"{name}.image", crop.cut(image, to_crop, size)[::4, ::4], golden, MEAN_LEVELS, PASTE_LEVELS)
    box = crop.box_203(points, crop.SOURCE)
    yield _row("paste.mask_512", crop.soft_mask(), golden, 1.0)
    mask = crop.mask_in_picture(box.to_picture(), (image.shape[1], image.shape[0]))
    yield _row("paste.mask_in_image", mask, golden, 1 / 255)
    cpu, (height, width) = torch.device("cpu"), image.shape[:2]
    canvas = PasteBack(image, box, cpu).on_canvas(max(height, width))
    whole = to_nearest_bytes(pasted(as_input(golden["paste.crop"][None], cpu), *canvas))[0, :height, :width]
    yield from _picture("paste.result", whole.numpy(), golden, MEAN_LEVELS, PASTE_LEVELS)


def _face(prefix: str, face: FaceMotion, k: int, golden: Golden) -> Iterator[Row]:
    for name, value in (("t", face.translation), ("exp", face.expression), ("scale", face.scale), ("kp", face.canonical)):
        yield _row(f"{prefix}.{name}", value[k : k + 1], golden, KEYPOINT_TOLERANCE)


def _array(value: Any) -> Any:
    return value.detach().float().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _off(key: str, value: Any, golden: Golden) -> Any:
    """How far each number is from the published one."""
    ours, published = _array(value).astype(np.float64), golden[key]
    if ours.shape != published.shape:
        raise ModelError(
            f"{golden.path}: '{key}' is {published.shape}, not {ours.shape}; take the golden file as it was published"
        )
    return np.abs(ours - published)


def _row(key: str, value: Any, golden: Golden, tolerance: float) -> Row:
    return Row(key, float(_off(key, value, golden).max()), tolerance)


def _feature(key: str, value: Any, golden: Golden) -> Row:
    """The largest error in standard deviations of the published sample."""
    return Row(key, float(_off(key, value, golden).max() / max(float(golden[key].std()), 1e-9)), FEATURE_TOLERANCE)


def _picture(key: str, value: Any, golden: Golden, mean: float, most: float) -> Iterator[Row]:
    error = _off(key, value, golden)
    yield Row(f"{key} mean", float(error.mean()), mean)
    yield Row(f"{key} most", float(error.max()), most)
