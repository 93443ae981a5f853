"""What `puppetcast serve` takes from the command line in place of the config's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import Config, changed
from ..errors import ConfigError


def override(
    config: Config, host: str | None, port: int | None, portrait: str | None, clip: Path | None, webcam: str | None,
    url: str | None, engine: str | None,
) -> Config:  # fmt: skip
    """`config` with the options that are given, checked; ConfigError names an option that cannot be followed."""
    http = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    sections: dict[str, Any] = {"http": changed(config.http, http), "streams": dict(config.streams)}
    for change in _of_live(config, portrait, clip, webcam, url):
        sections["streams"]["live"] = changed(sections["streams"]["live"], change)
    if engine is not None:
        sections["engine"] = changed(config.engine, {"name": engine})
    return config.model_copy(update=sections)


def _of_live(
    config: Config, portrait: str | None, clip: Path | None, webcam: str | None, url: str | None
) -> list[dict[str, str]]:
    """What the options change in the stream 'live'; ConfigError where that cannot be done."""
    drivers = {"--clip": ("file", clip), "--webcam": ("webcam", webcam), "--url": ("network", url)}
    given = {option: {"source": kind, "path": str(path)} for option, (kind, path) in drivers.items() if path is not None}
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)}: only one of them can drive; leave the others out")
    if portrait is not None:
        given["--portrait"] = {"portrait": portrait}
    if given and "live" not in config.streams:
        raise ConfigError(
            f"{' and '.join(given)}: meant for the stream 'live', which this config does not have; "
            f"its streams: {', '.join(config.streams) or 'none'}"
        )
    return list(given.values())
