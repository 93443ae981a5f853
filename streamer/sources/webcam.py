"""Local cameras through FFmpeg's capture devices: chosen by name, number or path."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer

from pipeline.clock import steady
from pipeline.frames import TimedFrame
from pipeline.media.reader import Reader

from ..errors import SourceError
from ..stream.intake import Intake

FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}  # FFmpeg's input format, by platform
OPEN_TIMEOUT_S, READ_TIMEOUT_S = 5.0, 3.0
BAD_PACKETS = 100  # in a row, after which the camera is opened anew
SYSFS = Path("/sys/class/video4linux")


@dataclass(frozen=True)
class Camera:
    """A local camera. device: what FFmpeg opens."""

    device: str
    name: str


def cameras(sysfs: Path = SYSFS) -> list[Camera]:
    """The cameras of this machine, in the system's order."""
    kind = FORMATS.get(sys.platform, "v4l2")
    if kind == "v4l2":
        return _linux_cameras(sysfs)
    prefix = "video=" if kind == "dshow" else ""
    found = [d for d in av.enumerate_input_devices(kind) if "video" in str(d.media_types)]
    return [Camera(f"{prefix}{d.name}", d.description or d.name) for d in found]


def _linux_cameras(sysfs: Path) -> list[Camera]:
    """Those whose first node it is: a camera may have others, for its metadata."""
    nodes = sorted(sysfs.glob("video*"), key=lambda node: int(node.name.removeprefix("video")))
    return [
        Camera(f"/dev/{node.name}", _line(node / "name") or node.name) for node in nodes if _line(node / "index") in ("", "0")
    ]


def _line(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def choose(wanted: str, found: list[Camera]) -> str:
    """What FFmpeg opens for a name or part of one, a number from 0, a path, or nothing: the first camera."""
    if wanted.isdigit() or not wanted:
        number = int(wanted or 0)
        if number < len(found):
            return found[number].device
    else:
        named = [camera for camera in found if wanted.lower() in camera.name.lower()]
        if named or "/" in wanted or "=" in wanted:
            return named[0].device if named else wanted
    listed = ", ".join(f"{k}: {camera.name}" for k, camera in enumerate(found)) or "none"
    raise SourceError(f"no camera '{wanted or 'at all'}' here; cameras: {listed}", retry=True)


class WebcamSource:
    """See `Source`. wanted: see `choose`; asked again at each opening, so a camera may be plugged in anew."""

    live = True

    def __init__(self, wanted: str, size: tuple[int, int], fps: int) -> None:
        self._wanted = wanted
        self._format = FORMATS.get(sys.platform, "v4l2")
        self._asked = f"{size[0]}x{size[1]} at {fps} fps"
        self._options = {"video_size": f"{size[0]}x{size[1]}", "framerate": str(fps)}
        self.name = f"camera {wanted or '0'}"

    def check(self) -> None:
        self._open().close()

    def _open(self) -> InputContainer:
        device = choose(self._wanted, cameras())
        try:
            return av.open(device, format=self._format, options=self._options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S))
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            offers = self._offers(device)
            cure = f"; asked for {self._asked}, it offers {offers}" if offers else "; is it plugged in, and free?"
            raise SourceError(f"{self.name}: {reason}{cure}", retry=True) from exc

    def _offers(self, device: str) -> str:
        """What the camera can do, as FFmpeg lists it; nothing where it does not say."""
        option = {"v4l2": "list_formats", "dshow": "list_options"}.get(self._format)
        if option is None or (self._format == "v4l2" and not Path(device).exists()):
            return ""
        level = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        try:
            options = {option: "all" if option == "list_formats" else "true"}
            # It lists, and then refuses to open: that is how it is.
            with av.logging.Capture() as lines, suppress(av.error.FFmpegError, OSError, ValueError):
                av.open(device, format=self._format, options=options).close()
        finally:
            av.logging.set_level(level)
        return "; ".join(" ".join(text.split()) for _, _, text in lines if text.strip())[:600]

    def read(self, out: Intake, stop: threading.Event) -> None:
        with self._open() as camera:
            reader = Reader(camera, camera.streams.video[0], live=True)
            try:
                for packet in reader.packets():
                    for _, frame in reader.decode(packet):
                        if isinstance(frame, av.VideoFrame):
                            out.put(TimedFrame(frame, steady()))
                    if stop.is_set():
                        return
                    if reader.undecoded > BAD_PACKETS:
                        raise SourceError(f"{self.name}: {BAD_PACKETS} pictures in a row could not be decoded", retry=True)
            except av.error.FFmpegError as exc:
                raise SourceError(f"{self.name}: {exc.strerror}", retry=True) from exc
