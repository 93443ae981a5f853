"""What goes with a portrait: whose face it shows, and who may drive it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from . import passes

VERSION = 1
NO_PASS = "only who has this portrait's pass may drive it"
WRONG_PASS = f"what was shown is no pass of this portrait's, or a grant that has ended; {NO_PASS}"


class Whose(StrEnum):
    """Whose face a portrait shows, as whoever brought it says: their own, that of somebody who agrees, one in a picture that is
    in the public domain, or nobody's: a drawing, an animal, a figure."""

    NOT_SAID = "not_said"
    MINE = "mine"
    CONSENT = "consent"
    PUBLIC_DOMAIN = "public_domain"
    DRAWN = "drawn"


class OnlyFace(StrEnum):
    """For which drivers' faces a portrait moves: any, the one that it shows itself, or one that was enrolled."""

    ANY = "any"
    SHOWN = "shown"
    ENROLLED = "enrolled"


@dataclass(frozen=True)
class Terms:
    """lock: see `passes`, "" for none. face: for whose face it moves; enrolled: `likeness.proportions` of that face, for
    OnlyFace.ENROLLED; None where it is not known here: it never goes with a file."""

    whose: Whose = Whose.NOT_SAID
    lock: str = ""
    face: OnlyFace = OnlyFace.ANY
    enrolled: tuple[float, ...] | None = None

    def data(self) -> dict[str, Any]:
        """For a file; without what an enrolled face is like."""
        return {"version": VERSION, "whose": str(self.whose), "lock": self.lock, "face": str(self.face)}

    @classmethod
    def read(cls, data: Any) -> Terms:
        """What a file holds, None for nothing; ValueError for what it may not, in words."""
        if data is None:
            return cls()
        if not isinstance(data, dict) or data.get("version") != VERSION:
            raise ValueError(f"says who may drive it in a way that this program does not know; it knows version {VERSION}")
        lock = data.get("lock", "")
        try:
            whose, face = Whose(data.get("whose", "not_said")), OnlyFace(data.get("face", "any"))
        except ValueError as exc:
            raise ValueError(f"says who may drive it in a way that cannot be read ({str(exc)[:80]})") from exc
        if lock != "" and not (isinstance(lock, str) and passes.is_lock(lock)):
            raise ValueError("says who may drive it in a way that cannot be read (no lock)")
        return cls(whose, lock, face)

    def refusal(self, shown: Sequence[str], now: Callable[[], float] = time.time) -> str:
        """Why somebody who has shown these passes and grants may not drive, in words; "" where they may."""
        if self.lock and not any(passes.opens(each, self.lock, now()) for each in shown):
            return WRONG_PASS if any(shown) else NO_PASS
        return ""


ANYBODY = Terms()  # nothing is said of a portrait, and anybody may drive it
