"""What calls take for a camera and a microphone: one size whatever the portrait's, tried again, told why."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.frames import _SEAL, AnimatedFrame, Image, planar, yuv_planes
from streamer.cli.override import override
from streamer.config import Config
from streamer.config import Sink as SinkConfig
from streamer.errors import ConfigError
from streamer.sinks.base import OutputState
from streamer.sinks.camera import CANVAS, VirtualCamera
from streamer.sinks.microphone import VirtualMicrophone
from streamer.sinks.runner import OutputRunner
from streamer.stream.audio import silence

from ..devices import Device
from ..programs import program

BLACK, GREY = 16, 126  # brightness of bars, and of a grey picture


class Camera:
    """A runner of a virtual camera without its thread, in a time that passes when told to."""

    def __init__(self, size: tuple[int, int] = CANVAS) -> None:
        self.time_s, self.number = 0.0, 0
        self.runner = OutputRunner(VirtualCamera("", 30, size), 3, lambda: self.time_s, 0.1)

    def show(self, width: int, height: int) -> None:
        self.number += 1
        picture = np.full((height, width, 3), 128, np.uint8)
        self.runner.offer(AnimatedFrame(planar(picture), self.time_s, self.number, _SEAL))
        self.step()

    def step(self) -> None:
        while self.runner.step() == 0:
            pass

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            self.time_s += 0.05 + 1e-9
            self.step()

    @property
    def told(self) -> tuple[OutputState, str]:
        return self.runner.status.state, self.runner.status.detail


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device(tmp_path / "video10").install(monkeypatch)
    device.node.touch()
    return device


def box(picture: Image) -> tuple[int, int]:
    """Width and height of what is not black."""
    bright = yuv_planes(picture)[0] > (BLACK + GREY) / 2
    return int(bright.any(0).sum()), int(bright.any(1).sum())


def test_the_camera_keeps_its_size_over_portraits(device: Device) -> None:
    seen: list[Image] = []
    device.seen = seen.append
    camera = Camera()
    for width, height in ((384, 512), (1136, 640), (640, 640), (512, 384)):
        camera.show(width, height)
    assert device.sizes == [CANVAS], "it was opened once"
    assert {picture.shape for picture in seen} == {(1080, 1280)}
    assert [box(picture) for picture in seen] == [(540, 720), (1278, 720), (720, 720), (960, 720)], "all of it, in its shape"
    assert {int(picture[0, 0]) for picture in seen[:1] + seen[2:]} == {BLACK}


def test_its_size_is_that_of_the_config(device: Device) -> None:
    Camera((640, 360)).show(64, 64)
    assert device.sizes == [(640, 360)]
    assert SinkConfig.model_validate({"kind": "virtual_camera", "size": [640, 360]}).size == (640, 360)
    for wrong in ({"kind": "push", "size": [640, 360]}, {"kind": "virtual_camera", "size": [641, 360]}):
        with pytest.raises(ValueError, match="size is"):
            SinkConfig.model_validate(wrong)


def test_it_never_stands_still_for_long(device: Device) -> None:
    """A call program takes a camera that gives nothing for a second for broken."""
    seen: list[Image] = []
    device.seen = seen.append
    camera = Camera()
    camera.show(64, 64)
    camera.wait(1)
    assert 8 <= len(seen) <= 11


def test_a_camera_that_appears_later_is_opened_then(device: Device) -> None:
    device.node.unlink()
    camera = Camera()
    camera.show(64, 64)
    state, why = camera.told
    assert (state, why.partition(";")[0]) == (OutputState.WAITING, f"virtual camera: No device found at {device.node}")
    camera.wait(30)
    device.node.touch()
    camera.wait(7)
    assert camera.told == (OutputState.LIVE, "")


def test_a_camera_that_another_program_has_is_told_and_tried_again(device: Device) -> None:
    device.is_taken = True
    camera = Camera()
    camera.show(64, 64)
    assert "Device or resource busy" in camera.told[1]
    device.is_taken = False
    camera.wait(7)
    assert camera.told == (OutputState.LIVE, "")


def test_a_camera_that_goes_in_mid_stream_is_told_and_let_go(device: Device) -> None:
    """The library itself would write on, and say nothing."""
    camera = Camera()
    camera.show(64, 64)
    device.node.unlink()
    camera.show(64, 64)
    assert camera.told == (OutputState.WAITING, f"virtual camera: {device.node} is gone")
    assert device.open == 0
    device.node.touch()
    camera.wait(2)
    assert (camera.told, device.open) == ((OutputState.LIVE, ""), 1)


TOOLS = {
    "pactl": "if [ -e {}/refuses ]; then /bin/cat {}/refuses >&2; exit 1; fi",
    "pacat": "exec /usr/bin/head -c 3840 > {}/heard",
}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pactl and pacat that know little; the real ones are tested in test_lip_sync.py."""
    for name, script in TOOLS.items():
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{script.replace('{}', str(tmp_path))}\n")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def opened(microphone: VirtualMicrophone) -> str:
    """How opening it fails."""
    runner = OutputRunner(microphone, 3, lambda: 0.0)
    runner.offer(AnimatedFrame(planar(np.zeros((64, 64, 3), np.uint8)), 0.0, 1, _SEAL))
    runner.step()
    return f"{runner.status.state}: {runner.status.detail}"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Connection failure: Connection refused\npa_context_connect() failed: Connection refused", "no sound server runs here"),
        ("Connection failure: Access denied", "the sound server here belongs to another user; run puppetcast as that user"),
        ("Failure: Module initialization failed", "the sound server refuses to make the microphone; its own log says why"),
        ("Connection failure: Protocol error", "neither PipeWire nor PulseAudio answers (Connection failure: Protocol error)"),
    ],
    ids=["no server", "another user's", "no module", "anything else"],
)
def test_what_a_microphone_lacks_is_said_with_its_cure(tools: Path, said: str, told: str) -> None:
    (tools / "refuses").write_text(said)
    assert opened(VirtualMicrophone()).startswith(f"waiting: virtual microphone puppetcast: {told}"), "it is tried again"


def test_a_real_pactl_without_a_server_is_understood_in_any_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program("pactl"), program("pacat")
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path / 'nobody'}")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    assert "no sound server runs here for this user; start PipeWire (" in opened(VirtualMicrophone())


def test_a_microphone_says_why_there_is_none(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert opened(VirtualMicrophone()).startswith("failed: virtual microphone puppetcast: pactl and pacat are not here;")
    with pytest.raises(ConfigError, match="'my mic' is no name of a microphone"):
        VirtualMicrophone("my mic")


def test_a_sound_server_that_hangs_up_is_no_trouble_of_the_stream(tools: Path) -> None:
    time_s = 0.0
    runner = OutputRunner(VirtualMicrophone(), 3, lambda: time_s)
    runner.offer(AnimatedFrame(planar(np.zeros((64, 64, 3), np.uint8)), 0.0, 1, _SEAL))
    runner.step()
    assert runner.status.state is OutputState.LIVE
    runner.hear(silence(), None, 0.0)
    runner.step()
    assert runner.output._player.wait(10) == 0  # type: ignore[attr-defined]
    assert len((tools / "heard").read_bytes()) == 3840
    runner.hear(silence(), None, 0.0)
    runner.step()
    assert runner.status.state is OutputState.WAITING
    assert runner.status.detail == "virtual microphone puppetcast: PipeWire or PulseAudio has ended it"


def test_options_add_what_the_config_has_not(device: Device) -> None:
    own: dict[str, Any] = {"kind": "virtual_camera", "size": [640, 360]}
    kinds = ["virtual_camera", "virtual_microphone"]
    for sinks, told in (([], [(kinds[0], None), (kinds[1], None)]), ([own], [(kinds[0], (640, 360)), (kinds[1], None)])):
        config = Config.model_validate({"streams": {"live": {"sinks": sinks}}})
        live = override(config, None, None, None, None, None, None, None, sinks=kinds).streams["live"]
        assert [(sink.kind, sink.size) for sink in live.sinks] == told
    with pytest.raises(ConfigError, match="--virtual-camera: meant for the stream 'live'"):
        override(Config.model_validate({"streams": {"a": {}}}), None, None, None, None, None, None, None, sinks=kinds[:1])
