"""A fleet that is made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamer.fleet.plan import Plan
from streamer.fleet.simulate import Simulation

from ..commands import Commands


def test_workers_are_filled_to_the_limit_and_no_further_and_nobody_waits():
    figures = Simulation(Plan(streams=200, minutes=10, mttf_hours=2)).run()
    assert figures["deaths"] > 0
    assert 0.85 < figures["share"]["p99"] <= 0.9
    assert figures["waited_s"]["new"] == {"p50": 0.0, "p99": 0.0, "max": 0.0, "n": figures["waited_s"]["new"]["n"]}
    assert figures["waited_s"]["moved"]["p50"] == 1.0  # until the death is known


def test_workers_are_hardly_ever_too_full_where_costs_are_guessed_a_tenth_wrong():
    figures = Simulation(Plan(streams=200, minutes=10, error=0.1)).run()
    assert 0.8 < figures["share"]["p99"] <= 0.905


def test_a_run_is_made_up_by_its_seed():
    first, again, other = (Simulation(Plan(streams=60, minutes=4, seed=seed)).run() for seed in (1, 1, 2))
    assert first == again != other


def test_without_spare_places_streams_wait_until_workers_have_begun():
    figures = Simulation(Plan(streams=100, minutes=10, spare=0, burst=50, boot_s=60)).run()
    assert figures["refused"] > 0
    assert 5 <= figures["waited_s"]["new"]["max"] <= 180
    assert figures["workers_begun"] > 0
    assert figures["series"][-1]["waiting"] == 0


def test_every_stream_is_on_one_worker_or_waits():
    simulation = Simulation(Plan(streams=150, minutes=6, spare=0, mttf_hours=0.5, report_late_s=2, error=0.3))
    simulation.run()
    held = [name for worker in simulation.workers.values() if worker.alive for name in worker.streams]
    assert len(held) == len(set(held))
    assert not set(held) & set(simulation.waiting)
    for name, worker in simulation.workers.items():
        assert not worker.alive or set(worker.streams) <= set(simulation.table.on(name))


@pytest.mark.slow
def test_the_command_tells_and_draws(shell: Commands, tmp_path: Path):
    done = shell.run(["fleet", "simulate", "--streams", 50, "--minutes", 2, "--json", "--plot", "run.svg"], tmp_path)
    figures = json.loads(done.said.splitlines()[-1])
    assert done.code == 0
    assert figures["plan"]["streams"] == 50
    assert "<svg" in (tmp_path / "run.svg").read_text()
