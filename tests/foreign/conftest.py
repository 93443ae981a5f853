"""What others wrote, from npm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ..programs import program

FOREIGN = Path(__file__).parent


def install(folder: Path) -> None:
    """What package.json names, and clients for browsers as one script."""
    for name in ("package.json", "entry.js", "obs.mjs", "relay.mjs"):
        shutil.copy(FOREIGN / name, folder)
    npm = [program("npm"), "install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(npm, cwd=folder, check=True, capture_output=True, timeout=180)
    esbuild = [str(folder / "node_modules" / ".bin" / "esbuild"), "entry.js", "--bundle", "--format=iife", "--outfile=out.js"]
    subprocess.run(esbuild, cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def installed(made_once) -> Path:
    """A folder with our scripts and what they need from npm."""
    return made_once("foreign", install)
