"""What `make` says while it installs, which takes minutes."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from ..conftest import ROOT

# In place of python3: makes a venv whose Python says what pip is asked for, and whose puppetcast what it is.
PYTHON = """#!/bin/sh
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "$@"\\n' > "$3/bin/python"
printf '#!/bin/sh\necho serves "$@" "$PUPPETCAST_HTTP__PORT"\n' > "$3/bin/puppetcast"
chmod +x "$3/bin/python" "$3/bin/puppetcast"
"""


@pytest.fixture
def setup(tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """A command that sets up a venv of its own, and its environment."""
    (tmp_path / "python3").write_text(PYTHON)
    (tmp_path / "python3").chmod(0o755)
    return ["make", "setup", f"VENV={tmp_path / 'venv'}"], {
        **{name: value for name, value in os.environ.items() if not name.startswith("MAKE")},  # which may have started us
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }


def test_it_says_what_it_installs_how_much_and_how_long(setup):
    command, environment = setup
    said = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "Installing puppetcast" in said[0]
    assert "GB" in said[0]
    assert "minutes" in said[0]
    assert all("--quiet" in line for line in said[1:3]), "a log is not filled with bars"
    again = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "Installing" not in again


def test_a_terminal_sees_the_progress(setup):
    command, environment = setup
    ours, theirs = pty.openpty()
    subprocess.run(command, env=environment, cwd=ROOT, stdout=theirs, check=True)
    os.close(theirs)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "-m pip install --no-compile --constraint" in said
    assert "--quiet" not in said


@pytest.mark.parametrize(("given", "served"), [([], "9001"), (["PORT=9000"], "--port 9000")])
def test_a_server_listens_where_it_is_told(setup, given, served):
    (make, _, venv), environment = setup
    run = [make, "run", "ENGINE=mesh", venv, *given]
    said = subprocess.run(
        run, env=environment | {"PUPPETCAST_HTTP__PORT": "9001"}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    [line] = [line for line in said.stdout.splitlines() if line.startswith("serves")]
    assert served in line
    assert ("--port" in line) == bool(given), "an option would come before the variable"
