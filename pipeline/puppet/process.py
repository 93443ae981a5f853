"""Makes a puppet of a clip in a process of its own, which never holds up a stream: `python -m pipeline.puppet.process`.

Reads from stdin one line of JSON: clip, out, and the texts of `puppetfile.About`. Says on stdout how far it is, as "17 300"
with 0 for an unknown number in all, "warning" and what may be wrong, and ends with "made", or with "error" and what is wrong.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ..errors import PuppetError
from ..face.faces import faces_for
from ..portrait import save_puppet
from ..puppetfile import About
from ..threads import one_each
from .make import of_clip

NICE = 10  # below whatever is live
TELL_EVERY = 5  # frames


def main() -> None:
    """Make what stdin asks for."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    one_each()
    task = json.loads(sys.stdin.readline())

    def say(kind: str, line: str) -> None:
        name = task["about"]["name"]  # where the files lie for a while tells nobody anything
        print(kind, line.replace(task["clip"], name).replace(task["out"], name), flush=True)

    try:
        portrait = of_clip(Path(task["clip"]), faces_for("a puppet"), progress=_tell, warn=lambda line: say("warning", line))
        save_puppet(portrait, Path(task["out"]), About(**task["about"]))
    except PuppetError as exc:
        say("error", str(exc))
    else:
        print("made", flush=True)


def _tell(done: int, total: int | None) -> None:
    if done % TELL_EVERY == 0:
        print(done, total or 0, flush=True)


if __name__ == "__main__":
    main()
