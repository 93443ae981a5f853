"""Whether `identify` finds the mark in every kind of file that leaves, and none in what nobody marked. Part of `puppetcast bench
mark`.

Fifty files, made by the command line and a server as their users make them, of every bundled portrait. Of the engines the mesh
one: the mark is put into whatever picture comes, and liveportrait's checkpoints are not shipped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av

from pipeline.clips import Progress
from pipeline.errors import PuppetError
from pipeline.offline.identify import identify
from pipeline.portrait import BUNDLED, DEMO_CLIP, bundled_names
from streamer.cli.main import app
from streamer.signing.signed import SIDECAR

from .mark_ways import server

POSED = ("{}.png", "{}.jpg")  # of each portrait
ANIMATED = ("{}.mp4", "{}.mov", "{}-moves.webm", "{}.gif", "{}-moves.webp", "{}-%03d.png")  # of every third portrait
OTHERS: dict[str, tuple[str, ...]] = {
    "clear.webm": ("--transparent",), "clear.gif": ("--transparent",), "clear.webp": ("--transparent",),
    "clear-%03d.png": ("--transparent",), "small.mp4": ("--size", "256"), "small.gif": ("--size", "240", "--fps", "10"),
    "beside.mp4": ("--side-by-side",),
}  # fmt: skip
FRAMES = 30
SAVED_S = 3
SNAPSHOTS = ("snapshot.jpg", "snapshot.png", "last.gif", "last.mp4", "last.webm")


def files(unmarked: Sequence[Path], progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """What `identify` says of fifty outputs, and of files that nobody marked: those, and what the program brings."""
    brought = [*sorted(Path(str(BUNDLED)).glob("*.jpg")), DEMO_CLIP]
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "outputs").mkdir()
        os.environ["XDG_DATA_HOME"] = str(folder / "data")  # whoever measures keeps their own
        for done, _ in enumerate(_made(folder), 1):
            progress(done, None)
        outputs = [_said(path) for path in sorted((folder / "outputs").iterdir()) if path.suffix != SIDECAR]
    others = [_said(path) for path in (*unmarked, *brought)]
    return {
        "outputs": len(outputs), "found": sum(said["marked"] > 0 for said in outputs),
        "unmarked": len(others), "alarms": sum(said["marked"] > 0 for said in others), "said": outputs,
    }  # fmt: skip


def _said(path: Path) -> dict[str, Any]:
    found = identify(path)
    return {"name": path.name, "windows": found.windows, "marked": found.marked, "log10_chance": found.log10_chance}


def _made(folder: Path) -> Iterator[None]:
    """Each into `outputs`; of a picture for each frame, one stays."""
    out, names = folder / "outputs", bundled_names()
    for portrait in names:
        for file in POSED:
            _run("pose", portrait, "-o", str(out / file.format(portrait)), "--yaw", "8", "--smile", "0.5")
            yield
    moving = [(portrait, file.format(portrait), ()) for portrait in names[::3] for file in ANIMATED]
    for portrait, file, options in moving + [(names[0], file, options) for file, options in OTHERS.items()]:
        command = ["animate", portrait, str(DEMO_CLIP), "--engine", "mesh", "--max-frames", str(FRAMES), *options]
        _run(*command, "-o", str(out / file))
        for one in sorted(out.glob(file.replace("%03d", "[0-9]*")))[1:] if "%" in file else ():
            one.unlink()
        yield
    yield from _served(folder, out)


def _run(*arguments: str) -> None:
    """A command as its users give it, in this process: to load everything anew takes longer than most of them."""
    if code := app(arguments, standalone_mode=False):
        raise PuppetError(f"{' '.join(arguments)}: exit code {code}")


def _served(folder: Path, out: Path) -> Iterator[None]:
    with server(folder, bundled_names()[0], DEMO_CLIP, recording={"folder": str(out), "last_s": SAVED_S}) as http:
        http.patch("/api/streams/live", json={"recording": True}).raise_for_status()
        time.sleep(SAVED_S + 1)
        http.patch("/api/streams/live", json={"recording": False}).raise_for_status()
        yield
        for name in SNAPSHOTS:
            (out / name).write_bytes(http.get(f"/live/live/{name}").raise_for_status().content)
            yield
        with av.open(f"{http.base_url}/live/live/mjpeg", format="mpjpeg") as stream:
            packet = next(packet for packet in stream.demux(video=0) if packet.size)
            (out / "mjpeg.jpg").write_bytes(bytes(packet))
        yield
