"""Bodies of requests, within limits: of bytes, of time, and of how deep JSON is nested."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import Request
from starlette.types import Message

from pipeline.clock import Clock, steady

from ..errors import StreamerError, TooLarge, TooSlow
from ..jsontext import read_json

LEAST_BYTES_S = 16 * 1024  # after the time-out a body has to come at this rate at least


class Body:
    """request: the given one, which reads its body through this. problem: what was wrong with it."""

    def __init__(
        self, request: Request, max_bytes: int, timeout_s: float, clock: Clock = steady, *, tells_length: bool = False
    ) -> None:
        """tells_length: it has to. TooLarge if it is, before any of it is read."""
        self.request = _Limited(request.scope, self._receive, request._send)
        self.problem: StreamerError | None = None
        self._from, self._max, self._timeout_s, self._clock = request.receive, max_bytes, timeout_s, clock
        self._began_s = clock()
        self._read = 0
        self._whole = False
        length = request.headers.get("content-length", "")
        if not length.isdigit() and tells_length:
            raise TooLarge("an upload tells its length beforehand (Content-Length)")
        if length.isdigit() and int(length) > max_bytes:
            raise self._too_large()

    async def _receive(self) -> Message:
        if self._whole:  # from here on it is waited for the client's end
            return await self._from()
        left_s = self._began_s + self._timeout_s + self._read / LEAST_BYTES_S - self._clock()
        try:
            if left_s <= 0:
                raise TimeoutError
            async with asyncio.timeout(left_s):
                message = await self._from()
        except TimeoutError as exc:
            self.problem = TooSlow(
                f"the body did not come within {self._timeout_s:g} s, or at {LEAST_BYTES_S // 1024} KB/s after"
            )
            raise self.problem from exc
        self._whole = not message.get("more_body", False)
        self._read += len(message.get("body", b""))
        if self._read > self._max:
            self.problem = self._too_large()
            raise self.problem
        return message

    def _too_large(self) -> TooLarge:
        size = f"{self._max // 1024} KB" if self._max < 10_000_000 else f"{self._max // 1_000_000} MB"
        return TooLarge(f"the body is larger than {size}, the most that is taken here")


class _Limited(Request):
    async def json(self) -> Any:
        body = await self.body()
        try:
            return read_json(body.decode("utf-8"))
        except json.JSONDecodeError:
            raise
        except ValueError as exc:
            raise json.JSONDecodeError(str(exc), "", 0) from exc
