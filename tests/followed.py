"""What a browser's page shows, beside what the browser's camera has shown to the server."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.fidelity import follow
from pipeline.mesh.prepared import MeshPrepared

from .browser import RECORD
from .faces import Picture, alike, decoded, followed, thumbnail
from .media import CLIP_FPS

WAKING, FRAMES = 5, 60  # pictures of a puppet that wakes slowly, and those that are looked at
CLIP, CAMERA_FPS = 90, 15  # pictures of the driving clip, there and back, and how many of them a second come
RTP_S = 2**32 / 90_000  # after which the times of RTP begin again


class Evaluates(Protocol):
    """A page of any browser."""

    def evaluate(self, expression: str, arg: Any = None) -> Any: ...


def recorded(page: Evaluates, source: MeshPrepared) -> list[tuple[float, Picture]]:
    """FRAMES new pictures of the face as the page shows them: all of it that moves, for a landmarker sees little in a
    small face. With their times of capture, in seconds from some moment on."""
    face, (height, width) = source.crop, source.still.shape[:2]
    shares = [face.x / width, face.y / height, face.side / width, face.side / height]
    told: list[tuple[float, str]] = page.evaluate(RECORD, [WAKING + FRAMES, 2 * CLIP / CLIP_FPS + 1, *shares])
    raw = [np.frombuffer(base64.b64decode(jpeg), np.uint8) for _, jpeg in told]
    pictures = [np.ascontiguousarray(cv2.imdecode(r, cv2.IMREAD_COLOR)[..., ::-1]) for r in raw]  # type: ignore[index]
    times = [(t - told[0][0]) % RTP_S for t, _ in told]
    return list(zip(times, pictures, strict=True))[WAKING:]  # type: ignore[arg-type]


def paired(shown: NDArray[np.float64], captured: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which driving frame each shown picture was made of, -1 for none: a picture has its driver's time of capture, on a
    clock that began at another moment. The moment is the one at which most pictures have a driver."""

    def drivers(start: float) -> NDArray[np.int64]:
        after = np.clip(np.searchsorted(captured, shown + start), 1, len(captured) - 1)
        nearest = after - (shown + start - captured[after - 1] < captured[after] - shown - start)
        return np.where(np.abs(captured[nearest] - shown - start) < 1e-4, nearest, -1)

    starts = (captured[:, None] - shown[:: len(shown) // 4]).ravel()
    return max((drivers(start) for start in starts), key=lambda found: np.count_nonzero(found >= 0))


def follows(frames: list[tuple[float, Picture]], arrived: list[Any], measure: str, model: Path) -> float:
    """Correlation of one of MEASURES of the pictures with that of the very frames that they were made of."""
    drivers = paired(np.array([t for t, _ in frames]), np.array([f.captured_s for f in arrived]))
    made = [(picture, arrived[k]) for (_, picture), k in zip(frames, drivers, strict=True) if k >= 0]
    print(f"{len(made)} of {len(frames)} pictures have a driver")
    assert len(made) > 0.6 * len(frames), "few pictures are sent again"
    seen = followed([(d.captured_s, picture) for picture, d in made], measure, model)
    shown = followed([(d.captured_s, d.frame.to_ndarray(format="rgb24")) for _, d in made], measure, model)
    _, a, b = np.intersect1d(seen[0], shown[0], return_indices=True)
    correlation = follow(shown[1][b], seen[1][a]).correlation
    print(f"{measure}: {correlation:.3f} over {len(a)} pictures")
    return correlation


def assert_no_camera(frames: list[tuple[float, Picture]], source: MeshPrepared, clip: Path) -> None:
    """As grey 32 x 32 thumbnails, all pictures are nearer to the portrait than to anything that the camera showed."""
    face, (height, width) = source.crop, source.still.shape[:2]
    portrait = thumbnail(face.cut(source.still))
    pictures = [image for _, image in decoded(clip)[::4]]
    whole = (slice(max(face.y, 0), face.y + face.side), slice(max(face.x, 0), face.x + face.side))
    scaled = [cv2.resize(image, (width, height)) for image in pictures]
    cameras = [thumbnail(image) for image in pictures] + [thumbnail(image[whole]) for image in scaled]  # type: ignore[arg-type]
    for _, image in frames:
        small = thumbnail(image)
        assert alike(small, portrait) > max(alike(small, c) for c in cameras) + 0.15
