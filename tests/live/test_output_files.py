"""What is written: never over what is read, whole or not at all, and refused before any work where it cannot be."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import av
import pytest
from PIL import Image

from pipeline.errors import PuppetError
from pipeline.offline.animate import animate, check_paths
from pipeline.offline.mux import Output
from pipeline.outfile import finished
from pipeline.portrait import BUNDLED, DEMO_CLIP, bundled, bundled_names

from ..media import beginning
from ..waiting import wait_until

SUFFIXES = ".png or .jpg or .jpeg or .webp"
ONE = "portrait and driver are both pictures, so one picture comes out: "
MOVING = ".mp4 or .mov or .webm or .gif or .webp or .png"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def face(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("face") / "face.png"
    Image.open(str(BUNDLED / "astronaut.jpg")).save(path)
    return path


@pytest.fixture
def desk(tmp_path, face) -> Path:
    """Two clips and two pictures, some of them under several names."""
    for name in ("clip.mp4", "source.mp4"):
        shutil.copy(DEMO_CLIP, tmp_path / name)
    for name in ("face.png", "other.png"):
        shutil.copy(face, tmp_path / name)
    (tmp_path / "soft.mp4").symlink_to("clip.mp4")
    for name in ("hard.mp4", "hard.safetensors"):
        (tmp_path / name).hardlink_to(tmp_path / "clip.mp4")
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    return tmp_path


# Source (none: a bundled portrait), driver, output, and what is said of them.
PATHS = [
    (None, "clip.mp4", "clip.mp4", "clip.mp4: would replace clip.mp4, which is read; choose another name"),
    (None, "clip.mp4", "./sub/../clip.mp4", "would replace clip.mp4, which is read"),
    (None, "clip.mp4", "{desk}/clip.mp4", "would replace clip.mp4, which is read"),
    (None, "clip.mp4", "soft.mp4", "soft.mp4: would replace clip.mp4, which is read"),
    (None, "clip.mp4", "hard.mp4", "hard.mp4: would replace clip.mp4, which is read"),
    (None, "soft.mp4", "clip.mp4", "clip.mp4: would replace soft.mp4, which is read"),
    ("source.mp4", "clip.mp4", "source.mp4", "source.mp4: would replace source.mp4, which is read"),
    ("face.png", "other.png", "face.png", "face.png: would replace face.png, which is read"),
    ("face.png", "other.png", "other.png", "other.png: would replace other.png, which is read"),
    (None, "clip.mp4", ".", ".: is a folder; name the file to write, such as out.mp4"),
    (None, "clip.mp4", "sub", "sub: is a folder; name the file to write, such as sub/out.mp4"),
    (None, "clip.mp4", "pipe.mp4", "pipe.mp4: is not an ordinary file; choose another name"),
    (None, "clip.mp4", "none/x.mp4", "none/x.mp4: there is no folder none; make it first"),
    (None, "clip.mp4", "clip.mp4/x.mp4", "clip.mp4/x.mp4: there is no folder clip.mp4; make it first"),
    (None, "clip.mp4", "/proc/x.mp4", "/proc/x.mp4: cannot be written ("),
    (None, "clip.mp4", f"{'x' * 300}.mp4", "x.mp4: cannot be written (File name too long)"),
    (None, "clip.mp4", "x.avi", f"x.avi: choose a name that ends in {MOVING}"),
    (None, "clip.mp4", "x", f"x: choose a name that ends in {MOVING}"),
    (None, "clip.mp4", "x.jpg", f"x.jpg: choose a name that ends in {MOVING}"),
    (None, "clip.mp4", "none/%03d.png", "none/001.png: there is no folder none; make it first"),
    ("source.mp4", "face.png", "x.jpg", f"x.jpg: choose a name that ends in {MOVING}"),
    ("face.png", "other.png", "x.mp4", f"x.mp4: {ONE}choose a name that ends in {SUFFIXES}"),
    (None, "other.png", "x.gif", f"x.gif: {ONE}choose a name that ends in {SUFFIXES}"),
    (None, "none.mp4", "x.mp4", "none.mp4: No such file or directory"),
    (None, "sub", "x.mp4", "sub: Is a directory"),
]


@pytest.mark.parametrize(("source", "driver", "out", "message"), PATHS)
def test_paths_that_are_refused(source, driver, out, message, desk, monkeypatch):
    monkeypatch.chdir(desk)
    before = content(desk)
    with pytest.raises(PuppetError) as caught:
        check_paths(source and Path(source), Path(driver), Path(out.format(desk=desk)))
    assert message in str(caught.value)
    assert content(desk) == before


@pytest.mark.parametrize("out", ["x.mp4", "X.MP4", "x.gif", "x.png", "sub/%d.png", "sub/x.mp4", "{desk}/sub/x.mp4", "other.mp4"])
def test_paths_that_are_taken(out, desk, monkeypatch):
    monkeypatch.chdir(desk)
    (desk / "other.mp4").write_bytes(b"of an earlier run")
    before = content(desk)
    check_paths(desk / "source.mp4", Path("clip.mp4"), Path(out.format(desk=desk)))
    assert content(desk) == before


@pytest.mark.parametrize(
    "words",
    ["drawing clip.mp4 --fps 10", "drawing endless.webm", "clip.mp4 face.png"],
    ids=["at another rate", "of no known length", "a clip as long as it is"],
)
def test_progress_ends_with_what_was_written(words, desk, shell):
    beginning(DEMO_CLIP, desk / "clip.mp4", 31)
    with av.open(str(desk / "clip.mp4")) as clip, av.open(str(desk / "endless.webm"), "w", options={"live": "1"}) as piped:
        video = piped.add_stream("libvpx", rate=30, options={"deadline": "realtime"})
        video.width, video.height = 160, 120
        for frame in clip.decode(video=0):
            piped.mux(video.encode(frame.reformat(160, 120, "yuv420p")))
        piped.mux(video.encode())
    done = shell.run(["animate", *words.split(), "-o", "out.gif", "--size", "64", "--engine", "mesh"], desk)
    assert done.code == 0, done.said
    [written] = re.findall(r"in \d+ of (\d+) frames", done.said)
    assert f" {written}/{written} " in done.said


@pytest.mark.parametrize(("portrait", "name"), [("drawing", "out.png"), ("clip.mp4", "out.mp4")])
def test_a_picture_that_drives_one_makes_one_without_being_told(portrait, name, desk, shell):
    beginning(DEMO_CLIP, desk / "clip.mp4", 9)
    before = set(content(desk))
    done = shell.run(["animate", portrait, "face.png", "--engine", "mesh", "--max-frames", "2"], desk)
    assert done.code == 0, done.said
    assert set(content(desk)) - before == {name}


@pytest.mark.parametrize(("name", "told"), [("a.webm", "a.webm and its signed statement a.c2pa: "), ("a.mp4", "a.mp4: ")])
def test_every_file_that_is_written_is_told(name, told, desk, shell):
    beginning(DEMO_CLIP, desk / "clip.mp4", 3)
    before = set(content(desk))
    done = shell.run(["animate", "drawing", "clip.mp4", "-o", name, "--size", "64", "--engine", "mesh"], desk)
    assert done.code == 0, done.said
    assert any(line.startswith(told) for line in done.said.splitlines()), done.said
    assert set(content(desk)) - before == set(re.findall(r"a\.\w+", told))


# The engine's checkpoints are not there: a refusal that came after any loading would name them.
COMMANDS = [
    ("animate drawing clip.mp4 -o soft.mp4 --engine liveportrait", "soft.mp4: would replace clip.mp4, which is read"),
    ("animate face.png other.png -o face.png --engine liveportrait", "face.png: would replace face.png, which is read"),
    ("animate drawing clip.mp4 -o . --engine liveportrait", ".: is a folder; name the file to write, such as out.mp4"),
    ("animate drawing clip.mp4 -o x.avi --engine liveportrait", f"x.avi: choose a name that ends in {MOVING}"),
    (
        "animate drawing clip.mp4 -o source.mp4 --engine liveportrait",
        "source.mp4: exists; choose another name, or add '--force' to replace it",
    ),
    (
        "animate drawing clip.mp4 -o x.mp4 --transparent --engine liveportrait",
        "x.mp4: such a file is never transparent; choose .webm, .gif, .webp or .png",
    ),
    (
        "animate drawing clip.mp4 source.mp4 -o sub --transparent --engine liveportrait",
        "sub/clip.mp4: such a file is never transparent; choose .webm, .gif, .webp or .png",
    ),
    (
        "pose drawing -o x.jpg --transparent --engine liveportrait",
        "x.jpg: such a file is never transparent; choose .png or .webp",
    ),
    ("animate drawing none.mp4 --engine liveportrait", "none.mp4: No such file or directory"),
    ("animate nobody.mp4 clip.mp4", f"nobody.mp4: No such file or directory; bundled portraits: {', '.join(bundled_names())}"),
    ("template make clip.mp4 -o hard.safetensors", "hard.safetensors: would replace clip.mp4, which is read"),
    ("template make clip.mp4 -o x.mp4", "x.mp4: choose a name that ends in .safetensors"),
    ("template make none.mp4", "none.mp4: No such file or directory"),
    ("bench mesh --clip clip.mp4 -o clip.mp4", "clip.mp4: choose a name that ends in .json"),
    ("bench live -o none/x.json", "none/x.json: there is no folder none; make it first"),
]


def test_commands_refuse_before_any_work(desk, tmp_path_factory, monkeypatch, shell):
    monkeypatch.setenv("PUPPETCAST_MODELS", str(tmp_path_factory.mktemp("no-models")))
    before = content(desk)
    for args, message in COMMANDS:
        done = shell.run(args.split(), desk)
        lines = done.said.splitlines()
        assert (done.code, len(lines)) == (2, 1), (args, lines)
        assert lines[0].startswith(f"error: {message}"), args
    assert content(desk) == before


def test_a_folder_for_results_that_is_a_file(model, desk, shell):
    done = shell.run(["bench", "follow", "clip.mp4", "--folder", "face.png"], desk, PUPPETCAST_DOWNLOADS__FETCH="false")
    assert done.code == 2
    assert done.said.splitlines()[-1] == "error: face.png: no folder can be made there (File exists)"


def test_the_library_refuses_too(desk):
    """As `bench follow` uses it, whose outputs are named after portrait and clip."""
    before = content(desk)
    for path, message in (("hard.mp4", "would replace"), ("x.avi", "choose a name")):
        with pytest.raises(PuppetError, match=message):
            animate(None, bundled("drawing"), desk / "clip.mp4", Output(desk / path))
    assert content(desk) == before


@pytest.mark.parametrize(
    ("number", "code", "args"),
    [
        (signal.SIGINT, 130, "animate drawing clip.mp4 -o out/drawing-clip.mp4 --force"),
        (signal.SIGTERM, 143, "animate drawing clip.mp4 -o out/drawing-clip.mp4 --force"),
        (signal.SIGHUP, 129, "animate drawing clip.mp4 -o out/drawing-clip.mp4 --force"),
        pytest.param(signal.SIGTERM, 143, "bench follow clip.mp4 --portrait drawing --folder out", marks=pytest.mark.long),
    ],
)
def test_a_signal_leaves_nothing_unfinished(number, code, args, model, desk, shell):
    (desk / "out").mkdir()
    (desk / "out" / "drawing-clip.mp4").write_bytes(b"of an earlier run")
    beginning(DEMO_CLIP, desk / "clip.mp4", 180)  # all of which the benchmark looks at first
    process = shell.start(args.split(), desk, PUPPETCAST_DOWNLOADS__FETCH="false")
    try:
        wait_until(lambda: list((desk / "out").glob(".*.part.*")))
    finally:
        os.kill(process, number)
        os.kill(process, number)  # as from a terminal and a wrapper
    done = shell.ended(process)
    assert done.code == code, done.said
    assert "Traceback" not in done.said
    assert [line for line in done.said.splitlines() if "stopped" in line] == [
        f"stopped by {number.name}; no unfinished file is left"
    ]
    assert content(desk / "out") == {"drawing-clip.mp4": b"of an earlier run"}


def test_two_runs_to_one_output(desk, shell):
    args = ["animate", "drawing", "clip.mp4", "-o", "sub/out.mp4", "--force", "--max-frames", "12"]
    processes = [shell.start(args, desk, PUPPETCAST_DOWNLOADS__FETCH="false") for _ in range(2)]
    assert [shell.ended(process).code for process in processes] == [0, 0]
    assert list(content(desk / "sub")) == ["out.mp4"]
    with av.open(str(desk / "sub" / "out.mp4")) as clip:
        assert sum(1 for _ in clip.decode(video=0)) == 12


def test_a_finished_file_is_whole_and_as_readable_as_any(tmp_path):
    path, usual = tmp_path / ("é" * 120 + ".txt"), tmp_path / "usual.txt"  # 244 bytes: a part must not be longer
    usual.touch()
    path.write_text("old")
    with finished(path) as first, finished(path) as second:
        first.write_text("first")
        second.write_text("second")
        assert path.read_text() == "old"
    assert path.read_text() == "first"
    assert path.stat().st_mode == usual.stat().st_mode
    assert sorted(tmp_path.iterdir()) == sorted([path, usual])
