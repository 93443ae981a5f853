"""Commands by data channel: one after the other, each with its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from aiortc import RTCDataChannel

log = logging.getLogger(__name__)

COMMANDS_WAITING = 64  # of one channel; more are not read
Commands = Callable[[str, str], Awaitable[str]]  # the stream's name and a command -> its answer


def obey(channel: RTCDataChannel, stream: str, commands: Commands) -> Coroutine[Any, Any, None]:
    """Take the commands about a stream that come by a channel from now on; answer them, until cancelled, where it is awaited."""
    waiting: asyncio.Queue[str] = asyncio.Queue(COMMANDS_WAITING)

    @channel.on("message")
    def _on_message(message: str | bytes) -> None:
        try:
            waiting.put_nowait(message if isinstance(message, str) else message.decode("utf-8", "replace"))
        except asyncio.QueueFull:
            log.warning("a viewer of '%s' sends commands faster than they can be done", stream)

    async def work() -> None:
        while True:
            answer = await commands(stream, await waiting.get())
            if channel.readyState == "open":
                channel.send(answer)

    return work()
