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
import importlib, json, os, runpy, signal, sys, traceback
import bench.cli, pipeline.face.mediapipe, pipeline.mesh.engine, pipeline.offline.animate, streamer.app, streamer.cli.main
from pipeline.liveportrait.files import is_installed
from streamer.__main__ import main

if is_installed():
    import pipeline.liveportrait.engine

for place, _ in streamer.cli.main.COMMANDS.values():
    importlib.import_module(place.partition(":")[0], "streamer.cli")

running = set()
for line in sys.stdin:
    order = json.loads(line)
    if isinstance(order, int):
        print(os.waitstatus_to_exitcode(os.waitpid(order, 0)[1]), flush=True)
        running.discard(order)
        continue
    args, folder, said, environment = order
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(folder)
        file = os.open(f"{said}/{os.getpid()}", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(file, 1), os.dup2(file, 2)
        os.environ.clear(), os.environ.update(environment)
        code = 0
        try:
            if args[0].endswith(".py"):
                sys.argv = args
                runpy.run_path(args[0], run_name="__main__")
            else:
                sys.argv = ["puppetcast", *args]
                main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)  # taking all down again that is loaded would take longer than the command
    running.add(child)
    print(child, flush=True)
for child in running:
    os.kill(child, signal.SIGKILL)
"""


@dataclass(frozen=True)
class Done:
    """An exit code, and what was said on stdout and stderr."""

    code: int
    said: str


class Commands:
    """Runs commands, or scripts, one after the other or beside each other. Each has a process group of its own, as a terminal
    gives it one."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def run(self, args: Iterable[object], folder: Path = ROOT, **variables: str) -> Done:
        """`puppetcast ARGS…`, or a script and its arguments, in `folder`, in the environment as it is now with `variables`."""
        return self.ended(self.start(args, folder, **variables))

    def start(self, args: Iterable[object], folder: Path = ROOT, **variables: str) -> int:
        """The same, not waited for, and its process id."""
        environment = {**os.environ, "COLUMNS": "500", **variables}
        child = self._told([[str(a) for a in args], str(folder), str(self._folder), environment])
        self.said(child).touch()  # it may not have got so far
        return child

    def said(self, child: int) -> Path:
        """The file in which is what it has said so far."""
        return self._folder / str(child)

    def ended(self, child: int) -> Done:
        """Wait for the end of what was started."""
        return Done(self._told(child), self.said(child).read_text())

    def _told(self, order: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
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
        yield Commands(process, Path(folder))
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
