"""`puppetcast identify`: whether pictures and clips carry the mark, and what a signed statement in them says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import av
import typer

from pipeline.errors import ClipError, PuppetError
from pipeline.media.reader import Moment, Reader, video_of
from pipeline.offline.identify import Verdict, identify, lumas, verdict
from pipeline.pictures.formats import SUFFIXES

from ..config import load_config
from ..deployment import known, told
from ..errors import ConfigError
from ..redaction import check_address, redacted
from ..signing.manifest import Statement
from ..signing.signed import read
from ..sources.network import PROTOCOLS
from .console import bar, fail, log_to_console, one_line_errors, tidy_end

OPEN_S, READ_S = 10.0, 5.0
MOST_BYTES = 500_000_000  # of an address
CLIPS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ts", ".mpg", ".mpeg", ".mjpeg", ".flv", ".ogv", ".wmv", ".3gp")


def identify_command(
    given: Annotated[
        list[str], typer.Argument(metavar="FILE|FOLDER|URL...", help="Pictures, clips, folders of them, or addresses of streams.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, one object a file, to standard output.")] = False,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How much of an address is looked at.")] = 30,
) -> None:
    """Tell whether pictures carry the invisible mark of puppetcast and what it says, and what a signed statement (C2PA) says.

    Exit code 0: all carry the mark; 1: some do not; 2: something could not be looked at.
    """
    log_to_console()
    with one_line_errors(), tidy_end():
        ours = known(load_config().mark)
        marked, failed = [], False
        for name, look in _each(given, seconds):
            try:
                with bar(name) as progress:
                    found, signed = look(lambda s, progress=progress: progress(round(s), None))  # type: ignore[misc]
            except (PuppetError, ConfigError) as exc:
                fail(str(exc))
                if as_json:
                    typer.echo(json.dumps({"name": name, "error": str(exc)}))
                failed = True
                continue
            marked.append(found.payload is not None)
            _tell(name, found, signed, ours, as_json)
    raise typer.Exit(2 if failed or not marked else 0 if all(marked) else 1)


Said = tuple[Verdict, Statement | None]
Look = Callable[[Callable[[float], None]], Said]


def _each(given: list[str], seconds: float) -> Iterator[tuple[str, Look]]:
    """Names, and how each is looked at; of folders every picture and clip in them, by their suffixes, in their order."""
    for text in given:
        if not text:
            raise PuppetError("an empty name; give a file, a folder or an address")
        if "://" in text:
            yield redacted(text), lambda progress, url=text: (_stream(url, seconds, progress), None)  # type: ignore[misc]
            continue
        path = Path(text)
        inside = sorted(file for file in path.rglob("*") if _may_show(file))
        for file in inside or [path]:
            yield str(file), lambda progress, file=file: _file(file, progress)  # type: ignore[misc]


def _may_show(file: Path) -> bool:
    """Whether a file of a folder is looked at; hidden ones are what nobody has finished."""
    return file.suffix.lower() in (*SUFFIXES, *CLIPS) and not file.name.startswith(".") and file.is_file()


def _file(path: Path, progress: Callable[[float], None]) -> Said:
    if path.is_dir():
        raise PuppetError(f"{path}: there is no picture or clip in this folder")
    return identify(path, progress), read(path)


def _tell(name: str, found: Verdict, signed: Statement | None, ours: int | None, as_json: bool) -> None:
    what = told(found, ours)
    if as_json:
        typer.echo(json.dumps({"name": name, **what, "signed": None if signed is None else signed.data()}))
    elif found.payload is None:
        typer.echo(f"{name}: no mark found ({_windows(found)}){_signed(signed)}")
    else:
        whose = "this deployment's" if what["ours"] else f"deployment {what['deployment']}"
        stream = f"stream {what['stream']}" if what["stream"] else "a file"
        typer.echo(f"{name}: marked, {whose}, {stream}, {what['day']} (chance of error below 1e{found.log10_chance:.0f}; "
                   f"in {found.marked} of {_windows(found)}){_signed(signed)}")  # fmt: skip


def _signed(signed: Statement | None) -> str:
    """The end of a file's line."""
    if signed is None:
        return ""
    if not signed.valid:
        return f"; its signed statement does not hold: {', '.join(signed.problems)}"
    whose = "" if signed.trusted else ", for whom nobody vouches"
    return f"; signed by {signed.signer}{whose}: made by {signed.generator}"


def _windows(found: Verdict) -> str:
    return f"{found.windows} window{'' if found.windows == 1 else 's'}"


def _stream(url: str, seconds: float, progress: Callable[[float], None]) -> Verdict:
    """What comes from an address, for so long. ConfigError, ClipError."""
    name, scheme = redacted(url), url.partition("://")[0].lower()
    if scheme not in PROTOCOLS:
        raise ConfigError(f"'{name}': the address must begin with {', '.join(f'{s}://' for s in PROTOCOLS)}")
    check_address(url)
    options = {"protocol_whitelist": PROTOCOLS[scheme]} | ({"rtsp_transport": "tcp"} if scheme.startswith("rtsp") else {})
    try:
        with av.open(url, options=options, timeout=(OPEN_S, READ_S), metadata_errors="replace") as container:
            video = video_of(container)
            if video is None:
                raise ClipError(f"{name}: no pictures in it")
            return verdict(lumas(_bounded(Reader(container, video, live=True), seconds)), progress)
    except (av.error.FFmpegError, OSError) as exc:
        raise ClipError(f"{name}: cannot be read ({getattr(exc, 'strerror', None) or type(exc).__name__})") from exc


def _bounded(reader: Reader, seconds: float) -> Iterator[Moment]:
    """Times from the first picture on, until there were so many seconds or bytes."""

    def moments() -> Iterator[Moment]:
        read = 0
        for packet in reader.packets():
            read += packet.size
            if read > MOST_BYTES:
                return
            if packet.stream.index == reader.video.index:
                yield from reader.decode(packet)

    first_s: list[float] = []
    for at, frame in moments():
        first_s = first_s or [at]
        if at - first_s[0] > seconds:
            return
        yield at - first_s[0], frame
