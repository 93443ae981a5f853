"""A virtual camera, which calls and OBS take for a real one; through pyvirtualcam, an optional extra."""

from __future__ import annotations

from typing import Any

import av

from pipeline.frames import AnimatedFrame

from ..errors import SinkError

CURES = "on Linux load v4l2loopback, on Windows install OBS, on macOS start OBS's virtual camera once"


class VirtualCamera:
    """An `Output`. device: such as /dev/video10; empty for the first one that is free."""

    kind = "virtual_camera"
    takes_sound = False

    def __init__(self, device: str, fps: int) -> None:
        self._device, self._fps = device, fps
        self._camera: Any = None
        self._shape: tuple[int, ...] = ()
        self.name = f"virtual camera {device}".rstrip()

    def open(self, first: AnimatedFrame, time_s: float) -> None:
        try:
            import pyvirtualcam
        except ImportError as exc:
            raise SinkError(f"{self.name}: pyvirtualcam is not installed: pip install 'puppetcast[camera]'", retry=False) from exc
        self._shape = first.yuv.shape
        size = first.yuv.shape[1], first.yuv.shape[0] * 2 // 3
        try:
            self._camera = pyvirtualcam.Camera(
                *size, self._fps, fmt=pyvirtualcam.PixelFormat.I420, device=self._device or None, print_fps=False
            )
        except (RuntimeError, OSError) as exc:
            raise SinkError(
                f"{self.name}: no such device can be used ({str(exc).splitlines()[0]}); {CURES}", retry=False
            ) from exc

    def write(self, frame: AnimatedFrame, time_s: float) -> None:
        if frame.yuv.shape != self._shape:
            raise SinkError(f"{self.name}: the picture has another size now; opening anew", retry=True)
        try:
            self._camera.send(frame.yuv.reshape(-1))
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
