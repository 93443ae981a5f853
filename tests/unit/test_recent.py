"""The last seconds of a stream: bounded in memory, whole when they are saved, and told of where there are none."""

from __future__ import annotations

import threading
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image as Pillow

from pipeline.frames import _SEAL, AnimatedFrame, planar
from pipeline.offline.cut import Cut, write_cut
from streamer.errors import NothingKept
from streamer.http import last
from streamer.sinks import recent as module
from streamer.sinks.recent import Fragments, Recent
from streamer.stream.audio import CHUNK, RATE

FPS = 10


def animated(k: int, side: int = 64, noise: bool = False) -> AnimatedFrame:
    image = np.full((side, side, 3), 7 * k % 256, np.uint8)
    if noise:
        image = np.random.default_rng(k).integers(0, 256, image.shape, np.uint8)
    return AnimatedFrame(planar(image), 0.0, k, _SEAL)


def recorded(seconds: float, kept_s: int = 3, first: int = 0, recent: Recent | None = None) -> Recent:
    made = Recent("live", kept_s) if recent is None else recent
    if recent is None:
        made.open(animated(0), 100.0)
    for k in range(first, first + round(seconds * FPS)):
        made.write(animated(k), 100 + k / FPS)
        for part in range(5):
            chunk = av.AudioFrame.from_ndarray(np.full((1, 2 * CHUNK), 3000, np.int16), format="s16", layout="stereo")
            chunk.sample_rate = RATE
            made.write_sound(chunk, 100 + k / FPS + part / 50)
    return made


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRAGMENT_WAIT_S", 0.0)


def test_only_the_last_seconds_stay_in_memory(tmp_path: Path) -> None:
    made = recorded(7)
    assert len(made._fragments) == 4
    (tmp_path / "kept.mp4").write_bytes(made.clip(3))
    assert made._fragments.size < 100_000
    with av.open(str(tmp_path / "kept.mp4")) as clip:
        assert [s.codec_context.name for s in clip.streams] == ["h264", "aac"]
        shown = [frame.time for frame in clip.decode(video=0)]
    assert len(shown) == 4 * FPS
    made.close()


def test_noise_is_kept_for_less_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES_S", 5_000)
    made = Recent("live", 3)
    made.open(animated(0), 0.0)
    for k in range(50):
        made.write(animated(k, noise=True), k / FPS)
    assert made._fragments.size <= 4 * 5_000
    made.close()


@pytest.mark.parametrize(("kind", "cut", "shown", "side"), [
    ("mp4", Cut(2), 30, 64), ("mp4", Cut(2, 5, 32), 15, 32), ("webm", Cut(2), 30, 64), ("gif", Cut(2, 5, 48), 15, 48),
    ("gif", Cut(60, 50, 1000), 40, 64),
])  # fmt: skip
def test_what_is_saved(kind: str, cut: Cut, shown: int, side: int, tmp_path: Path) -> None:
    """From the key frame before on, so up to a second more; never larger or quicker than it was."""
    made = recorded(5)
    (tmp_path / "kept.mp4").write_bytes(made.clip(3))
    made.close()
    out = tmp_path / f"last.{kind}"
    assert write_cut(tmp_path / "kept.mp4", out, cut) == shown
    with av.open(str(out)) as clip:
        assert clip.streams.video[0].codec_context.width == side
        times = [frame.time or 0.0 for frame in clip.decode(video=0)]
    assert times[0] == 0
    assert times[-1] == pytest.approx((shown - 1) * (1 if shown > 15 else 2) / FPS, abs=0.02)
    if kind != "gif":
        with av.open(str(out)) as clip:
            heard = sum(frame.samples for frame in clip.decode(audio=0)) / RATE
        assert heard == pytest.approx(3, abs=0.15)


def test_it_waits_for_the_present_second(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "FRAGMENT_WAIT_S", 10.0)
    made = recorded(2.5)
    clips: list[bytes] = []
    asking = threading.Thread(target=lambda: clips.append(made.clip(3)))
    with made._changed:
        asking.start()
    for k in count(25):
        made.write(animated(k), 100 + k / FPS)
        asking.join(0.001)
        if not asking.is_alive():
            break
    (tmp_path / "kept.mp4").write_bytes(clips[0])
    with av.open(str(tmp_path / "kept.mp4")) as clip:
        assert sum(1 for _ in clip.decode(video=0)) >= 30, "with the second that had begun"
    made.close()


def test_another_size_begins_anew() -> None:
    made = recorded(4)
    made.write(animated(0, side=96), 200.0)
    with pytest.raises(NothingKept, match="last seconds of 'live': there is nothing yet; try again"):
        made.clip(3)
    for k in range(15):
        made.write(animated(k, side=96), 200 + k / FPS)
    assert made.clip(3)
    made.close()


def test_boxes_come_in_pieces_of_any_size() -> None:
    def box(kind: bytes, size: int) -> bytes:
        return (8 + size).to_bytes(4, "big") + kind + bytes(size)

    head, parts = box(b"ftyp", 4) + box(b"moov", 9), [box(b"moof", k) + box(b"mdat", 30) for k in range(3)]
    for step in (1, 7, 1000):
        fragments = Fragments(2 * len(parts[2]))
        raw = head + b"".join(parts) + box(b"mfra", 3)
        for at in range(0, len(raw), step):
            fragments.write(raw[at : at + step])
        assert fragments.newest(9) == head + parts[1] + parts[2]
        assert fragments.newest(1) == head + parts[2]
        assert fragments.count == 3


def client(recent: Recent | None) -> httpx.AsyncClient:
    control: Any = SimpleNamespace(
        stream=lambda name: SimpleNamespace(name=name),
        outputs=SimpleNamespace(recent=lambda name: recent, signed=lambda stream, data, name: data),
    )
    app = FastAPI()
    app.state.access = SimpleNamespace(check=lambda request, asked: None)
    app.state.http = SimpleNamespace(max_body_kb=1, body_timeout_s=1)
    app.state.uploads = 0
    app.include_router(last.router(control))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def test_by_http(tmp_path: Path) -> None:
    made = recorded(5)
    async with client(made) as http:
        reply = await http.get("/live/live/last.gif?seconds=2&size=64")
        assert (await http.get("/live/live/last.avi")).status_code == 422
        assert (await http.get("/live/live/last.gif?seconds=-1")).status_code == 422
    made.close()
    assert reply.headers["content-type"] == "image/gif"
    assert reply.headers["content-disposition"].startswith('attachment; filename="live-20')
    (tmp_path / "last.gif").write_bytes(reply.content)
    with Pillow.open(tmp_path / "last.gif") as gif:
        assert gif.size == (64, 64)


async def test_where_none_are_kept_the_key_is_named() -> None:
    async with client(None) as http:
        with pytest.raises(NothingKept, match=r"last seconds of 'live' are not kept; set recording\.last_s, such as to 20"):
            await http.get("/live/live/last.gif")
