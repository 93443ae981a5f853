"""A process beside the server that makes puppets and portraits of clips: that takes long, and no stream waits for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

COMMAND = [sys.executable, "-m", "pipeline.puppet.process"]
Told = Callable[[str, str], None]  # gets the first word of a line that it says, and the rest


class Helper:
    """One process, for one task. `kill` is for any thread, and at any time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._unwanted = False

    def run(self, task: dict[str, Any], told: Told) -> str:
        """Let the process do its task, see `pipeline.puppet.process`; what is wrong, in words, or nothing."""
        with subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        ) as process:
            self._process = process
            if self._unwanted:
                process.kill()
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError), process.stdin as given:  # it may have been killed already
                given.write(json.dumps(task) + "\n")
            first, rest = "", ""
            for line in process.stdout:
                first, _, rest = line.strip().partition(" ")
                told(first, rest)
        if first == "made":
            return ""
        return rest if first == "error" else f"{task['name']}: it was not done, as its process has ended"

    def kill(self) -> None:
        """End it, also before it has begun."""
        self._unwanted = True
        if self._process is not None:
            self._process.kill()
