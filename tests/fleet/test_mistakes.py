"""What a user of `puppetcast fleet` gets wrong: one line that names the key and the cure."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest
import yaml
from typer.testing import CliRunner

from streamer.cli.main import app
from streamer.config import Fleet
from streamer.errors import ConfigError
from streamer.fleet import processes, ray_node, redis

from ..conftest import ROOT
from ..programs import absent, accepts, free_port, program
from ..waiting import LIMIT_S, wait_until

PASSWORD = "a password of this test's"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[str]:
    """The address of a Redis server with a password."""
    yield from served(tmp_path_factory.mktemp("redis"), "--requirepass", PASSWORD)


@pytest.fixture
def unguarded(tmp_path) -> Iterator[str]:
    yield from served(tmp_path)


def served(folder, *options: str) -> Iterator[str]:
    port = free_port()
    command = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        try:
            wait_until(lambda: accepts(port))
            yield f"127.0.0.1:{port}"
        finally:
            running.terminate()


def refusal(address: str, password: str = PASSWORD) -> str:
    with pytest.raises(ConfigError) as caught:
        redis.check(address, password)
    return str(caught.value)


def test_redis_has_to_be_there_and_to_ask_for_the_password(guarded, unguarded):
    redis.check(guarded, PASSWORD)
    assert refusal("").startswith("fleet.ray.redis: not set")
    assert refusal(guarded, "").startswith("fleet.ray.redis_password: not set")
    assert "WRONGPASS" in refusal(guarded, "another")
    assert "lets everybody in; set requirepass" in refusal(unguarded)
    assert "no Redis answers at" in refusal(f"127.0.0.1:{free_port()}")


@pytest.fixture
def ray() -> None:
    if find_spec("ray") is None:
        absent("Ray", "pip install 'puppetcast[fleet]'")


def test_mistakes_are_told_in_one_line(ray, shell, guarded, tmp_path):
    port = free_port()
    token = tmp_path / "token"

    def said(*words: str, http: int = port, **ray: object) -> str:
        config = tmp_path / "fleet.yaml"
        config.write_text(yaml.safe_dump({"http": {"port": http}, "fleet": {"ray": {"token_file": str(token), **ray}}}))
        done = shell.run(["fleet", *words, config])
        assert done.code == 2, done.said
        assert done.said.count("\n") == 1, done.said
        return done.said

    assert "fleet.ray.redis: not set" in said("up")
    assert "fleet.ray.redis_password: 127.0.0.1" in said("up", redis=guarded, redis_password="another")
    assert "cannot listen on 127.0.0.1" in said("up", http=int(guarded.rpartition(":")[2]))
    assert f"{token} is not here; copy it" in said("join", "127.0.0.1:6380")
    assert f"no fleet answers at http://127.0.0.1:{port}" in said("status")
    assert "no fleet answers" in said("drain", "w0")
    assert "an address with its port is expected" in said("up", redis="10.0.0.1")
    assert "fleet.ray.port: ports from 10001 to 19999 are kept by Ray for its own processes" in said("up", port=18400)
    assert f"nothing of this fleet runs on this machine: its token, {token}, is not here" in said("down")
    token.write_text("of a fleet that does not run")
    assert "nothing of this fleet runs on this machine" in said("down")
    assert f"no fleet's head answers at 127.0.0.1:{port}; " in said("join", f"127.0.0.1:{port}")
    assert f"no fleet's head answers at {guarded}; " in said("join", guarded), "something else is there"
    assert "'nonsense' is no address of a fleet: HOST:PORT is expected" in said("join", "nonsense")


@pytest.mark.parametrize("hangs", [False, True], ids=["ended", "hangs"])
def test_a_fleet_whose_head_is_away_ends_all_the_same(ray, shell, tmp_path, hangs):
    token = tmp_path / "token"
    token.write_text("of this test's fleet")
    fleet = Fleet(ray={"token_file": token})
    config = tmp_path / "fleet.yaml"
    config.write_text(yaml.safe_dump({"fleet": {"ray": {"token_file": str(token)}}}))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1] if hangs else free_port()}"
        command = ["raylet", "-c", "sleep 600; true", "a node", f"--gcs-address={address}", "--node_ip_address=127.0.0.9"]
        with subprocess.Popen(command, executable="/bin/sh", env=os.environ | ray_node.mark(fleet)) as node:
            try:
                begun = shell.run(["fleet", "up", config])
                twice = shell.run(["fleet", "join", address, config, "--host", "127.0.0.9"])
                done = shell.run(["fleet", "down", config])
                assert node.wait(LIMIT_S) == -SIGTERM
            finally:
                processes.end(ray_node.running(fleet), 0)
    assert begun.said == f"error: this machine has joined the fleet of {address}; 'puppetcast fleet up' is for its first one\n"
    assert done.said == "warning: the fleet's head is away: what of the fleet runs on this machine ends, and nothing elsewhere\n"
    cure = "'puppetcast fleet down' there ends what it does"
    assert twice.said == f"error: 127.0.0.9 is one of the fleet's machines already; {cure}\n"
    assert (begun.code, twice.code, done.code) == (2, 2, 0)


def test_what_a_start_began_is_found_again_and_ended_and_nothing_else():
    command = ["sh", "-c", "sleep 600 & exec sleep 601"]
    with (
        subprocess.Popen(command, env=os.environ | {"OF_A_TEST": "one"}) as one,
        subprocess.Popen(command, env=os.environ | {"OF_A_TEST": "another"}, start_new_session=True) as another,
    ):
        found = wait_until(lambda: processes.marked("OF_A_TEST", "one"), holds=lambda found: len(found) == 2)
        assert one.pid in {each.pid for each in found}
        processes.end(found, 10)
        assert one.wait() == -SIGTERM
        assert another.poll() is None
        processes.end(processes.marked("OF_A_TEST", "another"), 0)
        assert another.wait() == -SIGKILL
    assert not processes.marked("OF_A_TEST", "one")


def test_a_process_ends_with_the_one_that_began_it_though_nobody_asked_how_that_ended():
    child = "from streamer.fleet.processes import end_with_parent; end_with_parent(0.05); print('begun', flush=True); input()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.kill()
        assert process.stdout.read() == "", "the child has ended: it had the other end of this pipe, too"
        assert Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_an_address_that_ray_would_not_keep_is_refused(ray, tmp_path, monkeypatch):
    monkeypatch.setattr("streamer.cli.fleet.lan_addresses", lambda: {"192.0.2.2": "eth0"})
    config = tmp_path / "fleet.yaml"
    config.write_text(yaml.safe_dump({"http": {"port": 0}, "fleet": {"ray": {"token_file": str(tmp_path / "token")}}}))
    done = CliRunner().invoke(app, ["fleet", "up", str(config), "--host", "127.0.0.1"])
    assert (done.exit_code, "--host 127.0.0.1: Ray would put 192.0.2.2 in its place" in done.output) == (2, True)


def test_ray_is_asked_for_where_it_is_absent(monkeypatch):
    monkeypatch.setattr(ray_node, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"Ray is not installed; .* -m pip install 'puppetcast\[fleet\]'"):
        ray_node.check_installed()
