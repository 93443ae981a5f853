"""Cores that a process may use: by affinity, and by the quota of its control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.cores import available, whole

V1 = "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n"


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/pod/box\n", {"pod/cpu.max": "50000 100000", "pod/box/cpu.max": "max 100000"}, 0.5),
        ("0::/of/the/host\n", {"cpu.max": "200000 100000"}, 2),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "300000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 3),
        (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "25000", "cpu/docker/abc/cpu.cfs_period_us": "50000"}, 0.5),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ("nonsense\n", {"cpu.max": "1 100"}, 64),
        ("0::/\n", {"cpu.max": "much\n"}, 64),
        ("", {}, 64),
    ],
)
def test_a_quota_counts_and_a_looser_one_around_it_does_not(tmp_path, monkeypatch, own, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    for name, text in files.items():
        file: Path = tmp_path / "mount" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "own").write_text(own)
    assert available(tmp_path / "mount", tmp_path / "own") == cores


def test_a_process_bound_to_a_core_has_one(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert available(tmp_path, tmp_path / "nobody") == 1
    assert [whole(cores) for cores in (0.2, 1, 1.5)] == [1, 1, 2]
