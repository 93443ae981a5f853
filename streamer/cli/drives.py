"""`puppetcast drives`: who drove which portrait when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..config import load_config
from .console import one_line_errors


def drives(
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML) of the server.")] = None,
    stream: Annotated[str | None, typer.Option(help="Those of this stream alone.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them instead.")] = False,
) -> None:
    """Show who drove which portrait when, as the server on this machine keeps it (drives.keep), or delete that.

    Times are those of this machine. Each line says what is so from then on, until its stream's next.
    """
    from ..control.drives import Drive, DriveLog

    def line(drive: Drive) -> str:
        who = " ".join(part for part in (drive.driver, drive.name, drive.address) if part)
        why = f" ({drive.refused})" if drive.refused else ""
        return f"{drive.at.astimezone():%Y-%m-%d %H:%M:%S}  {drive.stream}  {drive.portrait}  {who}{why}"

    with one_line_errors():
        log = DriveLog(load_config(config).drives)
        if delete:
            log.delete(stream)
            return
        for drive in log.drives(stream):
            typer.echo(line(drive))
