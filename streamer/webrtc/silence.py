"""Whether a server that we publish to still has the session: ICE takes more than six seconds to notice that it has not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..timers import pause

LOOK_S = 0.25
SILENT_S = 1.0  # reports of what has arrived come about once a second
MOST_S = 4.0  # between questions where the server says that all is well: some report every five seconds


async def lost(heard: Callable[[], int], ask: Callable[[], Awaitable[bool]]) -> None:
    """Return when the session is gone. heard: how many packets have come from the other side; ask: whether its server says that
    there is no such session, which is asked while none come."""
    seen, silent_s, wait_s = heard(), 0.0, SILENT_S
    while True:
        await pause(LOOK_S)
        silent_s += LOOK_S
        if heard() != seen:
            seen, silent_s, wait_s = heard(), 0.0, SILENT_S
        elif silent_s >= wait_s:
            if await ask():
                return
            silent_s, wait_s = 0.0, min(2 * wait_s, MOST_S)
