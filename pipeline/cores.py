"""How many cores this process may use: in a container, or bound to some of them, fewer than the machine has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

MOUNT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def available(mount: Path = MOUNT, own: Path = OWN) -> float:
    """Cores that the affinity allows and the quotas of its control groups (Linux, cgroup v1 and v2) leave; may be no whole
    number."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([float(bound), *_quotas(mount, own)])


def whole(cores: float) -> int:
    """Threads for so many cores."""
    return max(math.ceil(cores), 1)


def _quotas(mount: Path, own: Path) -> Iterator[float]:
    """Cores by the quota of each group that the process is in, and of those around it."""
    for line in _words(own, lines=True):
        _, controllers, path = line.split(":", 2)
        if not controllers:  # v2
            yield from (_share(_words(folder / "cpu.max")) for folder in _up(mount, path))
        elif "cpu" in controllers.split(","):
            roots = [root for root in (mount / controllers, mount / "cpu") if root.is_dir()][:1]
            for folder in (folder for root in roots for folder in _up(root, path)):
                yield _share([*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")])


def _up(root: Path, path: str) -> list[Path]:
    """A group's folder, and those around it; in a container the path may be one of the host's, which is not there."""
    inner = root / path.strip("/")
    return [inner, *(each for each in inner.parents if each.is_relative_to(root))]


def _share(words: list[str]) -> float:
    """Quota by period; infinite where there is none: "max" (v2), or -1 (v1)."""
    try:
        quota, period = map(int, words)
    except ValueError:
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf


def _words(file: Path, lines: bool = False) -> list[str]:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    return [line for line in text.splitlines() if line.count(":") >= 2] if lines else text.split()
