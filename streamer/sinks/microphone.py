"""A virtual microphone, which calls take for a real one: by the protocol of PulseAudio, which PipeWire speaks too."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess

import av

from pipeline.frames import AnimatedFrame

from ..errors import ConfigError, SinkError
from ..stream.audio import RATE

NAME = "puppetcast"
FORMAT = ["--raw", "--format=s16le", f"--rate={RATE}", "--channels=2"]
LATENCY_MS = 40  # of the player: less, and a busy machine is heard as crackling
PIPE = 4096  # bytes: one piece of sound waits there; what the player has no room for is late, and left out
ANSWER_S = 5.0
TOOLS = "pactl and pacat"
# What pactl says, and what that means to whoever wants the microphone: what is missing, and the cure.
REASONS = {
    "Connection refused": "no sound server runs here for this user; start PipeWire ('systemctl --user start pipewire-pulse') or "
    "PulseAudio ('pulseaudio --start')",
    "Access denied": "the sound server here belongs to another user; run puppetcast as that user",
    "Module initialization failed": "the sound server refuses to make the microphone; its own log says why",
}
CURE = "on Linux install pulseaudio-utils, which is for PipeWire too; elsewhere see docs/calls.md"


def has_tools() -> bool:
    """Whether what makes a microphone is installed."""
    return all(shutil.which(tool) for tool in ("pactl", "pacat"))


class VirtualMicrophone:
    """An `Output` of the sound alone. name: of the microphone; a sink for our sound is made, and a source that gives it out.

    Programs that list microphones leave out the monitor that a sink has by itself, hence a source of its own.
    """

    kind = "virtual_microphone"
    takes_sound = True
    began_s: float | None = None

    def __init__(self, name: str = NAME) -> None:
        if not re.fullmatch("[A-Za-z0-9_-]{1,40}", name):
            raise ConfigError(f"'{name}' is no name of a microphone: letters, digits, '-' and '_' are taken")
        self._sink, self._source = name, f"{name}_microphone"
        self._player: subprocess.Popen[bytes] | None = None
        self.name = f"virtual microphone {name}"

    def open(self, first: AnimatedFrame, time_s: float) -> None:
        if not has_tools():
            raise SinkError(f"{self.name}: {TOOLS} are not here; {CURE}", retry=False)
        if not self._modules():
            shown = f"device.description={self._sink}"
            self._ask("load-module", "module-null-sink", f"sink_name={self._sink}", f"rate={RATE}", f"sink_properties={shown}")
            monitor = f"master={self._sink}.monitor"
            self._ask("load-module", "module-remap-source", monitor, f"source_name={self._source}", f"source_properties={shown}")
        latency = [f"--latency-msec={LATENCY_MS}", f"--process-time-msec={LATENCY_MS // 4}"]
        command = ["pacat", "--playback", *FORMAT, *latency, f"--client-name={NAME}", f"--device={self._sink}"]
        self._player = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, pipesize=PIPE)
        os.set_blocking(self._player.stdin.fileno(), False)  # type: ignore[union-attr]

    def write(self, frame: AnimatedFrame, time_s: float) -> None:
        """No picture is taken; but with each it is seen whether the player lives."""
        assert self._player is not None
        if self._player.poll() is not None:
            raise SinkError(f"{self.name}: PipeWire or PulseAudio has ended it", retry=True)

    def write_sound(self, chunk: av.AudioFrame, time_s: float) -> None:
        assert self._player is not None
        try:
            os.write(self._player.stdin.fileno(), chunk.to_ndarray().tobytes())  # type: ignore[union-attr]
        except BlockingIOError:
            pass  # the clock of the driver is ahead of that of the sound server
        except BrokenPipeError as exc:
            raise SinkError(f"{self.name}: PipeWire or PulseAudio has ended it", retry=True) from exc

    def close(self) -> None:
        self.abort()
        if self._player is not None:
            self._player.communicate()
            self._player = None
        with contextlib.suppress(SinkError):  # a server that is gone has taken them along
            for module in reversed(self._modules()):
                self._ask("unload-module", module)

    def abort(self) -> None:
        if self._player is not None:
            self._player.kill()

    def _modules(self) -> list[str]:
        """Numbers of the modules that make the microphone, in the order of their loading: ours, or left by a process that was
        killed."""
        ours = re.compile(rf"(\d+)\t.*\b(?:sink_name={self._sink}|source_name={self._source})\s")
        return [found[1] for line in self._ask("list", "short", "modules").splitlines() if (found := ours.match(line))]

    def _ask(self, *words: str) -> str:
        """What pactl answers, in English."""
        plain = os.environ | {"LC_ALL": "C"}
        try:
            done = subprocess.run(["pactl", *words], capture_output=True, text=True, timeout=ANSWER_S, check=True, env=plain)
        except subprocess.TimeoutExpired as exc:
            raise SinkError(f"{self.name}: PipeWire or PulseAudio does not answer", retry=True) from exc
        except (subprocess.CalledProcessError, OSError) as exc:
            said = (getattr(exc, "stderr", "") or str(exc)).strip().splitlines()[-1]
            unknown = f"neither PipeWire nor PulseAudio answers ({said})"
            reason = next((reason for sign, reason in REASONS.items() if sign in said), unknown)
            raise SinkError(f"{self.name}: {reason}", retry=True) from exc
        return done.stdout
