"""Places of streams on the device."""

from __future__ import annotations

from ..errors import PuppetError

STREAMS = 64


class RowPool:
    """Which places are free."""

    def __init__(self) -> None:
        self._free = list(range(STREAMS))[::-1]

    def take(self) -> int:
        if not self._free:
            raise PuppetError(f"the device has no place for more than {STREAMS} streams")
        return self._free.pop()

    def give_back(self, row: int) -> None:
        self._free.append(row)
