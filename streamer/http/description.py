"""The OpenAPI description: refusals have one shape, whatever refuses, and each operation says which it knows."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

# Status and words: of every operation, of those that change something, whose path has a name, and that take something.
ALWAYS = {"401": "A token is missing or wrong", "429": "Too much was asked, or too many wrong tokens came, from one address"}
CHANGES = {"403": "A page of another site asks"}
NAMED = {"404": "There is none of that name"}
BODY = {"408": "The body did not come in time", "413": "The body is too large", "422": "What was sent is not what is taken"}
REST = "Any other refusal, as for a name that the server does not go by (421), or where something else is in the way (409, 503)"
PROBLEM = {
    "type": "object", "title": "Problem", "required": ["detail", "code"],
    "properties": {
        "detail": {"type": "string", "description": "What is wrong, in a line for people."},
        "code": {"type": "string", "description": "The name of the error, for programs."},
    },
}  # fmt: skip
SAFE = ("get", "head", "options")


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
    known = {} if path == "/healthz" else dict(ALWAYS)
    known |= CHANGES if method not in SAFE else {}
    known |= NAMED if "{" in path else {}
    known |= BODY if "requestBody" in operation or "422" in operation["responses"] or method in ("post", "patch") else {}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in {**known, "default": REST}.items()}
