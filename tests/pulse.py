"""A real PulseAudio without hardware, and what a program records from one of its microphones."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from .programs import program
from .recorded import Edges
from .waiting import wait_until

RATE = 48_000
PIECE = 4 * RATE // 100  # bytes of 10 ms, stereo


@contextmanager
def pulseaudio(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs for as long as this lasts, and programs find it."""
    socket = folder / "pulse.sock"
    for name in ("HOME", "XDG_RUNTIME_DIR"):
        patch.setenv(name, str(folder))
    patch.setenv("PULSE_SERVER", f"unix:{socket}")
    command = [
        program("pulseaudio"), "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes",
        "-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1",
    ]  # fmt: skip
    program("pactl"), program("pacat"), program("parec")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until(socket.exists)
            yield
        finally:
            server.terminate()


@contextmanager
def heard(microphone: str, edges: Edges) -> Iterator[None]:
    """Notes when beeps come out of it, by this machine's clock."""
    ask = ["parec", "--raw", "--format=s16le", f"--rate={RATE}", "--channels=2", "--latency-msec=10", f"--device={microphone}"]

    def listen() -> None:
        assert recorder.stdout is not None
        while len(piece := recorder.stdout.read(PIECE)) == PIECE:
            frame = av.AudioFrame.from_ndarray(np.frombuffer(piece, np.int16).reshape(1, -1), "s16", "stereo")
            frame.sample_rate = RATE
            edges.hear(frame, time.monotonic() - PIECE / 4 / RATE)

    with subprocess.Popen(ask, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as recorder:
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield
        finally:
            recorder.kill()
            thread.join()
