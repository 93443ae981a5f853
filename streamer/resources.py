"""What the process has: folders of data, and file descriptors."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def folder(name: str) -> Path:
    """The folder `name` of the project's data."""
    # They lie inside an installed package, or beside it in a checkout.
    here = Path(__file__).parent
    inside = here / "_data" / name
    return inside if inside.is_dir() else here.parent / name


def descriptors_left() -> float:
    """How many files and sockets this process may still open; infinity where that cannot be told."""
    try:
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return float("inf") if most == resource.RLIM_INFINITY else most - len(os.listdir("/proc/self/fd"))
    except (ImportError, OSError):  # no Unix, no /proc, or none left to look with
        return 0.0 if sys.platform == "linux" else float("inf")
