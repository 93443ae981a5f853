"""MediaPipe's face network that looks again at lips and eyes, in a runtime that lacks three of its operators.

It finds 468 landmarks of a face, cuts its own features round the mouth and round each eye, turned upright, and finds lips, lids,
brows and irises in those (Grishchenko et al., "Attention Mesh: High-fidelity Face Mesh Prediction in Real-time", 2020). Between
its halves only MediaPipe's own `Landmarks2TransformMatrix`, `TransformTensorBilinear` and `TransformLandmarks` are missing. So
the model is read as two without them, and what they do is done here; which landmarks they take is told by the model itself.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from . import topology as topo
from .motion import Array
from .networks import Network, not_usable

MESH, SCORE, FEATURES = b"output_mesh", b"conv_faceflag", b"p_re_lu_3"
CUTS = (b"transform_tensor_bilinear_v2", b"transform_tensor_bilinear_v2_1", b"transform_tensor_bilinear_v2_2")
FOUND = (b"conv_lips", b"conv_left_eye", b"conv_right_eye", b"conv_left_iris", b"conv_right_iris")  # left: as one looks at it
PLACES = b"Landmarks2TransformMatrix"
SIDE = 16  # of a cut, in features
WITHIN = 64.0  # the same in the unit of what is found in it
_STEPS = np.stack(np.meshgrid(*[np.arange(SIDE) + (1 - SIDE) / 2] * 2), axis=-1).reshape(-1, 2)


class Attention:
    """Both halves. side: of the square picture that the first takes."""

    def __init__(self, path: Path) -> None:
        try:
            first, second, rules = _halves(path, path.stat().st_mtime_ns)
            self._first, self._second = Network(path, first), Network(path, second)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as exc:
            raise not_usable(path) from exc
        self._points = [np.array(rule["subset_idxs"]) for rule in rules]
        self._ends = [[rule["left_rotation_idx"], rule["right_rotation_idx"]] for rule in rules]
        self._room = [np.array([rule["scale_x"], rule["scale_y"]]) for rule in rules]
        self.side = self._first.side

    def __call__(self, picture: Array) -> tuple[Array, float]:
        """(478, 3) landmarks, from 0 to 1, of the face in a picture (side, side, 3), float32, and the score of its presence."""
        mesh, score, features = self._first(picture)
        face = np.concatenate([mesh.reshape(-1, 3), np.zeros((topo.COUNT - mesh.size // 3, 3), np.float32)])
        shrink = features.shape[0] / self.side
        places = [self._place(face[:, :2] * shrink, k) for k in range(len(CUTS))]
        found = self._second(*_cut(features, places))
        where = [*enumerate(self._points), (1, topo.IRISES[0]), (2, topo.IRISES[1])]
        for (k, points), seen in zip(where, found, strict=True):
            axes, middle = places[k]
            inside = (seen.reshape(-1, 2) / WITHIN - 0.5) * SIDE
            face[np.array(points), :2] = (inside @ axes + middle) / shrink
        for (upper, _), iris in zip(topo.EYES, topo.IRISES, strict=True):
            face[list(iris), 2] = face[list(upper), 2].mean()
        return face / self.side, float(score.ravel()[0])

    def _place(self, points: Array, k: int) -> tuple[Array, Array]:
        """Where a cut lies among the features: (2, 2) its step along each axis, as rows, and (2,) its middle."""
        along = np.diff(points[self._ends[k]], axis=0)[0]
        x, y = along / max(float(np.linalg.norm(along)), 1e-6)
        axes = np.array([[x, y], [-y, x]])
        own = points[self._points[k]] @ axes.T
        low, high = own.min(axis=0), own.max(axis=0)
        return axes * ((high - low) * self._room[k] / SIDE)[:, None], (low + high) / 2 @ axes


def _cut(features: Array, places: list[tuple[Array, Array]]) -> Array:
    """(n, SIDE, SIDE, channels) of features (side, side, channels), between their four neighbours; beyond their middles 0."""
    side = features.shape[0]
    points = np.concatenate([_STEPS @ axes + (middle - 0.5) for axes, middle in places])
    corner: Array = points.clip(0, side - 2).astype(int)
    x, y = (points - corner).T.astype(np.float32)
    x, y, inside = x[:, None], y[:, None], ((points >= 0) & (points <= side - 1)).all(axis=1)[:, None]
    flat, first = features.reshape(side * side, -1), corner @ (1, side)
    upper, lower = (flat[row] * (1 - x) + flat[row + 1] * x for row in (first, first + side))
    return np.asarray((upper * (1 - y) + lower * y) * inside).reshape(len(places), SIDE, SIDE, -1)


@lru_cache(maxsize=1)
def _halves(path: Path, changed_ns: int) -> tuple[bytes, bytes, list[dict[str, Any]]]:
    """Both of them, and for each cut what the operator is told that places it. Takes half a second, and each stream opens one."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    graph = model.subgraphs[0]
    model.signatureDefs = model.metadata = model.metadataBuffer = None
    every, own = graph.operators, graph.inputs
    number = {tensor.name: k for k, tensor in enumerate(graph.tensors)}
    rules = [
        flexbuffers.Loads(bytes(op.customOptions)) for op in every if model.operatorCodes[op.opcodeIndex].customCode == PLACES
    ]
    halves = []
    for inputs, wanted in ((own, (MESH, SCORE, FEATURES)), ([number[name] for name in CUTS], FOUND)):
        graph.inputs, graph.outputs = inputs, [number[name] for name in wanted]
        graph.operators = _needed(every, set(graph.inputs), set(graph.outputs))
        builder = flatbuffers.Builder(path.stat().st_size)
        builder.Finish(model.Pack(builder), b"TFL3")
        halves.append(bytes(builder.Output()))
    return halves[0], halves[1], rules


def _needed(operators: list[Any], given: set[int], wanted: set[int]) -> list[Any]:
    """Those, in the order in which they run, that make the tensors `wanted` of those that are given."""
    kept = []
    for op in reversed(operators):
        if (wanted - given) & set(op.outputs):
            wanted = wanted | set(op.inputs)
            kept.append(op)
    return kept[::-1]
