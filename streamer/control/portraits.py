"""The portraits that a config names."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from pipeline.errors import LandmarksNeeded, NoFaceError, PortraitError
from pipeline.face.faces import Faces
from pipeline.pictures.colours import Colour
from pipeline.portrait import Portrait
from pipeline.puppet.moving import load_any

from ..config import Config
from ..config import Stream as StreamConfig
from ..errors import ConfigError


def load_portraits(config: Config, faces: Faces) -> dict[str, Portrait]:
    """The portrait of each stream; PortraitError if one cannot be used, ConfigError for one that is wanted in two ways."""
    portraits: dict[str, Portrait] = {}
    check_portraits(config)
    for name, stream in config.streams.items():
        where = f"streams.{name}.portrait"
        try:
            portraits[name] = _portrait_of(stream, faces, config.portraits.ground)
        except (NoFaceError, LandmarksNeeded) as exc:
            raise type(exc)(f"{where}: {exc}; or place it by hand with 'marks' ('--marks')") from exc
        except PortraitError as exc:
            raise type(exc)(f"{where}: {exc}") from exc
    return portraits


def check_portraits(config: Config) -> None:
    """ConfigError if one is wanted in two ways."""
    for (before, other), (name, stream) in combinations(config.streams.items(), 2):
        if stream.portrait == other.portrait and (stream.face, stream.marks) != (other.face, other.marks):
            raise ConfigError(
                f"streams.{name}.portrait: also that of '{before}', with another face or other marks; "
                "give one of them a copy of the file"
            )


def _portrait_of(stream: StreamConfig, faces: Faces, ground: Colour) -> Portrait:
    marks = None if stream.marks is None else np.array(stream.marks, np.float32)
    portrait = load_any(stream.portrait, faces, marks, ground)
    return portrait if stream.face is None else portrait.with_face(stream.face)
