"""Errors that a user can cause or cure.

PuppetError
├── PortraitError        the picture cannot be used
│   ├── NoFaceError      no face was found in it
│   ├── LandmarksNeeded  a face cannot be placed without the model; mark five points
│   └── MarksError       the points that place it by hand are no face
├── ClipError            the driving clip cannot be used
├── TemplateError        the motion template cannot be used
├── OutputError          what was made cannot be written there
├── ExistsError          the file to write is there already
├── DeviceLost           the device does not answer any more
└── ModelError           a model file is missing, damaged or cannot be fetched
"""

from __future__ import annotations


class PuppetError(Exception):
    """Base class: the message is one line, names the culprit and, where there is one, the cure."""


class PortraitError(PuppetError):
    """The portrait cannot be used."""


class NoFaceError(PortraitError):
    """No face was found in the portrait."""


class LandmarksNeeded(PortraitError):
    """Without the face model the portrait's landmarks must be given."""


class MarksError(PortraitError):
    """The five points that place the portrait's face by hand cannot be a face."""


class ClipError(PuppetError):
    """The driving clip cannot be used."""


class TemplateError(PuppetError):
    """The motion template cannot be used."""


class OutputError(PuppetError):
    """The file cannot be written where it is to be."""


class ExistsError(PuppetError):
    """The file to write is there already, and is not to be replaced."""

    def __init__(self, message: str, name: str = "") -> None:
        """name: the file's, without its folder."""
        super().__init__(message)
        self.name = name


class DeviceLost(PuppetError):
    """The device does not answer any more; this process cannot use it again."""


class ModelError(PuppetError):
    """A model file is missing, damaged or cannot be fetched."""
