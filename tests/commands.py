"""The command line as a user calls it, each time in a process of its own, but without loading everything anew: a process
that has loaded it makes each of them by a fork. What is about starting up itself starts the program instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .conftest import ROOT

PROGRAM = """
import json, os, sys
import bench.cli, pipeline.face.mediapipe, pipeline.mesh.engine, pipeline.offline.animate, streamer.app, streamer.cli.main
from pipeline.liveportrait.files import is_installed
from streamer.__main__ import main

if is_installed():
    import pipeline.liveportrait.engine

for line in sys.stdin:
    args, folder, said, environment = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        file = os.open(said, os.O_CREAT | os.O_WRONLY)
        os.dup2(file, 1), os.dup2(file, 2)
        os.environ.clear(), os.environ.update(environment)
        sys.argv = ["puppetcast", *args]
        try:
            main()
        except SystemExit as end:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(end.code)  # taking all down again that is loaded would take longer than the command
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """An exit code, and what was said on stdout and stderr."""

    code: int
    said: str


class Commands:
    """Runs commands one after the other."""

    def __init__(self, process: subprocess.Popen[str], said: Path) -> None:
        self._process = process
        self._said = said

    def run(self, args: Iterable[object], folder: Path = ROOT, **variables: str) -> Done:
        """`puppetcast ARGS…` in `folder`, in the environment as it is now with `variables`."""
        self.start(args, folder, **variables)
        return self.ended()

    def start(self, args: Iterable[object], folder: Path = ROOT, **variables: str) -> int:
        """The same, not waited for, and its process id; `ended` is to be called before the next one."""
        self._said.unlink(missing_ok=True)
        environment = {**os.environ, "COLUMNS": "500", **variables}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([[str(a) for a in args], str(folder), str(self._said), environment]) + "\n")
        self._process.stdin.flush()
        return self._told()

    def ended(self) -> Done:
        """Wait for the end of what was started."""
        return Done(self._told(), self._said.read_text())

    def _told(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def commands() -> Iterator[Commands]:
    """Ready to run commands."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "500"}  # what is said is measured when it is loaded
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROGRAM],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        ) as process,
    ):  # fmt: skip
        yield Commands(process, Path(folder) / "said")
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
