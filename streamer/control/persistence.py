"""What was changed while live, kept from one start to the next."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Memory:
    """A JSON file of commands by stream; without a path nothing is kept. Trouble with the file never stops a stream."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._kept: dict[str, dict[str, Any]] = _read(path) if path is not None and path.exists() else {}

    def recall(self, name: str) -> dict[str, Any]:
        """What was kept of a stream."""
        return dict(self._kept.get(name, {}))

    def keep(self, name: str, state: dict[str, Any]) -> None:
        """Write what is to be kept of a stream, whole or not at all."""
        if self._path is None or self._kept.get(name, {}) == state:
            return
        self._kept[name] = state
        self._write(self._path)

    def forget(self, name: str) -> None:
        """Keep nothing of a stream any more."""
        if self._kept.pop(name, None) and self._path is not None:
            self._write(self._path)

    def _write(self, path: Path) -> None:
        part = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(self._kept, indent=1), "utf-8")
            os.replace(part, path)
        except OSError as exc:
            with suppress(OSError):
                part.unlink()
            log.warning("persistence.file: %s cannot be written (%s); changes are not kept", path, exc.strerror or exc)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        data = json.loads(path.read_text("utf-8"))
        if isinstance(data, dict) and all(isinstance(state, dict) for state in data.values()):
            return data
        problem = "not a mapping of streams"
    except (OSError, ValueError) as exc:
        problem = str(exc)
    log.warning("persistence.file: %s cannot be used (%s); it is written anew with the next change", path, problem)
    return {}
