"""What a user of `puppetcast fleet` gets wrong: one line that names the key and the cure."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from signal import SIGKILL, SIGTERM

import pytest
import yaml

from streamer.errors import ConfigError
from streamer.fleet import processes, ray_node, redis

from ..programs import absent, accepts, free_port, program
from ..waiting import wait_until

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


def test_mistakes_are_told_in_one_line(shell, guarded, tmp_path):
    if find_spec("ray") is None:
        absent("Ray", "pip install 'puppetcast[fleet]'")
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
    assert f"{token} is not here; copy it" in said("down"), "without it nothing tells its processes from another fleet's"
    token.write_text("of a fleet that does not run")
    assert "nothing of this fleet runs on this machine" in said("down")


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


def test_ray_is_asked_for_where_it_is_absent(monkeypatch):
    monkeypatch.setattr(ray_node, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"Ray is not installed; .* -m pip install 'puppetcast\[fleet\]'"):
        ray_node.check_installed()
