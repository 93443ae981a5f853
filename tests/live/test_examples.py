"""The three lines of the API, and every example, as somebody who copies them runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import httpx
import pytest

from pipeline.portrait import DEMO_CLIP

from ..broker import broker
from ..commands import Commands
from ..conftest import ROOT, run_server

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
WITHOUT_DOWNLOADS = {"PUPPETCAST_DOWNLOADS__FETCH": "false"}
THREE_LINES = f"""
import puppetcast
portrait = puppetcast.open_portrait("astronaut")
puppetcast.animate(portrait, {str(DEMO_CLIP)!r}, "out.mp4", max_frames=8)
server = puppetcast.serve(port=0, portrait="drawing")
import urllib.request, json
print(json.load(urllib.request.urlopen(server.url + "/api/streams/live"))["portrait"])
"""


def run(shell: Commands, name: str, *args: object) -> str:
    """What an example says, in a folder of its own."""
    done = shell.run([ROOT / "examples" / name, *args], Path.cwd(), **WITHOUT_DOWNLOADS)
    assert done.code == 0, done.said[-2000:]
    assert "Traceback" not in done.said
    return done.said


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_three_lines(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **WITHOUT_DOWNLOADS}
    command = [sys.executable, "-c", THREE_LINES]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["drawing"], "and the program ends though the server ran"
    with av.open(str(tmp_path / "out.mp4")) as clip:
        assert len(list(clip.decode(video=0))) == 8


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 40


@pytest.mark.long
def test_a_notebook(desk: Path, shell: Commands) -> None:
    said = run(shell, "notebook.py")
    assert "out.mp4: 30 frames, 30 of them followed" in said
    assert "60 pictures of (640, 640, 3)" in said


def test_a_source_of_ones_own(desk: Path, shell: Commands) -> None:
    assert re.search(r"^[1-9]\d* frames came", run(shell, "own_source.py"), re.MULTILINE)


def test_a_sink_of_ones_own(desk: Path, shell: Commands) -> None:
    assert "newest.png: frame" in run(shell, "own_sink.py")
    assert (desk / "newest.png").stat().st_size > 10_000


def test_commands_by_rest(desk: Path, shell: Commands) -> None:
    with run_server() as server:
        said = run(shell, "rest.py", server.url)
        assert httpx.get(f"{server.url}/api/streams/live").json()["portrait"] == "drawing"
    assert "drawing at 1.2" in said
    assert "422 pose_gain: input should be less than or equal to 3" in said
    assert (desk / "snapshot.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_commands_by_mqtt(desk: Path, shell: Commands) -> None:
    with broker(desk) as running, run_server(mqtt={"url": running.url}):
        assert run(shell, "mqtt.py", "127.0.0.1", running.port) == "smoothing is 0.8\n"
