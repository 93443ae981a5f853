"""End to end in Firefox as Debian has it: its camera shows a real clip, and the page puppeteers a portrait by it.

Firefox's own false camera shows a test pattern, so the page is given another one before it asks: a canvas on which the clip
plays. All after that is Firefox's own: encoder, ICE, DTLS, jitter buffer, page.
"""

from __future__ import annotations

import base64
import os
from itertools import islice
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from ..conftest import run_server
from ..firefox import running
from ..followed import CAMERA_FPS, CLIP, assert_no_camera, follows, recorded
from ..media import CLIP_FPS, encoded
from ..peers import watched
from ..waiting import LIMIT_S, until_state

pytestmark = pytest.mark.skipif(
    "PUPPETCAST_TEST_FIREFOX" not in os.environ,
    reason="Firefox takes 300 MB and half a minute: PUPPETCAST_TEST_FIREFOX=1 asks for it",
)

# Drawn by itself: the page's policy lets no video but the server's play in it.
CAMERA = """async ([jpegs, fps]) => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [512, 512];
  const bytes = (jpeg) => Uint8Array.from(atob(jpeg), (c) => c.charCodeAt(0));
  const pictures = await Promise.all(jpegs.map((jpeg) => createImageBitmap(new Blob([bytes(jpeg)], {type: 'image/jpeg'}))));
  let k = 0;
  setInterval(() => canvas.getContext('2d').drawImage(pictures[k++ % pictures.length], 0, 0), 1000 / fps);
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream();
}"""
SHOWN = "async () => { while (!document.getElementById('puppet').videoWidth) await new Promise((next) => setTimeout(next, 50)); }"
PRESS = "() => document.getElementById('start').click()"


def as_jpegs(clip: Path) -> list[str]:
    """The clip's first pictures there and back, in base64."""
    with av.open(str(clip)) as source:
        frames = islice(source.decode(video=0), 0, CLIP, CLIP_FPS // CAMERA_FPS)
        there = [encoded(frame.to_ndarray(format="rgb24", width=512, height=512), "JPEG", quality=92) for frame in frames]
    return [base64.b64encode(jpeg).decode() for jpeg in (*there, *there[-2:0:-1])]


def test_the_page_puppeteers_a_portrait_in_firefox(clip, model, tmp_path):
    with (
        running(tmp_path) as firefox,
        run_server(engine={"max_side": 512}) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):
        arrived = watched(server.control.stream("live").intake)
        source: Any = server.control.stream("live").shown.prepared
        firefox.goto(server.url)
        firefox.evaluate(CAMERA, [as_jpegs(clip("d10")), CAMERA_FPS])
        firefox.evaluate(SHOWN)
        firefox.evaluate(PRESS)
        until_state(http, lambda state: state["face"] == "tracking")
        frames = recorded(firefox, source)
        firefox.evaluate(PRESS)
        state = until_state(http, lambda state: not state["publisher"])
    assert state["errors"] == 0
    assert follows(frames, arrived, "mouth", model) >= 0.8
    assert_no_camera(frames, source, clip("d10"))
