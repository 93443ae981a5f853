"""The three lines of the API, and every example, as somebody who copies them runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import httpx
import pytest

from pipeline.portrait import DEMO_CLIP

from ..broker import broker
from ..conftest import ROOT, run_server

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
THREE_LINES = f"""
import puppetcast
portrait = puppetcast.open_portrait("astronaut")
puppetcast.animate(portrait, {str(DEMO_CLIP)!r}, "out.mp4", max_frames=8)
server = puppetcast.serve(port=0, portrait="drawing")
import urllib.request, json
print(json.load(urllib.request.urlopen(server.url + "/api/streams/live"))["portrait"])
"""


def run(folder: Path, *command: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PUPPETCAST_DOWNLOADS__FETCH": "false"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=150
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_three_lines(tmp_path: Path) -> None:
    assert run(tmp_path, "-c", THREE_LINES).split() == ["drawing"], "and the program ends though the server ran"
    with av.open(str(tmp_path / "out.mp4")) as clip:
        assert len(list(clip.decode(video=0))) == 8


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 40


def test_a_notebook(tmp_path: Path) -> None:
    said = run(tmp_path, str(ROOT / "examples" / "notebook.py"))
    assert "out.mp4: 30 frames, 30 of them followed" in said
    assert "60 pictures of (640, 640, 3)" in said


def test_a_source_of_ones_own(tmp_path: Path) -> None:
    count = int(run(tmp_path, str(ROOT / "examples" / "own_source.py")).splitlines()[1].split()[0])
    assert count > 0


def test_a_sink_of_ones_own(tmp_path: Path) -> None:
    assert "newest.png: frame" in run(tmp_path, str(ROOT / "examples" / "own_sink.py"))
    assert (tmp_path / "newest.png").stat().st_size > 10_000


def test_commands_by_rest(tmp_path: Path) -> None:
    with run_server() as server:
        said = run(tmp_path, str(ROOT / "examples" / "rest.py"), server.url)
        assert httpx.get(f"{server.url}/api/streams/live").json()["portrait"] == "drawing"
    assert "drawing at 1.2" in said
    assert "422 pose_gain: input should be less than or equal to 3" in said
    assert (tmp_path / "snapshot.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_commands_by_mqtt(tmp_path: Path) -> None:
    with broker(tmp_path) as running, run_server(mqtt={"url": running.url}):
        assert run(tmp_path, str(ROOT / "examples" / "mqtt.py"), "127.0.0.1", str(running.port)) == "smoothing is 0.8\n"
