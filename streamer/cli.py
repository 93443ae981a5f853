"""The command line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline import models as model_files
from pipeline.errors import ModelError, PuppetError

from .config import Config, load_config
from .errors import StreamerError

app = typer.Typer(help="puppetcast: one portrait, driven live by a face.", no_args_is_help=True, add_completion=False)
models_app = typer.Typer(help="Download and check model files.", no_args_is_help=True)
app.add_typer(models_app, name="models")
console = Console(stderr=True, soft_wrap=True)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """A user's mistake gives one line and exit code 2."""
    try:
        yield
    except (PuppetError, StreamerError) as exc:
        console.print(f"[red]error:[/] {exc}", highlight=False)
        raise typer.Exit(2) from exc


@contextmanager
def _bar(text: str, unit_scale: float = 1.0) -> Iterator[Callable[[int, int | None], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(
            task, completed=int(done / unit_scale), total=None if total is None else int(total / unit_scale)
        )


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(help="YAML config; see configs/default.yaml.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    portrait: Annotated[str | None, typer.Option(help="Portrait of the stream 'live': a bundled name or a file.")] = None,
    clip: Annotated[Path | None, typer.Option(help="Drive 'live' with this clip, looped.")] = None,
    webcam: Annotated[str | None, typer.Option(help="Drive 'live' with this machine's camera, such as /dev/video0.")] = None,
) -> None:
    """Start the server; open the printed address in a browser.

    Without --clip or --webcam the page's own camera drives the portrait.
    """
    from .app import Server, run

    _log_to_console()
    with _one_line_errors():
        server = Server(_override(load_config(config), host, port, portrait, clip, webcam))
        run(server.serve(lambda url: console.print(f"puppetcast is ready: [bold]{url}[/]  (Ctrl+C ends it)")))


def _override(
    config: Config, host: str | None, port: int | None, portrait: str | None, clip: Path | None, webcam: str | None
) -> Config:
    http = {k: v for k, v in (("host", host), ("port", port)) if v is not None}
    live: dict[str, str] = {} if portrait is None else {"portrait": portrait}
    if clip is not None:
        live |= {"source": "file", "path": str(clip)}
    elif webcam is not None:
        live |= {"source": "webcam", "path": webcam}
    streams = dict(config.streams)
    if live and "live" in streams:
        streams["live"] = streams["live"].model_copy(update=live)
    return config.model_copy(update={"http": config.http.model_copy(update=http), "streams": streams})


@app.command()
def animate(
    portrait: Annotated[str, typer.Argument(help="A bundled portrait's name or a picture file.")],
    driver: Annotated[Path, typer.Argument(help="The clip whose face drives the portrait.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="The MP4 file to write.")] = Path("out.mp4"),
    engine: Annotated[str, typer.Option(help="auto or mesh.")] = "auto",
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after exactly so many frames.")] = None,
) -> None:
    """Animate a portrait with a clip, into a file. Audio and frame times are kept."""
    from pipeline.engine import open_engine
    from pipeline.offline import animate as animate_clip
    from pipeline.portrait import load_portrait

    _log_to_console()
    with _one_line_errors():
        from .app import face_model

        model = face_model(load_config())
        source = load_portrait(portrait, model)
        with _bar(driver.name) as progress:
            result = animate_clip(open_engine(engine, model), source, driver, out, max_frames, progress)
    if not result.tracked:
        console.print(f"[yellow]warning:[/] no face was followed in {driver}; the portrait rests throughout")
    console.print(f"{out}: {result.frames} frames, tracker {result.tracker}", highlight=False)


@models_app.command("fetch")
def models_fetch() -> None:
    """Download the models; goes on where an earlier try stopped."""
    with _one_line_errors():
        for model in model_files.MODELS.values():
            with _bar(f"{model.name} (kB)", 1000) as progress:
                path = model_files.fetch(model, progress)
            console.print(f"{model.name}: {path}", highlight=False)


@models_app.command("list")
def models_list() -> None:
    """The models, and which are here."""
    for model in model_files.MODELS.values():
        here = "here" if model_files.find(model) else "not downloaded"
        console.print(
            f"{model.name}  {model.size / 1e6:.1f} MB  {model.licence}  {here}  {model_files.path_of(model)}", highlight=False
        )


@models_app.command("verify")
def models_verify() -> None:
    """Check size and SHA-256 of the models that are here; exit code 2 if one is missing or damaged."""
    with _one_line_errors():
        for model in model_files.MODELS.values():
            path = model_files.path_of(model)
            if not model_files.is_good(model, path):
                state = "damaged" if path.exists() else "missing"
                raise ModelError(f"{path}: {state}; run 'puppetcast models fetch'")
            console.print(f"{model.name}: good", highlight=False)


def _log_to_console() -> None:
    handler = RichHandler(console=console, show_path=False, markup=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", datefmt="[%X]", handlers=[handler], force=True)
    for noisy in ("aiortc", "aioice", "httpx", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
