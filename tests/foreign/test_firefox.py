"""End to end in Firefox as Debian has it: its camera shows a real clip, and the page puppeteers a portrait by it.

Firefox's own false camera shows a test pattern, so the page is given another one before it asks: a canvas on which the clip
plays. All after that is Firefox's own: encoder, ICE, DTLS, jitter buffer, page.
"""

from __future__ import annotations

import base64
import os
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from ..conftest import run_server
from ..firefox import running
from ..followed import CAMERA_FPS, CLIP, assert_no_camera, follows, recorded
from ..media import CLIP_FPS
from ..peers import watched
from ..waiting import LIMIT_S, until_state

pytestmark = pytest.mark.skipif(
    "PUPPETCAST_TEST_FIREFOX" not in os.environ,
    reason="Firefox takes 300 MB and half a minute: PUPPETCAST_TEST_FIREFOX=1 asks for it",
)

CAMERA = """async (clip) => {
  const [video, canvas] = [document.createElement('video'), document.createElement('canvas')];
  video.src = 'data:video/webm;base64,' + clip;
  video.muted = video.loop = true;
  [canvas.width, canvas.height] = [512, 512];
  const draw = () => {
    canvas.getContext('2d').drawImage(video, 0, 0);
    video.requestVideoFrameCallback(draw);
  };
  video.requestVideoFrameCallback(draw);
  await video.play();
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream();
}"""
SHOWN = "async () => { while (!document.getElementById('puppet').videoWidth) await new Promise((next) => setTimeout(next, 50)); }"
PRESS = "() => document.getElementById('start').click()"


def as_webm(clip: Path, out: Path) -> str:
    """The clip's first pictures there and back, in what Firefox decodes without help from others; base64."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        there = list(islice(source.decode(video=0), 0, CLIP, CLIP_FPS // CAMERA_FPS))
        video = target.add_stream("libvpx", rate=CAMERA_FPS, options={"deadline": "realtime", "cpu-used": "8"})
        video.width, video.height, video.pix_fmt, video.bit_rate = 512, 512, "yuv420p", 4_000_000
        for k, frame in enumerate([*there, *there[-2:0:-1]]):
            still = frame.reformat(512, 512, "yuv420p")
            still.pts, still.time_base = k, Fraction(1, CAMERA_FPS)
            target.mux(video.encode(still))
        target.mux(video.encode(None))
    return base64.b64encode(out.read_bytes()).decode()


def test_the_page_puppeteers_a_portrait_in_firefox(clip, model, tmp_path):
    with (
        running(tmp_path) as firefox,
        run_server(engine={"max_side": 512}) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):
        arrived = watched(server.control.stream("live").intake)
        source: Any = server.control.stream("live").shown.prepared
        firefox.goto(server.url)
        firefox.evaluate(CAMERA, as_webm(clip("d10"), tmp_path / "clip.webm"))
        firefox.evaluate(SHOWN)
        firefox.evaluate(PRESS)
        until_state(http, lambda state: state["face"] == "tracking")
        frames = recorded(firefox, source)
        firefox.evaluate(PRESS)
        state = until_state(http, lambda state: not state["publisher"])
    assert state["errors"] == 0
    assert follows(frames, arrived, "mouth", model) >= 0.8
    assert_no_camera(frames, source, clip("d10"))
