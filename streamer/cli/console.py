"""What every command says to the user, and the options that several take."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from pipeline import outfile
from pipeline.errors import PuppetError
from pipeline.face.marks import NAMES
from pipeline.liveportrait.options import Compile, Precision

from ..errors import StreamerError
from ..signals import ending_signals

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # MediaPipe brings it along, and it tells of its fonts
LP = "liveportrait"  # engine, model and panel of --help
Checkpoints = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the LivePortrait checkpoints, in the official layout. Default: the folder of model files.",
        rich_help_panel=LP,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="Torch device to run on, such as cuda:1, cpu, mps or xpu. Default: CUDA's first, or the processor.",
        rich_help_panel=LP,
    ),
]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(help="Number format of the networks. Default: the fastest one that gives finite values.", rich_help_panel=LP),
]
Marks = Annotated[
    tuple[str, str, str, str, str] | None,
    typer.Option(
        metavar="X,Y X,Y X,Y X,Y X,Y",
        help="Place the face by hand, for cats, drawings and other faces that are not found, or found wrongly: the eye on the "
        "left, the eye on the right, the tip of the nose, the left and the right corner of the mouth, in pixels of the picture.",
    ),
]
Face = Annotated[
    int | None,
    typer.Option(min=0, help="Which face of a group picture moves: 0 is the one on the left. Default: the largest."),
]
ChannelsLast = Annotated[
    bool | None,
    typer.Option(
        help="Use the channels-last memory layout for convolutions. Default: on CUDA and on a processor.", rich_help_panel=LP
    ),
]
CompileOption = Annotated[
    Compile | None,
    typer.Option(
        "--compile",
        help="Compile the networks: off, on, or auto (if that succeeds). Default: auto on CUDA, off elsewhere.",
        rich_help_panel=LP,
    ),
]
ENGINE_HELP = "mesh, liveportrait, or auto: liveportrait if its checkpoints and a CUDA device are present, otherwise mesh."
console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)  # file names may have brackets


def warn(text: str) -> None:
    """What the user may not have meant, in one line."""
    console.print(Text.assemble(("warning:", "yellow"), f" {text}"))


def fail(text: str) -> None:
    """What has gone wrong, in one line."""
    console.print(Text.assemble(("error:", "red"), f" {text}"))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """A user's mistake gives one line and exit code 2."""
    try:
        yield
    except (PuppetError, StreamerError) as exc:
        fail(str(exc))
        raise typer.Exit(2) from exc


def points_of(marks: Sequence[str] | None) -> list[tuple[float, float]] | None:
    """What '--marks' says; PuppetError names a point that is none."""
    return None if marks is None else [_point(*numbered) for numbered in enumerate(marks)]


def _point(k: int, mark: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in mark.split(","))
    except ValueError as exc:
        raise PuppetError(f"--marks: point {k + 1}, {NAMES[k]}: '{mark}' is no point; one such as 120,85 is expected") from exc
    return x, y


@contextmanager
def tidy_end() -> Iterator[None]:
    """A signal ends the process at once and leaves no unfinished file; the exit code is 128 + its number."""
    ends = ending_signals()

    def end(number: int, frame: FrameType | None) -> None:
        # Nothing is raised: what a handler raises may come up in a destructor of somebody else's, and be lost there.
        for each in ends:
            signal.signal(each, signal.SIG_IGN)
        outfile.discard_unfinished()
        shown = "\x1b[?25h\n" if console.is_terminal else ""  # the progress bar hides the cursor
        os.write(2, f"{shown}stopped by {signal.Signals(number).name}; no unfinished file is left\n".encode())
        os._exit(128 + number)

    before = {each: signal.signal(each, end) for each in ends}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()


@contextmanager
def bar(text: str, unit_scale: float = 1.0) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar, shown from the first step on: what fails before it is told in its own line alone. What was not known
    before, or only about, of how much it all is, is known at its end."""
    with ExitStack() as stack:
        progress = Progress(*_columns(), console=console)
        task = progress.add_task(text, total=None)

        def step(done: int, total: int | None) -> None:
            if not progress.live.is_started:
                stack.enter_context(progress)
            whole = None if total is None else int(total / unit_scale)
            progress.update(task, completed=int(done / unit_scale), total=whole)

        yield step
        progress.update(task, total=progress.tasks[task].completed)


@contextmanager
def bars(text: str, count: int) -> Iterator[Callable[[str], Callable[[int, int | None], None]]]:
    """One display for `count` pieces of work: a bar for all of them, and one for each that is begun by its name."""
    with Progress(*_columns(), console=console) as progress:
        whole = progress.add_task(text, total=count)
        now = progress.add_task("", total=None)
        begun = 0

        def begin(name: str) -> Callable[[int, int | None], None]:
            nonlocal begun
            progress.update(whole, completed=begun)
            progress.reset(now, description=name, total=None)
            begun += 1
            return lambda done, total: progress.update(now, completed=done, total=total)

        yield begin
        progress.update(whole, completed=begun)
        progress.update(now, visible=False)


def log_to_console() -> None:
    handler = RichHandler(console=console, show_path=False, markup=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", datefmt="[%X]", handlers=[handler], force=True)
    for noisy in ("aiortc", "aioice", "httpx", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
