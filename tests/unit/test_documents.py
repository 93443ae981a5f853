"""Every command of the README is run, and the references are what the code says."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from pipeline.liveportrait.files import is_installed
from pipeline.portrait import BUNDLED, bundled, save_puppet
from pipeline.puppetfile import About
from streamer.config import Config
from tools.reference import pages

from ..commands import Commands
from ..conftest import ROOT, run_server
from ..media import beginning
from ..programs import free_port
from ..waiting import wait_until

SERVES = "serves"
LACKING = "says: " + ("models fetch liveportrait" if is_installed() else "pip install 'puppetcast[liveportrait]'")


def commands() -> list[str]:
    """The indented lines of the README that begin with a program of ours."""
    lines = re.findall(r"^    ((?:puppetcast|make) [^\n#]*?)\s*(?:#.*)?$", (ROOT / "README.md").read_text(), re.MULTILINE)
    return [line.strip() for line in lines]


# What each of them does here: it serves, it succeeds, or it says in one line what is missing on this machine.
EXPECTED: dict[str, str] = {
    "puppetcast devices": "ends",
    "puppetcast doctor": "ends",
    "puppetcast serve --webcam 0": "says: no camera '0' here",
    "puppetcast serve --url rtsp://user:password@camera/stream": SERVES,
    "puppetcast serve --clip talk.mp4": SERVES,
    "puppetcast serve --config configs/default.yaml": SERVES,
    "puppetcast token": "says: auth: there is no token, and on a loopback address none is needed",
    "puppetcast animate face.jpg talk.mp4 -o out.mp4": "makes: out.mp4",
    "puppetcast animate face.jpg clips/ -o puppets/ --format gif --fps 15 --size 480": "makes: puppets/short.gif",
    "puppetcast pose face.jpg -o posed.png --yaw 10 --smile 0.6": "builds: posed.png",
    "puppetcast puppet make talk.mp4 -o me.puppet": "builds: me.puppet",
    "puppetcast animate me.puppet talk.mp4 --engine mesh -o puppet.mp4": "makes: puppet.mp4",
    "puppetcast models list": "ends",
    "puppetcast models fetch liveportrait": "says: liveportrait",
    "puppetcast serve --engine liveportrait": LACKING,
    "puppetcast animate face.jpg talk.mp4 --engine liveportrait --side-by-side -o beside.mp4": LACKING,
    "puppetcast template make talk.mp4 -o talk.safetensors": "builds: talk.safetensors",
    "puppetcast verify --checkpoints DIR --golden FILE.npz": "says: FILE.npz: No such file" if is_installed() else LACKING,
    "make run": "make",
    "make test": "make",
    "make proofs": "make",
    "make quick": "make",
    "make check": "make",
    "make bench": "make",
}


def test_the_readme_has_no_command_that_is_not_run():
    assert set(commands()) == set(EXPECTED)


@pytest.fixture(scope="module")
def desk(tmp_path_factory, model) -> Path:
    """A folder with what the README's commands name."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copy(str(BUNDLED / "astronaut.jpg"), folder / "face.jpg")
    beginning(BUNDLED / "demo.mp4", folder / "talk.mp4", 120)
    (folder / "clips").mkdir()
    beginning(BUNDLED / "demo.mp4", folder / "clips" / "short.mp4", 20)
    save_puppet(bundled("astronaut"), folder / "me.puppet", About("me"))
    (folder / "configs").mkdir()
    shutil.copy(ROOT / "configs" / "default.yaml", folder / "configs")
    return folder


@pytest.mark.long
@pytest.mark.parametrize("command", [c for c, e in EXPECTED.items() if e != "make"])
def test_the_commands_of_the_readme(command, desk, monkeypatch, shell):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # no network is needed to see that it would be asked
    monkeypatch.setenv("PUPPETCAST_DOWNLOADS__FETCH", "false")
    monkeypatch.setenv("PUPPETCAST_HTTP__PORT", "0")  # another may have the usual one
    monkeypatch.setenv("PUPPETCAST_AUTH__TOKEN_FILE", str(desk / "token"))
    expected = EXPECTED[command]
    if expected.startswith("builds: "):  # what is there already would not be replaced
        (desk / expected.partition(": ")[2]).unlink(missing_ok=True)
    for words in alternatives(command):
        if expected == SERVES:
            serves(shell, words, desk)
            continue
        arguments = words + (["--max-frames", "20"] if expected.startswith("makes") else [])
        done = shell.run(arguments, desk)
        said = " ".join(done.said.split())
        assert "Traceback" not in said
        if expected.startswith("says: "):
            assert done.code == 2, said
            assert expected.removeprefix("says: ") in said
        else:
            assert done.code == 0, said
        if expected.startswith(("makes: ", "builds: ")):
            assert (desk / expected.partition(": ")[2]).stat().st_size > 1000


def alternatives(command: str) -> list[list[str]]:
    """The words after the program; "a | b" are two commands."""
    *before, last = command.split()[1:] if " | " not in command else command.split(" | ")[0].split()[1:]
    others = command.split(" | ")[1:]
    return [[*before, last], *([*before, other] for other in others)]


def serves(shell: Commands, words: list[str], desk: Path) -> None:
    port = free_port()
    process = shell.start([*words, "--port", port], desk)
    try:
        wait_until(lambda: ready(port))
    finally:
        os.kill(process, signal.SIGTERM)
        done = shell.ended(process)
    assert done.code == 0, done.said


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_targets_of_make_are_there():
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command, expected in EXPECTED.items():
        if expected == "make":
            assert command.split()[1] in targets
            done = subprocess.run(["make", "-n", command.split()[1]], cwd=ROOT, capture_output=True, check=False)
            assert done.returncode == 0


def test_references_are_made_from_the_code(model):
    with run_server() as server:
        for name, text in pages(server.http).items():
            assert (ROOT / name).read_text() == text, "run 'make docs'"


def documented_defaults() -> dict[str, str]:
    """The defaults of docs/configuration.md by key, such as "http.port"."""
    section, found = "", {}
    for line in (ROOT / "docs" / "configuration.md").read_text().splitlines():
        if line.startswith("## "):
            section = re.sub("^streams.NAME", "streams.live", line.removeprefix("## "))
        elif row := re.match(r"\| `(\w+)` \| [^|]* \| `([^|]*)` \|", line):
            found[f"{section}.{row[1]}"] = row[2]
    return found


def test_documented_defaults_are_those_of_the_code(monkeypatch):
    for variable in [v for v in os.environ if v.startswith("PUPPETCAST_")]:
        monkeypatch.delenv(variable)
    defaults = {k: v for k, v in documented_defaults().items() if "[]" not in k and ".NAME" not in k}  # made by the user
    assert len(defaults) > 80
    for key, told in defaults.items():
        value = functools.reduce(lambda section, name: section[name], key.split("."), Config().model_dump(mode="json"))
        read = None if told == "none" else yaml.safe_load(told)
        assert (read, isinstance(read, bool)) == (value, isinstance(value, bool)), key


def test_every_test_that_a_document_names_is_there():
    there = {name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}
    for document in (ROOT / "docs").glob("*.md"):
        named = set(re.findall(r"`(test_\w+)`", document.read_text()))
        assert named <= there, f"{document.name}: {sorted(named - there)}"


def test_every_attack_has_its_test():
    part = (ROOT / "docs" / "security.md").read_text().partition("### Row by row")[2].partition("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("| ") and not line.endswith("| Test |")]
    assert len(rows) > 90
    assert [row for row in rows if not re.search(r"`test_\w+` \|$", row)] == []


def test_links_between_documents_lead_somewhere():
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
