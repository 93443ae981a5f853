"""A frame's whole way on the device, for several streams at once: planes in, planes out, nothing in between on the host.

YUV → RGB → crop → M → filter → composition, S → W → G → paste-back → YUV. All tensors are static buffers of `max_batch`
slots, so that the way can be captured as one CUDA graph for each batch size; on a processor the same code runs as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..clips import Progress
from ..errors import PuppetError
from ..follow.smoothing import MAX_GAP_S, one_euro, ratio
from ..follow.tuning import Tuning
from ..frames import Driving, Image
from . import networks
from .build import Captured
from .crop import SIDE
from .follow import BETA, INPUT, MIN_CUTOFF_HZ, Driven, Seen
from .motion import Controllers, FaceMotion, Ratios, Shares, drive, smooth_turn, tuned
from .networks import KEYPOINTS
from .options import MotionOptions
from .runtime import Runtime

PLANES = (720, 1280)  # camera pictures are scaled down to fit into this
STREAMS = 64
BATCHES = (1, 2, 4, 8)
# What the filter smooths, and how many numbers that is: expression, rotation, scale, translation, eyes, lip
PARTS = (3 * KEYPOINTS, 9, 1, 3, 2, 1)
TURN = slice(PARTS[0], PARTS[0] + PARTS[1])  # the rotation; of its speed, three numbers are used
HOLD = -1.0  # in place of a gap: the face is lost, its last motion stays
BLACK = (16, 128)  # luma and chroma
FROM_YUV = ((1.164384, 0.0, 1.596027), (1.164384, -0.391762, -0.812968), (1.164384, 2.017232, 0.0))  # BT.601, studio swing
TO_YUV = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))  # of RGB in 0..1


class Sight(NamedTuple):
    """A driving picture, followed on the host. row: the stream's place on the device."""

    driving: Driving
    seen: Seen
    reference: Driven
    row: int
    tuning: Tuning = Tuning()

    @property
    def rest(self) -> float:
        """How far the driver has come to rest, 0..1."""
        return self.seen.rest


class Shown(NamedTuple):
    """A portrait as the device needs it; each with a batch of one. grid: (1, S, S, 2) where each pixel of the picture
    lies in the crop; mask: (1, S, S); behind: (1, 3, S, S)."""

    portrait: networks.Portrait
    face: FaceMotion
    resting: Tensor
    ratios: Ratios
    grid: Tensor
    mask: Tensor
    behind: Tensor

    def tensors(self) -> list[Tensor]:
        return [*self.portrait, *self.face, self.resting, *self.ratios, self.grid, self.mask, self.behind]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Shown:
        """The reverse of `tensors`."""
        return cls(networks.Portrait(*tensors[:4]), FaceMotion(*tensors[4:9]), tensors[9], Ratios(*tensors[10:12]), *tensors[12:])


class Rows:
    """Places of streams on the device."""

    def __init__(self) -> None:
        self._free = list(range(STREAMS))[::-1]

    def take(self) -> int:
        if not self._free:
            raise PuppetError(f"the device has no place for more than {STREAMS} streams")
        return self._free.pop()

    def give_back(self, row: int) -> None:
        self._free.append(row)


class DevicePath:
    """See the module. Used by one thread. side: of the square that the pictures lie in."""

    def __init__(self, runtime: Runtime, options: MotionOptions, side: int, example: Shown, max_batch: int) -> None:
        self._runtime = runtime
        self._options = options
        self.side = side
        device = runtime.device
        height, width = PLANES
        self._host = _Host(max_batch, side, device)
        self._y = torch.full((max_batch, 1, height, width), BLACK[0], dtype=torch.uint8, device=device)
        self._uv = torch.full((max_batch, 2, height // 2, width // 2), BLACK[1], dtype=torch.uint8, device=device)
        self._small = torch.zeros(max_batch, _Host.SMALL, device=device)
        self._shown = [torch.zeros(max_batch, *t.shape[1:], dtype=t.dtype, device=device) for t in example.tensors()]
        self._holds: list[Shown | None] = [None] * max_batch
        self._references = torch.zeros(STREAMS + 1, sum(PARTS), device=device)  # the last row is nobody's
        self._held: list[Driven | None] = [None] * STREAMS
        self._filter = torch.zeros(2, STREAMS + 1, sum(PARTS), device=device)  # value and speed
        self._blend = torch.zeros(2, STREAMS + 1, 3 * KEYPOINTS, device=device)  # what was shown last, and a leap
        self._out = torch.zeros(max_batch, side * side * 3 // 2, dtype=torch.uint8, device=device)
        self._finite = torch.zeros(max_batch, dtype=torch.bool, device=device)
        self._to_yuv = torch.tensor(TO_YUV, device=device)
        self._from_yuv = torch.tensor(FROM_YUV, device=device)
        self._cut = runtime.compiled(cut_planes)
        self._compose = runtime.compiled(compose)
        self._finish = runtime.compiled(finish)
        self._graphs: dict[int, Captured] = {}
        self._pool = torch.cuda.graph_pool_handle() if runtime.graphs else None  # one batch runs at a time
        self._spoilt: set[int] = set()  # rows whose filter has values that are not finite
        self.batches = [b for b in BATCHES if b <= max_batch]

    def capture(self, progress: Progress) -> float:
        """Run, and where the device can, capture every batch size; seconds that one frame takes alone."""
        seconds = []
        with torch.inference_mode(), self._runtime.on_device():
            for done, batch in enumerate(self.batches, 1):
                if self._runtime.graphs:
                    self._graphs[batch] = Captured(partial(self._run, batch), self._runtime.device, self._pool)
                else:
                    self._run(batch)
                start = time.perf_counter()
                self._launch(batch)
                self._runtime.synchronize()
                seconds.append(time.perf_counter() - start)
                progress(done, len(self.batches))
        return seconds[0]

    @torch.inference_mode()
    def submit(self, work: Sequence[tuple[Shown, Sight]]) -> Callable[[], list[tuple[Image, bool]]]:
        """Start on a batch; the result waits for planes (S · 3 / 2, S) and whether the picture was finite."""
        with self._runtime.on_device():
            return self._submit(work)

    def _submit(self, work: Sequence[tuple[Shown, Sight]]) -> Callable[[], list[tuple[Image, bool]]]:
        batch = next(b for b in self.batches if b >= len(work))
        for slot, (shown, sight) in enumerate(work):
            if self._holds[slot] is not shown:
                self._holds[slot] = shown
                for buffer, tensor in zip(self._shown, shown.tensors(), strict=True):
                    buffer[slot].copy_(tensor[0], non_blocking=True)
            if self._held[sight.row] is not sight.reference:
                self._held[sight.row] = sight.reference
                self._references[sight.row].copy_(flat(sight.reference)[0])
            self._host.write(slot, sight, sight.row in self._spoilt)
            self._spoilt.discard(sight.row)
        for slot in range(len(work), batch):
            self._host.idle(slot)
        self._host.upload(batch, self._y, self._uv, self._small)
        self._launch(batch)
        collect = self._host.download(len(work), self._out, self._finite)

        def results() -> list[tuple[Image, bool]]:
            pictures = collect()
            self._spoilt.update(sight.row for (_, sight), (_, finite) in zip(work, pictures, strict=True) if not finite)
            return pictures

        return results

    def _launch(self, batch: int) -> None:
        if batch in self._graphs:
            self._graphs[batch].replay()
        else:
            self._run(batch)

    def _run(self, batch: int) -> None:
        """From and to the static buffers, without a look at any value."""
        shown = Shown.of([t[:batch] for t in self._shown])
        small = self._small[:batch]
        motion = self._runtime.motion(self._cut(self._y[:batch], self._uv[:batch], small[:, :6], self._from_yuv))
        rows = small[:, 6].long()
        state = self._references[rows], self._filter[:, rows], self._blend[:, rows]
        keypoints, filtered, blended = self._compose(shown, motion, small, *state, self._runtime.controllers, self._options)
        self._filter.index_copy_(1, rows, filtered)
        self._blend.index_copy_(1, rows, blended)
        picture = self._runtime.render(shown.portrait, keypoints)
        out, finite = self._finish(picture, shown.grid, shown.mask, shown.behind, self._to_yuv)
        self._out[:batch].copy_(out)
        self._finite[:batch].copy_(finite)


class _Host:
    """The host's side of the buffers: pinned where there is a device to copy to. Two of each, so that the next batch is
    written while the last one travels."""

    # crop to picture (6), row, gap, rest, eyes (2), lip; smoothing, leap, its rest, gains (6), retargeting (2)
    SMALL = 23

    def __init__(self, batch: int, side: int, device: torch.device) -> None:
        height, width = PLANES
        cuda = device.type == "cuda"
        self._side = side
        self._turn = 0
        pair = range(2)
        self._y = [torch.full((batch, 1, height, width), BLACK[0], dtype=torch.uint8, pin_memory=cuda) for _ in pair]
        self._uv = [torch.full((batch, 2, height // 2, width // 2), BLACK[1], dtype=torch.uint8, pin_memory=cuda) for _ in pair]
        self._small = [torch.zeros(batch, self.SMALL, pin_memory=cuda) for _ in pair]
        self._out = [torch.zeros(batch, side * side * 3 // 2, dtype=torch.uint8, pin_memory=cuda) for _ in pair]
        self._finite = [torch.zeros(batch, dtype=torch.bool, pin_memory=cuda) for _ in pair]
        self._sizes = [[(0, 0)] * batch for _ in pair]
        self._staging = [[t[k].to(device, copy=True) for t in (self._y, self._uv, self._small)] for k in pair]
        # One stream each way: the next batch must not wait on the way up for this one's results to come down.
        self._up, self._down = (torch.cuda.Stream(device) if cuda else None for _ in pair)  # type: ignore[no-untyped-call]

    def write(self, slot: int, sight: Sight, anew: bool) -> None:
        """Put a stream's picture and numbers into a slot. anew: its filter starts again."""
        y, uv, to_picture = planes_of(sight)
        size = y.shape
        if self._sizes[self._turn][slot] != size:  # what a larger picture left must not be seen beside this one
            self._sizes[self._turn][slot] = size
            self._y[self._turn][slot].fill_(BLACK[0])
            self._uv[self._turn][slot].fill_(BLACK[1])
        self._y[self._turn][slot, 0, : size[0], : size[1]] = torch.from_numpy(y)
        self._uv[self._turn][slot, :, : size[0] // 2, : size[1] // 2] = torch.from_numpy(uv)
        gap_s = HOLD if sight.seen.gap_s is None else sight.seen.gap_s
        if gap_s > MAX_GAP_S or anew:
            gap_s = 0.0
        seen, tuning = sight.seen, sight.tuning
        row = [*to_picture[:2].flatten(), sight.row, gap_s, sight.rest, *seen.ratios]
        row += [ratio(tuning.smoothing), seen.leap, seen.left, tuning.pose, tuning.scale, *tuning.expression]
        row += [tuning.eye_retargeting, tuning.lip_retargeting]
        self._small[self._turn][slot] = torch.tensor(row, dtype=torch.float32)

    def idle(self, slot: int) -> None:
        """Nobody's frame: computed, because the batch size is captured, and thrown away."""
        self._small[self._turn][slot] = 0
        self._small[self._turn][slot, 6] = STREAMS

    def upload(self, batch: int, y: Tensor, uv: Tensor, small: Tensor) -> None:
        """Host -> staging on a stream of its own, beside the batch before; then staging -> the static buffers."""
        turn = self._turn
        pairs = zip((y, uv, small), (self._y, self._uv, self._small), self._staging[turn], strict=True)
        with self._copying():
            for _, host, staging in pairs:
                staging[:batch].copy_(host[turn][:batch], non_blocking=True)
        for to, staging in zip((y, uv, small), self._staging[turn], strict=True):
            to[:batch].copy_(staging[:batch])

    @contextmanager
    def _copying(self) -> Iterator[None]:
        if self._up is None:
            yield
            return
        with torch.cuda.stream(self._up):
            yield
        torch.cuda.current_stream().wait_stream(self._up)

    def download(self, count: int, out: Tensor, finite: Tensor) -> Callable[[], list[tuple[Image, bool]]]:
        """Results -> a copy of them -> host, the last on a stream of its own, beside the next batch."""
        turn, self._turn = self._turn, 1 - self._turn
        copies = out[:count].clone(), finite[:count].clone()
        done = None
        if self._down is not None:
            self._down.wait_stream(torch.cuda.current_stream())
        with nullcontext() if self._down is None else torch.cuda.stream(self._down):
            self._out[turn][:count].copy_(copies[0], non_blocking=True)
            self._finite[turn][:count].copy_(copies[1], non_blocking=True)
        if self._down is not None:
            for tensor in copies:
                tensor.record_stream(self._down)
            done = self._down.record_event()

        def wait() -> list[tuple[Image, bool]]:
            if done is not None:
                done.synchronize()
            planes = self._out[turn][:count].numpy().reshape(count, self._side * 3 // 2, self._side)
            return [(planes[k], bool(self._finite[turn][k])) for k in range(count)]

        return wait


def planes_of(sight: Sight) -> tuple[Image, Image, Any]:
    """Luma (h, w) and chroma (2, h / 2, w / 2) of the camera's picture, and the matrix crop -> that picture (3, 3)."""
    driving = sight.driving
    seen = driving.image.shape[:2]
    to_seen = sight.seen.box.to_picture()
    if driving.mirrored:
        to_seen = np.array([[-1, 0, seen[1] - 1], [0, 1, 0], [0, 0, 1]]) @ to_seen
    frame = driving.frame or _as_frame(driving.image, driving.mirrored)
    factor = min(1.0, PLANES[0] / frame.height, PLANES[1] / frame.width)
    width, height = (max(2, round(n * factor) & ~1) for n in (frame.width, frame.height))
    planes = np.asarray(frame.reformat(width, height, "yuv420p").to_ndarray(), np.uint8)
    x, y = width / seen[1], height / seen[0]
    scaled = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])  # pixel centres
    return planes[:height], planes[height:].reshape(2, height // 2, width // 2), scaled @ to_seen


def _as_frame(image: Image, mirrored: bool) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:, ::-1] if mirrored else image), format="rgb24")


def cut_planes(y: Tensor, uv: Tensor, to_picture: Tensor, from_yuv: Tensor) -> Tensor:
    """(B, 1, h, w), (B, 2, h / 2, w / 2) and crop -> picture matrices (B, 6) -> M's input (B, 3, 256, 256) in 0..1:
    `crop.cut` and the halving of `follow.driving_input` on the device."""
    chroma = F.interpolate(uv.float() - 128, scale_factor=2)
    yuv = torch.cat([y.float() - 16, chroma], dim=1)
    rgb = torch.einsum("cd,bdhw->bchw", from_yuv, yuv).clamp(0, 255)
    index = torch.arange(SIDE, device=y.device, dtype=torch.float32)
    a, b, c = to_picture.reshape(-1, 2, 3, 1).unbind(dim=2)  # each (B, 2, 1)
    xy = (a * index)[:, :, None, :] + (b * index)[:, :, :, None] + c[..., None]  # B, 2, SIDE, SIDE
    x, y_ = (torch.floor(xy * 32 + 0.5) / 32).unbind(dim=1)  # as OpenCV samples
    grid = torch.stack([x * (2 / (y.shape[3] - 1)) - 1, y_ * (2 / (y.shape[2] - 1)) - 1], dim=-1)
    crop = F.grid_sample(rgb, grid, padding_mode="zeros", align_corners=True)
    return F.avg_pool2d(crop, SIDE // INPUT) / 255


def compose(
    shown: Shown, motion: FaceMotion, small: Tensor, references: Tensor, state: Tensor, blend: Tensor, controllers: Controllers,
    options: MotionOptions,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """What W is to show, (B, K, 3); the filter's state (2, B, n) and the blend's (2, B, 3 · K) after it."""
    value, speed = _filtered(flat(Driven(motion, Ratios(small[:, 9:11], small[:, 11:12]))), small, state)
    driven, reference = unflat(value, motion.canonical), unflat(references, motion.canonical)
    moved = tuned(driven.motion, reference.motion, small[:, 15:21])
    shares = Shares(small[:, 21:22], small[:, 22:23])
    keypoints = drive(shown.face, moved, reference.motion, controllers, options, shown.ratios, driven.ratios, shares)
    target = torch.lerp(keypoints, shown.resting, small[:, 8, None, None])
    # A leap is taken back little by little; offsets are against the resting portrait, which may have changed.
    leap, left = small[:, 13:14], small[:, 14:15]
    offset = torch.where(leap > 0, blend[0].nan_to_num() - (target - shown.resting).flatten(1), blend[1])
    out = target + torch.where(left > 0, offset * left, torch.zeros_like(offset)).reshape(-1, KEYPOINTS, 3)
    return out, torch.stack([value, speed]), torch.stack([(out - shown.resting).flatten(1), offset])


def _filtered(seen: Tensor, small: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    gap_s, rate = small[:, 7:8], small[:, 12:13]
    dt, cutoff, beta = gap_s.clamp_min(1e-3), MIN_CUTOFF_HZ * rate, BETA * rate
    value, speed = one_euro(seen, state[0], state[1], dt, cutoff, beta)
    now, last = (t[:, TURN].reshape(-1, 3, 3) for t in (seen, state[0]))
    turned, turning = smooth_turn(now, last, state[1][:, TURN][:, :3], dt, cutoff, beta)
    value = torch.cat([value[:, : TURN.start], turned.flatten(1), value[:, TURN.stop :]], dim=1)
    speed = torch.cat([speed[:, : TURN.start], F.pad(turning, (0, 6)), speed[:, TURN.stop :]], dim=1)
    fresh, held = gap_s == 0, gap_s < 0
    value = torch.where(fresh, seen, torch.where(held, state[0], value))
    return value, torch.where(fresh | held, torch.zeros_like(speed), speed)


def finish(picture: Tensor, grid: Tensor, mask: Tensor, behind: Tensor, to_yuv: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3, 512, 512) -> planes (B, S · S · 3 / 2) uint8 of the whole pictures, and whether each was finite."""
    there = F.grid_sample(picture.clamp(0, 1), grid, padding_mode="zeros", align_corners=True)
    whole = torch.lerp(behind, there, mask[:, None])
    return to_planes(whole, to_yuv), picture.isfinite().flatten(1).all(dim=1)


def to_planes(picture: Tensor, to_yuv: Tensor) -> Tensor:
    """(B, 3, h, w) in 0..1 -> planar YUV 4:2:0 (B, h · w · 3 / 2) uint8; chroma is the mean of four pixels."""
    y = torch.einsum("d,bdhw->bhw", to_yuv[0], picture) + 16
    uv = torch.einsum("cd,bdhw->bchw", to_yuv[1:], F.avg_pool2d(picture, 2)) + 128
    return (torch.cat([y.flatten(1), uv.flatten(1)], dim=1) + 0.5).clamp(0, 255).to(torch.uint8)


def flat(driven: Driven) -> Tensor:
    """(B, sum of PARTS)."""
    motion, ratios = driven
    parts = [motion.expression, motion.rotation, motion.scale, motion.translation, ratios.eyes, ratios.lip]
    return torch.cat([p.flatten(1) for p in parts], dim=1)


def unflat(numbers: Tensor, canonical: Tensor) -> Driven:
    """The reverse of `flat`."""
    expression, rotation, scale, translation, eyes, lip = torch.split(numbers, list(PARTS), dim=1)
    motion = FaceMotion(canonical, expression.reshape(-1, KEYPOINTS, 3), rotation.reshape(-1, 3, 3), scale, translation)
    return Driven(motion, Ratios(eyes, lip))
