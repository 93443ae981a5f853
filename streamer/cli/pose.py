"""`puppetcast pose`: a portrait's head and face by sliders, as a picture or as a preset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import outfile
from pipeline.engine import Engine, open_engine
from pipeline.errors import PuppetError
from pipeline.liveportrait.options import Settings
from pipeline.offline.animate import check_pass
from pipeline.offline.formats import check_alpha
from pipeline.offline.mux import Output
from pipeline.portrait import PICTURES, Portrait, find_portrait
from pipeline.shapes.names import slider_range
from pipeline.shapes.parse import parse
from pipeline.shapes.preset import Preset, regions_of
from pipeline.shapes.shapes import Shapes

from ..config import Kind, load_config
from ..deployment import Deployment
from ..signing.signed import open_signer, sign_files
from .animate import background_of, size_of, source_of
from .animate_options import Background, Force, PassOption, Size
from .console import (
    ENGINE_HELP,
    LP,
    Checkpoints,
    Device,
    Face,
    Marks,
    PrecisionOption,
    console,
    log_to_console,
    one_line_errors,
    tidy_end,
    warn,
)
from .files import STANDARD, read_standard_input, standard_output, standard_streams, write_standard_output

HEAD, FACE = "head and gaze", "face"
OUT = Path("out.png")


def _slider(name: str, panel: str, text: str) -> Any:
    low, high = slider_range(name)
    return typer.Option(min=low, max=high, help=text, rich_help_panel=panel, show_default=False)


def pose(
    portrait: Annotated[
        str, typer.Argument(help="Name of a bundled portrait, a picture, or a .puppet file; - for standard input.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            show_default=False,
            help=f"Picture to write: {', '.join(PICTURES)}; - for a PNG to standard output. Default: {OUT}, unless only a preset "
            "is saved.",
        ),
    ] = None,
    yaw: Annotated[float, _slider("yaw", HEAD, "Turn the head, in degrees: positive to its own left.")] = 0.0,
    pitch: Annotated[float, _slider("pitch", HEAD, "Raise the chin, in degrees; negative lowers it.")] = 0.0,
    roll: Annotated[float, _slider("roll", HEAD, "Tilt the head, in degrees: positive to its own left shoulder.")] = 0.0,
    gaze_x: Annotated[float, _slider("gazeX", HEAD, "Look aside: 1 is far to its own left.")] = 0.0,
    gaze_y: Annotated[float, _slider("gazeY", HEAD, "Look up; negative looks down.")] = 0.0,
    blink_left: Annotated[float, _slider("blinkLeft", FACE, "Shut the own left eye; negative opens it wider.")] = 0.0,
    blink_right: Annotated[float, _slider("blinkRight", FACE, "Shut the own right eye; negative opens it wider.")] = 0.0,
    brows: Annotated[float, _slider("brows", FACE, "Raise the brows; negative draws them down.")] = 0.0,
    smile: Annotated[float, _slider("smile", FACE, "Smile, with shut lips.")] = 0.0,
    frown: Annotated[float, _slider("frown", FACE, "Draw the corners of the mouth down.")] = 0.0,
    mouth_open: Annotated[float, _slider("mouthOpen", FACE, "Open the mouth.")] = 0.0,
    pucker: Annotated[float, _slider("pucker", FACE, "Purse the lips.")] = 0.0,
    puff: Annotated[float, _slider("puff", FACE, "Puff the cheeks. Mesh engine only.")] = 0.0,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            show_default=False,
            rich_help_panel=FACE,
            help="Any of ARKit's 52 blend shapes, 0 to 1, such as jawOpen=0.4 or mouthSmileLeft=0.6; may be given several times.",
        ),
    ] = None,
    preset: Annotated[
        Path | None, typer.Option(help="A preset's file to begin with; the rest is added to it.", show_default=False)
    ] = None,
    save_preset: Annotated[
        Path | None,
        typer.Option(
            help="Keep the pose as a preset, a .json file that --preset and the server take; its name is the file's.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    size: Size = None,
    transparent: Annotated[
        bool, typer.Option("--transparent", help="Leave the background out, of a portrait that stands out from it: .png, .webp.")
    ] = False,
    background: Background = None,
    marks: Marks = None,
    face: Face = None,
    given_pass: PassOption = None,
    engine: Annotated[str, typer.Option(help=ENGINE_HELP)] = "auto",
    checkpoints: Checkpoints = None,
    device: Device = None,
    precision: PrecisionOption = None,
) -> None:
    """Pose a portrait: turn its head, move its face, and write a picture. All at 0 gives the portrait itself, to the pixel, but
    for the label (label.outputs in the configuration).

    Left and right are the person's own. Up to 0.6 everything looks as people do every day; 1 is as far as a face goes.

        puppetcast pose face.jpg -o posed.png --yaw 10 --smile 0.6

        puppetcast pose face.jpg -o wink.png --blink-left 1 --shape mouthSmileLeft=0.5

        puppetcast pose face.jpg -o sad.jpg --frown 0.7 --pitch -8 --save-preset Sad.json
    """
    given = {
        "yaw": yaw, "pitch": pitch, "roll": roll, "gazeX": gaze_x, "gazeY": gaze_y, "blinkLeft": blink_left,
        "blinkRight": blink_right, "brows": brows, "smile": smile, "frown": frown, "mouthOpen": mouth_open, "pucker": pucker,
        "puff": puff,
    }  # fmt: skip
    log_to_console()
    with one_line_errors(), tidy_end(), standard_streams() as folder:
        begun = Shapes() if preset is None else _read(preset).shapes
        shapes = begun.plus(parse(given)).plus(_named(shape or []))
        if save_preset is not None:
            _save(shapes, save_preset, force)
        if out is None and save_preset is not None:
            return
        [named] = read_standard_input([Path(portrait)], folder)
        portrait = str(named) if portrait == str(STANDARD) else portrait
        where = find_portrait(portrait)
        written = standard_output(folder) if out == STANDARD else out or OUT
        outfile.check(written, PICTURES, [] if where is None else [where], force)
        if transparent:
            check_alpha(written)
        from ..app import find_faces

        config = load_config()
        label, signer = config.label.checked(Kind.FILES), open_signer(config.signing)
        faces = find_faces(config)
        ground, behind = background_of(background, config, transparent)
        source = source_of(portrait, where, faces, marks, face, ground)
        if not isinstance(source, Portrait):
            raise PuppetError(f"{portrait}: a clip; 'puppetcast pose' takes a picture or a puppet")
        passes = [] if given_pass is None else [given_pass]
        check_pass(source, passes)
        settings = Settings(checkpoints, device, precision)
        opened = open_engine(engine, faces, settings)
        _check(opened, settings, shapes)
        from pipeline.offline.still import write_posed

        marker = Deployment(config.mark).marker("")
        sign = sign_files(signer, opened.name, source, marker)
        output = Output(
            written, size=size_of(size), transparent=transparent, behind=behind, label=label, sign=sign, marker=marker
        )
        write_posed(opened, source, shapes, output, passes)
        if out == STANDARD:
            write_standard_output(written)
    console.print(f"{out or OUT}: engine {opened.name}")


def _named(pairs: Sequence[str]) -> Shapes:
    """What '--shape' says."""
    shapes = Shapes()
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            number = float(text)
        except ValueError as exc:
            raise PuppetError(f"--shape: '{pair}': a name and a number are expected, such as jawOpen=0.4") from exc
        shapes = shapes.plus(parse({name: number}))
    return shapes


def _read(path: Path) -> Preset:
    try:
        return Preset.read(json.loads(path.read_text("utf-8")))
    except OSError as exc:
        raise PuppetError(f"{path}: {exc.strerror or exc}") from exc
    except (ValueError, RecursionError) as exc:  # what is no text is a ValueError, too
        raise PuppetError(f"{path}: no preset: it is no JSON") from exc
    except PuppetError as exc:
        raise PuppetError(f"{path}: {exc}") from exc


def _save(shapes: Shapes, path: Path, force: bool) -> None:
    outfile.check(path, (".json",), [], force)
    made = Preset.read(Preset(path.stem, shapes, regions_of(shapes.values), over=True).data())  # so that what is kept can be read
    with outfile.finished(path) as part:
        part.write_text(json.dumps(made.data(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    console.print(f"{path}: preset '{made.name}'")


def _check(engine: Engine, settings: Settings, shapes: Shapes) -> None:
    """PuppetError for what has no effect in the engine, a warning for shapes."""
    if engine.name != LP and settings != Settings():
        raise PuppetError(f"--checkpoints, --device, --precision: the engine {engine.name} has no such options; leave them out")
    if unseen := sorted(engine.unseen & shapes.values.keys()):
        warn(f"{', '.join(unseen)}: the engine {engine.name} cannot show that")
