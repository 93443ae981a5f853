"""Signed statements in what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from .section import Section


class Signing(Section):
    """Signed statements (C2PA) of what a file is: in recordings, snapshots, saved last seconds, and files of animate and pose."""

    enabled: bool = Field(True, description="Whether what is saved carries a signed statement that it was made with AI.")
    certificate: Path | None = Field(
        None,
        description="Certificate to sign with, a PEM file with all of its chain, the own one first. Its key is signing.key. If "
        "not set, one is made at the first start, which nobody else vouches for.",
    )
    key: Path | None = Field(None, description="Private key of signing.certificate, a PEM file without a password.")
    folder: Path | None = Field(
        None,
        description="Folder that keeps the key that is made. If not set, 'signing' in the user's data folder.",
    )
    time_authority: str = Field(
        "", description="Address of a time-stamping authority (RFC 3161) that says when a file was signed. If empty, none does."
    )

    @model_validator(mode="after")
    def _has_both_files(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together; set both, or neither")
        return self
