"""The command line as a user calls it, each time in a process of its own, but without loading everything anew: a process
that has loaded it makes each of them by a fork."""

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
from streamer.__main__ import main

for line in sys.stdin:
    args, folder, said = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        file = os.open(said, os.O_CREAT | os.O_WRONLY)
        os.dup2(file, 1), os.dup2(file, 2)
        sys.argv = ["puppetcast", *args]
        try:
            main()
        except SystemExit as end:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(end.code)  # taking all down again that is loaded would take longer than the command
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """An exit code, and what was said on stdout and stderr."""

    code: int
    said: str


class Commands:
    """Runs commands one after the other in `folder`."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def run(self, args: Iterable[object], folder: Path = ROOT) -> Done:
        """`puppetcast ARGS…` with `folder` for its own."""
        said = self._folder / "said"
        said.unlink(missing_ok=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([[str(a) for a in args], str(folder), str(said)]) + "\n")
        self._process.stdin.flush()
        return Done(int(self._process.stdout.readline()), said.read_text())


@contextmanager
def commands() -> Iterator[Commands]:
    """Ready to run commands, in the environment as it is now."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "500"}
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROGRAM],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        ) as process,
    ):  # fmt: skip
        yield Commands(process, Path(folder))
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
