"""The mesh engine on real portraits and clips, checked by an independent landmark run."""

from __future__ import annotations

from itertools import islice

import av
import numpy as np
import pytest

from bench.fidelity import MEASURES, follow, measures
from pipeline.engine import open_engine
from pipeline.face.canonical import five_points
from pipeline.face.faces import CascadeFaces, faces_by
from pipeline.face.mediapipe import MediaPipeTracker
from pipeline.face.motion import Motion, Neutral, rest
from pipeline.mesh.prepared import MeshPrepared
from pipeline.offline.animate import animate
from pipeline.offline.mux import Output
from pipeline.portrait import bundled, load_portrait, make_portrait


def turned(yaw: float = 0.0, roll: float = 0.0) -> Motion:
    motion = rest()
    motion.pose[0], motion.pose[2] = yaw, roll
    return motion


@pytest.mark.parametrize("name", ["astronaut", "drawing"])
def test_at_rest_the_portrait_is_itself(name):
    source = MeshPrepared.of(bundled(name), 640, 512)
    change = np.abs(source.render(rest()).astype(int) - source.still)
    assert change.mean() < 0.6
    assert source.still.shape[0] % 2 == source.still.shape[1] % 2 == 0


@pytest.mark.parametrize("name", ["s1", "s5", "s9", "s12", "s22", "s30"])
def test_nothing_moves_outside_the_crop_nor_at_its_edge(name, model, picture):
    source = MeshPrepared.of(load_portrait(str(picture(name)), faces_by(model)), 1280, 512)
    out = source.render(turned(0.4, 0.3))
    inside = np.zeros(out.shape[:2], bool)
    c = source.crop
    inside[max(c.y + 1, 0) : c.y + c.side - 1, max(c.x + 1, 0) : c.x + c.side - 1] = True
    assert np.array_equal(out[~inside], source.still[~inside])
    assert np.abs(out[inside].astype(int) - source.still[inside]).mean() > 1, "and inside it does move"


def test_a_turn_is_seen_by_the_landmarker(model):
    source = MeshPrepared.of(bundled("drawing"), 640, 512)
    tracker = MediaPipeTracker(model)
    seen = {}
    for k, (yaw, roll) in enumerate([(0, 0)] * 4 + [(0.25, 0)] * 8 + [(0, 0.25)] * 8):
        seen[yaw, roll] = tracker.track(source.render(turned(yaw, roll)), k / 30)
    tracker.close()
    neutral = Neutral.of(seen[0, 0])
    assert neutral.motion(seen[0.25, 0]).pose[0] == pytest.approx(0.2, abs=0.1)
    assert neutral.motion(seen[0, 0.25]).pose[2] == pytest.approx(0.23, abs=0.05)


@pytest.mark.long
@pytest.mark.parametrize(("portrait", "clip_name"), [("s5", "d10")])  # `bench follow` takes many
def test_the_output_follows_the_driver(portrait, clip_name, model, picture, clip, tmp_path):
    out = tmp_path / "out.mp4"
    engine = open_engine("mesh", faces_by(model))
    result = animate(engine, load_portrait(str(picture(portrait)), faces_by(model)), clip(clip_name), Output(out, max_frames=80))
    assert result.frames == 80
    driver, output = landmarks(clip(clip_name), model, 80), landmarks(out, model, 80)
    seen = [k for k in range(40) if driver[k] is not None and output[k] is not None]
    assert len(seen) > 37
    d = [driver[k] for k in seen]
    o = [output[k] for k in seen]
    a, b = measures(d, Neutral.of(d[0])), measures(o, Neutral.of(o[0]))
    table = {name: follow(a[:, k], b[:, k]) for k, name in enumerate(MEASURES)}
    least = {"mouth": 0.85, "openness": 0.8, "yaw": 0.8, "roll": 0.8, "x": 0.9}
    assert {n: round(table[n].correlation, 3) for n in least if table[n].correlation < least[n]} == {}
    assert table["mouth"].slope > 0.6


def landmarks(path, model, count):
    """Of every second of the first `count` frames."""
    tracker = MediaPipeTracker(model)
    with av.open(str(path)) as clip:
        out = [
            tracker.track(frame.to_ndarray(format="rgb24"), float(frame.time))
            for frame in islice(clip.decode(video=0), 0, count, 2)
        ]
    tracker.close()
    return out


def test_animate_keeps_frames_times_and_sound(clip, model, tmp_path, shell):
    out = tmp_path / "out.mp4"
    done = shell.run(["animate", "drawing", clip("d18"), "-o", out, "--max-frames", 40])
    assert done.code == 0, done.said
    with av.open(str(out)) as result, av.open(str(clip("d18"))) as given:
        times = [float(f.time) for f in result.decode(video=0)]
        wanted = [float(f.time) for f, _ in zip(given.decode(video=0), range(40), strict=False)]
        assert times == pytest.approx(wanted, abs=1e-4)
        assert result.streams.video[0].average_rate == pytest.approx(given.streams.video[0].average_rate, rel=0.05)
        assert result.streams.audio[0].codec_context.name == given.streams.audio[0].codec_context.name
    with av.open(str(out)) as result, av.open(str(clip("d18"))) as given:
        sound = [bytes(p) for p in result.demux(audio=0) if p.size]
        original = [bytes(p) for p in given.demux(audio=0) if p.size][: len(sound)]
        assert len(sound) > 40
        assert sound == original, "copied, not encoded again"
    assert not list(tmp_path.glob(".*.part*"))


def test_five_marks_place_a_face_without_the_model(model):
    given = bundled("astronaut")
    marked = make_portrait("astronaut", given.image, faces_by(None), five_points(given.landmarks))
    distance = np.linalg.norm(marked.landmarks[:, :2] - given.landmarks[:, :2], axis=1)
    eye = np.linalg.norm(given.landmarks[33, :2] - given.landmarks[263, :2])
    assert np.median(distance) < 0.12 * eye


@pytest.mark.long
def test_the_cascade_tracker_moves_a_bundled_portrait(clip):
    engine = open_engine("mesh", CascadeFaces())
    source, puppeteer = engine.prepare(bundled("drawing"), 640, 512), engine.open()
    with av.open(str(clip("d10"))) as given:
        frames = [(f.time, f.to_ndarray(format="rgb24")) for f in islice(given.decode(video=0), 0, 120, 2)]
    puppeteer.calibrate(frames[:30])
    change = [np.abs(puppeteer.animate(source, i, t).astype(int) - source.still).mean() for t, i in frames[30:]]
    assert puppeteer.tracker_name == "cascade"
    assert max(change) > 1.5
