"""Workers of a fleet as processes, without anything that starts them anew; a test is their engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from streamer.fleet.base import At
from streamer.fleet.worker import SECRET

from ..conftest import ROOT

WORD = "a secret of this test's fleet"
SETTINGS: dict[str, Any] = {
    "downloads": {"fetch": False},
    "engine": {"max_side": 256},
    "budget": {"max_frames": 15},
    "device": {"cores": 8, "min_fps": 1},
    "webrtc": {"bind_addresses": ["127.0.0.1"], "max_sessions_per_address": 1000, "max_connecting_per_address": 1000},
}


class Workers:
    """Started in `folder`, which they share. They are the director's engine, and its store."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.folder = folder
        self._config = folder / "fleet.yaml"
        own = {"portraits": {"folder": str(folder / "portraits")}, "recording": {"folder": str(folder / "recordings")}}
        self._config.write_text(yaml.safe_dump(SETTINGS | own | sections))
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._at: dict[str, At] = {}
        self.kept: dict[str, str] = {}

    def start(self, *names: str, secret: str = WORD) -> None:
        """All at once; back when they answer."""
        command = [sys.executable, "-m", "streamer.fleet.worker", str(self._config), "--name"]
        environment = {**os.environ, SECRET: secret}
        for name in names:
            self._processes[name] = subprocess.Popen(
                [*command, name], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
            )
        for name in names:
            pipe = self._processes[name].stdout
            assert pipe is not None
            self._at[name] = At(**json.loads(pipe.readline()))

    def signal(self, name: str, number: signal.Signals) -> None:
        """Such as SIGKILL or SIGSTOP."""
        os.kill(self._processes[name].pid, number)
        if number == signal.SIGKILL:
            self._end(self._processes[name])

    def end(self) -> None:
        for process in self._processes.values():
            process.kill()
            self._end(process)

    def _end(self, process: subprocess.Popen[str]) -> None:
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

    async def workers(self) -> list[At]:
        return list(self._at.values())

    async def read(self) -> dict[str, str]:
        return dict(self.kept)

    async def keep(self, key: str, text: str) -> None:
        self.kept[key] = text

    async def forget(self, key: str) -> None:
        self.kept.pop(key, None)
