"""The command `puppetcast`, also by `python -m streamer`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line. Signals are answered from the first moment on, as loading what a command needs takes seconds."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    from .cli.main import run

    run()


def _end(number: int, frame: FrameType | None) -> None:
    """Nothing is raised: it could come up in the middle of an import."""
    if (outfile := sys.modules.get("pipeline.outfile")) is not None:
        outfile.discard_unfinished()
    os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


if __name__ == "__main__":
    main()
