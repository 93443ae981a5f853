"""Who may import whom, and who may make an animated frame."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from pipeline.frames import AnimatedFrame

from .conftest import ROOT

# Higher layers may import lower ones. config and errors are leaves: anyone may import them.
RANK = {
    "__main__": 8, "cli": 7, "bench": 6, "reference": 6, "app": 5,
    "http": 4, "mqtt": 4, "homeassistant": 3.5, "webrtc": 3, "control": 3,
    "changes": 2.9, "state": 2.8, "gallery": 2.8, "engines": 2.8, "sources": 2.7, "outputs": 2.7, "sinks": 2.5, "graph": 2,
    "memory": 0, "framequeue": 1, "audio": 1, "resources": 0, "signals": 0,
    "redaction": 0, "backoff": 0, "config": 0, "errors": -1,
}  # fmt: skip


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


@pytest.mark.parametrize("path", modules("pipeline"), ids=str)
def test_the_pipeline_knows_no_server(path):
    forbidden = ("streamer", "asyncio", "aiortc", "fastapi", "uvicorn")
    assert not [n for n in imported(path) if n.split(".")[0] in forbidden]


@pytest.mark.parametrize("path", modules("streamer"), ids=str)
def test_imports_point_down(path):
    own = path.relative_to(ROOT / "streamer").parts[0].removesuffix(".py")
    for name in imported(path):
        assert name.split(".")[0] != "torch"
        parts = name.split(".")
        if parts[0] == "streamer" and len(parts) > 1 and parts[1] in RANK and own in RANK and parts[1] != own:
            lower = RANK[parts[1]] < RANK[own]
            assert lower, f"{own} imports {name}"


def test_only_the_stage_makes_animated_frames():
    makers = {
        str(path.relative_to(ROOT))
        for package in ("pipeline", "streamer")
        for path in modules(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "_SEAL"
    }
    assert makers == {"pipeline/frames.py", "pipeline/stage.py"}
    with pytest.raises(TypeError, match="only the animation stage"):
        AnimatedFrame(np.zeros((6, 4), np.uint8), 0.0, 1, object())
