"""Makes the bundled photographs and the drawing; tools/people.py makes the people, tools/demo.py the demo clip. Needs
scikit-image and the face model.

python -m tools.drawing
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import NoFaceError
from pipeline.face import topology as topo
from pipeline.face.mediapipe import find_landmarks
from pipeline.face.motion import Array, rest
from pipeline.frames import Image
from pipeline.mesh.lips import closing
from pipeline.mesh.pose import pose_of
from pipeline.mesh.prepared import MeshPrepared
from pipeline.models import FACE_LANDMARKER, fetch
from pipeline.portrait import BUNDLED, Portrait
from pipeline.terms import Whose

HERE = Path(str(BUNDLED))
CLOSER, NARROWER, FLATTER = 1.12, 0.13, 0.12  # shares of the gap between smiling lips, and of their width
SEAM = np.array((128, 70, 62))


def main() -> None:
    from skimage import data

    model = fetch(FACE_LANDMARKER)
    head = data.astronaut()[:300, 74:374]  # closer: the suit fills most of the photograph
    astronaut = np.asarray(cv2.resize(head, (640, 640), interpolation=cv2.INTER_CUBIC), np.uint8)
    smiling = Portrait("astronaut", astronaut, find_landmarks(astronaut, model)[0])
    pictures = (
        ("astronaut", "Astronaut, smiling", astronaut, Whose.PUBLIC_DOMAIN),
        ("collins", "Astronaut", lips_closed(smiling), Whose.PUBLIC_DOMAIN),
        ("drawing", "Poster", drawing(), Whose.DRAWN),
    )
    for name, title, picture, whose in pictures:
        save(name, title, picture, find_landmarks(picture, model)[0], whose)


def save(name: str, title: str, picture: Image, landmarks: Array, whose: Whose = Whose.DRAWN) -> None:
    cv2.imwrite(str(HERE / f"{name}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    described = {"title": title, "whose": whose, "file": f"{name}.jpg", "landmarks": np.round(landmarks, 2).tolist()}
    (HERE / f"{name}.json").write_text(json.dumps(described, separators=(",", ":")) + "\n", "utf-8")


def lips_closed(portrait: Portrait) -> Image:
    """The portrait with its lips together, its mouth a little narrower, and a shade where the lips meet."""
    source = MeshPrepared.of(portrait, max(portrait.image.shape), max(portrait.image.shape))
    geometry, motion = source.geometry, rest()
    face, mouth = geometry.landmarks, [*topo.MOUTH_CORNERS, *topo.UPPER_LIP, *topo.LOWER_LIP, 78, 308]
    offsets = CLOSER * closing(face, geometry.axes[1])
    beside = face[mouth, 0] - face[mouth, 0].mean()
    offsets[mouth, 0] -= NARROWER * beside
    offsets[mouth, 1] += FLATTER * np.abs(beside).max() * (beside / np.abs(beside).max()) ** 2
    motion.expression[:] += offsets / geometry.eye_distance
    picture = source.render(motion)
    driven = pose_of(motion, geometry).landmarks(geometry)[:, :2] + (source.crop.x, source.crop.y)
    line = (driven[list(topo.UPPER_INNER_LIP)] + driven[list(topo.LOWER_INNER_LIP)])[1:-1] / 2
    seam = np.zeros(picture.shape[:2], np.uint8)
    cv2.polylines(seam, [np.round(line * 16).astype(np.int32)], False, 190, 1, cv2.LINE_AA, 4)
    shade = cv2.GaussianBlur(seam, (0, 0), 0.8)[..., None] / np.float32(255)
    return np.asarray(picture * (1 - shade) + shade * SEAM + 0.5, np.uint8)


class Canvas:
    """Draws antialiased shapes at four times the size."""

    def __init__(self, side: int) -> None:
        self.scale = 4
        self.image = np.zeros((side * 4, side * 4, 3), np.uint8)

    def polygon(self, points: Array, colour: tuple[int, int, int], blur: float = 0) -> None:
        mask = np.zeros(self.image.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(np.asarray(points) * self.scale).astype(np.int32)], 255)
        if blur:
            small = cv2.resize(mask, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
            mask = cv2.resize(cv2.GaussianBlur(small, (0, 0), blur), mask.shape[::-1])
        alpha = mask[..., None].astype(np.float32) / 255
        self.image[:] = self.image + (np.array(colour, np.float32) - self.image) * alpha

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: tuple[int, int, int], blur: float = 0) -> None:
        t = np.linspace(0, 2 * math.pi, 80)
        self.polygon(np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], 1), colour, blur)

    def picture(self) -> Image:
        side = self.image.shape[0] // self.scale
        return np.asarray(cv2.resize(self.image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _curve(*points: tuple[float, float]) -> Array:
    """A smooth closed outline through the points."""
    from scipy.interpolate import splev, splprep

    xy = np.array([*points, points[0]], float).T
    spline, _ = splprep(xy, s=0, per=True)
    return np.stack(splev(np.linspace(0, 1, 200), spline), 1).astype(np.float32)


def drawing() -> Image:
    """A flat poster portrait, 640 x 640."""
    c = Canvas(640)
    c.polygon(np.array([(0, 0), (640, 0), (640, 640), (0, 640)], np.float32), (38, 84, 98))
    c.ellipse(320, 300, 250, 250, (236, 178, 74))
    c.polygon(
        _curve((205, 150), (320, 92), (436, 150), (470, 300), (462, 470), (410, 520), (230, 520), (178, 470), (170, 300)),
        (52, 32, 36),
    )
    c.polygon(_curve((320, 540), (470, 560), (560, 640), (560, 700), (80, 700), (80, 640), (170, 560)), (178, 58, 62))
    c.polygon(_curve((276, 440), (364, 440), (372, 560), (320, 600), (268, 560)), (206, 146, 116))
    c.ellipse(320, 470, 70, 28, (176, 116, 92), 7)
    c.polygon(
        _curve(
            (320, 150), (400, 172), (436, 262), (428, 350), (392, 432), (320, 474), (248, 432), (212, 350), (204, 262), (240, 172)
        ),
        (232, 178, 146),
    )
    for side in (-1, 1):

        def at(x: float, y: float, side: int = side) -> tuple[float, float]:
            return 320 + side * x, y

        c.ellipse(*at(62, 372), 34, 26, (226, 150, 126), 12)
        c.polygon(_curve(at(24, 246), at(58, 228), at(98, 242), at(94, 250), at(58, 240), at(26, 256)), (58, 36, 36))
        c.ellipse(*at(60, 284), 46, 30, (214, 156, 128), 8)
        eye = _curve(at(28, 292), at(44, 276), at(64, 272), at(84, 280), at(94, 290), at(80, 300), at(60, 304), at(42, 300))
        c.polygon(eye, (246, 242, 234))
        c.ellipse(*at(61, 288), 15, 15, (66, 98, 74))
        c.ellipse(*at(61, 288), 7, 7, (18, 18, 20))
        c.ellipse(*at(61 - side * 4, 282), 3, 3, (255, 255, 255))
        c.polygon(
            _curve(at(24, 292), at(44, 274), at(64, 268), at(86, 276), at(98, 288), at(84, 281), at(64, 274), at(44, 279)),
            (44, 26, 28),
        )
        c.ellipse(*at(20, 366), 9, 6, (176, 112, 92), 2)
    c.polygon(_curve((320, 250), (330, 330), (342, 362), (330, 374), (310, 374), (298, 362), (310, 330)), (220, 162, 130), 5)
    c.ellipse(320, 350, 10, 14, (244, 200, 170), 5)
    c.polygon(
        _curve(
            (268, 410), (296, 399), (312, 395), (320, 398), (328, 395), (344, 399), (372, 410), (348, 414), (320, 415), (292, 414)
        ),
        (176, 70, 74),
    )
    c.polygon(
        _curve((268, 410), (292, 414), (320, 416), (348, 414), (372, 410), (350, 428), (320, 434), (290, 428)), (200, 92, 92)
    )
    c.polygon(
        _curve((268, 410), (294, 413), (320, 414), (346, 413), (372, 410), (346, 415), (320, 417), (294, 415)), (96, 34, 42)
    )
    c.ellipse(320, 424, 22, 4, (226, 136, 130), 3)
    c.polygon(
        _curve(
            (200, 300),
            (204, 200),
            (250, 138),
            (320, 122),
            (392, 140),
            (436, 200),
            (442, 300),
            (424, 232),
            (380, 178),
            (330, 190),
            (270, 184),
            (220, 232),
        ),
        (62, 38, 42),
    )
    return c.picture()


if __name__ == "__main__":
    try:
        main()
    except NoFaceError as exc:
        raise SystemExit(str(exc)) from exc
