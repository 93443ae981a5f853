"""What each slider of `puppetcast pose` moves: motion of the face by region, found by the landmarker in the picture, and which
keypoints of LivePortrait's it moves. `puppetcast bench sliders`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pipeline.clips import Progress
from pipeline.face import topology as topo
from pipeline.face.mediapipe import landmarks_of_each
from pipeline.face.motion import Array, Motion, Neutral
from pipeline.liveportrait.files import is_installed
from pipeline.mesh.pose import LIPS, pose_of
from pipeline.mesh.posing import motion_of
from pipeline.mesh.prepared import MeshPrepared
from pipeline.portrait import Portrait
from pipeline.shapes.names import REGION, SLIDERS, slider_range
from pipeline.shapes.parse import parse
from pipeline.shapes.shapes import Held, Shapes

SIDE = 1024
SHARE = 0.6  # of a slider's most
TURN = 12.0  # degrees, of the head's
POINTS = {
    "gaze": [iris[0] for iris in topo.IRISES],
    "brows": [*topo.RIGHT_BROW, *topo.LEFT_BROW],
    "mouth": [*LIPS, *topo.JAW],
}


def measure(portraits: Sequence[Portrait], model: Path, progress: Progress) -> dict[str, Any]:
    """Medians over the portraits, by slider."""
    tries = {f"{name} {sign}".strip(): {name: at} for name in SLIDERS for sign, at in _ends(name)}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in tries}
    for done, portrait in enumerate(portraits):
        progress(done, len(portraits))
        prepared = MeshPrepared.of(portrait, SIDE, SIDE)
        motions = [motion_of(parse(values)) for values in tries.values()]
        pictures = [prepared.still, *map(prepared.render, motions)]
        rest, *posed = [faces[0] for faces in landmarks_of_each(pictures, model)]
        for name, motion, landmarks in zip(tries, motions, posed, strict=True):
            row = regions(rest, landmarks, _region(name))
            found[name].append(row | {"meant": meant(prepared, motion, _region(name))})
    progress(len(portraits), len(portraits))
    mesh = {name: {key: round(median(row[key] for row in rows), 3) for key in rows[0]} for name, rows in found.items()}
    return {"portraits": len(portraits), "mesh": mesh} | ({"liveportrait": _keypoints(tries)} if is_installed() else {})


def regions(rest: Array, posed: Array, region: str) -> dict[str, float]:
    """How far (478, 3) landmarks have gone. inside, outside: mean way of the landmarks of a slider's region, and the largest one
    of another region, in eye distances, in the head's own axes; of the head itself, all landmarks in the picture; of the eyes,
    the middle of the upper lid that moves more. turn: the
    head's largest angle in degrees; gaze: eye widths; lids: the change of the more moved eye's opening, 1 for all of it."""
    neutral = Neutral.of(rest)
    motion = neutral.motion(posed)
    ways = _ways(motion.expression)
    ways["head"] = _way(posed - rest) / neutral.eye_distance
    others = [way for name, way in ways.items() if name not in (region, "head")]
    return {
        "inside": ways[region],
        "outside": max(others),
        "turn": float(np.degrees(np.abs(motion.pose[:3])).max()),
        "gaze": float(np.linalg.norm(motion.gaze, axis=1).mean()),
        "lids": float(np.abs(motion.openness - 1).max()),
    }


def meant(prepared: MeshPrepared, motion: Motion, region: str) -> float:
    """The same as `outside`, of where the engine itself puts its landmarks."""
    geometry = prepared.geometry
    offsets = pose_of(motion, geometry).offsets @ geometry.axes.T / geometry.eye_distance
    return max(way for name, way in _ways(offsets).items() if name != region)


def _ways(offsets: Array) -> dict[str, float]:
    """By region, of (478, 3) offsets in the head's own axes; of the eyes, the middle of the upper lid that moves more."""
    ways = {name: _way(offsets[points]) for name, points in POINTS.items()}
    return ways | {"eyes": max(_way(offsets[list(upper[3:6])]) for upper, _ in topo.EYES)}


def _way(offsets: Array) -> float:
    return float(np.linalg.norm(offsets[:, :2], axis=1).mean())


def _region(name: str) -> str:
    return REGION[next(iter(SLIDERS[name.split()[0]]))]


def _ends(name: str) -> list[tuple[str, float]]:
    low, high = slider_range(name)
    share = TURN / high if high > 1 else SHARE
    return [("", share * high)] if low == 0 else [("+", share * high), ("−", share * low)]


def _keypoints(tries: dict[str, dict[str, float]]) -> dict[str, str]:
    """Which of LivePortrait's keypoints move beside its turn, by number, and what is moved by a network R."""
    import torch

    from pipeline.liveportrait.editor import PARTS, holding

    def moved(shapes: Shapes) -> str:
        _, turn, move, lids, jaw, offsets = torch.split(torch.tensor(holding(Held(shapes))), list(PARTS))
        points = offsets.reshape(-1, 3).any(dim=1).nonzero()[:, 0].tolist()
        parts = {
            "head": turn.any() or move.any(),
            "R of the eyes": (lids > 0).all(),
            "11, 13 or 15, 16": lids[0] != lids[1],
            "R of the lips": jaw.any(),
        }
        return ", ".join([*(name for name, moves in parts.items() if moves), *map(str, points)]) or "nothing"

    return {name: moved(parse(values)) for name, values in tries.items()}


def table(figures: dict[str, Any]) -> str:
    """In Markdown."""
    lines = [
        "| Slider | region | inside | outside | meant | turn | gaze | lids | LivePortrait moves |",
        "|---|---|" + "---:|" * 6 + "---|",
    ]
    for name, row in figures["mesh"].items():
        ways = " | ".join(f"{row[key]:.3f}" for key in ("inside", "outside", "meant"))
        rest = f"{row['turn']:.1f}° | {row['gaze']:.3f} | {row['lids']:.2f}"
        lines.append(f"| {name} | {_region(name)} | {ways} | {rest} | {figures.get('liveportrait', {}).get(name, '')} |")
    return "\n".join(lines)
