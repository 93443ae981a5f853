"""Publishers and players that others wrote, as they are: Eyevinn's and Medooze's in Chromium, OBS's stack, GStreamer's; TURN."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from playwright.sync_api import Page

from ..conftest import ROOT, run_server
from ..programs import GST_WEBRTC, SYSTEM_PYTHON, accepts, free_port, need_gstreamer, program
from ..waiting import LIMIT_S, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.long]

WRITERS = ["eyevinn", "medooze"]
PUBLISH = """async (endpoint) => {
  const stream = await navigator.mediaDevices.getUserMedia({video: {width: 320, height: 240}, audio: true});
  window.client = new WHIPClient({endpoint, opts: {debug: false}});
  await window.client.ingest(stream);
}"""
WATCH = """async (endpoint) => {
  const video = document.createElement('video');
  video.id = 'foreign'; video.muted = true; video.autoplay = true;
  document.body.prepend(video); // a muted video plays by itself only where it is seen
  window.player = new WebRTCPlayer({video, type: 'whep', iceServers: [], statsTypeFilter: '^inbound-rtp'});
  await window.player.load(new URL(endpoint));
}"""
# As its README has it, to the letter; but for the token, which nobody asks for here. Its viewer keeps no ETag, so its PATCH is
# refused with 428 (RFC 9725 §4.3.1), an error that it handles nowhere; it plays all the same.
PUBLISH_MEDOOZE = """async (url) => {
  const stream = await navigator.mediaDevices.getUserMedia({audio: true, video: true});
  const pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  for (const track of stream.getTracks()) pc.addTransceiver(track, {direction: 'sendonly'});
  window.client = new Medooze.WHIPClient();
  await window.client.publish(pc, url);
}"""
WATCH_MEDOOZE = """async (url) => {
  addEventListener('unhandledrejection', (event) => event.reason.message.endsWith('428') && event.preventDefault());
  const video = document.createElement('video');
  video.id = 'foreign'; video.muted = true; video.autoplay = true;
  document.body.prepend(video);
  const pc = window.pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  pc.addTransceiver('audio');
  pc.addTransceiver('video');
  pc.ontrack = (event) => { if (event.track.kind === 'video') video.srcObject = event.streams[0]; };
  window.player = new Medooze.WHEPClient();
  await window.player.view(pc, url);
}"""
PLAYED = """(id) => {
  const video = document.getElementById(id);
  const frames = video.getVideoPlaybackQuality().totalVideoFrames;
  return frames > 20 && video.currentTime > 1 && {width: video.videoWidth};
}"""
RELAY = """
const Stock = RTCPeerConnection;
window.links = [];
window.RTCPeerConnection = class extends Stock {
  constructor(config) { super({...config, iceTransportPolicy: 'relay'}); window.links.push(this); }
};"""
USED = """async () => {
  const stats = [...(await window.links[window.links.length - 1].getStats()).values()];
  const pair = stats.find((s) => s.type === 'candidate-pair' && s.nominated);
  return stats.find((s) => s.id === pair?.localCandidateId)?.candidateType;
}"""


@pytest.fixture(scope="session")
def bundle(installed) -> Path:
    """Clients for browsers as one script."""
    return installed / "out.js"


@pytest.mark.parametrize(("publish", "stop"), [(PUBLISH, "client.destroy()"), (PUBLISH_MEDOOZE, "client.stop()")], ids=WRITERS)
def test_a_whip_client_publishes(publish, stop, bundle, page, camera, model):
    camera("d10")
    with run_server() as server:
        page.goto(server.url + "/healthz")  # the page itself would play the stream, too
        page.add_script_tag(path=bundle)
        page.evaluate(publish, server.url + "/live/live/whip")
        wait_until(lambda: server.control.state("live").animated, holds=lambda animated: animated > 30)
        page.evaluate(stop)
        wait_until(lambda: not server.control.state("live").publisher)


@pytest.mark.parametrize(("watch", "stop"), [(WATCH, "player.destroy()"), (WATCH_MEDOOZE, "player.stop()")], ids=WRITERS)
def test_a_whep_player_plays(watch, stop, bundle, page, model):
    with run_server() as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        http.patch("/api/streams/live", json={"demo": True}).raise_for_status()
        page.goto(server.url + "/healthz")  # the page itself would play the stream, too
        page.add_script_tag(path=bundle)
        page.evaluate(watch, server.url + "/live/live/whep")
        seen = plays(page, "foreign")
        assert seen["width"] == 256
        page.evaluate(stop)
        page.goto("about:blank")
        wait_until(lambda: not server.control.state("live").viewers)


def plays(page: Page, video: str) -> dict[str, Any]:
    """Wait until a video has shown some seconds of pictures; what it shows."""
    seen: dict[str, Any] = page.wait_for_function(PLAYED, arg=video, timeout=60_000).json_value()
    return seen


def write_access_units(path: Path, profile: str = "high", part: int = 1) -> None:
    """Two seconds of H.264 as OBS's x264 makes it for WHIP, at 640 x 480 or a part of it; before each access unit its length
    (4 bytes, big-endian)."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 640 // part, 480 // part, "yuv420p", Fraction(30)
    encoder.time_base, encoder.bit_rate, encoder.gop_size, encoder.max_b_frames = Fraction(1, 30), 2_500_000, 60, 0
    encoder.options = {"preset": "veryfast", "profile": profile, "x264-params": "repeat-headers=1:annexb=1"}
    with path.open("wb") as file:
        for frame in [*(moving(k) for k in range(60)), None]:
            for packet in encoder.encode(frame):
                file.write(packet.size.to_bytes(4, "big") + bytes(packet))


def moving(k: int) -> av.VideoFrame:
    y, x = np.mgrid[0:480, 0:640]
    frame = av.VideoFrame.from_ndarray((np.dstack([x + 9 * k, y - 5 * k, x + y]) % 256).astype(np.uint8), format="rgb24")
    frame.pts = k
    return frame


@pytest.mark.parametrize(
    ("form", "count"),
    [("baseline", 3), ("high", 12), ("simulcast", 3)],
)
def test_obs_publishes_every_time(form, count, installed, model, tmp_path):
    """Were there three fingerprints in the answer, of 20 connections about three would fail."""
    layers = {"baseline": [1], "high": [1], "simulcast": [1, 2, 4]}[form]
    paths = [tmp_path / f"{part}.units" for part in layers]
    for part, path in zip(layers, paths, strict=True):
        write_access_units(path, "baseline" if form == "baseline" else "high", part)
    count = int(os.environ.get("PUPPETCAST_TEST_OBS", count))
    with run_server(auth={"requests_per_minute": 100000}) as server:
        command = ["node", "obs.mjs", server.url, str(count), *map(str, paths)]
        done = subprocess.run(command, cwd=installed, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == {"live": count, "failures": []}


@pytest.mark.parametrize(
    ("mode", "codec"),
    [("whip", "VP8"), ("whep", "H264"), ("whip", "H264"), ("whep", "VP8")],
)
def test_webrtcbin_of_gstreamer_both_ways(mode, codec, model):
    """Its certificate is RSA, which aiortc alone refuses. It passes over loopback addresses, so all are bound here."""
    need_gstreamer("GStreamer's webrtcbin")
    with run_server(webrtc={"bind_addresses": []}) as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        if mode == "whep":
            http.patch("/api/streams/live", json={"demo": True})
        command = [SYSTEM_PYTHON, str(GST_WEBRTC), mode, f"{server.url}/live/live/{mode}", codec]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            try:
                assert client.stdout is not None
                assert next((line for line in client.stdout if line == "30\n"), None), "it shows pictures, or sends them"
                if mode == "whip":
                    wait_until(lambda: server.control.state("live").frames_in, holds=lambda frames: frames > 25)
                told, _ = client.communicate("", timeout=LIMIT_S)
            finally:
                client.kill()
        assert (client.returncode, told.splitlines()[-1]) == (0, "connected")
        assert not server.control.state("live").publisher or mode == "whep"


@contextmanager
def turn_server(folder: Path, secret: str) -> Iterator[int]:
    """coturn on the loopback address."""
    coturn, port = program("turnserver"), free_port()
    # The file of the containers, moved to a free port of the loopback address.
    given = (ROOT / "docker" / "turnserver.conf").read_text()
    assert "listening-port=3478\n" in given
    given = given.replace("listening-port=3478", f"listening-port={port}")
    own = ["listening-ip=127.0.0.1", "relay-ip=127.0.0.1", "allow-loopback-peers", "allowed-peer-ip=127.0.0.1"]
    own.append(f"static-auth-secret={secret}")
    own += [f"userdb={folder / 'turn.db'}", f"pidfile={folder / 'turn.pid'}"]
    config = folder / "turn.conf"
    config.write_text(given + "\n".join(own) + "\n")
    with (folder / "turn.log").open("w") as log:
        process = subprocess.Popen([coturn, "-c", str(config)], stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: accepts(port))
            yield port
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.parametrize("transport", ["udp"])
def test_the_page_plays_behind_a_relay_alone(transport, browser, model, tmp_path):
    with turn_server(tmp_path, "north") as port:
        servers = [{"url": f"turn:127.0.0.1:{port}?transport={transport}", "secret": "north", "ttl_s": 600}]
        with run_server(webrtc={"ice_servers": servers}) as server:
            with httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
                http.patch("/api/streams/live", json={"demo": True})
            page = browser.new_page()
            page.add_init_script(RELAY)
            page.goto(server.url)
            plays(page, "puppet")
            assert page.evaluate(USED) == "relay"
            page.close()
