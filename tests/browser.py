"""Chromium, with a clip for a camera."""

from __future__ import annotations

from .programs import program

FLAGS = [
    "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--allow-loopback-in-peer-connection", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-gpu", "--disable-quic",
]  # fmt: skip
# Draws a square of each new frame of the page's video, given as shares of its size, with its RTP time: the capture time.
RECORD = """async ([seconds, x, y, width, height]) => {
  const video = document.getElementById('puppet');
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 256;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const frames = [];
  const end = performance.now() + seconds * 1000;
  await new Promise((resolve) => {
    const step = (now, metadata) => {
      const [w, h] = [video.videoWidth, video.videoHeight];
      context.drawImage(video, x * w, y * h, width * w, height * h, 0, 0, 256, 256);
      frames.push([metadata.rtpTimestamp / 90000, canvas.toDataURL('image/jpeg', 0.92).split(',')[1]]);
      performance.now() < end ? video.requestVideoFrameCallback(step) : resolve();
    };
    video.requestVideoFrameCallback(step);
  });
  return JSON.stringify(frames);
}"""


def chromium() -> str:
    """Its path."""
    return program("chromium", "chromium-browser", "google-chrome", cure="'make browser' installs it")
