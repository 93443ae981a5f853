"""The driving source that a config names."""

from __future__ import annotations

from pathlib import Path

from ..config import Stream
from ..errors import ConfigError
from ..limits import Timeouts
from .base import Source
from .file import FileSource
from .network import NetworkSource
from .pattern import PatternSource
from .webcam import WebcamSource


def make_source(name: str, stream: Stream) -> Source | None:
    """The driving source that the config names for a stream; None for a browser. ConfigError."""
    try:
        return _made(stream)
    except ConfigError as exc:
        raise ConfigError(f"streams.{name}.path: {exc}") from exc


def _made(stream: Stream) -> Source | None:
    match stream.source:
        case "file":
            return FileSource(Path(stream.path))
        case "webcam":
            return WebcamSource(stream.path, stream.size, stream.fps)
        case "network":
            return NetworkSource(stream.path, stream.transport, Timeouts(stream.open_timeout_s, stream.read_timeout_s))
        case "pattern":
            return PatternSource(stream.fps)
    return None
