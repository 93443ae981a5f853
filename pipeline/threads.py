"""How many threads the numeric libraries may use."""

from __future__ import annotations

import cv2
from threadpoolctl import threadpool_limits


def one_each() -> None:
    """Let BLAS and OpenCV work in the thread that calls them, in this whole process.

    Their worker threads wait by spinning. Beside a tracker, encoders and other streams that costs more
    than it gives: on two cores it doubled the processor time of a frame.
    """
    threadpool_limits(1, user_api="blas")
    cv2.setNumThreads(1)
