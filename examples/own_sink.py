"""A sink of your own: it gets every animated frame, and nothing else. Here it keeps the newest as a picture file."""

import threading

import cv2

import puppetcast
from pipeline.frames import AnimatedFrame
from streamer.config import Kind


class Newest:
    """A `streamer.stream.status.Sink`. It is called on the event loop: it must not wait. Its pictures are labelled as those of
    snapshots."""

    kind = Kind.SNAPSHOTS
    seen_s = None

    def __init__(self) -> None:
        self.frame: AnimatedFrame | None = None
        self.came = threading.Event()

    def offer(self, frame: AnimatedFrame) -> None:
        self.frame = frame
        if frame.number >= 10:
            self.came.set()


if __name__ == "__main__":
    newest = Newest()
    with puppetcast.serve(port=0, clip=puppetcast.DEMO_CLIP) as server:
        server.server.control.stream("live").sinks.add(newest)
        newest.came.wait()
    assert newest.frame is not None
    cv2.imwrite("newest.png", cv2.cvtColor(newest.frame.yuv, cv2.COLOR_YUV2BGR_I420))
    print(f"newest.png: frame {newest.frame.number}")
