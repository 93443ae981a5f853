"""What every source is: something that opens, and then puts frames into a stream's door from a thread."""

from __future__ import annotations

import threading
from typing import Protocol

from ..stream.intake import Intake


class Source(Protocol):
    """A driving source. live: whether its frames come by themselves, so that none for a while is a fault; a file may pause."""

    name: str
    live: bool

    def check(self) -> None:
        """Raise SourceError if the source cannot be opened now, and that is a mistake."""

    def read(self, out: Intake, stop: threading.Event) -> None:
        """Put frames until `stop` is set or the source ends; blocks. SourceError on failure."""
