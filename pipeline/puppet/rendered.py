"""A puppet from one photograph: an engine renders it once along a grid of expressions, gazes and turns.

The engine is driven as it always is, by pictures of a face: the bundled photograph, which the mesh engine moves through the
grid. So any engine can be the renderer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from ..clips import Progress
from ..engine import Engine, Prepared
from ..errors import NoFaceError, PuppetError
from ..face import topology as topo
from ..face.faces import Faces
from ..face.motion import Motion, rest
from ..follow.tuning import Tuning
from ..frames import Driving, Image
from ..mesh.prepared import MeshPrepared
from ..portrait import Picture, Portrait, bundled
from .choose import BUDGET, chosen
from .make import assemble

ACTOR = "astronaut"
SIDE = 512
LEAD = 4  # neutral pictures before the grid, from which the engine takes its neutral
STEP_S = 1 / 30  # between driving pictures: longer, and the face would count as lost
BETWEEN = 2  # driving pictures from one of the grid to the next, so that trackers keep up
OPEN, SPREAD = (0.0, 0.12, 0.25, 0.42), (0.0, 0.07, -0.06)  # lips apart and mouth corners aside, in eye distances
LIDS, GAZES = (0.0, 0.4), ((0.12, 0.0), (-0.12, 0.0), (0.0, 0.08), (0.0, -0.08))  # openness; eye widths
TURNS = ((0.2, 0.0), (0.36, 0.0), (-0.2, 0.0), (-0.36, 0.0), (0.0, 0.15), (0.0, -0.15), (0.25, 0.12), (-0.25, 0.12))  # radians


def grid() -> list[Motion]:
    """The faces to be rendered, the neutral first. Mouths, eyes and turns stand apart: a puppet mixes them."""
    motions = [_motion(mouth=mouth) for mouth in product(OPEN, SPREAD)]
    motions += [_motion(openness=openness) for openness in LIDS] + [_motion(gaze=gaze) for gaze in GAZES]
    motions += [_motion(turn=turn, mouth=(opening, 0.0)) for turn in TURNS for opening in (0.0, 0.25)]
    motions += [_motion(brows=brows, mouth=(0.0, spread)) for brows, spread in ((0.08, 0.0), (-0.05, 0.0), (0.08, 0.07))]
    return motions


def _motion(
    mouth: tuple[float, float] = (0.0, 0.0), openness: float = 1.0, gaze: tuple[float, float] = (0.0, 0.0),
    turn: tuple[float, float] = (0.0, 0.0), brows: float = 0.0,
) -> Motion:  # fmt: skip
    motion, (opening, spread) = rest(), mouth
    expression = motion.expression
    expression[list(topo.LOWER_LIP), 1] += opening
    expression[list(topo.JAW), 1] += 0.7 * opening
    expression[[*topo.MOUTH_CORNERS, 78, 308], 1] += 0.3 * opening
    for corners, sign in (((61, 78), -1), ((291, 308), 1)):
        expression[list(corners), 0] += sign * spread
        expression[list(corners), 1] -= max(spread, 0.0)
    expression[[*topo.RIGHT_BROW, *topo.LEFT_BROW], 1] -= brows
    motion.openness[:], motion.gaze[:], motion.pose[:2] = openness, gaze, turn
    return motion


def of_photograph(
    portrait: Portrait, engine: Engine, faces: Faces, work: Path, budget: int = BUDGET,
    progress: Progress = lambda done, total: None,
) -> Portrait:  # fmt: skip
    """The puppet that `engine` renders of a photograph; PuppetError where its pictures show no face.

    work: how the name of a folder for finished pictures begins; a second run goes on where the first was ended, and the
    folder is removed at the end.
    """
    folder = work.with_name(f"{work.name}-{_mark(portrait, engine)}")
    _make(folder)
    prepared = engine.prepare(portrait, max(portrait.image.shape[:2]), SIDE)
    paths = [folder / f"{k:04d}.png" for k in range(len(grid()))]
    missing = [k for k, path in enumerate(paths) if not path.exists()]
    progress(len(paths) - len(missing), len(paths))
    if missing:
        _render(engine, prepared, paths, progress)
    found = [picture for path in paths if (picture := _seen(path, faces)) is not None]
    if len(found) < len(paths) // 2:
        raise PuppetError(f"{portrait.name}: a face is seen in {len(found)} of the {len(paths)} pictures that {engine.name} made")
    pictures = [Picture(portrait.image, portrait.landmarks), *found]
    out = assemble(portrait.name, [pictures[k] for k in chosen([p.landmarks for p in pictures], 0, budget)])
    for path in paths:
        path.unlink()
    folder.rmdir()
    return replace(out, terms=portrait.terms)


def _mark(portrait: Portrait, engine: Engine) -> str:
    """A folder's name that is another one for another photograph, engine or grid."""
    described = b"".join(motion.flat().tobytes() for motion in grid())
    return hashlib.sha256(portrait.image.tobytes() + engine.name.encode() + described).hexdigest()[:16]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise PuppetError(f"{folder}: no folder can be made there ({exc.strerror})") from exc


def _render(engine: Engine, prepared: Prepared, paths: list[Path], progress: Progress) -> None:
    actor = MeshPrepared.of(bundled(ACTOR), SIDE, SIDE)
    neutral = actor.render(rest())
    with closing(engine.open()) as puppeteer:
        puppeteer.tune(Tuning(smoothing=0.0))
        puppeteer.calibrate((k * STEP_S, neutral) for k in range(LEAD))
        for number, (k, image) in enumerate(_performance(actor)):
            time_s = 10.0 + number * STEP_S
            seen = puppeteer.follow(Driving(image, time_s))
            if k is not None and not paths[k].exists():
                _write(paths[k], puppeteer.render(prepared, seen))
                progress(sum(path.exists() for path in paths), len(paths))


def _performance(actor: MeshPrepared) -> Iterator[tuple[int | None, Image]]:
    """Driving pictures, each with the number of the grid's face that it shows, if it is not between two."""
    before = rest()
    for k, motion in enumerate(grid()):
        for step in range(1, BETWEEN):
            share = np.float32(step / BETWEEN)
            yield None, actor.render(before.plus((motion.flat() - before.flat()) * share))
        yield k, actor.render(motion)
        before = motion


def _write(path: Path, picture: Image) -> None:
    part = path.with_suffix(".part")
    Pillow.fromarray(picture).save(part, "PNG", compress_level=1)
    part.replace(path)


def _seen(path: Path, faces: Faces) -> Picture | None:
    image = np.array(Pillow.open(path).convert("RGB"))
    try:
        return Picture(image, max(faces.find(image), key=lambda face: float(np.ptp(face[:, 0]))))
    except NoFaceError:
        return None
