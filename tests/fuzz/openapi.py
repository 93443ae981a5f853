"""What the server says of itself in /openapi.json, held against what it answers: `make fuzz`, by schemathesis.

Every operation but the two whose answers never end is asked for with what its description allows, and with what it does not.
An answer must have a status that the operation names, and a refusal the one shape that all have.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from itertools import count, product
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.errors import InvalidSchema
from schemathesis.core.failures import FailureGroup
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamer.http.whip import FRAGMENT, SDP

from ..conftest import run_server

RULE = {"Authorization": "Bearer rule"}
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
CHECKED = ["content_type_conformance", "response_schema_conformance", "response_headers_conformance"]
EXAMPLES = 10  # of each operation in a round
ALL = list(HealthCheck)
HERE = {"name": "live", "key": "astronaut"}  # names of what the server has
ENDLESS = ("/api/events", "/live/{name}/mjpeg")
CONFIG: dict[str, Any] = {
    "auth": {"token": "rule", "requests_per_minute": 100_000},
    "http": {"names": ["testserver"]},
    "webrtc": {"max_connecting": 1000, "max_sessions": 1000, "handshake_timeout_s": 2},
}  # fmt: skip


@schemathesis.serializer(SDP, FRAGMENT)
def as_text(ctx: Any, value: Any) -> bytes:
    """What is no text comes as JSON of it."""
    return value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else json.dumps(value).encode()


def on(loop: asyncio.AbstractEventLoop, app: ASGIApp) -> ASGIApp:
    """The app of a server that runs, for a client on another loop: asked whole, and answered whole."""

    async def bridge(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        asked: list[Message] = [await receive()]
        while asked[-1].get("more_body"):
            asked.append(await receive())
        answered: list[Message] = []

        async def give() -> Message:
            return asked.pop(0) if asked else await asyncio.Event().wait()  # type: ignore[return-value]

        async def take(message: Message) -> None:
            answered.append(message)

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(app(scope, give, take), loop))  # type: ignore[arg-type]
        for message in answered:
            await send(message)

    return bridge


def problem(operation: Any, response: Any) -> str:
    """What is wrong with an answer's status or shape; nothing where it is right."""
    known = operation.definition.raw["responses"]
    if str(response.status_code) not in known:
        return f"{response.status_code} is not described"
    if response.status_code < 400 or operation.method == "head":
        return ""
    try:
        told = response.json()
    except ValueError:
        return f"{response.status_code} is not JSON: {response.text[:80]!r}"
    own = "$ref" not in str(known[str(response.status_code)])  # of health
    return "" if own or {"detail", "code"} <= told.keys() <= {"detail", "code", "goes"} else f"{response.status_code}: {told}"


class Asker:
    """Asks, and counts what is wrong with the answers."""

    def __init__(self) -> None:
        self.count = 0
        self.faults: Counter[str] = Counter()
        load_all_checks()
        self._checks = CHECKS.get_by_names(CHECKED)

    def ask(self, operation: Any, mode: GenerationMode, number: int) -> None:
        """Some examples of an operation; the same for the same number."""
        some = settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=ALL)

        @seed(number)
        @some
        @given(operation.as_strategy(generation_mode=mode))
        def examples(case: Any) -> None:
            self._one(operation, case)

        with suppress(Unsatisfiable):  # where there is nothing that could be wrong
            examples()

    def _one(self, operation: Any, case: Any) -> None:
        self.count += 1
        if self.count % 3 and case.path_parameters:  # mostly of what is there
            case.path_parameters.update({name: HERE[name] for name in case.path_parameters.keys() & HERE})
        response = case.call(headers=RULE)
        if wrong := problem(operation, response):
            self.faults[f"{operation.label}: {wrong}"] += 1
        try:
            case.validate_response(response, checks=self._checks)
        except InvalidSchema:  # schemathesis 4.32 does not know a list of lists (prefixItems)
            pass
        except (AssertionError, FailureGroup) as exc:
            self.faults[f"{operation.label}: {' '.join(str(exc).split())[:200]}"] += 1


def main(seconds: float) -> int:
    """Ask for so long, each operation at least once; how many faults were found."""
    asker, end = Asker(), time.monotonic() + seconds
    with run_server(**CONFIG) as server:
        app = on(server.control.streams["live"]._loop, server.http)
        schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=RULE)
        operations = [found.ok() for found in schema.get_all_operations() if found.ok().path not in ENDLESS]
        for number in count():
            if number and time.monotonic() > end:
                break
            for operation, mode in product(operations, MODES):
                asker.ask(operation, mode, number)
    for text, times in asker.faults.most_common():
        print(f"{times} x {text}")
    print(f"stat::number_of_executed_units: {asker.count}")
    return len(asker.faults)
