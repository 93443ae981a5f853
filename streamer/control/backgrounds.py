"""What is put behind the person of each stream: a colour, or a picture that was uploaded for it."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from platformdirs import user_data_path

from pipeline.errors import PortraitError, PuppetError
from pipeline.frames import Image
from pipeline.outfile import finished
from pipeline.pictures.colours import parse_colour
from pipeline.pictures.covering import covering
from pipeline.pictures.decode import decode

from ..config import ORIGINAL, PICTURE, Portraits
from ..errors import BadBackground, CannotKeep, UnknownBackground
from ..stream.stream import Shown

log = logging.getLogger(__name__)

QUALITY = 92


class Backgrounds:
    """One picture for each stream, in a folder beside the uploaded portraits where those are kept."""

    def __init__(self, config: Portraits) -> None:
        self._config = config
        folder = (config.folder or user_data_path("puppetcast") / "portraits").expanduser()
        self._folder = folder / "backgrounds" if config.keep else None
        self._pictures: dict[str, bytes] = {}  # JPEG, by stream

    def get(self, stream: str) -> bytes:
        """A stream's picture as JPEG; UnknownBackground if there is none."""
        if stream not in self._pictures:
            try:
                self._pictures[stream] = self._path(stream).read_bytes()
            except OSError as exc:
                raise UnknownBackground(
                    f"stream '{stream}' has no background picture; PUT /api/streams/{stream}/background takes one"
                ) from exc
        return self._pictures[stream]

    def put(self, stream: str, data: bytes) -> None:
        """Take another picture, as a file's bytes; BadBackground for what is none, CannotKeep where it cannot be written."""
        try:
            picture = decode(data, "background", self._config.ground, round(self._config.max_megapixels * 1e6)).image
        except PortraitError as exc:
            raise BadBackground(str(exc)) from exc
        jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        if self._folder is not None:
            self._write(self._path(stream), jpeg)
        self._pictures[stream] = jpeg

    def let_go(self, stream: str) -> None:
        """A stream's picture stays in the folder, where another server that shares it may replace it."""
        self._pictures.pop(stream, None)

    def forget(self, stream: str) -> None:
        """Let go of a stream's picture, and delete it."""
        self.let_go(stream)
        if self._folder is not None:
            self._path(stream).unlink(missing_ok=True)

    async def behind(self, stream: str, wanted: str, shown: Shown) -> Shown:
        """A portrait before what a stream wants behind it; as it is where it has no matte, or the picture is not there."""
        if wanted == ORIGINAL or not shown.prepared.has_matte:
            return shown
        try:
            return await asyncio.to_thread(self._behind, stream, wanted, shown)
        except (UnknownBackground, PortraitError) as exc:
            log.warning("%s; the portrait's own is shown", exc)
            return shown

    def _behind(self, stream: str, wanted: str, shown: Shown) -> Shown:
        height, width = shown.prepared.still.shape[:2]
        return replace(shown, prepared=shown.prepared.over(self._made(stream, wanted, width, height)))

    def _made(self, stream: str, wanted: str, width: int, height: int) -> Image:
        if wanted != PICTURE:
            return np.full((height, width, 3), parse_colour(wanted), np.uint8)
        return covering(decode(self.get(stream), "background").image, width, height)

    def _path(self, stream: str) -> Path:
        return (self._folder or Path(os.devnull)) / f"{stream}.jpg"

    @staticmethod
    def _write(path: Path, jpeg: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with finished(path) as part:
                part.write_bytes(jpeg)
        except (OSError, PuppetError) as exc:
            raise CannotKeep(f"background: cannot be kept ({exc}); free some space, or set portraits.folder") from exc
