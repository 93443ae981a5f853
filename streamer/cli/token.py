"""`puppetcast token`: links to a server, for its owner and for guests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from ..config import Config, check_name, load_config
from ..errors import ConfigError
from .console import one_line_errors

HOLDS = 60  # minutes


def token(
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML) of the server.")] = None,
    view: Annotated[str | None, typer.Option(metavar="STREAM", help="A link with which to watch this stream.")] = None,
    publish: Annotated[
        str | None, typer.Option(metavar="STREAM", help="A link with which to watch this stream, and to drive it with a camera.")
    ] = None,
    control: Annotated[
        str | None, typer.Option(metavar="STREAM", help="A link with which to watch, drive and control this stream.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.1, max=525_600, help="How long that link holds. Default: 60.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Address of the server, such as https://puppet.example.org. Default: by its configuration.")
    ] = None,
) -> None:
    """Show the link to the server, with its token; or make one for a stream alone that holds for a while.

    Such a link is signed with the token: it ends before its time only when the token is changed.
    """
    with one_line_errors():
        typer.echo(_link(load_config(config), {"view": view, "publish": publish, "control": control}, minutes, address))


def _link(config: Config, wanted: dict[str, str | None], minutes: float | None, address: str | None) -> str:
    from ..http.rights import Right
    from ..http.tokens import Tokens, kept_token, token_file
    from ..http.web import address_for

    given = {right: stream for right, stream in wanted.items() if stream is not None}
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(f'--{right}' for right in given)}: each includes those before it; give one of them")
    if not given and minutes is not None:
        raise ConfigError("--minutes: the owner's link holds for ever; make one of --view, --publish or --control STREAM")
    if address is not None and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", address):
        raise ConfigError(f"--address: '{address}': an address such as https://puppet.example.org is expected")
    for right, stream in given.items():
        try:
            check_name(stream)
        except ConfigError as exc:
            raise ConfigError(f"--{right}: '{stream}': {str(exc).partition(f'streams.{stream}: ')[2] or exc}") from exc
    own = config.auth.token or kept_token(config.auth)
    if not own:
        raise ConfigError(
            "auth: there is no token, and on a loopback address none is needed; set auth.token, or start the server on another "
            f"address, which makes one and keeps it in {token_file(config.auth)}"
        )
    page = address.rstrip("/") if address else address_for(config, config.http.port)
    if not address:
        typer.echo(
            f"for a server at {page}, as the configuration has it; of one that was started with --lan, --host or --port, or lies "
            "behind a proxy, give the address with '--address https://…'",
            err=True,
        )
    if not given:
        return f"{page}/#token={quote(own, safe='')}"
    [(right, stream)] = given.items()
    if stream not in config.streams:
        typer.echo(
            f"--{right}: the configuration has no stream '{stream}' (streams: {', '.join(config.streams)}); "
            "the link serves one that is begun while the server runs",
            err=True,
        )
    auth = config.auth.model_copy(update={"token": own})
    return f"{page}/?stream={stream}#token={Tokens(auth).link(Right[right.upper()], stream, minutes or HOLDS)}"
