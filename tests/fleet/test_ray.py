"""The fleet on Ray: two nodes on one machine, Redis, and everything that may die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from ..conftest import ROOT
from ..programs import absent, program
from .on_ray import STREAMS


@pytest.mark.fleet
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_fleet_on_ray_outlives_its_parts(model):
    if find_spec("ray") is None:
        absent("Ray", "pip install 'puppetcast[fleet]'")
    for needed in ("redis-server", "unshare", "ip"):
        program(needed)
    if os.geteuid():
        absent("root", "namespaces of their own need it")
    inside = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.fleet.on_ray"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not inside.returncode, inside.stdout + inside.stderr
    told = json.loads(inside.stdout.splitlines()[-1])
    assert told["put"] == [201] * 4
    assert told["placed"] == ["w0", "w0", "w1", "w1"]
    assert told["mirrored"] == 200
    assert told["after the kill"], "it goes on as it was"
    assert told["another process"]
    assert (told["without a head"], told["new without a head"]) == (200, 503)
    assert told["up again"] == "the fleet runs; 'puppetcast fleet status' tells of it\n"
    assert "its head or its Redis is away, and nothing new begins" in told["status without a head"]
    assert "is away, and nothing new begins" not in told["status"]
    assert "the fleet's head is back, at 127.0.0.1:6380" in told["head"]
    assert told["shows the password"] == []
    assert "Redis has kept a fleet" in told["up after an unclean end"]
    assert "the fleet is ready" in told["up after an unclean end"]
    assert told["streams after it"] == sorted(STREAMS)
    assert "is away: what of the fleet runs on this machine ends" in told["down without a head"]
    assert told["left"] == []
    assert told["the stand-in directs"]
    assert told["streams of the new director"] == sorted(STREAMS)
    assert told["drained"] == []
    assert "drains" in told["status"]
    everywhere = {
        each.split()[0].rpartition(":")[2] for each in told["listening"] if each.startswith(("*:", "0.0.0.0:", "[::]:"))
    }
    assert not everywhere & set(told["ours"]), "front, workers and Redis listen where they are told to; Ray's do not"
