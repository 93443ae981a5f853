"""`puppetcast puppet make`: puppets of many pictures."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from pipeline import outfile, passes
from pipeline.engine import ENGINES, open_engine
from pipeline.errors import PuppetError
from pipeline.face.faces import Faces, faces_for
from pipeline.liveportrait.options import Settings
from pipeline.portrait import Portrait, is_picture, load_portrait, read_bytes, read_puppet, save_puppet
from pipeline.puppetfile import MAX_PICTURES, MAX_TEXT, SUFFIX, About, rewrite
from pipeline.terms import OnlyFace, Whose

from .animate_options import Force
from .console import Checkpoints, Device, bar, console, log_to_console, one_line_errors, tidy_end, warn

puppet_app = typer.Typer(
    help="Puppets: portraits of many pictures of one face, with its own teeth, lids and turns.", no_args_is_help=True
)


@puppet_app.callback()
def _puppet() -> None:
    """Puppets: portraits of many pictures of one face, with its own teeth, lids and turns."""


@puppet_app.command("make")
def puppet_make(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE…", help="A clip of one person, or several photographs; with --with, one photograph."),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="File to write, ending in .puppet.")],
    renderer: Annotated[
        str | None,
        typer.Option(
            "--with", metavar="ENGINE", help="Render the pictures from one photograph with this engine, such as liveportrait."
        ),
    ] = None,
    pictures: Annotated[int, typer.Option(min=2, max=MAX_PICTURES, help="Keep at most so many pictures.")] = 64,
    consent: Annotated[str, typer.Option(help="What the person shown has agreed to; kept in the file, for people.")] = "",
    label: Annotated[str, typer.Option(help="What viewers are to be told; kept in the file, for people.")] = "",
    whose: Annotated[Whose | None, typer.Option(help="Whose face it shows; kept in the file.", show_default=False)] = None,
    checkpoints: Checkpoints = None,
    device: Device = None,
    force: Force = False,
) -> None:
    """Make a puppet that any portrait's place takes: animate, serve --portrait, the config and the page.

    From a clip: record 10 to 60 seconds in even light. Look straight ahead with a closed mouth; turn slowly left, right,
    up and down; look about with the eyes alone; blink and shut the eyes; say A, E, I, O, U; smile with teeth. At most the
    first minute is looked at.

        puppetcast puppet make me.mp4 -o me.puppet

    From photographs of one person, the more different the expressions the better:

        puppetcast puppet make a.jpg b.jpg c.jpg -o me.puppet

    From one photograph, by an engine that renders it once along a grid of expressions. Ended early, the same command
    goes on where it was:

        puppetcast puppet make face.jpg --with liveportrait -o face.puppet

    The pictures show whom they show: make puppets of people who agree, and say so with --consent.
    """
    log_to_console()
    with one_line_errors(), tidy_end():
        outfile.check(out, (SUFFIX,), sources, force)
        for name, text in (("--consent", consent), ("--label", label)):
            if len(text) > MAX_TEXT:
                raise PuppetError(f"{name}: {len(text)} characters; at most {MAX_TEXT} are taken")
        if renderer is None and (checkpoints is not None or device is not None):
            raise PuppetError("--checkpoints, --device: only '--with ENGINE' renders; add it or leave them out")
        if renderer is not None:
            _check_renderer(sources, renderer)
        faces = faces_for("a puppet")
        portrait, made_from = _made(sources, faces, renderer, pictures, Settings(checkpoints, device), out)
        terms = replace(portrait.terms, whose=whose or portrait.terms.whose)
        save_puppet(replace(portrait, terms=terms), out, About(out.stem, made_from, consent, label))
    count = 1 + len(portrait.more)
    console.print(f"{out}: {count} picture{'' if count == 1 else 's'}, {out.stat().st_size / 1e6:.1f} MB")
    if count == 1:
        warn("the pictures are too much alike: this puppet is a portrait of one picture")


@puppet_app.command("allow")
def puppet_allow(
    puppet: Annotated[Path, typer.Argument(help="The .puppet file, which is changed.")],
    needs_pass: Annotated[
        bool | None,
        typer.Option("--pass/--no-pass", help="Let only who has its pass drive it, which is made and shown; or ask for none."),
    ] = None,
    face: Annotated[
        OnlyFace | None, typer.Option(help="Let it move for the face alone that it shows, or for any.", show_default=False)
    ] = None,
    whose: Annotated[Whose | None, typer.Option(help="Whose face it shows.", show_default=False)] = None,
) -> None:
    """Say whose face a puppet shows, and who may drive it; this program keeps to that, live and offline.

        puppetcast puppet allow me.puppet --whose mine --pass --face shown

    Who has the file can take that out of it again: it is a wish that is kept, not a lock on the pictures.
    """
    with one_line_errors():
        if (needs_pass, face, whose) == (None, None, None):
            raise PuppetError("nothing is said; give one of --pass, --no-pass, --face, --whose")
        if face is OnlyFace.ENROLLED:
            raise PuppetError("--face: a face that was enrolled stays in the server; a file takes any or shown")
        portrait = read_puppet(str(puppet), read_bytes(puppet))
        assert portrait.about is not None
        terms, made = portrait.terms, passes.made() if needs_pass else ""
        if needs_pass is not None:
            terms = replace(terms, lock=passes.lock_of(made) if made else "")
        terms = replace(terms, face=face or terms.face, whose=whose or terms.whose)
        rewrite(puppet, replace(portrait.about, terms=terms))
    if made:
        typer.echo(made)
        console.print("Keep this pass: it is kept nowhere else. Show it as '…/whip?pass=PASS', or on the page as '#pass=PASS'.")


@puppet_app.command("grant")
def puppet_grant(
    given: Annotated[str, typer.Argument(metavar="PASS", help="The pass of a portrait; - reads it from standard input.")],
    minutes: Annotated[float, typer.Option(min=0.1, max=525_600, help="How long the grant holds.")] = 60,
) -> None:
    """Make a grant: who has it may drive, for a while, what the pass is for. It ends only by its time."""
    with one_line_errors():
        text = sys.stdin.readline().strip() if given == "-" else given
        typer.echo(passes.grant(text, time.time() + minutes * 60))


def _made(
    sources: list[Path], faces: Faces, renderer: str | None, budget: int, settings: Settings, out: Path
) -> tuple[Portrait, str]:
    from pipeline.puppet import make

    stills = [is_picture(source) for source in sources]
    if renderer is not None:
        return _rendered(sources, faces, renderer, budget, settings, out), f"one photograph, rendered by the engine {renderer}"
    if len(sources) == 1 and not stills[0]:
        with bar(sources[0].name) as progress:
            return make.of_clip(sources[0], faces, budget, progress, warn), "a clip"
    if not all(stills):
        raise PuppetError(f"{sources[stills.index(False)]}: no picture; give one clip, or several photographs")
    if len(sources) == 1:
        raise PuppetError(
            f"{sources[0]}: one photograph alone is a portrait; give more of them, or a clip, or '--with liveportrait'"
        )
    with bar("photographs") as progress:
        return make.of_photographs(sources, faces, budget, progress, warn), f"{len(sources)} photographs"


def _check_renderer(sources: list[Path], renderer: str) -> None:
    if renderer not in ENGINES:
        raise PuppetError(f"--with {renderer}: no such engine; engines: {', '.join(ENGINES)}")
    if len(sources) != 1:
        raise PuppetError(f"--with {renderer}: takes one photograph; {len(sources)} sources are given")


def _rendered(sources: list[Path], faces: Faces, renderer: str, budget: int, settings: Settings, out: Path) -> Portrait:
    from pipeline.puppet.rendered import of_photograph

    portrait = load_portrait(str(sources[0]), faces)
    engine = open_engine(renderer, faces, settings)
    with bar("rendering") as progress:
        return of_photograph(portrait, engine, faces, out.with_name(f".{out.stem}.rendered"), budget, progress)
