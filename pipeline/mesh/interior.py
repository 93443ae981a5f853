"""Textures of what is between the lips: rows of teeth, gums and tongue, and a portrait's own teeth."""

from __future__ import annotations

import cv2
import numpy as np

from ..face.motion import Array
from ..frames import Image
from .teeth import CROWN, lower_row, upper_row
from .tones import LUMA, Tones

SHOWN = 0.04  # how far the upper teeth reach below the resting upper lip, in mouth widths
OVERBITE = 0.06  # and over the lower ones
UPPER_BOW, LOWER_BOW = 0.20, 0.32  # how much higher the sides of a row stand, in mouth widths
LOWER_LIGHT, LIP_SHADE = 0.88, (0.04, 0.18)  # on lower teeth; mouth widths below their edge between which the lip hides them
FRONT, SIDE, SIDE_SHADE = 0.15, 0.5, 0.7  # mouth widths beside the middle between which lower teeth lose SIDE_SHADE of it
TONGUE, TONGUE_MIDDLE, TONGUE_EDGE = (0.50, 0.60), 0.20, 0.45  # half axes, height over the lower teeth's edge, softness
TONGUE_LIGHT, TONGUE_SHADE = 1.25, 0.45  # of flesh in the light, in its middle, and what its rim lacks of that
BACK, BACK_SHADE = (0.12, 0.62), 0.3  # mouth widths over that edge between which it lies ever further back, and darker by that
BRIGHT_TOOTH, BETWEEN = 0.45, 0.02  # luma of the darkest tooth against the others, and half a line between two, in mouth widths


def upper_teeth(u: Array, v: Array, tones: Tones, unit: float) -> Array:
    """(h, w, 4) upper teeth and the gum above them. u, v: (h, w) places in mouth widths, v = 0 at the resting upper lip's
    edge; unit: pixels of the portrait in a mouth width."""
    past = v - SHOWN + UPPER_BOW * u * u
    relative, cover = upper_row(u, past, unit)
    gum = np.clip((-past - 0.74 * CROWN) / 0.02 + 0.5, 0, 1)
    shadow = 0.92 + 0.08 * np.clip((past + CROWN) / (0.6 * CROWN), 0, 1)  # of the upper lip
    colour = tones.gum + (relative * tones.teeth * shadow[..., None] - tones.gum) * cover[..., None]
    return np.dstack([colour, np.maximum(gum, cover)]).astype(np.float32)


def lower_teeth(u: Array, v: Array, tones: Tones, unit: float) -> Array:
    """(h, w, 4) tongue, lower teeth and the lip's inside before them, while the jaw is shut; arguments as `upper_teeth`."""
    past = -(v - SHOWN + OVERBITE) - LOWER_BOW * u * u
    relative, cover = lower_row(u, past, unit)
    tongue, light = _tongue(u, past)
    colour = tones.cavity + (tones.flesh - tones.cavity) * light[..., None]
    lip = np.clip((-past - 0.5 * CROWN) / 0.05 + 0.5, 0, 1)
    colour = colour + (tones.flesh - colour) * lip[..., None]
    shade = np.clip((past + LIP_SHADE[1]) / (LIP_SHADE[1] - LIP_SHADE[0]), 0, 1) * (
        1 - SIDE_SHADE * np.clip((np.abs(u) - FRONT) / (SIDE - FRONT), 0, 1)
    )
    tooth = tones.flesh + (LOWER_LIGHT * relative * tones.teeth - tones.flesh) * shade[..., None]
    colour = colour + (tooth - colour) * cover[..., None]
    return np.dstack([colour, np.maximum(np.maximum(tongue, lip), cover)]).astype(np.float32)


def _tongue(u: Array, past: Array) -> tuple[Array, Array]:
    """Coverage and light of the tongue, which lies behind the lower teeth and rises to the back."""
    away = np.hypot(u / TONGUE[0], (past - TONGUE_MIDDLE) / TONGUE[1])
    inside = np.clip((1.0 - away) / TONGUE_EDGE, 0, 1)
    groove = 1.0 - 0.07 * np.exp(-((u / 0.05) ** 2)) * np.clip(past / 0.1, 0, 1)
    behind = np.clip((past + 0.02) / 0.12, 0.3, 1)  # the teeth's own shadow
    back = np.clip((past - BACK[0]) / (BACK[1] - BACK[0]), 0, 1)
    light = TONGUE_LIGHT * groove * behind * (1.0 - TONGUE_SHADE * np.minimum(away, 1) ** 2) * (1.0 - BACK_SHADE * back)
    return inside * inside * (3 - 2 * inside), np.asarray(light)


def own_row(own: Image, inside: Array, above: Array, tones: Tones, unit: float) -> Array:
    """(h, w) 1 where the portrait shows its upper teeth: bright from the upper lip's edge on, down to the first dark. What lies
    below them, a gap, a tongue, lower teeth, is no part of the skull. above: (h, w) what lies over that edge."""
    bright = (own.astype(np.float32) @ LUMA > BRIGHT_TOOTH * float(tones.teeth @ LUMA)).astype(np.uint8)
    size = 2 * round(BETWEEN * unit) + 1
    closed = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((size, size), np.uint8))  # over the lines between teeth
    seen = np.minimum.accumulate((closed > 0) | above | (inside < 0.5), axis=0)
    shown = inside > 0.5
    columns = np.flatnonzero(shown.any(axis=0))
    first = np.argmax(shown[:, columns], axis=0)
    depth = (seen & shown)[:, columns].sum(axis=0).astype(np.float32)
    even = cv2.GaussianBlur(depth[None], (0, 0), 0.08 * unit)[0]  # a row of teeth ends in a line
    end = np.zeros(own.shape[1], np.float32)
    end[columns] = first + np.minimum(depth, even) if len(columns) else 0
    return np.clip(end[None] - np.arange(own.shape[0])[:, None], 0, 1).astype(np.float32)


def keep_own(upper: Array, own: Image, inside: Array, gums: Array, tones: Tones, unit: float) -> None:
    """The teeth that a portrait shows take the place of the upper row in its skull; `gums` (h, w) go above whole crowns."""
    core = cv2.GaussianBlur(cv2.erode(inside, np.ones((3, 3))), (0, 0), max(0.02 * unit, 0.8), sigmaY=0.8)[..., None]
    upper[..., :3] += (tones.gum - upper[..., :3]) * gums[..., None]
    upper[..., :3] += (own.astype(np.float32) - upper[..., :3]) * core
    upper[..., 3] = np.maximum(np.maximum(core[..., 0], gums), upper[..., 3] * (1 - gums.max()))
