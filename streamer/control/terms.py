"""What is changed in a portrait's terms: whose face it shows, and who may drive it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline import passes
from pipeline.face.motion import Array
from pipeline.terms import OnlyFace, Terms, Whose

from ..config import Portraits
from ..errors import BadCommand
from .commands import Given

CHOICES = ", ".join(whose for whose in Whose if whose is not Whose.NOT_SAID)


class DriversChange(Given):
    """Who may drive a portrait; what is not named stays."""

    needs_pass: bool | None = Field(None, description="true makes a new pass, without which nobody may; false asks for none.")
    face: Literal["any", "shown"] | None = Field(
        None, description="shown: it moves for the face alone that it shows itself; any: for every driver's."
    )
    face_of: str | None = Field(
        None,
        description="Name of a stream: it moves for the face alone of whoever drives that now, of which eleven proportions are "
        "kept for it.",
    )

    @model_validator(mode="after")
    def _one_face(self) -> Self:
        if self.face is not None and self.face_of is not None:
            raise ValueError("either 'face' or 'face_of' is expected")
        return self


def changed(terms: Terms, change: DriversChange, enrolled: Array | None) -> tuple[Terms, str]:
    """The terms after a change, and the pass that was made for it; "" for none. enrolled: proportions of the face to enrol."""
    given = passes.made() if change.needs_pass else ""
    if change.needs_pass is not None:
        terms = replace(terms, lock=passes.lock_of(given) if given else "")
    if change.face is not None:
        terms = replace(terms, face=OnlyFace(change.face), enrolled=None)
    if enrolled is not None:
        terms = replace(terms, face=OnlyFace.ENROLLED, enrolled=tuple(enrolled.tolist()))
    return terms, given


def said(terms: Terms, whose: Whose | None, config: Portraits) -> Terms:
    """Those of a portrait that is uploaded with this said of it; BadCommand where it has to be said."""
    terms = terms if whose in (None, Whose.NOT_SAID) else replace(terms, whose=whose)
    if config.ask_whose == "always" and terms.whose is Whose.NOT_SAID:
        raise BadCommand(f"whose: say whose face it is: {CHOICES}")
    return terms
