"""Figures beside the committed ones, and a bench that is not there."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from bench.check import LIMITS, compare, unlike
from bench.faults import mark
from bench.faults.__main__ import merged
from bench.faults.places import PLACES
from bench.faults.report import text
from bench.faults.run import Row
from bench.faults.table import FAULTS
from bench.machine import CLASS, RESULTS, committed, machine
from bench.mesh import other_package
from pipeline.errors import PuppetError
from pipeline.mesh.geometry import Geometry
from pipeline.portrait import bundled

from ..conftest import ROOT


def test_a_worse_figure_is_told_from_a_better_one() -> None:
    base = {"speed": 400.0, "track_p50_ms": 6.0, "warp_p50_ms": 4.0, "frames_per_s": 90.0}
    now = {"speed": 400.0, "track_p50_ms": 5.0, "warp_p50_ms": 4.0 * 1.31, "frames_per_s": 90.0 / 1.29}
    rows = {row.name: row for row in compare("mesh", now, base)}
    assert [(name, row.ok) for name, row in rows.items()] == [
        ("track_p50_ms", True),
        ("warp_p50_ms", False),
        ("frames_per_s", True),
    ]
    assert rows["track_p50_ms"].worse == pytest.approx(5 / 6)


def test_another_checkouts_engine_stands_beside_this_one(tmp_path: Path) -> None:
    with pytest.raises(PuppetError, match=f"--against {tmp_path}: no checkout"):
        other_package(tmp_path)
    there = import_module(f"{other_package(ROOT)}.mesh.geometry")
    assert Path(there.__file__ or "") == ROOT / "pipeline" / "mesh" / "geometry.py"
    assert there.Geometry is not Geometry


def test_a_slower_machine_is_not_taken_for_a_slower_program() -> None:
    base = {"speed": 400.0, "server": {"fps": 29.0, "server_cpu_percent": 40.0}}
    now = {"speed": 200.0, "server": {"fps": 20.0, "server_cpu_percent": 80.0}}
    worse = {row.name: row.worse for row in compare("live", now, base)}
    assert worse == {"server.fps": pytest.approx(1.45), "server.server_cpu_percent": pytest.approx(1.0)}


def test_figures_of_another_clip_are_not_compared() -> None:
    assert unlike({"clip": "a.mp4", "tracker": "cascade"}, {"clip": "b.mp4", "tracker": "cascade"}) == ["clip"]


@pytest.mark.parametrize("kind", LIMITS)
def test_the_committed_figures_have_what_is_checked(kind: str) -> None:
    import json

    [first, *_] = sorted(RESULTS.glob(f"{kind}*.json"))
    base = json.loads(first.read_text())
    assert set(CLASS) <= base.keys()
    places = {row.name for row in compare(kind, base, base)}
    assert len(places) >= len(LIMITS[kind])


def test_another_class_of_machine_has_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.machine.machine", lambda: machine() | {"cpu": "abacus"})
    assert committed("mesh") is None


def test_an_installed_package_says_how_to_get_the_benchmarks(tmp_path: Path) -> None:
    for package in ("streamer", "pipeline"):  # what the wheel holds, and nothing beside it
        (tmp_path / package).symlink_to(ROOT / package)
    program = "import os, sys; sys.path[:] = ['', *(p for p in sys.path if not os.path.exists(os.path.join(p, 'bench')))]"
    program += "\nfrom streamer.cli.main import app\napp(['bench', 'mesh'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "not part of the installed package" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_picture_is_as_like_itself_as_can_be_and_less_like_a_mouth_moved_aside() -> None:
    import numpy as np

    from bench.reenact import Likeness, Popping, masks
    from pipeline.portrait import bundled

    portrait = bundled("astronaut")
    regions = masks(portrait.landmarks, portrait.image.shape[:2])
    moved = np.where(regions["mouth"][..., None], np.roll(portrait.image, 12, axis=1), portrait.image)
    same, other, still, jumping = Likeness(), Likeness(), Popping(), Popping()
    for k in range(6):
        same.add(portrait.image, portrait.image, regions)
        other.add(portrait.image, moved, regions)
        still.add(portrait.image, regions)
        jumping.add(moved if k == 3 else portrait.image, regions)
    assert same.figures()["mouth"] == {"psnr_db": pytest.approx(78, abs=1), "ssim": 1.0, "gradient_ssim": 1.0}
    assert other.figures()["mouth"]["ssim"] < 0.8 < other.figures()["eyes"]["ssim"]
    assert still.p99() == 0 < jumping.p99()


def test_a_command_is_found_in_the_module_of_its_name() -> None:
    from bench.cli import app

    modules = {path.stem for path in (ROOT / "bench").glob("*.py")}
    elsewhere = {"viewers", "sessions", "follow"}  # which the package's own docstring tells
    assert {command.name for command in app.registered_commands} - modules == elsewhere


def test_what_shows_between_lids_is_counted_in_green() -> None:
    import cv2
    import numpy as np

    from bench.fidelity import compare_slits, slit, with_green_eyes
    from pipeline.face import topology as topo
    from pipeline.portrait import bundled

    small = bundled("astronaut")
    large = cv2.resize(small.image, None, fx=4, fy=4)  # a pixel at the edge is little of an eye
    portrait = replace(small, image=large, landmarks=4 * small.landmarks)
    marks, green = portrait.landmarks, with_green_eyes(portrait).image
    areas = [cv2.contourArea(marks[[*upper, *lower[-2:0:-1]], :2].astype(np.float32)) for upper, lower in topo.EYES]
    widths = [np.linalg.norm(marks[upper[0], :2] - marks[upper[-1], :2]) for upper, _ in topo.EYES]
    heights = [area / width**2 for area, width in zip(areas, widths, strict=True)]
    assert slit(portrait.image, green, marks) == pytest.approx(np.mean(heights), rel=0.1)
    assert slit(portrait.image, portrait.image, marks) == 0

    shut = marks.copy()
    for upper, lower in topo.EYES:
        shut[list(upper[1:-1])] = shut[list(lower[1:-1])]
    shown, when_shut = compare_slits([*[marks] * 5, shut, None], np.array([0.3] * 5 + [0.03, 0.3]))
    assert shown.slope == pytest.approx(0.9, abs=0.02)
    assert when_shut == pytest.approx(0.1)
    assert compare_slits([marks] * 3, np.array([0.3, 0.2, 0.3]))[1] is None


def test_what_is_found_in_a_mirror_image_lies_where_it_is_in_the_picture() -> None:
    import numpy as np

    from bench.fidelity import means, of_mirror_image
    from pipeline.face import canonical
    from pipeline.face import topology as topo

    image = np.zeros((100, 300, 3), np.uint8)
    mirrored = 10 * canonical.face() + [200, 50, 0]  # a face that is like its own mirror image, 50 pixels from the middle
    face = of_mirror_image(mirrored, image)
    assert np.abs(face - (10 * canonical.face() + [100, 50, 0])).max() < 2, "its right is on the same side as before"
    (right, *_), (left, *_) = (face[list(iris)] for iris in topo.IRISES)
    assert right[0] < 100 < left[0]
    assert np.allclose(of_mirror_image(face, image), mirrored)
    assert means([face, face, None], [mirrored, None, face])[1:] == [None, None]


def test_where_eyes_look_is_compared_as_one_direction() -> None:
    from bench.fidelity import Follow, follow

    aside, up = np.array([-1.0, 1, -1, 1]), np.array([0.5, 0.5, -0.5, -0.5])
    driver = np.column_stack([aside, up])
    assert follow(driver, driver + 3) == Follow(1.0, 1.0)
    assert follow(driver, driver * [1, 0]).slope == pytest.approx(0.8), "by how much eyes look each way"


def test_a_share_of_the_camera_is_seen_in_a_picture() -> None:
    side = 64
    grey = np.full((side * 3 // 2, side), 128, np.uint8)
    camera = mark.marked(grey, side)
    for part in (0.0, 0.2, 1.0):
        mixed = (grey + part * (camera.astype(np.float32) - grey)).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(mixed, format="yuv420p").reformat(96, 80)
        assert mark.of_frame(frame) == pytest.approx(0.86 * part, abs=0.02), "edges are blurred"
        assert (mark.of_frame(frame) > mark.LEAKED) == (part > 0)
    for name in ("collins", "visitor"):
        picture = bundled(name).image
        assert abs(mark.of_jpeg(cv2.imencode(".jpg", picture[:, :, ::-1])[1].tobytes())) < mark.LEAKED / 2


def test_forty_faults_have_names_places_and_insides() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) > 40
    assert {fault.place for fault in FAULTS} <= PLACES.keys()
    assert FAULTS[0].name == "nothing (for comparison)"


def test_the_page_of_faults_says_what_was_not_kept() -> None:
    row = Row("a fault", "a promise", [0.0, 2.0], [1, 5], 10, 0, Counter({"told": 2}), ["AssertionError: broken"])
    machine = {"date": "2026-01-01", "commit": "abc", "cpu": "a processor", "cores": 2, "times": 2}
    page = text({**machine, "rows": [row.figures()], "ways": {"view: compared": 10, "view: leaked": 0}})
    assert "| a fault | a promise | 2 | 1.0, 1.9 | 3, 5 | 0 of 10 | told; **1 of 2 not kept**: AssertionError: broken |" in page
    assert "view 0 of 10." in page


def test_rows_of_a_later_run_take_their_places_and_are_told() -> None:
    """Those that were injected more often, or for another promise; the others stay as they were."""
    machine = {"date": "2026-01-01", "commit": "abc", "cpu": "a processor", "cores": 2, "times": 5}

    def result(commit: str, compared: int, **times: int) -> dict[str, Any]:
        rows = [Row(name, f"{name} {commit if name == 'c' else ''}", [0.0] * n).figures() for name, n in times.items()]
        return {**machine, "commit": commit, "rows": rows, "ways": {"view: compared": compared, "view: leaked": 0}}

    both = merged(result("abc", 7, a=5, b=2, c=5), result("def", 3, b=5, a=1, c=1, d=1), ["a", "d", "b", "c"])
    assert [(row["name"], row["times"]) for row in both["rows"]] == [("a", 5), ("d", 1), ("b", 5), ("c", 1)]
    assert (both["commit"], both["ways"]) == ("abc", {"view: compared": 10, "view: leaked": 0})
    assert "A note. b, c, d: 2026-01-01, at commit def." in text({**both, "note": "A note."})
