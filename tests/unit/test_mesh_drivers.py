"""What drives the mesh engine besides clips: its own motion templates, and a picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from safetensors.numpy import save_file

from pipeline.engine import open_engine
from pipeline.errors import PuppetError, TemplateError
from pipeline.face import topology as topo
from pipeline.face.faces import faces_by
from pipeline.face.motion import eye_distance, lips_apart, rest
from pipeline.follow.tuning import Tuning
from pipeline.mesh import template
from pipeline.mesh.follow import MeshPuppeteer
from pipeline.mesh.picture import RESTING, motion_of
from pipeline.offline.animate import animate
from pipeline.offline.mux import Output
from pipeline.portrait import bundled

from ..fakes import FakeTracker

COUNT = 3


def made() -> template.MeshTemplate:
    """A head that turns and a smile, half a second long; no face is seen at its end."""
    motions = [replace(rest(), pose=np.full(6, k / 10, np.float32), expression=rest().expression + k / 100) for k in range(COUNT)]
    flat = np.array([motion.flat() for motion in motions])
    return template.MeshTemplate(np.arange(COUNT) / 4, flat, np.full(COUNT, 0.7, np.float32), np.float32([1, 1, 0]))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "talk.safetensors"
    template.save(made(), path, "talk.mp4")
    return path


def test_a_template_comes_back_and_gains_apply_then(stored: Path) -> None:
    puppeteer = MeshPuppeteer(FakeTracker)
    puppeteer.tune(Tuning(pose_gain=0.5, expression_gain=0.0))
    moments = puppeteer.moments(stored)
    assert [moment.time_s for moment in moments] == [0.0, 0.25, 0.5]
    assert [moment.followed for moment in moments] == [True, True, False]
    assert moments[2].seen.pose == pytest.approx(np.full(6, 0.1))
    assert not moments[2].seen.expression.any()
    assert moments[2].seen.mouth_width == pytest.approx(0.7)
    puppeteer.tune(Tuning())
    assert puppeteer.moments(stored)[2].seen.expression == pytest.approx(np.full((topo.COUNT, 3), 0.02), abs=1e-6)


def test_a_template_drives_a_portrait_to_its_end(stored: Path, tmp_path: Path) -> None:
    output = Output(tmp_path / "out.gif", size=(128, 0))
    assert animate(open_engine("mesh", faces_by(None)), bundled("drawing"), stored, output).frames == COUNT


def test_the_person_alone_on_nothing(stored: Path, tmp_path: Path) -> None:
    engine, output = open_engine("mesh", faces_by(None)), Output(tmp_path / "out.png", 2, size=(128, 96), transparent=True)
    animate(engine, bundled("collins"), stored, output)
    with Pillow.open(tmp_path / "out-00002.png") as picture:
        alpha = np.asarray(picture)[:, :, 3]
    assert not alpha[:, :14].any(), "bars"
    assert not alpha[:20, 18:30].any(), "a corner of the background"
    assert (alpha[40:60, 54:70] > 250).all(), "the face"
    for refused, message in (
        (replace(output, path=tmp_path / "out.mp4"), r"out\.mp4: such a file is never transparent; choose \.webm"),
        (replace(output, side_by_side=True), "--transparent: only of a portrait, and not side by side"),
    ):
        with pytest.raises(PuppetError, match=message):
            animate(engine, bundled("collins"), stored, refused)


def test_what_makes_no_sense_for_a_template_is_refused(stored: Path, tmp_path: Path) -> None:
    engine, output = open_engine("mesh", faces_by(None)), Output(tmp_path / "out.gif")
    for given, message in (
        ({"mirror": True}, "a motion template cannot be mirrored"),
        ({"calibrate_s": 2.0}, "only a clip has a time to calibrate at"),
        ({"tuning": Tuning(smoothing=0.9)}, "a motion template was smoothed when it was made"),
    ):
        with pytest.raises(PuppetError, match=message):
            animate(engine, bundled("drawing"), stored, output, **given)  # type: ignore[arg-type]


def test_templates_of_other_kinds_are_told_apart(stored: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({}, other, {template.METADATA: json.dumps({"kind": "motion template", "version": 1})})
    with pytest.raises(TemplateError, match="a template of LivePortrait's keypoints, which are no landmarks; add '--engine live"):
        template.load(other)
    with pytest.raises(TemplateError, match=r"d5\.pkl: a template of LivePortrait's keypoints"):
        template.load(Path("d5.pkl"))
    save_file({}, other, {template.METADATA: json.dumps({"kind": template.KIND, "version": 9})})
    with pytest.raises(TemplateError, match="version 9 of the format; this program reads 1"):
        template.load(other)


def test_damaged_templates_are_called_so(stored: Path) -> None:
    whole = stored.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    head = json.loads(whole[8 : 8 + size])
    head["motion"]["shape"] = [1 << 40, 1 << 40]
    lying = json.dumps(head).encode()
    for damaged in (b"", b"text", whole[:100], whole[:-50], len(lying).to_bytes(8, "little") + lying, b"\xff" * 64):
        stored.write_bytes(damaged)
        with pytest.raises(TemplateError, match=r"talk\.safetensors: not a motion template, or not whole"):
            template.load(stored)
    endless = replace(made(), motion=made().motion * np.nan)
    template.save(endless, stored, "talk.mp4")
    with pytest.raises(TemplateError, match=r"talk\.safetensors: damaged motion template"):
        template.load(stored)
    with pytest.raises(TemplateError, match=r"none\.safetensors: .*No such file"):
        template.load(stored.with_name("none.safetensors"))


@pytest.mark.parametrize("name", RESTING)
def test_a_picture_of_a_face_at_rest_moves_nothing(name: str) -> None:
    motion = motion_of(bundled(name).landmarks, None)
    assert np.abs(motion.expression).max() < 0.05
    assert (motion.openness > 0.8).all()
    assert not motion.pose.any()


def test_a_picture_of_an_open_mouth_opens_one() -> None:
    landmarks = bundled("collins").landmarks.copy()
    jaw = [*topo.LOWER_LIP, *topo.JAW, topo.CHIN]
    landmarks[jaw, 1] += 0.3 * eye_distance(landmarks)
    motion = motion_of(landmarks, None)
    assert lips_apart(bundled("collins").landmarks) < 0.02
    assert motion.expression[14, 1] - motion.expression[13, 1] > 0.1, "the lower lip goes down from the upper one"
