"""A driving source of your own: here a clip that comes back to its beginning, every other frame left out."""

import threading
import time

import puppetcast
from pipeline.clips import open_clip, pictures
from pipeline.frames import TimedFrame
from streamer.stream.intake import Intake


class EveryOther:
    """A `streamer.sources.base.Source`: reads on a thread of its own until it is told to stop."""

    name = "every other frame"
    live = True

    def check(self) -> None:
        """Raise SourceError if it cannot be opened."""

    def read(self, out: Intake, stop: threading.Event) -> None:
        while not stop.is_set():
            with open_clip(puppetcast.DEMO_CLIP) as clip:
                for k, frame in enumerate(pictures(clip)):
                    if stop.wait(1 / 30):
                        return
                    if k % 2 == 0:
                        out.put(TimedFrame(frame, time.monotonic()))


if __name__ == "__main__":
    with puppetcast.serve(port=0, sources={"live": EveryOther()}) as server:
        print(server.url)
        time.sleep(3)
        print(server.server.control.state("live").frames_in, "frames came")
