"""Motion templates: ours, published ones, and files that are neither."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pipeline.errors import TemplateError
from pipeline.liveportrait import template


@pytest.fixture
def data() -> dict:
    """What the published program writes."""
    rng = np.random.default_rng(1)

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(size=(1, *shape)).astype(np.float32)

    motion = [{"scale": numbers(1), "R": numbers(3, 3), "exp": numbers(21, 3), "t": numbers(3)} for _ in range(8)]
    openings = {"c_eyes_lst": [numbers(2) for _ in motion], "c_lip_lst": [numbers(1) for _ in motion]}
    return {"n_frames": 8, "output_fps": 25, "motion": motion, **openings}


@pytest.fixture
def published(data, tmp_path) -> Path:
    path = tmp_path / "d5.pkl"
    path.write_bytes(pickle.dumps(data))
    return path


def test_a_published_template_is_converted(published, data, tmp_path):
    own = tmp_path / "d5.safetensors"
    template.save(template.load(published), own, "d5.pkl")
    read = template.load(own)
    assert len(read) == 8
    assert read.times_s == pytest.approx([k / 25 for k in range(8)])
    for k in range(8):
        frame = read.frame(k)
        assert np.array_equal(frame.motion.expression, data["motion"][k]["exp"])
        assert np.array_equal(frame.motion.rotation, data["motion"][k]["R"])
        assert np.array_equal(frame.ratios.lip, data["c_lip_lst"][k])
    assert torch.equal(read.reference.motion.translation, read.frame(0).motion.translation)
    with safe_open(own, framework="pt") as file:
        about = json.loads(file.metadata()["puppetcast"])
    assert about == {"kind": "motion template", "version": 1, "frames": 8, "source": "d5.pkl"}
    assert [f.name for f in tmp_path.iterdir() if "part" in f.name] == []


class Evil:
    """Unpickled, it would make a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_a_pickle_with_code_in_it_is_not_run(published, tmp_path):
    data = pickle.loads(published.read_bytes())
    data["motion"][3]["exp"] = Evil(tmp_path / "was-run")
    content = pickle.dumps(data)
    published.write_bytes(content)
    with pytest.raises(TemplateError, match=r"which is no NumPy array\); nothing was run"):
        template.load(published)
    assert not (tmp_path / "was-run").exists()
    pickle.loads(content)
    assert (tmp_path / "was-run").exists(), "the pickle is what it seems"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pkl", b"", "not a published motion template"),
        ("a.pkl", b"<!DOCTYPE html>", "not a published motion template"),
        ("a.pkl", pickle.dumps({"motion": [{"exp": 1}]}), "not a published motion template"),
        ("a.pkl", pickle.dumps([1, 2]), "not a published motion template"),
        ("a.safetensors", b"", "not a motion template, or not whole"),
        ("a.safetensors", b"\xff" * 100, "not a motion template, or not whole"),
    ],
)
def test_files_that_are_no_templates(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TemplateError, match=message):
        template.load(path)


def test_templates_of_another_kind(published, tmp_path):
    own = tmp_path / "t.safetensors"
    template.save(template.load(published), own, "x")
    with safe_open(own, framework="pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    about = {"kind": "motion template", "version": 2, "frames": 8}
    save_file(tensors, own, {"puppetcast": json.dumps(about)})
    with pytest.raises(TemplateError, match="version 2 of the format; this program reads 1: make it anew"):
        template.load(own)
    save_file(tensors, own)
    with pytest.raises(TemplateError, match="not a motion template; 'puppetcast template make' makes one"):
        template.load(own)
    del tensors["rotation"]
    save_file(tensors, own, {"puppetcast": json.dumps(about | {"version": 1})})
    with pytest.raises(TemplateError, match=r"'rotation' is missing or has another shape than \[8, 3, 3\]"):
        template.load(own)
    with pytest.raises(TemplateError, match=r"none\.pkl: No such file"):
        template.load(tmp_path / "none.pkl")
