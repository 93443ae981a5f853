"""Who drives and watches a fleet while it is broken: `streamer.client`'s publishers and viewers, and the page in Chromium."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError

from pipeline.portrait import DEMO_CLIP
from streamer.client import Client

SIDE, CLOCK = 256, 90_000
PICTURES = 60
PAGE = "s3"  # the stream that the page drives and watches
# Tells us of each picture that the page shows; nothing else of it is touched.
TELL = """addEventListener('DOMContentLoaded', () => {
  const video = document.getElementById('puppet');
  const step = () => { shown(); video.requestVideoFrameCallback(step); };
  video.requestVideoFrameCallback(step);
})"""


class Camera(MediaStreamTrack):
    """The demo clip there and back, in real time."""

    kind = "video"

    def __init__(self, pictures: list[av.VideoFrame], fps: int) -> None:
        super().__init__()
        self._pictures, self._fps, self._k, self._began = pictures, fps, 0, time.monotonic()

    async def recv(self) -> av.VideoFrame:
        self._k += 1
        await asyncio.sleep(max(self._began + self._k / self._fps - time.monotonic(), 0))
        there = self._k % (2 * len(self._pictures) - 2)
        picture = self._pictures[min(there, 2 * len(self._pictures) - 2 - there)]
        frame = av.VideoFrame.from_ndarray(picture.to_ndarray(), format=picture.format.name)
        frame.pts, frame.time_base = self._k * CLOCK // self._fps, Fraction(1, CLOCK)
        return frame


class Watcher:
    """Whoever watches a stream. seen: when each picture came, by the monotonic clock; first: those that were the first of a
    session."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.first: list[float] = []
        self._fresh = True

    @property
    def sessions(self) -> int:
        """How many it had."""
        raise NotImplementedError

    def saw(self) -> None:
        self.seen.append(time.monotonic())
        if self._fresh:
            self.first.append(self.seen[-1])
        self._fresh = False

    def begins(self) -> None:
        """A session: the next picture is its first."""
        self._fresh = True

    def back(self, moment: float) -> float | None:
        """How long after it the first picture of a new session came; None as long as none has."""
        return next((round(each - moment, 2) for each in self.first if each > moment), None)

    def gap(self, begin: float, end: float) -> float:
        """The longest time without a picture, in seconds."""
        times = [begin, *(each for each in self.seen if begin < each < end), end]
        return max(b - a for a, b in pairwise(times))


class Viewer(Watcher):
    """One of `streamer.client`, which decodes."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._tasks: set[asyncio.Task[None]] = set()
        self.client = Client(url, self._connection)

    @property
    def sessions(self) -> int:
        return self.client.sessions

    def _connection(self) -> RTCPeerConnection:
        connection = _peer()
        connection.addTransceiver("video", direction="recvonly")

        @connection.on("track")
        def _on_track(track: MediaStreamTrack) -> None:
            self._tasks.add(task := asyncio.ensure_future(self._watch(track)))
            task.add_done_callback(self._tasks.discard)

        return connection

    async def _watch(self, track: MediaStreamTrack) -> None:
        self.begins()
        with suppress(MediaStreamError):
            while True:
                await track.recv()
                self.saw()


class Page(Watcher):
    """The page as it is, in Chromium: it drives a stream by its camera, and shows it."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = 0

    @property
    def sessions(self) -> int:
        return self._taken

    @asynccontextmanager
    async def running(self, url: str, folder: Path, fps: int) -> AsyncIterator[None]:
        from playwright.async_api import async_playwright

        from tests.browser import FLAGS, chromium
        from tests.media import as_camera

        camera = as_camera(DEMO_CLIP, folder / "camera.y4m", PICTURES, SIDE, fps)
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=flags, timeout=120_000)
            try:
                page = await browser.new_page()
                await page.expose_binding("shown", lambda source: self.saw())
                await page.add_init_script(TELL)
                page.on("response", self._count)
                await page.goto(f"{url}/?stream={PAGE}", timeout=120_000)
                await page.click("#start", timeout=120_000)
                yield
            finally:
                await browser.close()

    def _count(self, response: Any) -> None:
        if response.request.method == "POST" and response.status == 201:
            self._taken += "/whip" in response.url
            if "/whep" in response.url:
                self._taken += 1
                self.begins()


def _peer() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


class Clients:
    """A publisher and a viewer of each stream; they run until cancelled. Of one the page is both, where Chromium is here."""

    def __init__(self, url: str, streams: tuple[str, ...], folder: Path, fps: int) -> None:
        pictures = _pictures()
        self._url, self._folder, self._fps = url, folder, fps

        def camera() -> RTCPeerConnection:
            connection = _peer()
            connection.addTrack(Camera(pictures, fps))
            return connection

        self.page = Page() if any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")) else None
        others = [name for name in streams if self.page is None or name != PAGE]
        self.publishers = {name: Client(f"{url}/live/{name}/whip", camera) for name in others}
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._viewers = {name: Viewer(f"{url}/live/{name}/whep") for name in others}
        self.watchers: dict[str, Watcher] = {**self._viewers, **({PAGE: self.page} if self.page else {})}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            for name in self.publishers:
                self._driving[name] = self._group.create_task(self.publishers[name].run())
                self._group.create_task(self._viewers[name].client.run())
            if self.page:
                async with self.page.running(self._url, self._folder, self._fps):
                    await asyncio.Event().wait()

    async def drive_anew(self, stream: str) -> None:
        """Its driver leaves; another one comes."""
        self._driving[stream].cancel()
        await asyncio.gather(self._driving[stream], return_exceptions=True)
        self._driving[stream] = self._group.create_task(self.publishers[stream].run())

    def sessions(self, streams: list[str]) -> list[int]:
        """How many each client had."""
        drivers = [self.publishers[s].sessions for s in streams if s in self.publishers]
        return [*drivers, *(self.watchers[s].sessions for s in streams)]


def _pictures() -> list[av.VideoFrame]:
    with av.open(str(DEMO_CLIP)) as clip:
        return [frame.reformat(SIDE, SIDE, "yuv420p") for frame, _ in zip(clip.decode(video=0), range(PICTURES), strict=False)]
