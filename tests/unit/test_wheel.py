"""What is installed: a wheel with the licence, the page and the configuration in it."""

from __future__ import annotations

import subprocess
import sys
from email.parser import Parser
from zipfile import ZipFile

from ..conftest import ROOT


def test_the_wheel_is_whole(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    [path] = tmp_path.glob("*.whl")
    with ZipFile(path) as wheel:
        names = set(wheel.namelist())
        [about] = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(wheel.read(about).decode())
        licence = wheel.read(about.replace("METADATA", "licenses/LICENSE")).decode()
    assert (metadata["License-Expression"], metadata.get_all("License-File")) == ("Apache-2.0", ["LICENSE"])
    assert licence == (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert {
        "streamer/_data/web/index.html",
        "streamer/_data/configs/default.yaml",
        "pipeline/portraits/demo.mp4",
        "pipeline/mesh/teeth.png",
    } <= names
