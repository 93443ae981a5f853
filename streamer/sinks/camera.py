"""A virtual camera, which calls and OBS take for a real one; through pyvirtualcam, an optional extra."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import av

from pipeline.frames import AnimatedFrame, letterboxed
from pipeline.installation import pip_install

from ..errors import SinkError

CANVAS = (1280, 720)  # what every call program takes
LOAD = "sudo modprobe v4l2loopback exclusive_caps=1 card_label=puppetcast"  # of Debian's package v4l2loopback-dkms
LINUX = f"load one with '{LOAD}'"
CURES = {"win32": "install OBS, whose camera it is", "darwin": "start OBS's virtual camera once"}


class VirtualCamera:
    """An `Output`. device: such as /dev/video10; empty for the first one that is free. size: width and height of its picture,
    both even, whatever the portrait's are: programs that have opened a camera do not expect another size."""

    kind = "virtual_camera"
    takes_sound = False

    def __init__(self, device: str, fps: int, size: tuple[int, int] = CANVAS) -> None:
        self._device, self._fps, self._size = device, fps, size
        self.began_s: float | None = None
        self._camera: Any = None
        self.name = f"virtual camera {device}".rstrip()

    def open(self, first: AnimatedFrame, time_s: float) -> None:
        self.began_s = time_s
        try:
            import pyvirtualcam
        except ImportError as exc:
            raise SinkError(
                f"{self.name}: pyvirtualcam is not installed; run {pip_install('camera')}, then try again",
                retry=False,
            ) from exc
        try:
            self._camera = pyvirtualcam.Camera(
                *self._size, self._fps, fmt=pyvirtualcam.PixelFormat.I420, device=self._device or None, print_fps=False
            )
        except (RuntimeError, OSError) as exc:
            # It may be loaded, or let go by another program, at any time.
            raise SinkError(f"{self.name}: {_reason(exc)}; {CURES.get(sys.platform, LINUX)}", retry=True) from exc

    def write(self, frame: AnimatedFrame, time_s: float) -> None:
        node = Path(self._camera.device)
        if node.is_absolute() and not node.exists():  # the library would go on, and say nothing
            raise SinkError(f"{self.name}: {node} is gone", retry=True)
        try:
            self._camera.send(letterboxed(frame.yuv, *self._size).reshape(-1))
        except (RuntimeError, OSError) as exc:
            raise SinkError(f"{self.name}: {exc}", retry=True) from exc

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def write_sound(self, chunk: av.AudioFrame, time_s: float) -> None:
        """Never called."""

    def abort(self) -> None:
        """A device answers."""


def _reason(exc: Exception) -> str:
    """The library's own, of the first way that it tried, without its advice."""
    said = str(exc).splitlines()[0].partition("backend: ")
    return (said[2] or said[0]).partition(". ")[0].rstrip(".")
