"""puppetcast from Python: open a portrait, animate a clip, serve.

    import puppetcast

    portrait = puppetcast.open_portrait("astronaut")
    puppetcast.animate(portrait, "talk.mp4", "out.mp4")
    server = puppetcast.serve(portrait="astronaut")  # runs beside you: server.url, server.stop()

What is below them is importable too: `pipeline` without a server or an event loop, `streamer` with both.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.errors import PuppetError
from pipeline.follow.tuning import Region, Tuning
from pipeline.portrait import DEMO_CLIP, Portrait, bundled_names
from streamer.config import Config
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from pipeline.clips import Progress
    from pipeline.offline.mux import Result
    from streamer.app import Server
    from streamer.sources.base import Source

__all__ = [
    "DEMO_CLIP", "Config", "Portrait", "PuppetError", "Region", "Serving", "StreamerError", "Tuning", "animate", "bundled_names",
    "open_portrait", "serve",
]  # fmt: skip


def open_portrait(where: str | Path) -> Portrait:
    """A bundled portrait by name (`bundled_names()`), or a picture, .puppet file or clip by path; PuppetError otherwise."""
    from pipeline.portrait import bundled
    from pipeline.puppet.moving import load_any
    from streamer.app import find_faces
    from streamer.config import load_config

    return bundled(str(where)) if where in bundled_names() else load_any(str(where), find_faces(load_config()))


def animate(
    source: Portrait | str | Path,
    driver: str | Path,
    output: str | Path,
    *,
    engine: str = "auto",
    tuning: Tuning = Tuning(),
    mirror: bool = False,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    max_frames: int | None = None,
    progress: Progress = lambda done, total: None,
    passes: Sequence[str] = (),
) -> Result:
    """Write `output`: the source's face moves as the driver's. What was written; PuppetError. The name says of what kind it is:
    .mp4, .mov, .webm, .gif, .webp, or .png for a file each frame. What is there is replaced.

    source: a portrait, or where one is; driver: a clip, or what else the engine takes. tuning: gains, region,
    smoothing. mirror: swap the driver's left and right. fps: even frames a second, in place of the driver's times. size:
    width and height, both even, or the longer side and 0. max_frames: stop after so many. progress: called with
    frames done and frames in all. passes: for a portrait that only who has its pass may drive.
    """
    from pipeline.engine import open_engine
    from pipeline.offline.animate import animate as animate_file
    from pipeline.offline.mux import Output
    from streamer.app import find_faces
    from streamer.config import Kind, load_config
    from streamer.deployment import Deployment
    from streamer.signing.signed import open_signer, sign_files

    config = load_config()
    label, signer = config.label.checked(Kind.FILES), open_signer(config.signing)
    portrait = source if isinstance(source, Portrait) else open_portrait(source)
    faces = find_faces(config)
    rate = None if fps is None else Fraction(fps).limit_denominator(1001)
    opened, marker = open_engine(engine, faces), Deployment(config.mark).marker("")
    sign = sign_files(signer, opened.name, portrait, marker)
    written = Output(Path(output), max_frames, fps=rate, size=size, label=label, sign=sign, marker=marker)
    return animate_file(opened, portrait, Path(driver), written, progress, tuning, mirror, passes=passes)


class Serving:
    """A server on a thread of its own, until `stop` or the end of the program."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url
        self._ready: Future[str] = Future()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="puppetcast", daemon=True)
        self._thread.start()
        # atexit would be too late: pools of threads, which the end needs, are closed before it.
        threading._register_atexit(self.stop)  # type: ignore[attr-defined]
        self._ready.result()

    def _run(self) -> None:
        try:
            asyncio.run(self.server.serve(self._ready.set_result))
            self._ended.set_result(None)
        except BaseException as exc:  # whoever waits for the server is to hear of it
            (self._ended if self._ready.done() else self._ready).set_exception(exc)

    def wait(self) -> None:
        """Until it has ended; raises what it ended by."""
        self._ended.result()

    def stop(self) -> None:
        """End it: viewers are told, recordings are closed."""
        self.server.stop()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def serve(
    config: Config | str | Path | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    portrait: str | Path | None = None,
    clip: str | Path | None = None,
    webcam: str | None = None,
    url: str | None = None,
    engine: str | None = None,
    sources: Mapping[str, Source] | None = None,
) -> Serving:
    """Start a server beside the program; back when it is ready. ConfigError, PuppetError.

    config: a Config, or a YAML file; the others are those of `puppetcast serve`. sources: driving sources of your own, by
    the name of the stream that they drive.
    """
    from pipeline import threads
    from streamer.app import Server
    from streamer.cli.override import override
    from streamer.config import load_config

    threads.one_each()
    given = config if isinstance(config, Config) else load_config(None if config is None else Path(config))
    picture = None if portrait is None else str(portrait)
    driver = None if clip is None else Path(clip)
    return Serving(Server(override(given, host, port, picture, driver, webcam, url, engine), sources=sources or {}))
