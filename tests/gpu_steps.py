"""Steps of a report that end in every way there is."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from bench.gpu.setup import Setup


def well(setup: Setup) -> Iterator[dict[str, Any]]:
    yield {"work": setup.work.name}
    yield {"more": 2}


def wrong(setup: Setup) -> Iterator[dict[str, Any]]:
    yield {"before": 1}
    raise ValueError("what went wrong")


def killed(setup: Setup) -> Iterator[dict[str, Any]]:
    yield {"before": 1}
    os.kill(os.getpid(), signal.SIGKILL)


def stuck(setup: Setup) -> Iterator[dict[str, Any]]:
    yield {"child": subprocess.Popen(["sleep", "600"]).pid}
    time.sleep(600)


def elsewhere(setup: Setup) -> Iterator[dict[str, Any]]:
    yield {"skipped": "no CUDA"}
