"""What `puppetcast serve` takes from the command line in place of the config's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..addresses import is_loopback
from ..config import Config, Http, Stream, changed
from ..errors import ConfigError

KEYS = [  # of the config, and options that set them, or what comes of them
    ("http.host", "--host"), ("http.port", "--port"), ("engine.name", "--engine"), ("streams.live.face", "--face"),
    ("streams.live.marks", "--marks"), *(("streams.live.portrait", option) for option in ("--portrait", "--face", "--marks")),
    *(("streams.live.path", option) for option in ("--clip", "--webcam", "--url")),
]  # fmt: skip
DRIVERS = {"--clip": "file", "--webcam": "webcam", "--url": "network"}
Points = list[tuple[float, float]]


def in_options(text: str, given: Sequence[str]) -> str:
    """What is wrong with a key of the config, said of the option that has set it. given: the options, such as "--url"."""
    for key, option in KEYS:
        for said in (f"{key}: ", f"command line: {key.rpartition('.')[2]}: "):
            if option in given and text.startswith(said):
                return f"{option}: {text.removeprefix(said).removeprefix(f'{option}: ')}"
    return text


def override(
    config: Config, host: str | None, port: int | None, portrait: str | None, clip: Path | None, webcam: str | None,
    url: str | None, engine: str | None, face: int | None = None, marks: Points | None = None, lan: bool = False,
    sinks: Sequence[str] = (),
) -> Config:  # fmt: skip
    """`config` with the options that are given, checked; ConfigError names an option that cannot be followed. sinks: kinds of
    outputs, of the stream 'live'."""
    http: dict[str, Any] = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    if lan:
        http = _of_lan(config.http, http)
    sections: dict[str, Any] = {"http": changed(config.http, http), "streams": dict(config.streams)}
    others: dict[str, tuple[str, Any]] = {
        "--portrait": ("portrait", portrait),
        "--face": ("face", face),
        "--marks": ("marks", marks),
    }
    for kind in sinks:
        others[f"--{kind.replace('_', '-')}"] = "sinks", [kind]
    for change in _of_live(config, clip, webcam, url, others):
        live = sections["streams"]["live"]
        if "sinks" in change:
            change = {"sinks": _with(live, change["sinks"])}
        sections["streams"]["live"] = changed(live, change)
    if engine is not None:
        sections["engine"] = changed(config.engine, {"name": engine})
    return config.model_copy(update=sections)


def _of_lan(http: Http, given: dict[str, Any]) -> dict[str, Any]:
    """What '--lan' makes of the section, with a certificate where the config has none."""
    from ..http.certificate import own_certificate
    from ..http.lan import lan_addresses

    host = given.get("host") or http.host
    if is_loopback(host):
        if "host" in given:
            raise ConfigError(f"--host and --lan: no phone reaches {host}; leave one of them out")
        host = "0.0.0.0"
    files = (
        {} if http.tls_certificate else dict(zip(("tls_certificate", "tls_key"), own_certificate(lan_addresses()), strict=True))
    )
    return {**given, "host": host, **files}


def _with(stream: Stream, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Its sinks, and one of each kind that it has none of."""
    own = [sink.model_dump() for sink in stream.sinks]
    return own + [{"kind": kind} for kind in kinds if kind not in {sink.kind for sink in stream.sinks}]


def _of_live(
    config: Config, clip: Path | None, webcam: str | None, url: str | None, others: dict[str, tuple[str, Any]]
) -> list[dict[str, Any]]:
    """What the options change in the stream 'live'; ConfigError where that cannot be done. others: key and value by option."""
    if url is not None and not url.strip():
        raise ConfigError("--url: is empty; an address is expected, such as rtsp://camera/stream")
    drivers = {option: (kind, path) for (option, kind), path in zip(DRIVERS.items(), (clip, webcam, url), strict=True)}
    given: dict[str, dict[str, Any]] = {
        option: {"source": kind, "path": str(path)} for option, (kind, path) in drivers.items() if path is not None
    }
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)}: only one of them can drive; leave the others out")
    given |= {option: {key: value} for option, (key, value) in others.items() if value is not None}
    if "--portrait" in given:
        given["--portrait"] |= {"face": None, "marks": None}  # those of the config are for its own picture
    if given and "live" not in config.streams:
        raise ConfigError(
            f"{' and '.join(given)}: meant for the stream 'live', which this config does not have; "
            f"its streams: {', '.join(config.streams) or 'none'}"
        )
    return list(given.values())
