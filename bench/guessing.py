"""What a viewer sees while somebody guesses tokens: `python -m bench.guessing`, with a server of its own.

Each round is a while of quiet, and 1,500 wrong tokens from an address of its own, by sixteen connections, as fast as they are
answered.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx

from pipeline.portrait import DEMO_CLIP

from .faults.house import watching
from .faults.server import RULE, process, sections

TOKENS, CONNECTIONS, ROUNDS, QUIET_S = 1500, 16, 4, 8.0


def guess(url: str, address: str) -> tuple[Counter[int], float, float]:
    """Answers by status, when it began and how long it took. In a process of its own, by many connections."""
    server, answers, left = urlsplit(url), Counter[int](), iter(range(TOKENS))

    def ask() -> None:
        client = http.client.HTTPConnection(str(server.hostname), server.port, source_address=(address, 0))
        for n in left:
            client.request("PATCH", "/api/streams/live", b'{"mirror": true}', {"Authorization": f"Bearer guess-{n}"})
            answer = client.getresponse()
            answer.read()
            answers[answer.status] += 1

    begin = time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for asked in [pool.submit(ask) for _ in range(CONNECTIONS)]:
            asked.result()
    return answers, begin, time.monotonic() - begin


async def main() -> None:
    config = sections(streams={"live": {"source": "file", "path": str(DEMO_CLIP)}})
    with process(config) as server, ProcessPoolExecutor(1) as others:
        async with httpx.AsyncClient(base_url=server.url, headers=RULE, timeout=20) as client:
            viewer, seen = await watching(client), list[float]()

            async def watch() -> None:
                while True:
                    await viewer.getReceivers()[0].track.recv()
                    seen.append(time.monotonic())

            def rate(begin_s: float, length_s: float) -> float:
                return sum(begin_s <= at < begin_s + length_s for at in seen) / length_s

            task = asyncio.create_task(watch())
            await asyncio.sleep(2 * QUIET_S)  # until it has got going
            for k in range(ROUNDS):
                begin_s = time.monotonic()
                await asyncio.sleep(QUIET_S)
                attack = asyncio.get_running_loop().run_in_executor(others, guess, server.url, f"127.0.0.{21 + k}")
                answers, guessed_s, took_s = await attack
                before, beside = rate(begin_s, QUIET_S), rate(guessed_s, took_s)
                print(
                    f"{answers[401]} of {TOKENS} wrong tokens got 401, {answers[429]} got 429, in {took_s:.1f} s; "
                    f"viewer: {before:.1f} pictures a second before, {beside:.1f} beside it ({beside / before:.2f})"
                )
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await viewer.close()


if __name__ == "__main__":
    asyncio.run(main())
