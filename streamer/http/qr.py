"""QR codes (ISO/IEC 18004) of links, made by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

QUIET = 4  # modules of white round a code


def qr_code(text: str) -> NDArray[np.bool_]:
    """(n, n), true where it is dark, without the white round it. text: ASCII, up to some 1000 characters."""
    how = cv2.QRCodeEncoder.Params()
    how.mode, how.correction_level = cv2.QRCODE_ENCODER_MODE_BYTE, cv2.QRCODE_ENCODER_CORRECT_LEVEL_M
    dark = cv2.QRCodeEncoder.create(how).encode(text) == 0
    inside = np.flatnonzero(dark.any(0))
    return np.asarray(dark[inside[0] : inside[-1] + 1, inside[0] : inside[-1] + 1], np.bool_)


def qr_text(text: str) -> str:
    """A code for a terminal that writes black on white: two rows of it in each line."""
    code = np.pad(qr_code(text), QUIET)
    code = np.pad(code, ((0, len(code) % 2), (0, 0)))
    return "\n".join(
        "".join(" ▀▄█"[a + 2 * b] for a, b in zip(*rows, strict=True)) for rows in code.reshape(-1, 2, code.shape[1])
    )
