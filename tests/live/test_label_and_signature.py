"""What leaves a real server: labelled for those who look at it, and, where it is saved, signed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

from pipeline.label import Label, box_of
from pipeline.portrait import DEMO_CLIP, bundled, fit
from streamer.app import Server
from streamer.signing.signed import read

from ..conftest import SIGNING, run_server
from ..peers import pictures, watching
from ..waiting import until_state, wait_until

OFF = {"outputs": {"push": {"show": False}}}


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Server]:
    """A server that the demo clip drives, with all but pushes labelled."""
    stream = {"portrait": "astronaut", "source": "file", "path": str(DEMO_CLIP)}
    recording = {"folder": tmp_path_factory.mktemp("recordings"), "last_s": 3}
    with run_server(streams={"live": stream}, recording=recording, label=OFF) as server:
        yield server


@pytest.fixture(scope="module")
def http(running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=60) as client:
        until_state(client, lambda state: state["animated"] > 0)
        yield client


def has_label(picture: np.ndarray, server: Server) -> bool:
    """Whether a picture (h, w, 3) RGB of the stream shows white letters on a dark plate where they are to be."""
    height, width = picture.shape[:2]
    face = server.control.stream("live").shown.prepared.face_box
    x, y, wide, high = Label().place(width, height, face)
    place = picture[y : y + high, x : x + wide].mean(axis=2)
    return bool((place > 150).mean() > 0.04 and np.median(place) < 110)


def kept(http: httpx.Client, path: str, to: Path) -> Path:
    reply = http.get(path)
    assert reply.status_code == 200, reply.text
    file = to / Path(path).name
    file.write_bytes(reply.content)
    return file


def shown(file: Path) -> np.ndarray:
    with av.open(file) as container:
        *_, last = container.decode(video=0)
        return last.to_ndarray(format="rgb24")


@pytest.mark.parametrize("name", ["snapshot.jpg", "snapshot.png", "last.gif", "last.mp4"])
def test_what_is_saved_of_a_stream_is_labelled_and_signed(running, http, tmp_path, name):
    wait_until(lambda: http.get("/live/live/last.mp4").status_code, holds=lambda code: code == 200)
    file = kept(http, f"/live/live/{name}", tmp_path)
    said = read(file)
    assert said is not None
    assert said.valid, said.problems
    assert said.made.engines == ("mesh",)
    assert said.made.portraits == (running.control.stream("live").shown.sha256,)
    assert has_label(shown(file), running)


def test_a_recording_is_labelled_and_signed(running, http, tmp_path):
    http.patch("/api/streams/live", json={"recording": True})
    until_state(http, lambda state: state["recording"] and state["recording"]["frames"] > 5)
    http.patch("/api/streams/live", json={"recording": False})
    [name] = [each["name"] for each in http.get("/api/recordings").json()]
    file = kept(http, f"/api/recordings/{name}", tmp_path)
    said = read(file)
    assert said is not None
    assert said.valid, said.problems
    assert said.made.engines == ("mesh",)
    assert has_label(shown(file), running)


def test_the_state_and_the_metrics_say_what_is_on(running, http):
    state = http.get("/api/streams/live").json()
    assert state["label"] == ["viewers", "snapshots", "recordings", "camera", "files"]
    assert state["signed"] == "puppetcast"
    metrics = http.get("/metrics").text
    assert 'puppetcast_label{output="viewers"} 1.0' in metrics
    assert 'puppetcast_label{output="push"} 0.0' in metrics
    assert "puppetcast_signing 1.0" in metrics


@pytest.mark.parametrize("change", [{"label": False}, {"label": {"show": False}}, {"signed": ""}])
def test_nobody_turns_it_off_by_a_command(http, change):
    assert http.patch("/api/streams/live", json=change).status_code == 422


async def test_a_viewer_sees_it_in_the_coded_picture(running):
    async with httpx.AsyncClient(base_url=running.url) as client, watching(client) as (_, receiver):
        *_, last = await pictures(receiver, 5)
    assert has_label(last.to_ndarray(format="rgb24"), running)


def test_a_pose_is_labelled_and_signed_and_else_the_portrait(shell, tmp_path):
    command = ["pose", "astronaut", "-o", tmp_path / "rest.png", "--size", "256", "--engine", "mesh"]
    done = shell.run(command, PUPPETCAST_SIGNING__FOLDER=str(SIGNING))
    assert done.code == 0, done.said
    assert read(tmp_path / "rest.png").valid
    portrait = bundled("astronaut")
    still, landmarks = fit(portrait.image, portrait.landmarks, 256)
    changed = np.argwhere((shown(tmp_path / "rest.png") != still).any(axis=2))
    x, y, wide, high = Label().place(256, 256, box_of(landmarks, 256, 256))
    assert changed.min(axis=0).tolist() >= [y, x]
    assert changed.max(axis=0).tolist() < [y + high, x + wide]
