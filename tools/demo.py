"""Makes the demo clip, in which the bundled astronaut performs, and the README's animation, in which others follow her.

python -m tools.demo [clip | animation]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
from PIL import Image as Pillow
from scipy.ndimage import gaussian_filter1d

import puppetcast
from pipeline.face import topology as topo
from pipeline.face.motion import Array, Motion, rest
from pipeline.frames import Image
from pipeline.mark.marker import Marker
from pipeline.mark.payload import Payload
from pipeline.mesh.prepared import MeshPrepared
from pipeline.portrait import DEMO_CLIP, Portrait, bundled
from pipeline.portraits import DEFAULT
from streamer.config import Kind
from streamer.config.label import Label

SECONDS, FPS, SIDE = 12, 30, 512
ANIMATION = Path("docs/images/puppets.webp")
CAST = ("collins", "clara", "henrik", "visitor")
SHOWN = (1.4, 8.4)  # seconds of the clip, between two moments at which it rests
EVERY, WIDTH, QUALITY = 2, 216, 62  # of its pictures; pixels of one portrait
ROUND = 2.1  # heights of the face, of which a square round it is shown
"""Her performance. Times in seconds; the curves are smoothed, so that what is written here are targets."""
# Syllables: when, how far the jaw opens, how wide the mouth is (below 0 it is pursed), both from 0 to 1.
SPEECH = (
    (1.9, 0.5, 0.1), (2.15, 0.1, 0.3), (2.4, 0.55, -0.2), (2.7, 0.1, -0.7), (2.95, 0.5, -0.3), (3.2, 0.0, 0.0),
    (3.9, 0.7, 0.0), (4.15, 0.15, 0.4), (4.4, 0.4, 0.5), (4.65, 0.05, 0.0), (4.9, 0.3, -0.9), (5.2, 0.6, 0.2), (5.45, 0.0, 0.0),
    (7.2, 0.3, -0.9), (7.5, 0.15, -0.8), (7.8, 0.0, 0.0),
    (8.9, 0.6, 0.1), (9.15, 0.1, 0.4), (9.4, 0.5, -0.4), (9.7, 0.2, 0.5), (9.95, 0.0, 0.0),
)  # fmt: skip
# What is held: from, to, how much.
SMILE = ((3.1, 3.8, 0.7), (5.6, 7.0, 1.0), (10.1, 11.2, 0.8))
BROWS = ((3.8, 4.3, 0.8), (7.0, 8.0, 1.0), (8.8, 9.2, 0.5))
BLINKS = (2.75, 3.6, 5.5, 8.3, 10.0, 11.1)
WINK = (6.3, 6.55)
# Keys: when, where to.
YAW = (
    (1.5, 0.0),
    (2.3, 0.22),
    (3.2, 0.05),
    (4.2, -0.25),
    (5.4, -0.1),
    (6.2, 0.12),
    (7.4, 0.3),
    (8.4, 0.0),
    (9.4, -0.2),
    (11.4, 0.0),
)
PITCH = ((1.5, 0.0), (1.9, 0.08), (2.4, -0.03), (3.9, 0.12), (4.4, -0.05), (5.2, 0.07), (6.2, -0.08), (7.3, -0.12), (8.4, 0.0),
         (8.9, 0.1), (9.5, -0.03), (10.4, 0.06), (11.4, 0.0))  # fmt: skip
ROLL = ((1.5, 0.0), (2.6, 0.06), (4.2, -0.07), (6.2, 0.14), (7.4, -0.05), (8.4, 0.0), (9.4, 0.08), (11.4, 0.0))
LOOK = (
    (1.5, 0.0),
    (4.0, 0.0),
    (4.2, -0.08),
    (5.0, -0.08),
    (5.2, 0.0),
    (6.9, 0.0),
    (7.1, 0.14),
    (7.9, 0.14),
    (8.1, 0.0),
    (11.4, 0.0),
)
JAW, WIDE, PURSED, LIFTED, UP = 0.24, 0.07, 0.13, 0.075, 0.11  # at their most, in distances of the eyes


def main() -> None:
    wanted = sys.argv[1:] or ["clip", "animation"]
    if "clip" in wanted:
        clip()
    if "animation" in wanted:
        animation()


def clip() -> None:
    """The driving clip of the page's demo button."""
    source = MeshPrepared.of(bundled(DEFAULT), SIDE, SIDE)
    with av.open(str(DEMO_CLIP), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"crf": "26", "preset": "slow"})
        video.width, video.height, video.pix_fmt = source.still.shape[1], source.still.shape[0], "yuv420p"
        for motion in performance(source.geometry.landmarks / source.geometry.eye_distance):
            out.mux(video.encode(av.VideoFrame.from_ndarray(source.render(motion), format="rgb24")))
        out.mux(video.encode(None))


def performance(face: Array) -> Iterator[Motion]:
    """The motion of each picture. face: (478, 3) landmarks at rest, in distances of the eyes."""
    times = np.arange(SECONDS * FPS) / FPS
    jaw, width = (_spoken(times, k) for k in (1, 2))
    smile, brows = (_held(times, spans, 0.12) for spans in (SMILE, BROWS))
    lids = np.ones((len(times), 2))
    for at in BLINKS:
        lids *= 1 - np.clip(1.25 - np.abs(times - at) / 0.1, 0, 1)[:, None]
    lids[:, 1] *= 1 - _held(times, ((*WINK, 1.0),), 0.06)
    yaw, pitch, roll = (_through(times, keys, 0.14) for keys in (YAW, PITCH, ROLL))
    look = _through(times, LOOK, 0.04)
    for k in range(len(times)):
        motion = rest()
        motion.pose[:] = yaw[k], pitch[k], roll[k], 0.15 * pitch[k], 0.5 * yaw[k], 0.4 * pitch[k]
        _mouth(motion.expression, face, jaw[k], width[k], smile[k])
        motion.expression[[*topo.RIGHT_BROW, *topo.LEFT_BROW], 1] -= UP * brows[k]
        motion.openness[:] = lids[k] * (1 + 0.12 * brows[k] - 0.15 * smile[k])
        motion.gaze[:, 0] = look[k]
        yield motion


def _mouth(offsets: Array, face: Array, jaw: float, width: float, smile: float) -> None:
    lips = [*topo.UPPER_LIP, *topo.LOWER_LIP]
    corners = [*topo.MOUTH_CORNERS, 78, 308]
    side = face[:, 0] - face[corners, 0].mean()
    side /= np.abs(side[corners]).max()
    outward = WIDE * max(width, 0) - PURSED * max(-width, 0) + LIFTED * smile
    offsets[[*lips, *corners], 0] += outward * side[[*lips, *corners]]
    offsets[lips, 2] -= 0.1 * max(-width, 0)
    offsets[corners, 1] -= LIFTED * smile
    offsets[lips, 1] -= LIFTED * smile * side[lips] ** 2
    down = JAW * jaw
    offsets[[*topo.LOWER_LIP], 1] += down * (1 - 0.5 * np.abs(side[[*topo.LOWER_LIP]]) ** 2)
    offsets[corners, 1] += 0.3 * down
    offsets[[*topo.JAW], 1] += 0.8 * down
    offsets[[*topo.UPPER_LIP], 1] -= 0.06 * smile * (1 - np.abs(side[[*topo.UPPER_LIP]]))


def _spoken(times: Array, which: int) -> Array:
    return _through(times, [(1.6, 0.0), *((each[0], each[which]) for each in SPEECH), (11.4, 0.0)], 0.035)


def _held(times: Array, spans: tuple[tuple[float, float, float], ...], ease_s: float) -> Array:
    level = sum((amount * ((times >= begin) & (times < end)) for begin, end, amount in spans), np.zeros(len(times)))
    return np.asarray(gaussian_filter1d(level, ease_s * FPS))


def _through(times: Array, keys: object, ease_s: float) -> Array:
    at, value = np.array(keys).T
    return np.asarray(gaussian_filter1d(np.interp(times, at, value), ease_s * FPS))


def animation() -> None:
    """Portraits beside each other that follow the demo clip, as a WebP that goes on for ever."""
    os.environ |= {"PUPPETCAST_LABEL__SHOW": "false", "PUPPETCAST_MARK__ENABLED": "false"}  # cut and reduced, neither would last
    with TemporaryDirectory() as folder:
        films = []
        for name in CAST:
            film = Path(folder) / f"{name}.mp4"
            puppetcast.animate(name, DEMO_CLIP, film, engine="mesh", max_frames=round(SHOWN[1] * FPS))
            films.append(_pictures(film, bundled(name)))
    label, marker = Label().of(Kind.FILES), Marker(lambda: Payload.of(0, "", date.today()))
    assert label is not None
    rows = (marker.marked_rgb(label.drawn(np.hstack(row), None)) for row in zip(*films, strict=True))
    frames = [Pillow.fromarray(row) for row in rows]
    ANIMATION.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(
        ANIMATION, save_all=True, append_images=frames[1:], duration=round(1000 * EVERY / FPS), loop=0, quality=QUALITY, method=6
    )


def _pictures(film: Path, portrait: Portrait) -> list[Image]:
    """Those of the shown part, small: a square around the face."""
    begin = round(SHOWN[0] * FPS)
    [(x, y, width, height)] = portrait.boxes()
    with av.open(str(film)) as opened:
        size = np.array((opened.streams.video[0].width, opened.streams.video[0].height))
        side = min(round(ROUND * height * size[1]), *size)
        left, top = np.clip(np.round((x + width / 2, y + height / 2) * size - side / 2), 0, size - side).astype(int)
        shown = (frame.to_ndarray(format="rgb24") for frame in islice(opened.decode(video=0), begin, None, EVERY))
        squares = (each[top : top + side, left : left + side] for each in shown)
        return [np.asarray(cv2.resize(each, (WIDTH, WIDTH), interpolation=cv2.INTER_AREA), np.uint8) for each in squares]


if __name__ == "__main__":
    main()
