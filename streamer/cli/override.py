"""What `puppetcast serve` takes from the command line in place of the config's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import Config, changed
from ..errors import ConfigError

Points = list[tuple[float, float]]


def override(
    config: Config, host: str | None, port: int | None, portrait: str | None, clip: Path | None, webcam: str | None,
    url: str | None, engine: str | None, face: int | None = None, marks: Points | None = None,
) -> Config:  # fmt: skip
    """`config` with the options that are given, checked; ConfigError names an option that cannot be followed."""
    http = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    sections: dict[str, Any] = {"http": changed(config.http, http), "streams": dict(config.streams)}
    portraits = {"--portrait": ("portrait", portrait), "--face": ("face", face), "--marks": ("marks", marks)}
    for change in _of_live(config, clip, webcam, url, portraits):
        sections["streams"]["live"] = changed(sections["streams"]["live"], change)
    if engine is not None:
        sections["engine"] = changed(config.engine, {"name": engine})
    return config.model_copy(update=sections)


def _of_live(
    config: Config, clip: Path | None, webcam: str | None, url: str | None, portraits: dict[str, tuple[str, Any]]
) -> list[dict[str, Any]]:
    """What the options change in the stream 'live'; ConfigError where that cannot be done. portraits: key and value by option."""
    drivers = {"--clip": ("file", clip), "--webcam": ("webcam", webcam), "--url": ("network", url)}
    given: dict[str, dict[str, Any]] = {
        option: {"source": kind, "path": str(path)} for option, (kind, path) in drivers.items() if path is not None
    }
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)}: only one of them can drive; leave the others out")
    given |= {option: {key: value} for option, (key, value) in portraits.items() if value is not None}
    if "--portrait" in given:
        given["--portrait"] |= {"face": None, "marks": None}  # those of the config are for its own picture
    if given and "live" not in config.streams:
        raise ConfigError(
            f"{' and '.join(given)}: meant for the stream 'live', which this config does not have; "
            f"its streams: {', '.join(config.streams) or 'none'}"
        )
    return list(given.values())
