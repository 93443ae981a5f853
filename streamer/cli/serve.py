"""`puppetcast serve` and what helps with it."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer
from rich.text import Text

from pipeline.errors import PuppetError
from pipeline.installation import command

from ..config import Config, load_config
from ..errors import StreamerError
from .console import (
    ENGINE_HELP,
    Face,
    Marks,
    console,
    log_to_console,
    one_line_errors,
    points_of,
)
from .override import in_options, override
from .phones import tell_phones

if TYPE_CHECKING:
    from ..app import Server


def serve(
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML); configs/default.yaml has all keys.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, up to 65535; 0 takes a free one.")] = None,
    portrait: Annotated[
        str | None,
        typer.Option(help="Portrait of the stream 'live': name of a bundled portrait, a picture, a .puppet file or a clip."),
    ] = None,
    marks: Marks = None,
    face: Face = None,
    clip: Annotated[Path | None, typer.Option(help="Drive the stream 'live' with this clip, in a loop.")] = None,
    webcam: Annotated[
        str | None,
        typer.Option(
            help="Drive the stream 'live' with a camera of this machine: its name or number ('puppetcast devices' lists them), "
            "or a device such as /dev/video0."
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Drive the stream 'live' with a network camera: rtsp://, rtsps://, rtmp://, http:// or https://."),
    ] = None,
    engine: Annotated[str | None, typer.Option(help=ENGINE_HELP)] = None,
    lan: Annotated[
        bool,
        typer.Option(
            "--lan",
            help="Let the machines of your network in, phones too: by https, with a certificate that is made once unless the "
            "configuration has one, and with a token. A QR code is shown by which a phone becomes the camera.",
        ),
    ] = False,
    virtual_camera: Annotated[
        bool,
        typer.Option(
            "--virtual-camera", help="Show the stream 'live' as a camera of this machine, for calls; see docs/calls.md."
        ),
    ] = False,
    virtual_microphone: Annotated[
        bool,
        typer.Option(
            "--virtual-microphone",
            help="Give the sound of the stream 'live', in step with its picture, as a microphone of this machine (Linux).",
        ),
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser when it is ready.")] = False,
) -> None:
    """Start the server; open the printed address in a browser.

    Without --clip, --webcam or --url, the camera of whoever opens the page and starts it drives the portrait.
    """
    from ..app import Server, run

    log_to_console()
    sinks = [kind for kind, on in (("virtual_camera", virtual_camera), ("virtual_microphone", virtual_microphone)) if on]
    options = {
        "--host": host, "--port": port, "--portrait": portrait, "--face": face, "--marks": marks, "--clip": clip,
        "--webcam": webcam, "--url": url, "--engine": engine,
    }  # fmt: skip
    with one_line_errors(), _as_given([option for option, value in options.items() if value is not None]):

        def read() -> Config:
            points = points_of(marks)
            return override(load_config(config), host, port, portrait, clip, webcam, url, engine, face, points, lan, sinks)

        server = Server(read(), read=read)
        run(server.serve(partial(_ready, open_, server, lan=lan)))


@contextmanager
def _as_given(options: Sequence[str]) -> Iterator[None]:
    """What is wrong is said of the option that was given, not of a key of the config that it sets."""
    try:
        yield
    except (PuppetError, StreamerError) as exc:
        exc.args = (in_options(str(exc), options), *exc.args[1:])
        raise


def _ready(wanted: bool, server: Server, url: str, lan: bool = False) -> None:
    """wanted: whether the page is to be opened. lan: whether phones are to be shown the way."""
    token = server.config.auth.token
    link = f"{url}/#token={quote(token, safe='')}" if token else url
    console.print(Text.assemble("puppetcast is ready: ", (link if server.is_token_new else url, "bold"), "  (Ctrl+C ends it)"))
    console.print(_of_marks(server))
    if server.is_token_new:
        console.print("others can reach this server, so a token was made; the link above has it")
    if token:
        console.print(
            f"a token is needed: '{command(f'token --address {url}')}' shows the link at any time; "
            "with --view STREAM it makes one for a while",
            soft_wrap=True,
        )
    if lan:
        tell_phones(server.config, url)
    if wanted and not webbrowser.open(link):
        console.print("no browser could be opened here; open that address by hand")


def _of_marks(server: Server) -> str:
    deployment = server.control.deployment.id
    if deployment is None:
        return "pictures are NOT marked (mark.enabled is false)"
    return f"pictures carry the invisible mark of deployment {deployment:04x}; '{command('identify')}' finds it"


def devices() -> None:
    """List the cameras of this machine; 'puppetcast serve --webcam NAME' takes a name, a part of it, or the number."""
    from ..sources.webcam import cameras

    found = cameras()
    for number, camera in enumerate(found):
        typer.echo(f"{number}  {camera.name}  {camera.device}")
    if not found:
        console.print("no camera is here; a container needs its device passed in (--device /dev/video0)")
