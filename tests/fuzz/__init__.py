"""What strangers can send, tried with what nobody would: `make fuzz`, and a short part of it in `make test`.

A target takes bytes and gives them to the program as somebody could send them. It raises for what must not happen alone: a
refusal in the program's own words is an answer. Inputs that were a fault once, and one good one of each kind, lie in
`corpus/TARGET/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


@contextmanager
def one_line(refusal: type[Exception]) -> Iterator[None]:
    """Such a refusal is an answer, if it is one line."""
    try:
        yield
    except refusal as exc:
        if len(str(exc).splitlines()) != 1:
            raise AssertionError(f"a refusal of several lines: {exc}") from exc
