"""What is computed once per portrait: grid, head weight, depth and expression weights.

Everything is in crop pixels; grid node (i, j) lies at ((i + 0.5) · side / GRID, (j + 0.5) · side / GRID).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from ..face import topology as topo
from ..face.motion import Array, euler, eye_distance, face_axes

GRID = 128
LINE = np.arange(GRID, dtype=np.float32)
NODES = np.stack(np.meshgrid(LINE, LINE), axis=-1)  # places in cells
Part = tuple[slice, slice]  # rows and columns
EARS = (234, 454)  # landmarks just before them
BEHIND_EARS = 0.15  # eye distances from there to the widest part of the head
SOFT = 2.5  # cells by which the depth is blurred
WIDEST = 1.35  # its outline against the face oval
# Limits of yaw, pitch, roll in radians, log scale, x and y in crop sides, for a face from the front amid its picture.
LIMITS = np.array([0.52, 0.42, 0.60, 0.22, 0.11, 0.10])
OWN_PITCH = 0.2  # that of `face_axes` for a face from the front
ROOM = 0.12  # crop sides of picture that hair takes beside the face oval
REACH = 1.32  # of an expression, in face ovals
FREE_HANDLES = 45  # handles chosen by farthest point, beside lips, lids, brows, nose and oval
# Handles that one side of a slit must not see, so that the slit opens without smearing.
BELOW_EYES_ABOVE_MOUTH = frozenset(i for upper, lower in topo.EYES for i in upper[1:-1]) | frozenset(topo.LOWER_LIP)
OUTSIDE = frozenset(i for upper, lower in topo.EYES for i in lower[1:-1]) | frozenset(topo.UPPER_LIP)


@dataclass(frozen=True)
class Geometry:
    """The fixed geometry of one portrait.

    grid: (G, G, 2) node positions. border, beyond: (G, G) how far a node is from the crop's border and outside the head;
    both give the head's weight, see `head_weight`. back: depth of the head's widest part against the pivot; relief: (G, G)
    depth against that, times the head's weight. limits: (2, 6) of the pose toward negative and positive values, see `limits`.
    inner, outer: expression weights (len(handles), nodes) between the eyes and the mouth,
    and above the eyes or below the mouth; part: of the grid that they apply to, 0 at its border.
    pixels: (side, side, 2) places of the crop's pixels, as `cv2.remap` takes them. enlarging: (side, G) the share of each
    node in each pixel, along one side, as `cv2.resize` enlarges the grid.
    """

    side: int
    landmarks: Array  # (478, 3) in crop pixels, z as the depth field has it
    solid: Array  # the same, z as it was seen
    axes: Array
    eye_distance: float
    pivot: Array  # (3,)
    grid: Array
    border: Array
    beyond: Array
    back: float
    relief: Array
    limits: Array
    handles: tuple[int, ...]
    part: Part
    inner: Array
    outer: Array
    pixels: Array
    enlarging: Array

    @classmethod
    def of(cls, landmarks: Array, side: int, free: Array | None = None) -> Geometry:
        """Build from (478, 3) landmarks in crop pixels. free: (4,) pixels from the crop's left, top, right and bottom
        border to the picture's, positive where the picture goes on; None for a picture without end."""
        pixel = np.arange(side, dtype=np.float32)
        node = (np.arange(GRID, dtype=np.float32) + 0.5) * (side / GRID)
        grid = np.stack(np.meshgrid(node, node), axis=-1).astype(np.float32)
        pivot = landmarks[list(topo.RIGID)].mean(axis=0)
        depth, depth_at, back = _depth(landmarks - pivot, grid, pivot, side)
        border, beyond = _border(grid, side), _beyond_head(landmarks, grid)
        handles = _handles(landmarks)
        ring = _ring(landmarks, REACH, 48)
        part = _reach(landmarks, grid)
        points = grid[part].reshape(-1, 2)
        return cls(
            side=side,
            landmarks=np.column_stack([landmarks[:, :2], depth_at + pivot[2]]).astype(np.float32),
            solid=landmarks,
            axes=face_axes(landmarks),
            eye_distance=eye_distance(landmarks),
            pivot=pivot,
            grid=grid,
            border=border,
            beyond=beyond,
            back=back,
            relief=(depth - np.float32(back)) * head_weight(border, beyond),
            limits=limits(landmarks, side, np.full(4, np.inf) if free is None else free),
            handles=handles,
            part=part,
            inner=_weights(landmarks, handles, BELOW_EYES_ABOVE_MOUTH, ring, points, side),
            outer=_weights(landmarks, handles, OUTSIDE, ring, points, side),
            pixels=np.stack(np.meshgrid(pixel, pixel), axis=-1),
            enlarging=cv2.resize(np.eye(GRID, dtype=np.float32), (GRID, side), interpolation=cv2.INTER_LINEAR),
        )


def limits(landmarks: Array, side: int, free: Array) -> Array:
    """(2, 6) limits of a pose toward negative and positive values: yaw, pitch, roll in radians, log scale, x and y of the
    head's middle in crop sides. A face that is turned already turns less further, and one that the picture's border cuts
    neither turns nor moves away from it as far: there is nothing to show there."""
    yaw, pitch, _ = euler(face_axes(landmarks).T)
    own = np.array([yaw, pitch - OWN_PITCH])
    turn = LIMITS[:2] - 0.5 * np.maximum(np.abs(own) - 0.1, 0.0)
    out = np.stack([LIMITS, LIMITS])
    out[(own > 0).astype(int), [0, 1]] = np.maximum(turn, 0.5 * LIMITS[:2])
    oval = landmarks[list(topo.OVAL), :2]
    room = np.concatenate([oval.min(axis=0), side - oval.max(axis=0)]) + free
    cut = np.clip(1.0 - room / (ROOM * side), 0.0, 1.0)  # left, top, right, bottom
    out[1, 4:] *= 1.0 - 0.85 * cut[:2]
    out[0, 4:] *= 1.0 - 0.85 * cut[2:]
    out[:, :2] *= 1.0 - 0.45 * np.maximum(cut[:2], cut[2:])
    return out.astype(np.float32)


def oval_frame(landmarks: Array) -> tuple[Array, Array, Array, float, float]:
    """Centre, unit x and y axes, half width and half height of the face oval in the picture."""
    axes = face_axes(landmarks)[:2, :2]
    x = axes[0] / max(float(np.linalg.norm(axes[0])), 1e-6)
    y = np.array([-x[1], x[0]], np.float32)
    oval = landmarks[list(topo.OVAL), :2]
    u, v = oval @ x, oval @ y
    centre = x * (u.min() + u.max()) / 2 + y * (v.min() + v.max()) / 2
    return centre, x, y, float(np.ptp(u)) / 2, float(np.ptp(v)) / 2


def head_weight(border: Array, beyond: Array) -> Array:
    """1 on the head, falling to exactly 0 at the crop's border; not much steeper anywhere than it must be, as what moves
    would fold there."""
    ramp = border / np.maximum(border + beyond, np.float32(1e-3))
    return np.asarray(0.5 * ramp + 0.5 * ramp * ramp * (3 - 2 * ramp), np.float32)


def _beyond_head(landmarks: Array, grid: Array) -> Array:
    """(G, G) distance outside an ellipse round head and hair, in pixels."""
    centre, x, y, half_w, half_h = oval_frame(landmarks)
    u, v = (grid - centre) @ x, (grid - centre) @ y
    reach = np.where(v < 0, 1.55 * half_h, 1.05 * half_h)
    return np.asarray(np.maximum(np.hypot(u / (1.3 * half_w), v / reach) - 1.0, 0.0) * half_w, np.float32)


def _border(grid: Array, side: int) -> Array:
    """(G, G) distance from the crop's border: from its outermost nodes, half a cell inside."""
    return np.asarray(np.minimum(grid, side - grid).min(axis=-1) - side / GRID / 2, np.float32)


def _ring(landmarks: Array, scale: float, count: int) -> Array:
    """(count, 2) points on an ellipse round the face oval."""
    centre, x, y, half_w, half_h = oval_frame(landmarks)
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)[:, None]
    return centre + scale * (np.cos(angle) * half_w * x + np.sin(angle) * half_h * y)


def _reach(landmarks: Array, grid: Array) -> Part:
    """The nodes that an expression moves, in the middle of others."""
    x, y, width, height = cv2.boundingRect((_oval_distance(landmarks, grid) < REACH).astype(np.uint8))
    return np.s_[max(y - 1, 0) : y + height + 1, max(x - 1, 0) : x + width + 1]


def _oval_distance(landmarks: Array, points: Array) -> Array:
    """1 on the ellipse of the face oval, 0 at its centre."""
    centre, x, y, half_w, half_h = oval_frame(landmarks)
    return np.hypot((points - centre) @ x / half_w, (points - centre) @ y / half_h)


def _depth(relative: Array, grid: Array, pivot: Array, side: int) -> tuple[Array, Array, float]:
    """Depth against the pivot on the grid and at the landmarks, smoothed, and that of the head's widest part.

    Outside the face it is an ellipsoid's, from the oval back to the widest part, and constant from there on.
    """
    landmarks = relative + pivot
    back = float(relative[list(EARS), 2].mean()) + BEHIND_EARS * eye_distance(landmarks)
    nodes, values = _ellipsoid(landmarks, relative, back)
    nodes = np.concatenate([landmarks[:, :2], nodes]) / side
    values = np.concatenate([relative[:, 2], values]) / side
    rbf = RBFInterpolator(nodes, values, kernel="linear", smoothing=0.02, neighbors=None, degree=0)
    on_grid = (rbf(grid.reshape(-1, 2) / side).reshape(GRID, GRID) * side).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(on_grid, (0, 0), SOFT), np.float32)  # creases between landmarks show when it turns
    return soft, _at_points(soft, landmarks[:, :2], side), back


def _at_points(field: Array, points: Array, side: int) -> Array:
    """(n,) a field of the grid at (n, 2) points."""
    nodes = (points * (GRID / side) - 0.5).astype(np.float32)[None]
    return np.asarray(
        cv2.remap(field, nodes, np.empty(0, np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0], np.float32
    )


def _ellipsoid(landmarks: Array, relative: Array, back: float) -> tuple[Array, Array]:
    """(n, 2) points between the oval and far outside, and their depths."""
    oval = list(topo.OVAL)
    tree = cKDTree(landmarks[oval, :2])
    nodes, values = [], []
    for way in (0.4, 0.75, 1.0, 2.0, 4.0):  # 0 on the oval, 1 at the widest part
        ring = _ring(landmarks, 1.0 + (WIDEST - 1.0) * way, 24)
        edge = relative[oval, 2][tree.query(ring)[1]]
        nodes.append(ring)
        values.append(back - (back - edge) * np.sqrt(max(1.0 - way * way, 0.0)))
    return np.concatenate(nodes), np.concatenate(values)


def _handles(landmarks: Array) -> tuple[int, ...]:
    lids = {i for upper, lower in topo.EYES for i in (*upper, *lower)}
    chosen = sorted(
        {*topo.UPPER_LIP, *topo.LOWER_LIP, *topo.MOUTH_CORNERS, 78, 308, *lids}
        | {*topo.RIGHT_BROW, *topo.LEFT_BROW, *topo.NOSE[::2], *topo.OVAL[::2]}
    )
    rest = [i for i in range(468) if i not in set(chosen)]
    for _ in range(FREE_HANDLES):
        gaps, _index = cKDTree(landmarks[chosen, :2]).query(landmarks[rest, :2])
        chosen.append(rest.pop(int(np.argmax(gaps))))
    return tuple(chosen)


def _weights(
    landmarks: Array, handles: tuple[int, ...], left_out: frozenset[int], ring: Array, points: Array, side: int
) -> Array:
    """(handles, points): how far each handle's offset moves each point."""
    used = [k for k, i in enumerate(handles) if i not in left_out]
    nodes = np.concatenate([landmarks[[handles[k] for k in used], :2], ring]) / side
    identity = np.zeros((len(nodes), len(handles)), np.float32)
    identity[np.arange(len(used)), used] = 1.0
    rbf = RBFInterpolator(nodes, identity, kernel="linear", smoothing=0.0003, degree=0)
    fade = np.clip((REACH - _oval_distance(landmarks, points)) / 0.2, 0.0, 1.0)[:, None]
    return np.ascontiguousarray((rbf(points / side) * fade).T, np.float32)
