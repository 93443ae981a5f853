"""Targets: files that users get from others."""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

from pipeline import puppetfile
from pipeline.errors import PortraitError, PuppetError, TemplateError
from pipeline.offline.identify import identify
from pipeline.pictures.decode import decode
from pipeline.pictures.formats import is_heic
from streamer.signing.signed import read

from . import one_line

_FILE = str(Path(tempfile.gettempdir()) / f"puppetcast-fuzz-{os.getpid()}")

BETWEEN = b"\n----\n"


def pictures(data: bytes) -> None:
    """A portrait of any format."""
    is_heic(data)
    with one_line(PortraitError):
        decode(data, "x")


def puppets(data: bytes) -> None:
    """A puppet file; or, not to end at its checksums, what is in it: puppet.json, the landmarks, a picture, a line between."""
    if not puppetfile.is_puppet(data):
        out, parts = io.BytesIO(), data.split(BETWEEN, 2)
        with zipfile.ZipFile(out, "w") as archive:
            for name, part in zip((puppetfile.ABOUT, puppetfile.LANDMARKS, "0000.webp"), parts, strict=False):
                archive.writestr(name, part)
        data = out.getvalue()
    with one_line(PortraitError):
        puppetfile.unpack(data, "x")


def identified(data: bytes) -> None:
    """What somebody asks of whether it is marked, and what its signed statement says. A file without a suffix, as uploads are."""
    path = Path(_FILE)
    path.write_bytes(data)
    try:
        with one_line(PuppetError):
            identify(path, most_s=1)
            if (signed := read(path)) is not None:
                json.dumps(signed.data()).encode()
    finally:
        path.unlink()


def templates(data: bytes) -> None:
    """A motion template, ours or a published one by its first byte."""
    from pipeline.liveportrait.template import load

    path = Path(_FILE + (".pkl" if data[:1] == b"p" else ".safetensors"))
    path.write_bytes(data[1:])
    try:
        with one_line(TemplateError):
            load(path).frame(0)
    finally:
        path.unlink()
