"""Makes a puppet of a clip, or a portrait that goes on moving, in a process of its own, which never holds up a stream:
`python -m pipeline.puppet.process`.

Reads from stdin one line of JSON: clip, name and out, and of a puppet about, the texts of `puppetfile.About`, of a portrait that
moves tracker, how its face is followed (see `Faces`); out is a file, and of the second a folder. Says on stdout how far it is, as
"17 300" with 0 for an unknown number in all, "warning" and what may be wrong, and ends with "made", or with "error" and what is
wrong.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from .. import models
from ..errors import PuppetError
from ..face.faces import faces_for, faces_if_here
from ..portrait import save_puppet
from ..puppetfile import About
from ..threads import one_each
from .make import of_clip
from .moving import keep, moving

NICE = 10  # below whatever is live
TELL_EVERY = 5  # frames


def main() -> None:
    """Make what stdin asks for."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    one_each()
    task = json.loads(sys.stdin.readline())
    try:
        _make(task)
    except (PuppetError, OSError) as exc:
        _say(task, "error", str(exc))
    else:
        print("made", flush=True)


def _make(task: dict[str, Any]) -> None:
    clip, out = Path(task["clip"]), Path(task["out"])
    if "about" in task:
        portrait = of_clip(clip, faces_for("a puppet"), progress=_tell, warn=lambda line: _say(task, "warning", line))
        save_puppet(portrait, out, About(**task["about"]))
    else:
        faces = faces_if_here(task["tracker"], models.find(models.FACE_LANDMARKER)) or faces_for("a clip as portrait")
        keep(moving(clip, task["name"], faces, _tell), out)


def _say(task: dict[str, Any], kind: str, line: str) -> None:
    """Where the files lie for a while tells nobody anything."""
    print(kind, line.replace(task["clip"], task["name"]).replace(task["out"], task["name"]), flush=True)


def _tell(done: int, total: int | None) -> None:
    if done % TELL_EVERY == 0:
        print(done, total or 0, flush=True)


if __name__ == "__main__":
    main()
