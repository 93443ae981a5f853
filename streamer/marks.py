"""Whose mark pictures carry: the deployment, made once and kept, and a marker for each stream."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

from platformdirs import user_data_path

from pipeline.mark.marker import UNMARKED, Marker
from pipeline.mark.payload import Payload

from .config import Mark
from .errors import ConfigError

log = logging.getLogger(__name__)


def _today() -> date:
    return datetime.now(UTC).date()


class Marks:
    """Markers of one deployment. today: UTC. ConfigError where what was kept is not as it should be."""

    def __init__(self, config: Mark, today: Callable[[], date] = _today) -> None:
        self.enabled = config.enabled
        self.deployment = deployment(config) if config.enabled else None
        self._today = today

    def marker(self, stream: str) -> Marker:
        """What marks a stream's pictures; those of no stream with ''."""
        made_by, today = self.deployment, self._today
        return UNMARKED if made_by is None else Marker(lambda: Payload.of(made_by, stream, today()))


def deployment_file(config: Mark) -> Path:
    """Where a deployment that was made is kept."""
    return (config.deployment_file or user_data_path("puppetcast") / "deployment").expanduser()


def deployment(config: Mark) -> int:
    """The one of the config, or else the one that was made, now if need be. ConfigError."""
    if config.deployment is not None:
        return int(config.deployment, 16)
    path = deployment_file(config)
    with suppress(FileNotFoundError):
        return _read(path)
    made = secrets.randbelow(0xFFFF) + 1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(f"{made:04x}\n")
    except FileExistsError:  # another process was faster
        return _read(path)
    except OSError as exc:
        log.warning("mark: %s cannot be written (%s), so the mark says another deployment after each start; "
                    "set mark.deployment or mark.deployment_file", path, exc.strerror)  # fmt: skip
    return made


def _read(path: Path) -> int:
    try:
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"mark.deployment_file: {path}: {getattr(exc, 'strerror', None) or 'not text'}") from exc
    if not re.fullmatch("[0-9a-f]{4}", text):
        raise ConfigError(f"mark.deployment_file: {path}: four hexadecimal digits are expected; delete it and others are made")
    return int(text, 16)
