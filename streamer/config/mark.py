"""What pictures say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from .section import Section, written

Deployment = Annotated[
    str, written("(?!0000)[0-9a-f]{4}", "a deployment has four hexadecimal digits in quotes, such as '1f0e', and is not 0000")
]


class Mark(Section):
    """The invisible mark of animated pictures, which `puppetcast identify` finds."""

    enabled: bool = Field(True, description="Whether animated pictures are marked. Only this file can change it.")
    deployment: Deployment | None = Field(
        None, description="What the mark says of who made a picture: four hexadecimal digits. If not set, they are made once."
    )
    deployment_file: Path | None = Field(
        None,
        description="File that keeps the digits that were made. If not set, 'deployment' in the user's data folder.",
    )
