"""Who may import whom, and who may make an animated frame."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest

from pipeline.frames import _SEAL, AnimatedFrame, Marked
from streamer.sinks.camera import VirtualCamera
from streamer.sinks.push import Push
from streamer.sinks.recent import Recent
from streamer.sinks.recording import Recording

from ..conftest import ROOT

# Higher rooms may import lower ones, never the reverse; a room is a file or folder of the package.
RANKS = {
    "pipeline": {
        "runners": 10, "offline": 9, "lane": 9, "puppet": 8, "stage": 8, "engine": 7, "mesh": 6, "liveportrait": 6,
        "follow": 5, "portrait": 5, "puppetfile": 4, "pictures": 3, "face": 3, "fade": 6, "clips": 3, "wheel": 2, "models": 1,
        "frames": 1, "label": 0, "mark": 3, "media": 2, "shapes": 4, "loop": 4,
        "passes": 1, "terms": 2, "installation": 0,
        "outfile": 1, "budget": 1, "clock": 0, "cores": 0, "heartbeat": 1, "malloc": 1, "threads": 1, "portraits": 0, "errors": 0,
    },
    "streamer": {
        "__main__": 10, "cli": 9, "fleet": 8, "app": 7, "http": 6, "mqtt": 6, "webrtc": 5, "control": 4, "sinks": 3, "sources": 3,
        "stream": 2, "signing": 2, "backoff": 1, "systemd": 1, "redaction": 1, "signals": 1, "reload": 2, "timers": 1,
        "resources": 1, "config": 1, "client": 2, "deployment": 2, "jsontext": 1, "addresses": 0, "limits": 0, "errors": 0,
    },
}  # fmt: skip
FORBIDDEN = {
    "pipeline": {"streamer", "bench", "tools", "asyncio", "aiortc", "fastapi", "uvicorn"},
    "streamer": {"torch", "tools"},
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports."""
    names: set[str] = set()
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(p for p in (base, node.module or "") if p)
            names |= {stem} | {f"{stem}.{a.name}" for a in node.names}
    return names


def room(path: Path, package: str) -> str:
    return path.relative_to(ROOT / package).parts[0].removesuffix(".py")


@pytest.mark.parametrize("package", RANKS)
def test_every_room_has_a_rank(package: str) -> None:
    rooms = {room(path, package) for path in modules(package)} - {"__init__"}
    assert rooms == set(RANKS[package])


@pytest.mark.parametrize("path", [p for package in RANKS for p in modules(package)], ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    ranks, own = RANKS[package], room(path, package)
    for name in imported(path):
        parts = name.split(".")
        assert parts[0] not in FORBIDDEN[package], f"{path}: {name}"
        if parts[0] == package and len(parts) > 1 and parts[1] in ranks and parts[1] != own:
            assert ranks[parts[1]] < ranks[own], f"{own} imports {name}"


def test_only_a_marker_makes_animated_frames() -> None:
    makers = {
        str(path.relative_to(ROOT))
        for package in ("pipeline", "streamer", "bench")
        for path in modules(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "_SEAL"
    }
    assert makers == {"pipeline/frames.py", "pipeline/mark/marker.py"}
    with pytest.raises(TypeError, match="only a marker"):
        AnimatedFrame(np.zeros((6, 4), np.uint8), 0.0, 1, object())


@pytest.mark.parametrize("kind", [Push, Recent, Recording, VirtualCamera])
def test_a_sink_is_given_marked_pictures_alone(kind):
    """By its types, which mypy holds everybody to."""
    assert get_type_hints(kind.open)["first"] is get_type_hints(kind.write)["frame"] is AnimatedFrame
    assert get_type_hints(AnimatedFrame)["yuv"] is Marked


def test_a_sink_does_not_run_on_a_picture_that_nobody_marked() -> None:
    with pytest.raises(AttributeError, match="yuv"):
        Recent("live", 3).open(np.zeros((96, 64), np.uint8), 0.0)


@pytest.mark.parametrize("yuv", [None, np.zeros((6, 4), np.float32), np.zeros((6, 4, 3), np.uint8), np.zeros((7, 4), np.uint8)])
def test_what_is_no_picture_becomes_no_frame(yuv):
    with pytest.raises((TypeError, ValueError), match=r"planar YUV 4:2:0"):
        AnimatedFrame(yuv, 0.0, 1, _SEAL)


def test_no_test_module_takes_anything_from_another():
    modules = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    for path in (ROOT / "tests").rglob("*.py"):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not modules & {part for node in imports for part in (node.module or "").split(".")}, path
