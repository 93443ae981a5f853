"""What the command line says about this machine, and about an extra that is not installed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from sysconfig import get_path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from pipeline.installation import command, pip_install
from streamer.cli.main import app
from streamer.http.certificate import own_certificate

from ..conftest import ROOT, run_server


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as where the extra is not installed


@pytest.mark.usefixtures("no_torch")
def test_doctor_says_what_will_run_and_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUPPETCAST_MODELS", str(tmp_path))
    config = tmp_path / "c.yaml"
    config.write_text("{http: {port: 0}, downloads: {fetch: false}}")
    done = CliRunner().invoke(app, ["doctor", "--config", str(config), "--json"])
    assert done.exit_code == 0, done.output
    found = {each["name"]: each for each in json.loads(done.output)}
    assert found["engine"]["what"].startswith("mesh: PyTorch")
    assert found["face tracker"] == {
        "name": "face tracker", "ok": None, "cure": command("models fetch"),
        "what": "cascade, which is rough: the better ones' models are not here",
    }  # fmt: skip
    assert pip_install("liveportrait") in found["liveportrait"]["cure"]
    assert found["port"]["ok"]
    assert not list(tmp_path.glob("*.task")), "nothing is downloaded"


@pytest.mark.parametrize("found", [True, False], ids=["on the path", "by its whole path"])
def test_a_cure_runs_as_it_is_typed(found: bool, tmp_path: Path) -> None:
    """As after `make run`, which leaves no `puppetcast` on the path."""
    scripts = Path(get_path("scripts"))
    path = os.pathsep.join(["/usr/bin", "/bin", *([str(scripts)] if found else [])])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)} | {
        "PUPPETCAST_MODELS": str(tmp_path), "PUPPETCAST_DOWNLOADS__FETCH": "false", "PUPPETCAST_HTTP__PORT": "0",
    }  # fmt: skip
    said = subprocess.run([scripts / "puppetcast", "doctor", "--json"], env=environment, capture_output=True, check=True).stdout
    [cure] = [each["cure"] for each in json.loads(said) if each["name"] == "face tracker"]
    assert (cure == "puppetcast models fetch") == found
    typed = subprocess.run(f"{cure} --help", shell=True, env=environment, capture_output=True, check=True).stdout
    assert b"models fetch [OPTIONS]" in typed


def test_doctor_finds_what_would_keep_the_server_from_starting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = tmp_path / "c.yaml"
        config.write_text(f"http: {{port: {taken.getsockname()[1]}}}")
        done = CliRunner().invoke(app, ["doctor", "--config", str(config)])
    assert done.exit_code == 1
    assert "NO  port" in done.output
    assert "Address already in use" in done.output


@pytest.mark.parametrize("by", ["http", "https"])
def test_a_server_of_ours_is_not_in_its_own_way(by: str, tmp_path: Path) -> None:
    """Of https the configuration need not know: `--lan` brings it."""
    tls = {} if by == "http" else dict(zip(("tls_certificate", "tls_key"), own_certificate([], tmp_path), strict=True))
    with run_server(http=tls) as server:
        assert server.url.startswith(f"{by}://")
        environment = {"PUPPETCAST_HTTP__PORT": str(urlsplit(server.url).port)}
        done = CliRunner().invoke(app, ["doctor"], env=environment)
    assert done.exit_code == 0, done.output
    assert "ok  port               a puppetcast is running there already" in done.output


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    "command",
    [
        "serve --port 0 --engine liveportrait",
        "animate drawing pipeline/portraits/demo.mp4 --engine liveportrait -o {}/x.mp4",
        "template make pipeline/portraits/demo.mp4 --engine liveportrait -o {}/x.safetensors",
        "verify --checkpoints . --golden {}/x.npz",
        "models fetch liveportrait",
        "models verify liveportrait",
        "bench amp",
        "bench device",
    ],
)
def test_what_needs_pytorch_says_how_to_get_it(command: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, command.format(tmp_path).split())
    assert done.exit_code == 2, done.output
    assert f"needs PyTorch, which is not installed: {pip_install('liveportrait')}" in done.output


def test_the_page_is_opened_in_the_browser_of_the_user(tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\necho $1 > {tmp_path}/opened\n")
    browser.chmod(0o755)
    parts = "config=N(auth=N(token='')), is_token_new=False, control=N(deployment=N(id=None))"
    program = f"from types import SimpleNamespace as N; from streamer.cli.serve import _ready; _ready(True, N({parts}), 'http://127.0.0.1:1')"
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "BROWSER": f"{browser} %s"}, check=True)
    assert (tmp_path / "opened").read_text() == "http://127.0.0.1:1\n"


def test_the_engine_of_choice_needs_no_pytorch(no_torch: None) -> None:
    from pipeline.engine import choose
    from pipeline.liveportrait.options import Settings

    assert choose(Settings()) == ("mesh", "PyTorch, which the liveportrait engine needs, is not installed")
