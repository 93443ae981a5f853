"""RGB pictures as PNG files with zlib alone: of the five filters, the writer uses the one that NumPy undoes by a sum, and the
reader knows no other. W3C, "Portable Network Graphics (PNG) Specification"."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from pipeline.frames import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
UP = 2  # each byte is what it adds to the one above it


def write_png(picture: Image) -> bytes:
    """(h, w, 3) RGB."""
    height, width = picture.shape[:2]
    rows = picture.reshape(height, -1)
    lines = np.empty((height, 1 + rows.shape[1]), np.uint8)
    lines[:, 0] = UP
    lines[:, 1:] = np.diff(rows, axis=0, prepend=np.zeros((1, rows.shape[1]), np.uint8))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    )


def read_png(data: bytes) -> Image:
    """(h, w, 3) of what `write_png` wrote; ValueError for another kind of PNG."""
    width, height = struct.unpack(">II", data[16:24])
    parts, at = [], len(SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            parts.append(data[at + 8 : at + 8 + length])
        at += 12 + length
    lines = np.frombuffer(zlib.decompress(b"".join(parts)), np.uint8).reshape(height, -1)
    if lines.shape[1] != 1 + 3 * width or (lines[:, 0] != UP).any():
        raise ValueError("not a PNG of ours: another depth or filter")
    return np.cumsum(lines[:, 1:], axis=0, dtype=np.uint8).reshape(height, width, 3)
