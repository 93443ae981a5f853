"""What native libraries write to standard error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import ModelError
from pipeline.face.mediapipe import MediaPipeTracker
from pipeline.face.quiet import errors_only

NOISE = b"W0000 00:00:1.2 3 inference_feedback_manager.cc:121] Feedback manager requires a model\nINFO: Created TensorFlow Lite\n"


def test_the_face_model_is_opened_without_a_word(model, capfd):
    MediaPipeTracker(model).close()
    assert capfd.readouterr().err == ""


def test_errors_and_what_others_write_are_seen(capfd):
    def fails() -> None:
        with errors_only():
            os.write(2, NOISE + b"E0000 00:00:1.2 3 graph.cc:9] no memory\n50 %")
            raise ModelError("no model")

    with pytest.raises(ModelError):
        fails()
    os.write(2, b" done\n")
    assert capfd.readouterr().err == "E0000 00:00:1.2 3 graph.cc:9] no memory\n50 % done\n"


def test_no_descriptor_is_left(capfd):
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = opened()
    with errors_only():
        pass
    assert opened() == before
