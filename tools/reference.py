"""The references in docs/ and the shipped config, made from the code: `python -m tools.reference FOLDER`."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from streamer.config import Config
from streamer.control.commands import BARE, Change
from streamer.control.state import TELEMETRY, StreamState
from streamer.http.rights import Needs, Of
from streamer.mqtt import homeassistant

from . import default_config

ROOT = Path(__file__).parent.parent
MANY = {list: ("list of ", "[]"), dict: ("by name, ", ".NAME")}
MADE = "<!-- Made from the code by 'make docs'; changes here are lost. -->\n"


def configuration() -> str:
    """Every key of the configuration, by section."""
    out = [MADE, "# Configuration\n"]
    out.append(
        "A YAML file (`puppetcast serve --config FILE`) over the defaults below; unknown keys are refused, with the key in "
        "the message. A variable wins over the file: `PUPPETCAST_HTTP__PORT=9000` sets `http.port`; lists and mappings are "
        "JSON. `PUPPETCAST_MODELS` is the folder of model files.\n"
    )
    for name, field in Config.model_fields.items():
        model = _model(field.annotation)
        assert model is not None, "the configuration has sections only"
        out += _section("streams.NAME" if name == "streams" else name, model)
    return "\n".join(out) + "\n"


def _section(title: str, model: type[BaseModel]) -> list[str]:
    inner: list[str] = []
    rows = [f"## {title}\n", f"{_sentence(model)}\n", "| Key | Takes | Default | |", "|---|---|---|---|"]
    for key, field in model.model_fields.items():
        nested = _model(field.annotation)
        if nested is not None:
            many, ending = MANY.get(get_origin(field.annotation), ("", ""))  # type: ignore[arg-type]
            rows.append(f"| `{key}` | {many}see below | | {field.description or _sentence(nested)} |")
            inner += _section(f"{title}.{key}{ending}", nested)
        else:
            rows.append(f"| `{key}` | {_takes(field)} | `{_default(field)}` | {field.description} |")
    return [*rows, "", *inner]


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _model(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, once, in a list or by name."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _default(field: FieldInfo) -> str:
    """As it would be written in the file."""
    if field.is_required():
        return "required"
    value = to_jsonable_python(field.get_default(call_default_factory=True))
    return "none" if value is None else yaml.safe_dump(value, default_flow_style=True).splitlines()[0]


def _takes(field: FieldInfo) -> str:
    return ", ".join([_kind(field.annotation), *_limits(field.metadata)])


def _limits(metadata: Iterable[Any]) -> list[str]:
    return [f"{sign} {limit:g}" for m in metadata for name, sign in LIMITS if (limit := getattr(m, name, None)) is not None]


LIMITS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
NAMES = {"str": "text", "int": "whole number", "float": "number", "bool": "true, false", "Path": "path", "NoneType": "none"}


def _kind(annotation: Any) -> str:
    if hasattr(annotation, "__metadata__"):
        told = [m.json_schema["enum"] for m in annotation.__metadata__ if isinstance(m, WithJsonSchema) and m.json_schema]
        return ", ".join(told[0]) if told else _kind(annotation.__origin__)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(a) for a in args)
    if origin is list:
        return f"list of {_kind(args[0])}"
    if origin is dict:
        return f"{_kind(args[1])}s by name"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"{{{', '.join(annotation.model_fields)}}}"
    if origin is tuple:
        return f"list of {len(args)} × {_kind(args[0])}"
    if args:  # Literal
        return ", ".join(str(a) for a in args)
    if isinstance(annotation, type) and hasattr(annotation, "__members__"):
        return ", ".join(str(member.value) for member in annotation)  # type: ignore[attr-defined]
    return NAMES.get(getattr(annotation, "__name__", str(annotation)), str(annotation))


def commands() -> list[str]:
    """Rows of all that can be commanded."""
    rows = ["| Key | Takes | |", "|---|---|---|"]
    for key, field in Change.model_fields.items():
        kinds = [a for a in get_args(field.annotation) if a is not type(None)]
        takes = "true" if key in BARE else " or ".join(_kind(k) for k in kinds)
        limits = [text for k in kinds for text in _limits(getattr(k, "__metadata__", ()))]
        rows.append(f"| `{key}` | {', '.join([takes, *limits])} | {field.description} |")
    return rows


def http(app: FastAPI) -> str:
    """The endpoints, and what can be commanded."""
    out = [MADE, "# HTTP\n"]
    out.append(
        "A running server has the same with schemas at `/docs` and `/openapi.json`. Errors are JSON: `detail` says in one "
        "line what is wrong and what helps, `code` names the kind. With `auth.token` set, requests need "
        "`Authorization: Bearer TOKEN` or `?token=TOKEN`; [which right each needs](security.md#rights). Without a token, or with "
        "one that is not known, the answer is 401; with one that lacks the right it is 403, and says which right is missing. "
        "`GET /api/me` tells what a token is good for.\n"
    )
    rows = ["| | | |", "|---|---|---|"]
    for route in _routes(app.routes):
        methods = ", ".join(sorted(route.methods or ()))
        about = route.summary or route.description.split("\n")[0]
        rows.append(f"| {methods} | `{route.path_format}` | {about} |")
    out += [*rows, ""]
    out.append("## Commands\n")
    out.append(
        "`PATCH /api/streams/{name}` with a JSON object of what is to change; all of it is checked before any of it is done, "
        "it is done between two frames, and the stream's state after it comes back:\n"
    )
    out.append(
        "    curl -X PATCH localhost:8080/api/streams/live -H 'Content-Type: application/json' -d '{\"smoothing\": 0.7}'\n"
    )
    out += [*commands(), ""]
    out.append('JSON is taken by the letter: true is no 1 and no "yes", and a number in quotes is none.\n')
    out.append("## Uploads\n")
    out.append(
        "A file's bytes are the body, whatever its `Content-Type`: of a portrait, a background, a clip. What else there is to "
        "say stands in the address. Portraits are taken as forms (`multipart/form-data`, field `file`), too.\n"
    )
    out.append(
        "    curl --data-binary @me.jpg 'localhost:8080/api/portraits?name=me'\n"
        "    curl --data-binary @wall.jpg -X PUT localhost:8080/api/streams/live/background\n"
        "    curl --data-binary @talk.mp4 'localhost:8080/api/puppets?name=me'\n"
    )
    out.append("## The picture alone\n")
    out.append(
        "`/view/{stream}` is a page with the picture and its sound and nothing else, for OBS's browser source, a window that is "
        "captured or a display on a wall. It connects again by itself, and while it cannot the last picture stays. What "
        "`?background=` says is behind the person, on that page alone:\n\n"
        "| | |\n|---|---|\n"
        "| `original` | The stream's picture as it is; the default. |\n"
        "| `transparent` | Whatever the page is put over, hair by hair. |\n"
        "| `%2300ff00` | A colour, here #00ff00; a bare `#` is taken, too. |\n"
        "| `picture` | What `PUT /api/streams/{stream}/background` took, to the edges of the window. Where there is none, "
        "the page says so, and shows the stream once it is there. |\n\n"
        "All but `original` need WebGL, and a portrait whose person can be told from the background (`matte` in the state); any "
        "other is shown whole. A token goes into the address as for the main page, such as "
        "`/view/live?background=transparent#token=…`; the right to view is enough. Sound that a browser does not let a page play "
        "unasked begins with the first click or key; OBS plays it at once.\n\n"
        "Other programs get the same by `POST /live/{stream}/whep?cut_out=true`: a picture twice as high, above the person's "
        "colours times coverage on black, below the coverage as grey. It is made and encoded once more, while anybody asks.\n\n"
        "The command `background` puts a colour or that picture behind the person in all outputs: viewers, recordings, "
        "calls, JPEG.\n"
    )
    out.append("## Events\n")
    out.append(
        "`GET /api/events` is a stream of server-sent events. Each carries a stream's whole state as JSON: `state` where "
        "something has happened, `telemetry` four times a second else. A reader that is slow gets the newest state.\n"
    )
    out.append("## Data channel\n")
    out.append(
        "A WHEP viewer that offers a data channel, and whose request carried the token for control, may send commands on it: "
        '`{"id": 1, "change": {"pose_gain": 1.2}}`. The answer is `{"id": 1, "state": {…}}`, or `"error"` and `"code"`.\n'
    )
    out.append("## A fleet\n")
    out.append(
        "The front of [a fleet](fleet.md) answers all of this for its workers as one server would. Lists of devices, puppets in "
        "the making and recordings name the `worker` of each; metrics have a label of that name. `PUT /api/streams/{name}` lasts "
        "whatever becomes of a worker. Where no worker has room, the answer is 503 with `Retry-After`. Beside it there is:\n\n"
        "| | | |\n|---|---|---|\n"
        "| GET | `/api/fleet` | Workers with their share, sessions and streams; how often streams were placed, moved and "
        "refused (right to view the server) |\n"
        "| POST | `/api/fleet/{worker}/drain` | Empty a worker (right to control the server) |\n"
        "| DELETE | `/api/fleet/{worker}/drain` | Do not empty it after all: it takes streams (right to control the server) |\n"
    )
    out.append("## State\n")
    out.append(f"{_sentence(StreamState)} Fields: {', '.join(f'`{f}`' for f in StreamState.model_fields)}.\n")
    return "\n".join(out)


def _routes(routes: Any) -> list[APIRoute]:
    found: list[APIRoute] = []
    for route in routes:
        if isinstance(route, APIRoute):
            found.append(route)
        else:
            found += _routes(getattr(getattr(route, "original_router", None), "routes", []))
    return found


def security(app: FastAPI) -> str:
    """docs/security.md with its table of what each right opens, which is made from the routes."""
    opened: dict[Needs, dict[str, list[str]]] = {}
    for route in _routes(app.routes):
        paths = opened.setdefault(replace(route.endpoint.needs, max_bytes=None, tells_length=False), {})  # type: ignore[attr-defined]
        paths.setdefault(route.path_format, []).extend(sorted(route.methods or ()))
    rows = ["| Right | to | Requests |", "|---|---|---|"]
    for need in sorted(opened, key=lambda need: (need.right or 0, list(Of).index(need.of))):
        right, of = (need.right.name.lower(), need.of.value) if need.right else ("none", "")
        asked = "; ".join(f"{', '.join(methods)} `{path}`" for path, methods in sorted(opened[need].items()))
        rows.append(f"| {right} | {of} | {asked} |")
    before, begin, after = (ROOT / "docs" / "security.md").read_text("utf-8").partition("<!-- begin: made from the routes -->\n")
    _, end, after = after.partition("<!-- end -->\n")
    return before + begin + "\n".join(rows) + "\n" + end + after


def mqtt() -> str:
    """Topics and what Home Assistant gets."""
    told = ", ".join(f"`{field}`" for field in StreamState.model_fields if field in TELEMETRY)
    out = [MADE, "# MQTT\n"]
    out.append(
        "Set `mqtt.url` ([configuration](configuration.md#mqtt)). Topics below the base topic (`puppetcast`), for each stream:\n"
    )
    out += [
        "| Topic | | |", "|---|---|---|",
        "| `puppetcast/availability` | retained, QoS 1 | `online`, or `offline` (the last will, too); with `mqtt.server`: "
        "`puppetcast/servers/SERVER/availability` |",
        "| `puppetcast/STREAM/availability` | retained, QoS 1 | `online`, or `offline` when the server has ended, nothing when "
        "the stream was removed |",
        "| `puppetcast/STREAM/state` | retained, QoS 1 | the state as JSON, whenever something has happened |",
        f"| `puppetcast/STREAM/telemetry` | QoS 0, every `telemetry_s` | {told} |",
        "| `puppetcast/STREAM/picture` | QoS 0, every `picture_s` | JPEG |",
        "| `puppetcast/STREAM/cmd/KEY` | to us | the value of one command: plain text, JSON, or `{\"value\": …, \"id\": …}` |",
        "| `puppetcast/STREAM/cmd/change` | to us | several at once: `{\"value\": {\"mirror\": true}, \"id\": 7}` |",
        "| `puppetcast/STREAM/cmd/KEY/result` | QoS 1 | `{\"id\": …, \"state\": {…}}`, or `error` and `code` |",
        "",
    ]  # fmt: skip
    out.append(
        "With MQTT 5 the answer goes to the request's response topic, with its correlation data, if that is one of ours "
        "(`puppetcast/…/result`) or of `mqtt.response_topics`. Commands that the broker has "
        "retained are not done. While the broker is away nothing is kept for it but the present state, which is told when it "
        "is back. Of several servers with a `mqtt.server` each, the one that has a stream answers, and contradicts another that "
        "says late that the stream is gone or offline.\n"
    )
    out.append("    mosquitto_pub -t puppetcast/live/cmd/portrait -m drawing\n")
    out.append("## Commands\n")
    out += [*commands(), ""]
    out.append("## Home Assistant\n")
    names = [title for title, _ in (*homeassistant.SWITCHES.values(), *homeassistant.BUTTONS.values())]
    out.append(
        "Each stream is a device by itself (device discovery below `homeassistant/`, told again when Home Assistant starts): "
        "a camera, sensors for frame rate, age, skipped frames, face, viewers and trouble (why it stands still, or "
        "is animated more simply), selects for portrait, engine and what moves, "
        f"numbers for the gains and smoothing, and {', '.join(names)}. `mqtt.discovery: false` turns it off.\n"
    )
    return "\n".join(out)


def pages(app: FastAPI) -> dict[str, str]:
    """What is made from the code, by its path in the repository."""
    docs = {"configuration.md": configuration(), "http.md": http(app), "mqtt.md": mqtt(), "security.md": security(app)}
    return {f"docs/{name}": text for name, text in docs.items()} | {"configs/default.yaml": default_config.text()}


def main(folder: Path) -> None:
    from streamer.app import Server

    app = Server(Config.model_validate({"http": {"port": 0}, "downloads": {"fetch": False}})).http
    for name, text in pages(app).items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
