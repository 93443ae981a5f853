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
from pipeline.mesh.pose import LIPS
from pipeline.mesh.posing import motion_of
from pipeline.mesh.prepared import MeshPrepared
from pipeline.portrait import Portrait
from pipeline.shapes.names import SLIDERS, slider_range
from pipeline.shapes.parse import parse
from pipeline.shapes.shapes import Held, Shapes

SIDE = 1024
SHARE = 0.6  # of a slider's most
TURN = 12.0  # degrees, of the head's
BROWS = [*topo.RIGHT_BROW, *topo.LEFT_BROW]
MOUTH = [*LIPS, *topo.JAW]


def measure(portraits: Sequence[Portrait], model: Path, progress: Progress) -> dict[str, Any]:
    """Medians over the portraits, by slider."""
    tries = {f"{name} {sign}".strip(): {name: at} for name in SLIDERS for sign, at in _ends(name)}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in tries}
    for done, portrait in enumerate(portraits):
        progress(done, len(portraits))
        prepared = MeshPrepared.of(portrait, SIDE, SIDE)
        pictures = [prepared.still, *(prepared.render(motion_of(parse(values))) for values in tries.values())]
        rest, *posed = [faces[0] for faces in landmarks_of_each(pictures, model)]
        for name, landmarks in zip(tries, posed, strict=True):
            found[name].append(regions(Neutral.of(rest).motion(landmarks)))
    progress(len(portraits), len(portraits))
    mesh = {name: {region: round(median(row[region] for row in rows), 3) for region in rows[0]} for name, rows in found.items()}
    return {"portraits": len(portraits), "mesh": mesh} | ({"liveportrait": _keypoints(tries)} if is_installed() else {})


def regions(motion: Motion) -> dict[str, float]:
    """How far a face's parts have moved. head: degrees; gaze: eye widths; eyes: of an opening; brows, mouth: mean way of their
    landmarks in eye distances, in the head's own axes."""
    return {
        "head": float(np.degrees(np.abs(motion.pose[:3])).max()),
        "gaze": float(np.linalg.norm(motion.gaze, axis=1).mean()),
        "eyes": float(np.abs(motion.openness - 1).max()),
        "brows": _mean_way(motion.expression, BROWS),
        "mouth": _mean_way(motion.expression, MOUTH),
    }


def _mean_way(expression: Array, points: list[int]) -> float:
    return float(np.linalg.norm(expression[points, :2], axis=1).mean())


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
    names = ("head", "gaze", "eyes", "brows", "mouth")
    lines = ["| Slider | " + " | ".join(names) + " | LivePortrait moves |", "|---|" + "---:|" * len(names) + "---|"]
    for name, row in figures["mesh"].items():
        cells = [f"{row[n]:.1f}°" if n == "head" else f"{row[n]:.3f}" for n in names]
        lines.append(f"| {name} | {' | '.join(cells)} | {figures.get('liveportrait', {}).get(name, '')} |")
    return "\n".join(lines)
