"""How this very installation is called: what somebody is told to run has to run as it is typed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from shutil import which
from sysconfig import get_path


def command(words: str) -> str:
    """`puppetcast` with these words: by its name where a shell finds this one by it, else by its whole path."""
    own, found = which("puppetcast", path=get_path("scripts")), which("puppetcast")
    if own is None:
        return f"{_python()} -m streamer {words}"
    return f"{'puppetcast' if found and Path(found).samefile(own) else _quoted(own)} {words}"


def pip_install(extra: str) -> str:
    """What brings an extra into this installation, whichever pip a shell finds first."""
    return f"{_python()} -m pip install 'puppetcast[{extra}]'"


def _python() -> str:
    return _quoted(sys.executable)


def _quoted(path: str) -> str:
    return subprocess.list2cmdline([path]) if sys.platform == "win32" else shlex.quote(path)
