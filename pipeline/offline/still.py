"""A portrait under named shapes, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from PIL import Image as Pillow

from ..engine import Engine
from ..errors import PuppetError
from ..outfile import finished
from ..portrait import Portrait
from ..shapes.shapes import Held, Shapes
from .animate import alone, check_pass, labelled, prepared_for, sized, straight
from .formats import check_alpha
from .mux import Output


def write_posed(engine: Engine, portrait: Portrait, shapes: Shapes, output: Output, passes: Sequence[str] = ()) -> None:
    """Write what `portrait` shows under `shapes`; where all are at rest, the portrait itself, to the pixel, but for
    mark and label. passes: see `animate`. PuppetError."""
    check_pass(portrait, passes)
    if portrait.face_lock is not None:
        raise PuppetError(f"{portrait.name}: moves for one face alone, and is not posed by hand")
    if output.transparent:
        check_alpha(output.path)
    prepared = prepared_for(engine, portrait, output)
    with closing(engine.open()) as puppeteer:
        puppeteer.pose(lambda room: Held(shapes))
        seen = puppeteer.at_rest(0.0)
        image = prepared.still if seen is None else puppeteer.render(prepared, seen)
        image = labelled(alone(prepared, seen, image) if output.transparent else image, prepared, output)
    with finished(output.path) as part:
        Pillow.fromarray(output.marker.marked_rgb(straight(sized(image, output.size)))).save(part)
        output.sign(part, output.path)
