"""A client that asks for its session when nothing comes of it; in virtual time."""

from __future__ import annotations

import asyncio

import httpx

from streamer.client import ASK_S, LOOK_S, MOST_S, SILENT_S, until_gone

from ..virtual_time import virtual

SESSION = "http://a.example/live/live/sessions/x"


class Server:
    """Answers by what `codes` says at that time, 0 for no answer; `asked`: when it was."""

    def __init__(self, *codes: tuple[float, int]) -> None:
        self._codes = codes
        self._loop = asyncio.get_running_loop()
        self.asked: list[float] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert (request.method, str(request.url)) == ("HEAD", SESSION)
        self.asked.append(self._loop.time())
        code = next(code for until_s, code in self._codes if self._loop.time() < until_s)
        if not code:
            raise httpx.ConnectError("refused")
        return httpx.Response(code)


async def gone_at(server: Server, silent_s: float, refused: int = 0) -> float:
    """When it is known to be gone, if nothing comes from `silent_s` on."""
    loop = asyncio.get_running_loop()

    async def heard() -> int:
        return int(min(loop.time(), silent_s) * 100)

    async with httpx.AsyncClient(transport=httpx.MockTransport(server.answer)) as http:
        await until_gone(http, SESSION, heard, refused=refused)
    return loop.time()


@virtual
async def test_a_server_that_is_gone_is_asked_until_another_process_says_so() -> None:
    server = Server((20.0, 0), (21.0, 502), (99.0, 404))
    at = await gone_at(server, silent_s=10.0)
    assert server.asked[0] <= 10.0 + SILENT_S + 2 * LOOK_S, "within a second of silence"
    assert 21.0 <= at <= 21.0 + 2 * LOOK_S, "no answer, and a proxy's, say nothing; ours is taken at once"


@virtual
async def test_while_something_comes_nothing_is_asked() -> None:
    server = Server((99.0, 404))
    at = await gone_at(server, silent_s=60.0)
    assert [round(s) for s in server.asked] == [round(at)] == [61]


@virtual
async def test_a_session_that_is_there_is_asked_for_ever_more_seldom() -> None:
    server = Server((100.0, 200), (999.0, 410))
    await gone_at(server, silent_s=0.0)
    gaps = [after - before for before, after in zip(server.asked, server.asked[1:], strict=False)]
    assert gaps[0] < 2 * SILENT_S + 2 * LOOK_S
    assert max(gaps) <= MOST_S + 2 * LOOK_S
    assert len(server.asked) < 100 / MOST_S + 5 + ASK_S


@virtual
async def test_where_nobody_listens_a_session_may_be_gone() -> None:
    assert await gone_at(Server((99.0, 0)), silent_s=10.0, refused=410) <= 10.0 + SILENT_S + 2 * LOOK_S
