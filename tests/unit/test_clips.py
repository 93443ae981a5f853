"""Clips as they come: one reader gives their pictures and sound, offline and live, whatever their clocks and shapes."""

from __future__ import annotations

import gc
import io
import re
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.clips import Clip, open_clip, pictures, timed
from pipeline.errors import ClipError
from pipeline.face.mediapipe import MediaPipeTracker
from pipeline.face.motion import Array
from pipeline.frames import Image, TimedFrame
from pipeline.lane import rgb
from pipeline.media.reader import Reader
from pipeline.media.timeline import Timeline
from pipeline.media.upright import upright
from pipeline.offline.animate import animate
from pipeline.offline.mux import Output, Result, Sound, sound_of, write_clip
from pipeline.portrait import DEMO_CLIP, bundled, is_picture
from streamer.errors import SourceError
from streamer.sinks.container import RATE, Container
from streamer.sinks.push import HEAD, PICTURE, SOUND, _publish
from streamer.sources.file import FileSource
from streamer.stream.intake import Intake

from ..conftest import SHARED
from ..fakes import FakeEngine, FakePuppeteer, ManualTime
from ..media import write_mjpeg
from ..recorded import FLASH_S, FPS, HEIGHT, WIDTH, Recorder, joined, light_and_sound

CASES = SHARED / "cases" / "drivers"
ENGINE: Any = FakeEngine(ManualTime())
LIP_S = 0.04
HALF_A_FRAME_S = 0.5 / FPS


def times(path: Path) -> list[float]:
    with open_clip(path) as clip:
        return [at for at, _ in timed(clip)]


def written(path: Path, out: Path) -> Result:
    """Its own pictures, with its sound, as `animate` writes them."""
    with open_clip(path) as clip:
        frames = ((at, image, True) for at, image in timed(clip))
        return write_clip(frames, Output(out), clip.rate, sound_of(path, path, Sound.DRIVER), FakePuppeteer())


class Play(threading.Event):
    """Lets a source play in no time for `seconds` of its clock."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.time = ManualTime()
        self._seconds = seconds

    def wait(self, timeout: float | None = None) -> bool:
        self.time.sleep(timeout or 0.0)
        return self.is_set()

    def is_set(self) -> bool:
        return self.time() >= self._seconds


class Kept(Intake):
    """An intake that keeps when pictures and sound are due."""

    def __init__(self) -> None:
        self.heard: list[float] = []
        self.shown: list[float] = []
        super().__init__(lambda frame, captured_s: self.heard.append(captured_s))

    def put(self, frame: TimedFrame) -> None:
        self.shown.append(frame.captured_s)


def played(path: Path, seconds: float) -> Kept:
    kept, play = Kept(), Play(seconds)
    FileSource(path, play.time).read(kept, play)
    return kept


@pytest.mark.parametrize("codec", ["mjpeg", "libx264"])
def test_a_damaged_packet_costs_itself_alone(codec: str, tmp_path: Path) -> None:
    """https://github.com/PyAV-Org/PyAV/issues/812"""
    bad = (5, 6, 20)
    keys = {"g": "1"} if codec == "libx264" else {}
    clip = Recorder(codec, "aac", damaged=bad, deaf=(3, 9), options=keys).write(tmp_path / "a.mkv")
    wanted = [k / FPS for k in range(FPS) if k not in bad]
    assert times(clip) == pytest.approx(wanted, abs=0.001)
    live = played(clip, 1.0)
    assert live.shown == pytest.approx(wanted, abs=0.001)
    assert len(live.heard) > 40
    assert written(clip, tmp_path / "out.mp4").frames == len(wanted)
    assert light_and_sound(tmp_path / "out.mp4")[0] == pytest.approx([FLASH_S], abs=0.001)


def test_only_a_clip_without_any_picture_is_an_error_that_names_it(tmp_path: Path) -> None:
    clip = Recorder("mjpeg", damaged=range(FPS)).write(tmp_path / "a.mkv")
    with pytest.raises(ClipError, match=r"a\.mkv: no picture could be decoded"):
        written(clip, tmp_path / "out.mp4")
    with pytest.raises(SourceError, match=r"a\.mkv: no picture could be decoded") as failed:
        played(clip, 1.0)
    assert not failed.value.retry
    assert not (tmp_path / "out.mp4").exists()


def test_a_small_file_of_very_large_pictures_is_not_decoded(tmp_path: Path) -> None:
    """A GIF of two pixels on a ground of 144 megapixels; of each picture FFmpeg would make 0.6 GB."""
    pixel = b"!\xf9\x04\0\x0a\0\0\0," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    screen = b"GIF89a" + struct.pack("<HH", 12000, 12000) + b"\x80\0\0" + bytes(3) + b"\xff" * 3
    (tmp_path / "bomb.gif").write_bytes(screen + 2 * pixel + b";")
    with pytest.raises(ClipError, match="no picture could be decoded"), open_clip(tmp_path / "bomb.gif") as clip:
        list(clip.moments())


def test_a_list_of_other_files_is_not_followed(tmp_path: Path) -> None:
    """An upload that is one would show clips of the server's machine."""
    (tmp_path / "clip.mp4").write_bytes(DEMO_CLIP.read_bytes())
    for name in ("upload", "list.mp4"):
        (tmp_path / name).write_text("ffconcat version 1.0\nfile clip.mp4\n")
        with pytest.raises(ClipError, match=f"{name}: a list of other files"):
            open_clip(tmp_path / name)


@pytest.mark.parametrize(("codec", "format"), [("libx264", "h264"), ("libx265", "hevc"), ("mpeg4", "m4v")])
def test_a_stream_without_a_clock_has_its_own_rate(codec: str, format: str, tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    clip = Recorder(codec, format=format, options=options).write(tmp_path / "a.bin")
    assert times(clip) == pytest.approx([k / FPS for k in range(FPS)], abs=0.001)
    assert len(played(clip, 1.99).shown) == 2 * FPS


@pytest.mark.parametrize("second_s", [10.0, 0.0, 3600.0], ids=["again", "back", "an hour later"])
def test_recordings_one_after_the_other_are_played_one_after_the_other(second_s: float, tmp_path: Path) -> None:
    """home-assistant/core#46772, HandBrake/HandBrake#129"""
    parts = [Recorder(sound="aac", start_s=s).write(tmp_path / f"{s}.ts") for s in (10.0, second_s)]
    clip = joined(tmp_path / "joined.ts", *parts)
    got = times(clip)
    assert len(got) == 2 * FPS
    assert got[-1] == pytest.approx(2 - 1 / FPS, abs=0.1)
    assert all(a < b for a, b in pairwise(got))
    live = played(clip, 2.0)
    assert len(live.shown) >= 2 * FPS - 3
    assert live.heard[-1] == pytest.approx(2, abs=0.15)
    written(clip, tmp_path / "out.mp4")
    flash, beep = light_and_sound(tmp_path / "out.mp4")
    assert flash == pytest.approx([FLASH_S, FLASH_S + 1], abs=0.1)
    assert beep == pytest.approx(flash, abs=LIP_S)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_an_honest_pause_is_one(suffix: str, tmp_path: Path) -> None:
    moments = [0.0, 0.1, 0.2, 10.2, 10.3]
    clip = Recorder(times_s=moments).write(tmp_path / f"a.{suffix}")
    assert times(clip) == pytest.approx(moments, abs=0.001)
    assert played(clip, 10.31).shown == pytest.approx(moments, abs=0.01)


def test_a_clock_that_is_taken_back_changes_nothing() -> None:
    line = Timeline(may_jump=False)
    due = [0.0, 0.04, 0.08, -5.0, 0.16, 0.2]
    placed = [at + line.correction(0, at, 0.04) for at in due]
    assert placed == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16, 0.2])


def test_tracks_that_go_back_apart_stay_together() -> None:
    line = Timeline(may_jump=False)
    due = [(0, 5.0), (1, 5.0), (0, 5.04), (0, 0.0), (1, 5.02), (1, -0.01), (0, 0.04), (1, 0.01)]
    placed = [at + line.correction(track, at, 0.04 if track == 0 else 0.02) for track, at in due]
    assert placed == pytest.approx([5.0, 5.0, 5.04, 5.08, 5.02, 5.07, 5.12, 5.09])


def test_short_recordings_one_after_the_other_do_not_fit_old_corrections() -> None:
    line = Timeline(may_jump=False)
    placed = [at + line.correction(0, at, 0.25) for _ in range(12) for at in (0.0, 0.25, 0.5)]
    assert placed == pytest.approx([k / 4 for k in range(36)])


def test_pictures_may_be_rare_where_the_sound_goes_on() -> None:
    line = Timeline(may_jump=True)
    due = sorted([(k / 2, 1, 0.5) for k in range(40)] + [(5.0 * k, 0, 0.04) for k in range(4)])
    assert [line.correction(track, at, length_s) for at, track, length_s in due] == [0.0] * len(due)


def test_a_wrong_length_of_packets_is_no_jump() -> None:
    line = Timeline(may_jump=True)
    assert [line.correction(0, k / 30, 1.0) for k in range(60)] == [0.0] * 60


@pytest.mark.parametrize("suffix", ["webm", "mkv", "avi", "mp4"])
def test_times_of_a_fine_clock_are_kept_and_not_declared(suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    moments = np.round(np.cumsum(rng.uniform(0.02, 0.05, 40)) - 0.02, 3).tolist()
    codec = {"webm": "libvpx", "avi": "mjpeg"}.get(suffix, "libx264")
    clip = Recorder(codec, times_s=moments, clock=1000).write(tmp_path / f"a.{suffix}")
    given = times(clip)
    written(clip, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == pytest.approx(given, abs=0.001)
    with av.open(str(tmp_path / "out.mp4")) as out:
        coded = out.streams.video[0].codec_context
        assert coded.framerate <= 60
        assert coded.level <= 30, "small pictures at a usual rate need no more"


# What moves the dark corner where: turned by quarters, flipped, and both (ISO/IEC 14496-12, 8.5.2).
ONE = 1 << 16
PLACES = {
    (1, 0, 0, 1): ("left", "top"), (0, 1, -1, 0): ("right", "top"), (-1, 0, 0, -1): ("right", "bottom"),
    (0, -1, 1, 0): ("left", "bottom"), (-1, 0, 0, 1): ("right", "top"), (1, 0, 0, -1): ("left", "bottom"),
    (0, 1, 1, 0): ("left", "top"), (0, -1, -1, 0): ("right", "bottom"),
}  # fmt: skip


@pytest.mark.parametrize("matrix", PLACES)
def test_pictures_come_turned_and_flipped_as_they_are_meant(matrix: tuple[int, int, int, int], tmp_path: Path) -> None:
    a, b, c, d = (ONE * n for n in matrix)
    clip = Recorder(times_s=[0.0], matrix=(a, b, 0, c, d, 0, 0, 0, 1 << 30)).write(tmp_path / "a.mp4")
    with open_clip(clip) as opened:
        image = next(iter(timed(opened)))[1].mean(axis=2)
    assert image.shape == ((HEIGHT, WIDTH) if a else (WIDTH, HEIGHT))
    halves = cv2.resize(image, (2, 2), interpolation=cv2.INTER_AREA)
    row, column = np.unravel_index(halves.argmin(), (2, 2))
    assert (("left", "right")[column], ("top", "bottom")[row]) == PLACES[matrix]


def test_a_picture_that_was_looked_at_is_gone_with_its_last_user():
    """Each has threads that converted it; as a circle it would keep them until Python collects."""
    gc.disable()
    gc.freeze()  # what is there already is not looked through
    try:
        upright(av.VideoFrame(64, 48, "yuv420p"))
        assert gc.collect() == 0
    finally:
        gc.unfreeze()
        gc.enable()


@pytest.mark.parametrize(("pixel", "size"), [(Fraction(2), (192, 64)), (Fraction(1, 2), (96, 128)), (Fraction(1000), (96, 64))])
def test_pixels_are_square(pixel: Fraction, size: tuple[int, int], tmp_path: Path) -> None:
    clip = Recorder(times_s=[0.0], pixel=pixel).write(tmp_path / "a.mp4")
    with open_clip(clip) as opened:
        frame = next(iter(pictures(opened)))
    assert (frame.width, frame.height) == size


def test_live_gets_what_offline_gets(tmp_path: Path) -> None:
    clip = Recorder(times_s=[0.0], matrix=(0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), pixel=Fraction(2)).write(tmp_path / "a.mp4")
    out, play = Intake(), Play(0.01)
    FileSource(clip, play.time).read(out, play)
    frame = out.take(0)
    assert frame is not None
    assert (frame.frame.width, frame.frame.height) == (64, 192)


def test_a_cover_is_no_picture_that_drives(tmp_path: Path) -> None:
    song = tmp_path / "song.mp3"
    with av.open(str(song), "w") as out:
        audio, cover = out.add_stream("libmp3lame", rate=44_100), out.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 64
        cover.pix_fmt, cover.disposition = "yuvj420p", av.stream.Disposition.attached_pic
        out.mux(cover.encode(av.VideoFrame(64, 64, "yuvj420p")))
        out.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 4 * 1152), np.float32), "fltp", "stereo")
        frame.sample_rate = 44_100
        out.mux(audio.encode(frame))
        out.mux(audio.encode(None))
    with pytest.raises(ClipError, match="has no video track"):
        open_clip(song)


@pytest.mark.parametrize(("suffix", "kept"), [("mkv", 48), ("mkv", 200), ("gif", 4), ("y4m", 16), ("mp4", 40), ("mp4", 0)])
def test_a_clip_cut_short_is_called_damaged(suffix: str, kept: int, tmp_path: Path) -> None:
    """FFmpeg has other words for each: end of file, input/output error, invalid argument, invalid data."""
    begins = {"gif": b"GIF89a", "y4m": b"YUV4MPEG2 W64 H64 F25:1\n"}
    clip = tmp_path / f"cut.{suffix}"
    clip.write_bytes((begins.get(suffix) or Recorder().write(clip).read_bytes())[:kept])
    with pytest.raises(ClipError, match="not a clip that can be read, or damaged"):
        open_clip(clip)


@pytest.mark.parametrize("format", ["WEBP", "PNG", "GIF"])
def test_animated_pictures_are_clips(format: str, tmp_path: Path) -> None:
    moving, still = tmp_path / "moving", tmp_path / "still"  # by content, not by name
    images = [Pillow.fromarray(np.full((64, 64, 3), 20 * k, np.uint8)) for k in range(5)]
    images[0].save(moving, format, save_all=True, append_images=images[1:], duration=[50, 50, 200, 50, 50])
    images[0].save(still, format)
    assert times(moving) == pytest.approx([0, 0.05, 0.1, 0.3, 0.35], abs=0.011)
    assert not is_picture(moving)
    assert format == "GIF" or is_picture(still)
    assert len(played(moving, 0.36).shown) == 5


def test_pictures_one_after_the_other_are_a_clip(tmp_path: Path) -> None:
    clip = write_mjpeg((av.VideoFrame(512, 512, "yuvj420p") for _ in range(4)), tmp_path / "camera.bin")
    assert not is_picture(clip)
    assert times(clip) == pytest.approx([k / 25 for k in range(4)], abs=0.001)
    photograph, hidden = tmp_path / "photograph.jpg", tmp_path / "hidden.jpg"
    Pillow.fromarray(np.zeros((90, 70, 3), np.uint8)).save(photograph, progressive=True)
    Pillow.fromarray(np.zeros((45, 35, 3), np.uint8)).save(hidden)
    assert is_picture(photograph)
    assert is_picture(joined(tmp_path / "phone.jpg", photograph, hidden)), "a smaller picture behind it is a phone's secret"


# Container, codecs, and what becomes of the sound.
EIGHT = [
    ("mp4", "libx264", "aac", "aac"), ("mov", "libx264", "pcm_mulaw", "aac"), ("mkv", "libx264", "pcm_s16le", "aac"),
    ("avi", "mjpeg", "pcm_s16le", "aac"), ("webm", "libvpx", "libopus", "opus"), ("ts", "libx264", "ac3", "ac3"),
    ("flv", "libx264", "aac", "aac"), ("mpg", "mpeg2video", "mp2", "aac"),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "codec", "sound", "becomes"), EIGHT, ids=lambda given: str(given))
def test_the_flash_is_with_the_beep(suffix: str, codec: str, sound: str, becomes: str, tmp_path: Path) -> None:
    clip = Recorder(codec, sound, start_s=1.0 if suffix == "ts" else 0.0).write(tmp_path / f"a.{suffix}")
    result = written(clip, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.streams.audio[0].codec_context.name == becomes
    assert (becomes in sound) == (not result.notes), result.notes
    flash, beep = light_and_sound(tmp_path / "out.mp4")
    assert flash == pytest.approx([FLASH_S], abs=HALF_A_FRAME_S)
    assert beep == pytest.approx(flash, abs=LIP_S)


def test_sound_that_begins_a_little_before_the_pictures_is_cut_there(tmp_path: Path) -> None:
    """As ASF has it; whatever is coded anew begins at its time to the sample."""
    clip = Recorder("mjpeg", "pcm_s16le", times_s=[(k + 1) / FPS for k in range(FPS)]).write(tmp_path / "a.mkv")
    written(clip, tmp_path / "out.mp4")
    flash, beep = light_and_sound(tmp_path / "out.mp4")
    assert flash == pytest.approx([14 / FPS], abs=0.002)
    assert beep == pytest.approx(flash, abs=0.002)


def test_both_begin_where_the_first_picture_can_be_decoded(tmp_path: Path) -> None:
    """teltek/Galicaster#553: a recording that was cut between key frames."""
    keys = {"g": "9", "keyint_min": "9", "sc_threshold": "0", "bf": "0"}
    whole = Recorder(sound="aac", options=keys).write(tmp_path / "whole.ts")
    cut = whole.with_name("cut.ts")
    with av.open(str(whole)) as given, av.open(str(cut), "w") as out:
        tracks = {s.index: out.add_stream_from_template(s) for s in given.streams}
        left_out = 0
        for packet in given.demux():
            if packet.dts is None:
                continue
            left_out += packet.stream.type == "video" and left_out < 4
            if packet.stream.type == "audio" or left_out >= 4:
                packet.stream = tracks[packet.stream_index]
                out.mux(packet)
    written(cut, tmp_path / "out.mp4")
    flash, beep = light_and_sound(tmp_path / "out.mp4")
    assert flash == pytest.approx([FLASH_S - 9 / FPS], abs=HALF_A_FRAME_S)
    assert beep == pytest.approx(flash, abs=LIP_S)
    live = played(cut, 0.5)
    assert live.heard[0] == pytest.approx(0, abs=0.03)


def test_the_last_pictures_come_where_the_sound_is_the_first_track(tmp_path: Path) -> None:
    """A decoder gives them only at the end, for an empty packet that says it is of the first track."""
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        sound, video = out.add_stream("aac", rate=48_000), out.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        for k in range(30):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 8 * k, np.uint8))))
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 3200), np.int16), layout="stereo")
            heard.sample_rate, heard.pts = 48_000, 1600 * k
            out.mux(sound.encode(heard))
        out.mux([*video.encode(None), *sound.encode(None)])
    with open_clip(tmp_path / "a.mp4") as clip:
        assert len(list(pictures(clip))) == 30


def test_a_picture_that_was_left_out_is_not_the_end(tmp_path: Path) -> None:
    """Encoders write a packet of nothing where a picture is like the one before, and decoders take that for the end."""
    with av.open(str(Recorder().write(tmp_path / "a.mkv"))) as container:
        reader = Reader(container, container.streams.video[0])
        count = 0
        for packet in reader.packets():
            count += len(list(reader.decode(packet)))
            nothing = av.Packet()
            nothing.stream, nothing.time_base, nothing.dts = packet.stream, packet.time_base, packet.dts
            assert packet.dts is None or not list(reader.decode(nothing))
    assert count == FPS


def test_a_clip_that_was_cut_is_told_of(tmp_path: Path) -> None:
    """A disk was full, or a download broke: what is there is animated, and the user hears that there was more."""
    whole = Recorder("mjpeg", "pcm_s16le", times_s=[k / FPS for k in range(60)]).write(tmp_path / "whole.mkv")
    cut = whole.with_name("cut.mkv")
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    def note(clip: Path, **options: int) -> str:
        return "".join(animate(ENGINE, bundled("drawing"), clip, Output(tmp_path / "out.mp4", **options)).notes[1:])

    found = re.search(r"cut\.mkv: it ends after (\d+) of about 60 frames: the file is cut$", note(cut))
    assert found is not None
    assert int(found[1]) == len(times(cut)) < 40
    assert (note(whole), note(cut, max_frames=5)) == ("", ""), "of what nobody has read, nothing is said"


def test_beside_each_other_clips_keep_their_shape(tmp_path: Path) -> None:
    """Where one changes its size, its pictures are shown between bars."""
    sizes = [(80, 48), (48, 80)]
    parts = []
    for k, (width, height) in enumerate(sizes):
        parts.append(tmp_path / f"{k}.ts")
        with av.open(str(parts[-1]), "w") as out:
            video = out.add_stream("libx264", rate=FPS)
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            white = np.full((height, width, 3), 255, np.uint8)
            out.mux([*video.encode(av.VideoFrame.from_ndarray(white)), *video.encode(None)])
    clip = joined(tmp_path / "clip.ts", *parts)
    animate(ENGINE, bundled("drawing"), clip, Output(tmp_path / "out.mp4", side_by_side=True))
    shares = []
    with open_clip(tmp_path / "out.mp4") as made:
        for _, image in timed(made):
            driver = image[:, : round(16 * 80 / 48 / 2) * 2, 1] > 200
            shares.append((np.mean(driver.any(axis=0)), np.mean(driver.any(axis=1))))
    assert shares[0] == (1, 1)
    assert shares[-1] == pytest.approx((48 * 48 / 80 / 80, 1), abs=0.1)


def test_a_colon_in_a_name_is_no_address(tmp_path: Path) -> None:
    clip = Recorder(sound="pcm_s16le").write(tmp_path / "a:b.mkv")
    assert written(clip, tmp_path / "c:d.mp4").frames == FPS
    assert len(played(clip, 0.99).shown) == FPS


@pytest.mark.parametrize("sound_s", [1.0, 0.4], ids=["throughout", "for a while"])
def test_a_push_has_the_flash_with_the_beep(sound_s: float, tmp_path: Path) -> None:
    """As the helper writes it, to a file in the place of a server."""
    parts: list[tuple[float, bytes]] = []
    with open_clip(Recorder(sound="aac").write(tmp_path / "a.mp4")) as clip:
        resampler = av.AudioResampler("s16", "stereo", RATE, frame_size=960)
        heard = 0
        for at, frame in clip.moments(sound=True):
            if isinstance(frame, av.VideoFrame):
                planes = frame.reformat(format="yuv420p").to_ndarray()
                parts.append((at, HEAD.pack(PICTURE, 50 + at) + planes.tobytes()))
                parts.append((at + 3, HEAD.pack(PICTURE, 53 + at) + planes.tobytes()))
                continue
            frame.pts = None
            for chunk in resampler.resample(frame):
                at, heard = heard / RATE, heard + chunk.samples
                if at < sound_s or at > FLASH_S:
                    parts.append((at, HEAD.pack(SOUND, 50 + at) + chunk.to_ndarray().tobytes()))
    out = tmp_path / "out.flv"
    container = Container(av.open(str(out), "w"), WIDTH, HEIGHT, {}, None)
    _publish(io.BytesIO(b"".join(part for _, part in sorted(parts))), container)
    flash, beep = light_and_sound(out)
    assert flash == pytest.approx([FLASH_S, FLASH_S + 3], abs=HALF_A_FRAME_S)
    assert beep == pytest.approx(flash[:1], abs=LIP_S)
    with av.open(str(out)) as opened:
        ends = [float(p.pts * p.time_base) for p in opened.demux(audio=0) if p.pts is not None]
    assert ends[-1] == pytest.approx(4, abs=0.1), "silence where no sound came"


@pytest.mark.parametrize("begins_s", [0.3, 0.305, 0.31, 0.315])
def test_sound_that_begins_later_is_written_at_its_time(begins_s: float, tmp_path: Path) -> None:
    tone = (20_000 * np.sin(np.arange(960) / 8)).astype(np.int16).repeat(2)[None]
    container = Container(av.open(str(tmp_path / "out.mkv"), "w"), WIDTH, HEIGHT, {}, None)
    picture = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    heard = [(begins_s + 0.02 * k, True) for k in range(10)]
    for at, is_sound in sorted([(k / FPS, False) for k in range(15)] + heard):
        if is_sound:
            container.write_sound(av.AudioFrame.from_ndarray(tone, format="s16", layout="stereo"), 7 + at)
        else:
            container.write(picture, 7 + at)
    container.close()
    _, beep = light_and_sound(tmp_path / "out.mkv")
    assert beep == pytest.approx([begins_s], abs=0.012)


@pytest.fixture
def case() -> Path:
    if not CASES.is_dir():
        pytest.skip(f"the cases are not here: {CASES}")
    return CASES


# File, its pictures, the time of the last one, and when its sound ends.
TABLE = [
    ("anim.webp", 20, 1.9, None), ("avsync_midgop.ts", 90, 2.97, 2.97), ("joined.ts", 120, 3.93, 3.93),
    ("jump_forward.ts", 120, 3.93, 3.93), ("mediarec.webm", 60, 3.09, None), ("mjpeg_bad.mkv", 57, 1.97, None),
    ("pcm.mkv", 60, 1.97, 1.98), ("raw.h264", 60, 2.36, None), ("rot1.mp4", 60, 1.97, None), ("sar.mp4", 60, 1.97, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "count", "last_s", "sound_s"), TABLE)
def test_cases(case: Path, name: str, count: int, last_s: float, sound_s: float | None) -> None:
    with Clip(case / name) as clip:
        moments = list(clip.moments(sound=True))
    shown = [at for at, frame in moments if isinstance(frame, av.VideoFrame)]
    heard = [at + f.samples / f.sample_rate for at, f in moments if isinstance(f, av.AudioFrame)]
    assert len(shown) == count
    assert shown[0] == 0
    assert shown[-1] == pytest.approx(last_s, abs=0.02)
    assert all(a < b for a, b in pairwise(shown))
    assert (heard[-1] if heard else None) == pytest.approx(sound_s, abs=0.06)
    assert not is_picture(case / name)


@pytest.fixture
def tracked(model: Path, case: Path) -> Callable[[Iterable[Image]], list[Array | None]]:
    def track(images: Iterable[Image]) -> list[Array | None]:
        with closing(MediaPipeTracker(model)) as tracker:
            return [tracker.track(image, k / FPS) for k, image in enumerate(images)]

    return track


@pytest.mark.slow
def test_a_face_of_oblong_pixels_is_followed(case: Path, tracked: Callable[[Iterable[Image]], list[Array | None]]) -> None:
    with open_clip(case / "sar.mp4") as clip:
        found = tracked(image for _, image in timed(clip))
    assert len(found) == 60
    assert sum(face is None for face in found) == 0


def test_a_turned_face_stands_upright_live(case: Path, tracked: Callable[[Iterable[Image]], list[Array | None]]) -> None:
    out, play = Intake(), Play(0.5)
    images: list[Image] = []
    out.put = lambda frame: images.append(rgb(frame, 512))  # type: ignore[method-assign]
    FileSource(case / "rot1.mp4", play.time).read(out, play)
    found = [face for face in tracked(images) if face is not None]
    assert len(found) == len(images)
    across = np.array([face[263, :2] - face[33, :2] for face in found])  # from the outer corner of one eye to the other's
    assert (np.abs(across[:, 1]) < 0.3 * across[:, 0]).all()


def test_the_beep_of_a_recording_cut_in_the_middle(case: Path, tmp_path: Path) -> None:
    written(case / "avsync_midgop.ts", tmp_path / "out.mp4")
    assert light_and_sound(tmp_path / "out.mp4")[1] == pytest.approx([1.0], abs=LIP_S)


def test_a_browsers_recording_has_a_sane_rate_and_level(case: Path, tmp_path: Path) -> None:
    written(case / "mediarec.webm", tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == pytest.approx(times(case / "mediarec.webm"), abs=0.001)
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.streams.video[0].codec_context.level <= 31
