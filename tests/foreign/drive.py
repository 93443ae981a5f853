"""Helper process: other people's clients in a browser. drive.py CHROMIUM URL CAMERA BUNDLE whip|whep|relay SECONDS

whip: Eyevinn's client publishes camera and microphone; whep: Eyevinn's player watches; relay: the page itself, by TURN
alone. Prints JSON of what was seen.
"""

import json
import sys

from playwright.sync_api import sync_playwright

from ..browser import FLAGS

executable, url, camera, bundle, mode, seconds = sys.argv[1:7]
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
SEEN = """(id) => {
  const video = document.getElementById(id);
  return {width: video.videoWidth, time: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames};
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
with sync_playwright() as p:
    browser = p.chromium.launch(
        executable_path=executable, headless=True, args=[*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
    )
    page = browser.new_page()
    if mode == "relay":
        page.add_init_script(RELAY)
    page.goto(url)
    if mode != "relay":
        page.add_script_tag(path=bundle)
    if mode == "whip":
        page.evaluate(PUBLISH, url + "/live/live/whip")
        page.wait_for_timeout(float(seconds) * 1000)
        page.evaluate("() => window.client.destroy()")
        page.wait_for_timeout(500)
        print("{}")
    else:
        video = "foreign" if mode == "whep" else "puppet"
        if mode == "whep":
            page.evaluate(WATCH, url + "/live/live/whep")
        page.wait_for_function(f"document.getElementById('{video}').videoWidth > 0", timeout=15000)
        page.wait_for_timeout(float(seconds) * 1000)
        seen = page.evaluate(SEEN, video)
        if mode == "relay":
            seen["candidate"] = page.evaluate(USED)
        else:
            page.evaluate("() => window.player.destroy()")
        print(json.dumps(seen))
    browser.close()
