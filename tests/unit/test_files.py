"""Files of every kind, read back by other readers: how many pictures, how long, how large, with which sound and opacity."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import typer
from PIL import Image as Pillow
from PIL import ImageSequence

from pipeline import outfile
from pipeline.errors import OutputError, PuppetError
from pipeline.offline.animate import animate
from pipeline.offline.batch import Beside, Job, beside, jobs_of
from pipeline.offline.drivers import Step, at_rate
from pipeline.offline.formats import check_size, numbered, parse_size, rate_of
from pipeline.offline.mux import Output, Result, write_clip
from pipeline.portrait import bundled
from streamer.cli.files import Kind, plan, read_standard_input, run_all, standard_streams, write_standard_output

from ..fakes import FakeEngine, FakePuppeteer, ManualTime
from ..recorded import Recorder

KINDS = (".mp4", ".mov", ".webm", ".gif", ".webp", ".png")
OPAQUE = (".mp4", ".mov")
LENGTH, FPS, HEIGHT, WIDTH = 15, 25, 48, 64
ENGINE: Any = FakeEngine(ManualTime())


def pictures(channels: int = 3, count: int = LENGTH, fps: int = FPS) -> Iterator[tuple[float, np.ndarray, bool]]:
    """A bright bar that moves over grey; with four channels the upper half shows nothing, and the edge half."""
    for k in range(count):
        image = np.full((HEIGHT, WIDTH, channels), 90, np.uint8)
        image[:, 3 * k : 3 * k + 6, 0] = 250
        image[:, :, 3:] = 255
        image[: HEIGHT // 2, :, 3:] = 0
        image[HEIGHT // 2 - 4 : HEIGHT // 2 + 4, :, 3:] = 128
        yield k / fps, image, True


def written(out: Path, frames: Iterator[Any] | None = None, sound: Path | None = None, fps: int = FPS) -> Result:
    return write_clip(frames or pictures(), Output(out), Fraction(fps), sound, FakePuppeteer())


def read(out: Path, mode: str = "RGB") -> tuple[list[np.ndarray], float]:
    """Its pictures, and how many seconds they last, as players read them."""
    if out.suffix == ".png":
        files = sorted(out.parent.glob(f"{out.stem}-*.png"))
        return [np.asarray(Pillow.open(file).convert(mode)) for file in files], len(files) / FPS
    if out.suffix in (".gif", ".webp"):
        with Pillow.open(out) as moving:
            shown = [(np.asarray(each.convert(mode)), each.info["duration"]) for each in ImageSequence.Iterator(moving)]
        return [image for image, _ in shown], sum(ms for _, ms in shown) / 1000
    with av.open(str(out)) as clip:
        frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
        return frames, (clip.duration or 0) / 1e6


@pytest.mark.parametrize("suffix", KINDS)
def test_every_kind_has_all_pictures_in_their_size_and_time(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    assert written(out).frames == LENGTH
    images, seconds = read(out)
    assert [image.shape for image in images] == [(HEIGHT, WIDTH, 3)] * LENGTH
    assert seconds == pytest.approx(LENGTH / FPS, abs=0.021)
    bars = [np.flatnonzero(image[:, :, 0].mean(axis=0) > 170).mean() for image in images]
    assert all(a < b for a, b in pairwise(bars)), "each shows the bar where it was then"
    assert not list(tmp_path.glob(".*")), "nothing unfinished is left"


@pytest.mark.parametrize("suffix", [kind for kind in KINDS if kind not in OPAQUE])
def test_opacity_is_kept_where_a_file_can_hold_it(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    written(out, pictures(4))
    if suffix == ".webm":  # FFmpeg's own VP9 decoder does not know it
        with av.open(str(out)) as clip:
            assert clip.streams.video[0].metadata["alpha_mode"] == "1"
        return
    alphas = [image[:, :, 3] for image in read(out, "RGBA")[0]]
    assert all((alpha[:16] == 0).all() and (alpha[-16:] == 255).all() for alpha in alphas)


@pytest.mark.parametrize(("suffix", "given", "kept"), [
    (".mp4", "aac", "aac"), (".mov", "aac", "aac"), (".webm", "aac", "opus"), (".mov", "libopus", "aac"),
    (".webm", "libopus", "opus"),
])  # fmt: skip
def test_sound_is_in_a_codec_that_the_file_holds(suffix: str, given: str, kept: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    written(out, sound=Recorder(sound=given).write(tmp_path / "a.mkv"))
    with av.open(str(out)) as clip:
        assert clip.streams.audio[0].codec_context.name == kept
        heard = sum(frame.samples / frame.sample_rate for frame in clip.decode(audio=0))
    assert heard == pytest.approx(LENGTH / FPS, abs=0.05)


def test_gif_leaves_out_what_browsers_would_show_for_too_long(tmp_path: Path) -> None:
    written(tmp_path / "a.gif", pictures(count=12, fps=100), fps=100)
    with Pillow.open(tmp_path / "a.gif") as gif:
        assert [(gif.seek(k), gif.info["duration"])[1] for k in range(getattr(gif, "n_frames", 1))] == [20] * 6
        assert gif.info["loop"] == 0


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    def full() -> Iterator[Any]:
        yield from pictures(count=3)
        raise OSError(28, "No space left on device")

    for suffix in KINDS:
        with pytest.raises(OutputError, match=rf"out\{suffix}: cannot be written \(No space left on device\)"):
            written(tmp_path / f"out{suffix}", full())
    assert not list(tmp_path.iterdir())


def clip(folder: Path, name: str = "clip.mp4", fps: int = 10, count: int = 10) -> Path:
    return Recorder(times_s=[k / fps for k in range(count)], clock=1000).write(folder / name)


@pytest.mark.parametrize(("fps", "count"), [(5, 5), (10, 10), (20, 20)])
def test_even_frames_a_second(fps: int, count: int, tmp_path: Path) -> None:
    output = Output(tmp_path / "out.mp4", fps=Fraction(fps))
    assert animate(ENGINE, bundled("drawing"), clip(tmp_path), output).frames == count
    with av.open(str(output.path)) as out:
        assert [frame.time for frame in out.decode(video=0)] == pytest.approx([k / fps for k in range(count)], abs=0.001)


def test_at_each_time_the_newest_step_is_shown_and_no_step_is_rendered_twice() -> None:
    steps = ((Step(at, None, at), "portrait") for at in (0.0, 0.1, 0.5, 0.6))
    shown = [(step.time_s, step.seen) for step, _ in at_rate(steps, Fraction(5), Fraction(10))]
    assert shown == [(0.0, 0.0), (0.2, 0.1), (0.4, 0.1), (0.6, 0.6)]


@pytest.mark.parametrize(("wanted", "size"), [((40, 0), (40, 40)), ((64, 32), (64, 32))])
def test_size(wanted: tuple[int, int], size: tuple[int, int], tmp_path: Path) -> None:
    """The fake engine's pictures are square, so that a wide one has bars."""
    animate(ENGINE, bundled("drawing"), clip(tmp_path), Output(tmp_path / "out.gif", 2, size=wanted))
    with Pillow.open(tmp_path / "out.gif") as out:
        assert out.size == size
        assert (np.asarray(out.convert("RGB"))[:, 0].max() == 0) == (wanted[1] > 0)


def test_sizes_and_rates_that_cannot_be() -> None:
    assert parse_size("1280x720") == (1280, 720)
    assert parse_size("480") == (480, 0)
    for text in ("", "x", "12x", "7x8", "480.5", "-480", "100000"):
        with pytest.raises(ValueError, match=f"'{text}': "):
            parse_size(text)
    for odd in ("x.gif", "x.webp", "x.png"):
        check_size(Path(odd), (333, 0))
    for even in ("x.mp4", "x.mov", "x.webm"):
        check_size(Path(even), (334, 0))
        with pytest.raises(PuppetError, match=rf"--size: 333 pixels; sides of {even[1:]} are even: 332 or 334"):
            check_size(Path(even), (480, 333))
    with pytest.raises(PuppetError, match=r"--fps 60: \.gif shows more than 0 and up to 50 pictures a second"):
        rate_of(Path("x.gif"), Fraction(30), Fraction(60))
    assert rate_of(Path("x.gif"), Fraction(60), None) == 30
    assert rate_of(Path("x.mp4"), Fraction(60), None) is None


def test_names_of_a_sequence() -> None:
    names = {"a.png": "a-00007.png", "a-%03d.png": "a-007.png", "%d.PNG": "7.PNG", "100%.png": "100%-00007.png"}
    assert {name: numbered(Path(name), 7).name for name in names} == names


def test_a_file_for_each_driver(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mov", "a.mp4", "text.txt", ".hidden"):
        (tmp_path / name).touch()
    Pillow.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "face.png")
    outs = [job.out.name for job in jobs_of([tmp_path], Path("out"), ".gif", still=True)]
    assert outs == ["a.mov.gif", "a.mp4.gif", "b.gif", "face.png"]
    (tmp_path / "more").mkdir()
    left = beside([tmp_path, tmp_path / "b.mp4"])
    assert left.folders == (tmp_path / "more",)
    [told] = left.files
    assert told.startswith(f"{tmp_path / 'text.txt'}: not a clip that can be read")
    with pytest.raises(PuppetError, match=r"out/b\.mp4: two drivers of one name"):
        jobs_of([tmp_path / "b.mp4", tmp_path / "b.mp4"], Path("out"), "", still=True)


def test_what_fails_among_many_is_told_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [Job(Path(f"{k}.mp4"), tmp_path / f"{k}.gif") for k in range(4)]
    done = []

    def check(driver: Path, out: Path) -> None:
        if driver.stem in "12":
            raise PuppetError(f"{tmp_path / driver}: no clip")

    def run(job: Job, progress: Any) -> Result:
        progress(1, None)
        return Result(1, 1, "fake")

    with pytest.raises(typer.Exit) as ended:
        run_all(jobs, check, run, lambda job, result: done.append(job.driver.stem), tmp_path)
    assert ended.value.exit_code == 1
    assert done == ["0", "3"]
    said = [line for line in capsys.readouterr().err.splitlines() if line]
    assert said[-3:-1] == ["error: 1.mp4: no clip", "error: 2.mp4: no clip"], "what is spooled is not named"
    assert said[-1].endswith("2 of 4 drivers animated")


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (9, "9 files exist already: 0.gif, 1.gif, 2.gif and 6 more"),
        (3, "3 files exist already: 0.gif, 1.gif, 2.gif"),
        (1, "1 file exists already: 0.gif"),
    ],
)
def test_files_that_exist_are_told_in_one_line(count: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [Job(Path(f"{k}.mp4"), tmp_path / f"{k}.gif") for k in range(10)]
    for job in jobs[:count]:
        job.out.touch()

    def check(driver: Path, out: Path) -> None:
        outfile.check(out, (".gif",), replace=False)

    with pytest.raises(typer.Exit) as ended:
        run_all(jobs, check, lambda *_: Result(1, 1, "fake"), lambda *_: None, tmp_path)
    assert ended.value.exit_code == 1
    assert [line for line in capsys.readouterr().err.splitlines() if line][-2:] == [
        f"error: {tmp_path}: {told}; choose another folder, or add '--force' to replace them",
        f"{tmp_path}: {10 - count} of 10 drivers animated",
    ]


def test_what_is_no_driver_is_told_and_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = Beside((Path("clips/more"),), ("clips/notes.txt: no clip",))
    done = Result(1, 1, "fake")
    with pytest.raises(typer.Exit) as ended:
        run_all([Job(Path("a.mp4"), Path("out/a.gif"))], lambda *_: None, lambda *_: done, lambda *_: None, tmp_path, left)
    assert ended.value.exit_code == 1
    assert [line for line in capsys.readouterr().err.splitlines() if line][-3:] == [
        "clips/more: a folder within a folder, passed over; name it to animate what is in it",
        "error: clips/notes.txt: no clip",
        "out: 1 of 1 drivers animated",
    ]


def test_a_full_disk_ends_all_of_them(tmp_path: Path) -> None:
    def run(job: Job, progress: Any) -> Result:
        raise OutputError("full")

    with pytest.raises(OutputError, match="full"):
        run_all([Job(tmp_path, tmp_path / "a.gif")] * 2, lambda driver, out: None, run, lambda job, result: None, tmp_path)


def test_standard_input_and_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, got = io.TextIOWrapper(io.BytesIO(b"a clip")), io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", given)
    monkeypatch.setattr(sys, "stdout", got)
    with standard_streams() as folder:
        portrait, driver = read_standard_input([Path("face.jpg"), Path("-")], folder)
        assert portrait == Path("face.jpg")
        assert driver.read_bytes() == b"a clip"
        [job] = plan([driver], Path("-"), Kind.WEBM, still=True, folder=folder)
        job.out.write_bytes(b"a puppet")
        write_standard_output(job.out)
    assert got.buffer.getvalue() == b"a puppet"  # type: ignore[attr-defined]
    assert job.out.suffix == ".webm"
    assert not folder.exists()
    with pytest.raises(PuppetError, match=r"^standard output: full$"), standard_streams() as folder:
        raise PuppetError(f"{folder / 'standard output.webm'}: full")
    with pytest.raises(PuppetError, match=r"^standard input: no clip"), standard_streams() as folder:
        raise PuppetError(f"{folder / 'standard input'}: no clip")


WRONG = [
    (["a.mp4"], "x.mp4", Kind.GIF, "--format: the name of the file says what it is; '--format' is for folders"),
    (["a.mp4", "b.mp4"], "x.mp4", None, "x.mp4: several drivers give several files; name a folder"),
    (["a.mp4", "b.mp4"], "-", None, "-: several drivers give several files; name a folder"),
    (["empty"], "out", None, "empty: there is no file in this folder"),
    (["a.mp4", "b.mp4"], "none/out", None, "none/out: cannot be written (No such file or directory)"),
    (["a.mp4"], "-", Kind.PNG, "--format png: a picture for each frame is several files; name one, such as -o out-%05d.png"),
]


@pytest.mark.parametrize(("drivers", "out", "kind", "message"), WRONG)
def test_plans_that_are_refused(
    drivers: list[str], out: str, kind: Kind | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(PuppetError) as caught:
        plan([Path(driver) for driver in drivers], Path(out), kind, still=True, folder=tmp_path)
    assert str(caught.value).startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"], "nothing is made"
