"""The one command for a machine with a GPU, on this one: with tiny networks, and with what such a machine has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.gpu import table
from bench.gpu.footage import Footage
from bench.gpu.png import read_png, write_png
from bench.gpu_report import STEPS, Step, report
from pipeline.liveportrait.paste import inverted
from pipeline.pictures.decode import decode_picture

from ..conftest import ROOT

# A machine that only measures has none of these.
ABSENT = ("av", "cv2", "mediapipe", "platformdirs", "pydantic", "pydantic_settings", "aiortc", "httpx", "scipy", "PIL", "typer")


@pytest.mark.long
def test_a_step_that_fails_is_killed_or_hangs_costs_itself_alone(tmp_path, capsys):
    steps = {name: Step(name, f"tests.gpu_steps:{name}", 60) for name in ("killed", "well", "wrong", "elsewhere", "stuck")}
    steps["stuck"] = steps["stuck"]._replace(limit_s=4)
    assert not report(list(steps.values()), {"work": tmp_path}, tmp_path / "out", ["torch", "tests.gpu_steps"])
    assert report([steps["well"]], {"work": tmp_path / "later"}, tmp_path / "out")
    lines = [json.loads(text) for text in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [(line["step"], line["ok"]) for line in lines] == [
        ("killed", False), ("well", True), ("wrong", False), ("elsewhere", None), ("stuck", False), ("well", True),
    ]  # fmt: skip
    first, second, third, fourth, fifth, last = lines
    assert (first["error"], first["figures"]) == ("killed by SIGKILL", {"before": 1})
    assert second["figures"] == {"work": tmp_path.name, "more": 2}
    assert (third["error"], third["figures"]) == ("ValueError: what went wrong", {"before": 1})
    assert fourth["skipped"] == "no CUDA"
    assert fifth["error"] == "over its limit of 4 s; '--patience' gives more"
    state = Path(f"/proc/{fifth['figures']['child']}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z", "what a step started ends with it"
    assert last["figures"]["work"] == "later"
    assert "FAILED: killed by SIGKILL" in capsys.readouterr().out
    assert "FAILED: ValueError: what went wrong" in table.screen(tmp_path / "out" / "results.jsonl")


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_report_that_is_ended_says_what_is_left(number, tmp_path):
    command = [sys.executable, "bench/gpu_report.py", tmp_path, tmp_path, "--tiny", "--device", "cpu", "--only"]
    with subprocess.Popen(
        [*command, "machine", "checks", "noise"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(number)
        said = process.stdout.read()
    assert "machine" in first
    assert process.returncode == 128 + number
    assert "'--only checks noise' is the rest" in said
    assert "Traceback" not in said
    [line] = [json.loads(text) for text in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert line["step"] == "machine"


@pytest.mark.long
def test_what_is_measured_imports_torch_and_numpy_alone():
    """The steps, and with them a frame's whole way on the device."""
    modules = sorted({step.run.partition(":")[0] for step in STEPS})
    program = (
        f"import sys\nsys.modules.update(dict.fromkeys({ABSENT}))\nimport {', '.join(modules)}, pipeline.liveportrait.renderer"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr.splitlines()[-3:]


def test_an_affine_map_is_inverted_to_the_bit_as_opencv_does():
    random = np.random.default_rng(2)
    for matrix in random.uniform(-300, 300, (50, 2, 3)):
        assert np.array_equal(inverted(matrix), cv2.invertAffineTransform(matrix))


@pytest.mark.long
def test_steps_run_where_only_torch_and_numpy_are(tmp_path):
    """On a processor; what needs CUDA says so. Two that build the same again are left out."""
    chosen = [step.name for step in STEPS if step.name not in ("product", "restart")]
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({ABSENT}))\n")
    crops = tmp_path / "crops.npz"
    Footage.synthetic(3).write(crops)
    command = [sys.executable, "bench/gpu_report.py", tmp_path / "work", tmp_path / "out", "--tiny", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--crops", crops, "--patience", "3", "--only", *chosen],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = {line["step"]: line for line in map(json.loads, (tmp_path / "out" / "results.jsonl").read_text().splitlines())}
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert list(lines) == chosen
    assert {name for name, line in lines.items() if not line["ok"]} == {"golden"}
    assert lines["golden"]["skipped"] == "no --golden"
    figures = {name: line.get("figures") for name, line in lines.items()}
    assert figures["machine"]["driver_clip"] == "synthetic"
    assert figures["checks"]["no_host_synchronisation"] == figures["faults"]["out_of_memory"] == {"skipped": "no CUDA"}
    assert max(pair.get("error", 0) for pair in figures["micro"].values()) < 1e-5, "each form computes the same"
    assert [row["frames"] for row in figures["prototype"]["rows"]][-2:] == ["1 of 3", "1 of 3"]
    assert len(done.stdout.splitlines()) < 90


def test_crops_travel_as_pngs_that_others_can_read(tmp_path):
    picture = np.random.default_rng(1).integers(0, 256, (70, 65, 3), np.uint8)
    data = write_png(picture)
    assert np.array_equal(read_png(data), picture)
    assert np.array_equal(decode_picture(data, "picture"), picture)
    footage = Footage("clip.mp4", picture, [picture[::-1], picture])
    footage.write(tmp_path / "crops.npz")
    back = Footage.read(tmp_path / "crops.npz")
    assert back.name == "clip.mp4"
    assert np.array_equal(back.source, picture)
    assert [np.array_equal(a, b) for a, b in zip(back.crops, footage.crops, strict=True)] == [True, True]
    with pytest.raises(ValueError, match="another depth or filter"):
        read_png((ROOT / "pipeline" / "mesh" / "teeth.png").read_bytes())
