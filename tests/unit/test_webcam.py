"""Which local camera is meant. No camera is here: opening one is tested by its error (test_bad_input.py)."""

from __future__ import annotations

import sys

import pytest

from streamer.errors import SourceError
from streamer.sources.webcam import Camera, cameras, choose

FOUND = [Camera("/dev/video0", "Integrated Camera"), Camera("/dev/video2", "Logitech BRIO")]


@pytest.mark.parametrize(
    ("wanted", "device"),
    [
        ("", "/dev/video0"),
        ("1", "/dev/video2"),
        ("brio", "/dev/video2"),
        ("Integrated Camera", "/dev/video0"),
        ("/dev/video9", "/dev/video9"),
        ("video=USB Cam", "video=USB Cam"),
    ],
)
def test_a_camera_by_name_number_or_path(wanted, device):
    assert choose(wanted, FOUND) == device


@pytest.mark.parametrize("wanted", ["2", "webcam"])
def test_what_is_not_there_lists_what_is(wanted):
    with pytest.raises(SourceError, match="0: Integrated Camera, 1: Logitech BRIO"):
        choose(wanted, FOUND)
    with pytest.raises(SourceError, match="cameras: none"):
        choose(wanted, [])


@pytest.mark.skipif(sys.platform != "linux", reason="sysfs is Linux's")
def test_cameras_come_from_sysfs_in_order_without_their_other_nodes(tmp_path):
    for number, name, index in ((10, "Late", 0), (2, "Brio", 0), (3, "Brio", 1)):
        node = tmp_path / f"video{number}"
        node.mkdir()
        (node / "name").write_text(f"{name}\n")
        (node / "index").write_text(f"{index}\n")
    assert cameras(tmp_path) == [Camera("/dev/video2", "Brio"), Camera("/dev/video10", "Late")]
    assert cameras(tmp_path / "none") == []
