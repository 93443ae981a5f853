"""`import puppetcast` in a program: what it is given has an effect, and what it cannot have it is told once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

import puppetcast
from pipeline import models
from pipeline.clips import open_clip, timed


@pytest.fixture
def refusing() -> Iterator[tuple[str, list[str]]]:
    """The address of a server that has nothing, and what it has been asked for."""
    asked: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/model", asked
        http.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_download_that_fails_is_tried_and_told_once(tmp_path, monkeypatch, caplog, refusing, short):
    monkeypatch.setenv("PUPPETCAST_MODELS", str(tmp_path / "models"))
    Image.new("RGB", (200, 200)).save(tmp_path / "face.png")
    address, asked = refusing
    monkeypatch.setattr(models, "FACE_LANDMARKER", replace(models.FACE_LANDMARKER, url=address))
    monkeypatch.setenv("PIP_INDEX_URL", address)  # nor does an index have the models in a package
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INPUT", "1")
    for _ in range(2):
        with pytest.raises(puppetcast.PuppetError, match="mark both eye centres"):
            puppetcast.open_portrait(tmp_path / "face.png")
    puppetcast.animate("astronaut", short, tmp_path / "out.mp4", engine="mesh", max_frames=1)
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("no face model (")
    assert asked.count("/model") == 1


@pytest.mark.long
def test_tuning_has_an_effect(tmp_path, short):
    def last_picture(tuning: puppetcast.Tuning) -> np.ndarray:
        puppetcast.animate("astronaut", short, tmp_path / "out.mp4", engine="mesh", tuning=tuning)
        with open_clip(tmp_path / "out.mp4") as clip:
            return [image for _, image in timed(clip)][-1].astype(int)

    still = last_picture(puppetcast.Tuning(pose_gain=0, expression_gain=0))
    assert np.abs(last_picture(puppetcast.Tuning(pose_gain=3)) - still).mean() > 0.5
