"""The OpenAPI description: refusals have one shape, whatever refuses, and each operation says which it knows."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response

WORDS = {
    "400": "The body cannot be read, or is an offer that cannot be used",
    "401": "A token is missing or wrong",
    "403": "The token lacks the right, or a page of another site asks",
    "404": "There is none of that name",
    "408": "The body did not come in time",
    "409": "Something else is in the way",
    "410": "Another has taken over",
    "412": "If-Match names another ICE session than the one that runs",
    "413": "The body is too large",
    "415": "The body is of another kind than what is taken",
    "416": "It has no such range",
    "421": "The server does not go by that name",
    "422": "What was sent is not what is taken",
    "428": "A restart of ICE needs If-Match",
    "429": "Too much was asked, or too many wrong tokens came, from one address",
    "503": "There is no room now, or nothing to show yet; Retry-After says when to ask again",
    "507": "It cannot be put on the disk",
}
# Of every operation; of those whose path has a name, that take something.
ALWAYS, NAMED, BODY = ("401", "403", "421", "429"), ("404",), ("408", "413", "422")
OFFERS = ("400", "408", "409", "413", "415", "503")
# What only some operations answer.
MORE: dict[str, tuple[str, ...]] = {
    "post /live/{name}/whip": OFFERS, "post /live/{name}/whep": OFFERS,
    "patch /live/{name}/sessions/{session}": ("400", "408", "409", "410", "412", "413", "415", "428"),
    **{f"{method} /live/{{name}}/sessions/{{session}}": ("410",) for method in ("get", "head", "options")},
    "get /live/{name}/snapshot.jpg": ("503",), "head /live/{name}/snapshot.jpg": ("503",),
    "get /live/{name}/snapshot.png": ("503",), "get /api/events": ("503",),
    "get /live/{name}/mjpeg": ("503",), "head /live/{name}/mjpeg": ("503",),
    "patch /api/streams/{name}": ("409", "503"),
    "post /api/portraits": ("400", "409", "503", "507"), "post /api/portraits/preview": ("400", "503"),
    "patch /api/portraits/{key}": ("409", "507"), "put /api/portraits/{key}/face": ("409", "507"),
    "put /api/presets/{name}": ("409", "507"), "delete /api/presets/{name}": ("422", "507"),
    "post /api/puppets": ("503", "507"), "get /api/recordings/{name}": ("400", "416"),
}  # fmt: skip
REST = "Any other refusal"
PROBLEM = {
    "type": "object", "title": "Problem", "required": ["detail", "code"],
    "properties": {
        "detail": {"type": "string", "description": "What is wrong, in a line for people."},
        "code": {"type": "string", "description": "The name of the error, for programs."},
    },
}  # fmt: skip


def gives(media: str = "", status: int = 200) -> dict[str, Any]:
    """Keywords of a route whose answer is no JSON: of that media type, or empty."""
    return {"response_class": Response, "responses": {status: {"content": {media: {}}}} if media else {}}


def describe(app: FastAPI) -> None:
    """Let the app's description say so."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = made()
            schemas = description["components"]["schemas"]
            schemas["Problem"] = PROBLEM
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            for path, operations in description["paths"].items():
                for method, operation in operations.items():
                    operation["responses"].update(_refusals(path, method, operation))
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _refusals(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    takes = "requestBody" in operation or "422" in operation["responses"] or method in ("post", "patch")
    known = {"421"} if path == "/healthz" else set(ALWAYS)
    known |= {*(NAMED if "{" in path else ()), *(BODY if takes else ())}
    known |= set(MORE.get(f"{method} {path}", ()))
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    words = {status: WORDS[status] for status in sorted(known)} | {"default": REST}
    return {status: {"description": text, "content": content} for status, text in words.items()}
