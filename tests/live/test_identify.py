"""`puppetcast identify` and `POST /api/identify`, on what a real server gives to real clients, and on what nobody marked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from pipeline.mark.payload import stream_code
from pipeline.portrait import BUNDLED, DEMO_CLIP

from ..commands import Commands, Done
from ..conftest import run_server
from ..media import beginning
from ..waiting import LIMIT_S, wait_until

DEPLOYMENT = "beef"


@pytest.fixture(scope="module")
def outputs(model: Path, tmp_path_factory: pytest.TempPathFactory):
    """A folder of what a driven stream of a real server gave: a recording and a snapshot; and a client of the server."""
    folder = tmp_path_factory.mktemp("outputs")
    sections = {"recording": {"folder": str(folder)}, "mark": {"deployment": DEPLOYMENT}}
    with run_server(**sections) as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        http.patch("/api/streams/live", json={"demo": True})
        http.patch("/api/streams/live", json={"recording": True})
        wait_until(lambda: http.get("/api/streams/live").json()["recording"]["frames"], holds=lambda frames: frames > 5)
        (folder / "shown.jpg").write_bytes(http.get("/live/live/snapshot.jpg").content)
        http.patch("/api/streams/live", json={"recording": False})
        yield folder, http


def objects(done: Done) -> list[dict[str, Any]]:
    """What `--json` said, among what was said of the progress."""
    return [json.loads(line) for line in done.said.splitlines() if line.startswith("{")]


def test_what_a_server_gives_is_found_and_says_whose_it_is(outputs, shell: Commands) -> None:
    folder, http = outputs
    (folder / "notes.txt").write_text("no picture, and nothing that could be one")
    (folder / ".begun.part.mp4").write_text("nobody has finished it")
    done = shell.run(["identify", "--json", folder], PUPPETCAST_MARK__DEPLOYMENT=DEPLOYMENT)
    assert done.code == 0, done
    said = objects(done)
    assert {Path(each["name"]).suffix for each in said} == {".mp4", ".jpg"}
    assert all(each["signed"]["valid"] and each["payload"] in each["signed"]["made"]["marks"] for each in said), said
    for each in said:
        assert (each["marked"], each["ours"], each["deployment"]) == (True, True, DEPLOYMENT), each
        assert (each["stream"], each["log10_chance"] < -9) == (stream_code("live"), True)
    told = http.post("/api/identify", content=(folder / "shown.jpg").read_bytes()).json()
    assert (told["marked"], told["ours"], told["streams"], told["payload"][1:5]) == (True, True, ["live"], DEPLOYMENT)
    assert told["signed"]["made"]["marks"] == [told["payload"]]
    state = http.get("/api/streams/live").json()
    assert state["mark"] == told["payload"]
    assert 'puppetcast_mark{stream="live"} 1.0' in http.get("/metrics").text


def test_a_signature_that_does_not_hold_is_told(outputs, tmp_path: Path, shell: Commands) -> None:
    folder, http = outputs
    data = bytearray((folder / "shown.jpg").read_bytes())
    data[-40] ^= 1
    (tmp_path / "changed.jpg").write_bytes(data)
    done = shell.run(["identify", tmp_path / "changed.jpg"], PUPPETCAST_MARK__DEPLOYMENT=DEPLOYMENT)
    assert done.code == 0, done
    assert "marked, this deployment's" in done.said
    assert "its signed statement does not hold: assertion.dataHash.mismatch" in " ".join(done.said.split())
    assert http.post("/api/identify", content=bytes(data)).json()["signed"]["valid"] is False


@pytest.mark.long
def test_what_nobody_marked_is_no_alarm(outputs, tmp_path: Path, shell: Commands) -> None:
    _, http = outputs
    beginning(DEMO_CLIP, tmp_path / "clip.mp4", 20)
    (tmp_path / "face.jpg").write_bytes((BUNDLED / "mei.jpg").read_bytes())
    done = shell.run(["identify", "--json", tmp_path])
    assert done.code == 1, done
    assert [(each["marked"], each["signed"]) for each in objects(done)] == [(False, None)] * 2
    assert http.post("/api/identify", content=(tmp_path / "face.jpg").read_bytes()).json()["marked"] is False


def test_what_is_no_picture_is_told_in_one_line(outputs, tmp_path: Path, shell: Commands) -> None:
    _, http = outputs
    (tmp_path / "text.mp4").write_text("no clip")
    done = shell.run(["identify", tmp_path / "text.mp4", "http://127.0.0.1:9/none", "ftp://nowhere"])
    assert done.code == 2
    assert done.said.count("error: ") == 3, done
    assert "Traceback" not in done.said
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "gone.c2pa").touch()
    given = [tmp_path / "empty", tmp_path / "none.png", tmp_path / "text.mp4"]
    done = shell.run(["identify", "--json", *given])
    assert done.code == 2
    assert [Path(each["name"]) for each in objects(done)] == given
    assert all(each["error"].startswith(each["name"]) for each in objects(done))
    assert "empty: there is no picture or clip in this folder" in done.said
    refused = http.post("/api/identify", content=b"no clip")
    assert (refused.status_code, refused.json()["code"]) == (422, "ClipError")


def test_the_switch_is_seen_and_no_viewer_has_it(model: Path) -> None:
    with run_server(mark={"enabled": False}) as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        wait_until(lambda: http.get("/live/live/snapshot.png").status_code == 200)
        assert http.get("/api/streams/live").json()["mark"] == ""
        assert 'puppetcast_mark{stream="live"} 0.0' in http.get("/metrics").text
        assert http.patch("/api/streams/live", json={"mark": True}).status_code == 422
        still = cv2.imdecode(np.frombuffer(http.get("/live/live/snapshot.png").content, np.uint8), cv2.IMREAD_COLOR)
        told = http.post("/api/identify", content=cv2.imencode(".png", still)[1].tobytes()).json()
        assert (told["marked"], told["windows"]) == (False, 1)
