"""Whose mark pictures carry: the deployment, made once and kept, and a marker for each stream."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from pipeline.mark.marker import UNMARKED, Marker
from pipeline.mark.payload import Payload
from pipeline.offline.identify import Verdict

from .config import Mark
from .errors import ConfigError

log = logging.getLogger(__name__)


def _today() -> date:
    return datetime.now(UTC).date()


class Deployment:
    """Who makes pictures here, and markers that say so. id: 16 bits; None where nothing is marked. today: UTC.
    ConfigError where what was kept is not as it should be."""

    def __init__(self, config: Mark, today: Callable[[], date] = _today) -> None:
        self.id = (known(config) or _made(deployment_file(config))) if config.enabled else None
        self._today = today

    def marker(self, stream: str) -> Marker:
        """What marks a stream's pictures; those of no stream with ''."""
        made_by, today = self.id, self._today
        return UNMARKED if made_by is None else Marker(lambda: Payload.of(made_by, stream, today()))


def deployment_file(config: Mark) -> Path:
    """Where a deployment that was made is kept."""
    return (config.deployment_file or user_data_path("puppetcast") / "deployment").expanduser()


def known(config: Mark) -> int | None:
    """The one of the config, or else the one that was made; None before that. ConfigError."""
    return _read(deployment_file(config)) if config.deployment is None else int(config.deployment, 16)


def _made(path: Path) -> int:
    made = secrets.randbelow(0xFFFF) + 1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(f"{made:04x}\n")
    except FileExistsError:  # another process was faster
        return _read(path) or made
    except OSError as exc:
        log.warning("mark: %s cannot be written (%s), so the mark says another deployment after each start; "
                    "set mark.deployment or mark.deployment_file", path, exc.strerror)  # fmt: skip
    return made


def _read(path: Path) -> int | None:
    try:
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"mark.deployment_file: {path}: {getattr(exc, 'strerror', None) or 'not text'}") from exc
    if not re.fullmatch("(?!0000)[0-9a-f]{4}", text):
        raise ConfigError(f"mark.deployment_file: {path}: four hexadecimal digits are expected; delete it and others are made")
    return int(text, 16)


def told(found: Verdict, ours: int | None) -> dict[str, Any]:
    """What a verdict says, as JSON has it. ours: this deployment."""
    said: dict[str, Any] = {"marked": found.payload is not None, "windows": found.windows, "windows_marked": found.marked}
    if (payload := found.payload) is None:
        return said
    return said | {
        "log10_chance": found.log10_chance, "scale": found.scale, "payload": payload.hex, "version": payload.version,
        "deployment": f"{payload.deployment:04x}", "ours": payload.deployment == ours, "stream": payload.stream,
        "day": payload.date.isoformat(),
    }  # fmt: skip
