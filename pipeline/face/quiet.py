"""Native libraries write to the process's standard error by themselves; what they say while all is well helps nobody."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Abseil's information and warnings, its word about itself, and TensorFlow Lite's information. Errors begin with E or F.
NOISE = re.compile(rb"^(?:[IW]\d{4} .*|INFO: .*|WARNING: (?:Logging|All log messages) before .*)\n", re.MULTILINE)
_one = threading.Lock()


@contextmanager
def errors_only() -> Iterator[None]:
    """Keep NOISE that is written to descriptor 2 meanwhile out of it; everything else, of other threads too, comes at the end.

    For moments: MediaPipe has neither an option nor a variable for how much it says, and what is held back would be lost
    with a process that is killed.
    """
    with _one, tempfile.TemporaryFile() as held:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            real = os.dup(2)
        except OSError:  # a process without standard error
            yield
            return
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            held.seek(0)
            with open(real, "wb") as back:
                back.write(NOISE.sub(b"", held.read()))
