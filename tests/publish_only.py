"""Helper process: a browser publishes its camera by WHIP with one codec for some seconds, and watches nothing."""

import sys

from playwright.sync_api import sync_playwright

from .browser import FLAGS

executable, url, camera, codec, seconds = sys.argv[1:6]
PUBLISH = """async ([codec]) => {
  const {publish} = await import('/rtc.js');
  const original = RTCPeerConnection.prototype.addTransceiver;
  RTCPeerConnection.prototype.addTransceiver = function (...args) {
    const transceiver = original.apply(this, args);
    const all = RTCRtpSender.getCapabilities('video').codecs;
    transceiver.setCodecPreferences(all.filter((c) => c.mimeType === 'video/' + codec));
    return transceiver;
  };
  const stream = await navigator.mediaDevices.getUserMedia({video: {width: 512, height: 512, frameRate: 30}});
  window.link = await publish('/live/live/whip', stream, () => {});
}"""
with sync_playwright() as p:
    browser = p.chromium.launch(
        executable_path=executable, headless=True, args=[*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
    )
    page = browser.new_page()
    page.goto(url + "/icon.svg")
    page.evaluate(PUBLISH, [codec])
    page.wait_for_timeout(int(seconds) * 1000)
    browser.close()
