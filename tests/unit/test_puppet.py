"""Puppets of many pictures: which are chosen, how they mix, and the file."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline import puppetfile
from pipeline.engine import open_engine
from pipeline.errors import ClipError, PortraitError, PuppetError
from pipeline.face import canonical
from pipeline.face.faces import faces_by
from pipeline.face.motion import Motion, Neutral, rest, rotation_matrix
from pipeline.frames import Driving
from pipeline.installation import command
from pipeline.liveportrait.options import Settings
from pipeline.mesh.engine import MeshEngine
from pipeline.mesh.keys import AT_REST, eye_span, with_irises
from pipeline.mesh.mixing import Mixer, spaces, sparse, wanted
from pipeline.mesh.pose import pose_of
from pipeline.mesh.prepared import MeshPrepared
from pipeline.mesh.regions import REGIONS, features
from pipeline.portrait import DEMO_CLIP, Picture, Portrait, bundled, load_portrait, pack_puppet, read_portrait, save_puppet
from pipeline.puppet import rendered
from pipeline.puppet.choose import chosen, most_neutral
from pipeline.puppet.doubts import doubts
from pipeline.puppet.make import Look, of_clip, of_photographs, select
from pipeline.puppet.people import other_people
from pipeline.puppet.rendered import grid, of_photograph
from pipeline.puppetfile import About

from ..media import beginning


def face(opening: float = 0.0, openness: float = 1.0, yaw: float = 0.0) -> Motion:
    motion = rest()
    motion.expression[[14, 17], 1] += opening
    motion.openness[:], motion.pose[0] = openness, yaw
    return motion


def landmarks_of(motion: Motion) -> np.ndarray:
    """(478, 3) landmarks of the bundled photograph under a motion, lids apart."""
    neutral = bundled("astronaut").landmarks
    return (neutral + motion.expression * Neutral.of(neutral).eye_distance).astype(np.float32)


@pytest.fixture(scope="module")
def demo(model) -> Portrait:
    """The puppet of the bundled clip, of which every third frame is looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.puppet.make.LOOKS", 120)
        return of_clip(DEMO_CLIP, faces_by(model), 16)


def test_the_faces_nearest_to_all_others_are_chosen_and_doubles_are_not():
    mouths = [landmarks_of(face(opening)) for opening in (0.0, 0.01, 0.3, 0.31, 0.32, 0.15, 0.0)]
    assert chosen(mouths, 0, 3) == [0, 3, 5]
    assert chosen([mouths[0]] * 5, 0) == [0], "the same picture five times is one"


def test_blurred_pictures_and_faces_cut_off_are_left_out():
    faces = [landmarks_of(face(opening)) for opening in (0.0, 0.1, 0.2, 0.3)]
    looks = [Look(f, sharp, is_whole) for f, sharp, is_whole in zip(faces, (9, 9, 1, 9), (True, True, True, False), strict=True)]
    assert sorted(select(looks)) == [0, 1]


def test_at_a_key_picture_that_picture_alone_is_shown():
    keys = [AT_REST, features(face(0.2)), features(face(openness=0.0))]
    at_rest = sparse(wanted(AT_REST, spaces(keys)))
    assert all(share[0] == 1 for share in at_rest.values())
    both = sparse(wanted(features(face(0.2, 0.0)), spaces(keys)))
    assert both["mouth"][1] > 0.99, "the mouth of one picture"
    assert both["right"][2] > 0.99, "with the eyes of another"
    assert both["left"][2] > 0.99


def test_weights_do_not_jump_where_the_motion_does_not():
    random = np.random.default_rng(0)
    keys = [AT_REST, *(features(face(*random.uniform((0, 0, -0.3), (0.3, 1, 0.3)))) for _ in range(20))]
    path = [face(0.15 + 0.15 * np.sin(t), 0.5 + 0.5 * np.cos(1.3 * t), 0.3 * np.sin(0.7 * t)) for t in np.arange(0, 9, 0.002)]
    known = spaces(keys)
    rows = [sparse(wanted(features(motion), known)) for motion in path]
    for name in REGIONS:
        weights = np.stack([row[name] for row in rows])
        assert weights.sum(axis=1) == pytest.approx(np.ones(len(path)), abs=1e-5)
        assert np.abs(np.diff(weights, axis=0)).max() < 0.25, name
        assert ((weights > 0).sum(axis=1) <= REGIONS[name].mixed + 1).all()


def test_a_stream_comes_to_the_weights_wanted_within_its_time_constant():
    mixer, puppet = Mixer(), object()
    one, other = ({name: np.array(w, np.float32) for name in REGIONS} for w in ((1, 0), (0, 1)))
    assert mixer(puppet, one, 0.0)["mouth"][0] == 1
    steps = [mixer(puppet, other, k / 30)["mouth"][1] for k in range(1, 20)]
    assert steps[0] < 0.5 < 0.95 < steps[-1]
    assert np.all(np.diff(steps) > 0)
    assert mixer(object(), other, 0.7)["mouth"][1] == 1, "another puppet begins with what suits it"


@pytest.mark.slow
def test_a_puppet_at_rest_is_its_neutral_picture_to_the_pixel(demo):
    many, one = (MeshPrepared.of(p, 512, 512) for p in (demo, replace(demo, more=())))
    assert len(many.keys.pictures) == len(demo.more) >= 5
    assert np.array_equal(many.render(rest()), one.render(rest()))
    puppeteer = MeshEngine(faces_by(None)).open()
    still = puppeteer.render(many, puppeteer.follow(Driving(np.zeros((64, 64, 3), np.uint8), 0.0)))
    assert np.array_equal(still, one.render(rest()))


def test_shut_eyes_of_a_key_picture_are_not_bent_under_its_own_motion(demo):
    many = MeshPrepared.of(demo, 512, 512)
    pairs = zip(many.keys.pictures, demo.more, strict=True)
    key, picture = min(pairs, key=lambda pair: float(pair[0].features["right"][0]))
    motion = Neutral.of(demo.landmarks).motion(picture.landmarks)
    solid = pose_of(motion, many.geometry, many.keys.widest).solid(many.geometry)
    driven = with_irises(solid, many.geometry.landmarks, motion)
    eye = list(REGIONS["right"].nodes)
    bent = (driven[eye] - driven[eye].mean(axis=0)) - (key.landmarks[eye] - key.landmarks[eye].mean(axis=0))
    assert motion.openness[0] < 0.2
    assert np.abs(bent).max() < 0.015 * eye_span(driven)


def test_a_picture_taken_elsewhere_ends_at_its_face(demo):
    here = MeshPrepared.of(demo, 512, 512).keys.pictures
    elsewhere = []
    for picture in demo.more:
        face = np.zeros(picture.image.shape[:2], np.uint8)
        cv2.fillConvexPoly(face, cv2.convexHull(picture.landmarks[:, :2].astype(np.int32)), 1)
        elsewhere.append(replace(picture, image=np.where(face[..., None] > 0, picture.image, 255 - picture.image)))
    there = MeshPrepared.of(replace(demo, more=tuple(elsewhere)), 512, 512).keys.pictures
    assert np.mean([key.reach.max() for key in here]) > 0.8
    assert max(key.reach.max() for key in there) < 0.1


def test_an_open_mouth_comes_from_a_key_picture(demo):
    many, one = (MeshPrepared.of(p, 512, 512) for p in (demo, replace(demo, more=())))
    widest = max(demo.more, key=lambda p: float(np.linalg.norm(p.landmarks[13] - p.landmarks[14])))
    motion = Neutral.of(demo.landmarks).motion(widest.landmarks)
    assert sparse(many.weights(motion))["mouth"][0] < 0.2
    assert np.abs(many.render(motion).astype(int) - one.render(motion)).max() > 40


def test_a_clip_without_a_face_is_named(tmp_path, model):
    import av

    path = tmp_path / "wall.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", 10)
        video.width = video.height = 128
        for _ in range(10):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.full((128, 128, 3), 90, np.uint8), format="rgb24")))
        out.mux(video.encode(None))
    with pytest.raises(ClipError, match=r"wall\.mp4: a face is seen in 0 of its frames"):
        of_clip(path, faces_by(model))


@pytest.mark.slow
def test_a_real_clip_makes_a_puppet_with_its_own_open_mouth(clip, model):
    puppet = of_clip(clip("d0"), faces_by(model))
    faces = [puppet.landmarks, *(p.landmarks for p in puppet.more)]
    openings = [float(np.linalg.norm(face[13] - face[14]) / np.ptp(face[:, 1])) for face in faces]
    assert 8 < len(puppet.more) < 64
    assert max(openings) > 3 * openings[0]
    assert max(openings) > 0.07


@pytest.mark.slow
def test_several_photographs_make_a_puppet(tmp_path, demo, model):
    paths = []
    for k, picture in enumerate([demo, *demo.more[:4]]):
        paths.append(tmp_path / f"{k}.png")
        Pillow.fromarray(picture.image).save(paths[-1])
    assert len(of_photographs(paths, faces_by(model)).more) >= 3


def test_the_picture_nearest_to_a_face_from_the_front_is_the_neutral_one():
    turned = [(bundled("astronaut").landmarks @ rotation_matrix(yaw, 0, 0).T).astype(np.float32) for yaw in (0.5, 0.4, 0.05)]
    assert most_neutral(turned) == 1, "as the head mostly is, in a clip"
    assert most_neutral(turned, canonical.face()) == 2


def test_what_a_neutral_picture_is_not_is_told_in_one_line():
    portrait = bundled("collins")
    picture = Picture(portrait.image, portrait.landmarks)
    turned = replace(picture, landmarks=(portrait.landmarks @ rotation_matrix(0.4, 0, 0).T).astype(np.float32))
    assert doubts([picture], ["a.jpg"]) == []
    (line,) = doubts([turned], ["a.jpg"])
    assert line.startswith("a.jpg is taken for the neutral face, but is turned aside: the puppet will be skewed")
    gaping = portrait.landmarks.copy()
    gaping[14, 1] += 0.3 * float(np.linalg.norm(gaping[61] - gaping[291]))
    (line,) = doubts([replace(picture, landmarks=gaping)], ["b.jpg"])
    assert "but has its mouth open:" in line


def test_pictures_of_somebody_else_are_named(demo):
    collins, mei = (Picture(bundled(name).image, bundled(name).landmarks) for name in ("collins", "mei"))
    dim = replace(collins, image=(collins.image * 0.6).astype(np.uint8))
    assert other_people([Picture(demo.image, demo.landmarks), *demo.more]) == []
    assert other_people([collins, mei, dim]) == [1]
    (line,) = doubts([collins, mei, dim], ["a.jpg", "b.jpg", "c.jpg"])
    assert line.startswith("another face than that of a.jpg seems to be on b.jpg; a puppet is of one person")


@pytest.mark.long
def test_an_engine_renders_a_puppet_of_one_photograph(tmp_path, model, monkeypatch):
    """Here of a third of the grid."""
    monkeypatch.setattr(rendered, "grid", lambda: grid()[::3])
    faces, portrait = faces_by(model), bundled("astronaut")
    engine = open_engine("mesh", faces, Settings())
    done: list[tuple[int, int | None]] = []

    def stop_in_the_middle(count: int, total: int | None) -> None:
        done.append((count, total))
        if count == 5 and len(done) < 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        of_photograph(portrait, engine, faces, tmp_path / "work", progress=stop_in_the_middle)
    puppet = of_photograph(portrait, engine, faces, tmp_path / "work", progress=lambda count, total: done.append((count, total)))
    assert done[6][0] == 5, "a second run goes on where the first was ended"
    assert len(puppet.more) > 8
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_any_other_engine_renders_one_too(tmp_path, model, tiny, monkeypatch):
    """What tiny networks paint is no face, but it is all rendered: here a part of the grid."""
    monkeypatch.setattr(rendered, "grid", lambda: grid()[::12])
    faces = faces_by(model)
    engine = open_engine("liveportrait", faces, Settings(checkpoints=tiny, device="cpu"))
    done: list[tuple[int, int | None]] = []
    with pytest.raises(PuppetError, match="pictures that liveportrait made"):
        of_photograph(bundled("astronaut"), engine, faces, tmp_path / "work", progress=lambda *told: done.append(told))
    assert done[-1] == (len(grid()[::12]), len(grid()[::12]))


def test_a_puppet_comes_back_from_its_file_the_neutral_to_the_pixel(tmp_path, demo):
    path = tmp_path / "demo.puppet"
    save_puppet(demo, path, About("demo", "a clip", consent="public domain", label="a puppet"))
    back = load_portrait(str(path), faces_by(None))
    assert np.array_equal(back.image, demo.image)
    assert np.array_equal(back.landmarks, demo.landmarks)
    assert [p.image.shape for p in back.more] == [p.image.shape for p in demo.more]
    assert back.about is not None
    assert (back.about.consent, back.about.label, back.about.made_from) == ("public domain", "a puppet", "a clip")
    assert back.about.made_by.startswith("puppetcast ")


def changed(data: bytes, **members: bytes | None) -> bytes:
    """A puppet's bytes with members replaced, added or (None) left out; in names, "_" stands for "."."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        kept = {m.filename: old.read(m) for m in old.infolist()}
        for name, content in {**kept, **{n.replace("_", "."): c for n, c in members.items()}}.items():
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


def about_with(data: bytes, **values: object) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return json.dumps({**json.loads(archive.read("puppet.json")), **values}).encode()


def picture_of(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", (width, height)).save(out, "PNG")
    return out.getvalue()


def test_hostile_and_damaged_files_give_one_clear_line(demo):
    good = pack_puppet(replace(demo, more=demo.more[:3]), About("demo"))
    nan = np.full((4, 478, 3), np.nan, np.float32)
    from safetensors.numpy import save as tensors

    cases = {
        good[: len(good) // 2]: "not a puppet, or not whole",
        changed(good, puppet_json=None): f"not a puppet; '{command('puppet make')}' makes one",
        changed(good, puppet_json=b"[1]"): f"not a puppet; '{command('puppet make')}' makes one",
        changed(good, puppet_json=b"{"): "not a puppet, or not whole",
        changed(good, puppet_json=about_with(good, version=9)): "version 9 of the format; this program reads 1",
        changed(good, puppet_json=about_with(good, pictures=10**9)): "1000000000 pictures; a puppet has 1 to 128",
        changed(good, puppet_json=about_with(good, label="x" * 5000)): "something else than short texts",
        changed(good, **{"../../evil_webp": b"x"}): "is missing, twice or foreign",
        changed(good, **{"0001_webp": None}): "'0001.webp' is missing, twice or foreign",
        changed(good, **{"0001_webp": b"no picture"}): "neither WebP nor PNG",
        changed(good, **{"0001_webp": picture_of(5000, 5000)}): "picture 1 has 5000x5000 pixels; 16 to 1024 are taken",
        changed(good, puppet_json=b"[" * 90_000): "not a puppet, or not whole",
        changed(good, **{"0001_webp": b"\0" * 70_000_000}): "larger than 64 MB when unpacked",
        changed(good, landmarks_safetensors=b"x" * 99): "landmarks.safetensors",
        changed(good, landmarks_safetensors=tensors({"landmarks": nan})): "the landmarks of picture 0 are no face",
        changed(good, landmarks_safetensors=tensors({"landmarks": nan[:2]})): "4 times 478 points are expected",
        b"PK\x03\x04" + b"\0" * 65_000_000: "a puppet has at most 64",
    }
    for data, message in cases.items():
        with pytest.raises(PortraitError) as caught:
            read_portrait("a.puppet", data, faces_by(None))
        assert message in str(caught.value)
        assert str(caught.value).startswith("a.puppet: ")
        assert "\n" not in str(caught.value)


@pytest.mark.long
def test_the_command_makes_a_puppet_that_animate_takes(tmp_path, model, shell):
    beginning(DEMO_CLIP, tmp_path / "talk.mp4", 120)
    options = ["-o", "me.puppet", "--pictures", 8, "--label", "made for a test"]
    made = shell.run(["puppet", "make", "talk.mp4", *options], tmp_path)
    assert made.code == 0, made.said
    assert "me.puppet: 8 pictures" in made.said
    assert "warning" not in made.said
    about, pictures = puppetfile.unpack((tmp_path / "me.puppet").read_bytes(), "me")
    assert (about.name, about.made_from, about.label, len(pictures)) == ("me", "a clip", "made for a test", 8)
    options = ["--engine", "mesh", "--max-frames", 5, "-o", "out.mp4"]
    shown = shell.run(["animate", "me.puppet", "talk.mp4", *options], tmp_path)
    assert shown.code == 0, shown.said
    assert (tmp_path / "out.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.jpg", "-o", "a.zip"], "a.zip: choose a name that ends in .puppet"),
        (["a.jpg", "-o", "a.puppet"], "one photograph alone is a portrait; give more of them, or a clip"),
        (["missing.mp4", "-o", "a.puppet"], "missing.mp4: No such file or directory"),
        (["a.jpg", "-o", "a.puppet", "--with", "magic"], "--with magic: no such engine; engines: mesh, liveportrait"),
        (["a.jpg", "a.jpg", "-o", "a.puppet", "--with", "mesh"], "takes one photograph; 2 sources are given"),
        (["a.jpg", "-o", "a.puppet", "--device", "cpu"], "only '--with ENGINE' renders"),
    ],
)
def test_a_mistake_gives_one_line(arguments, message, tmp_path, model, shell):
    Pillow.fromarray(bundled("astronaut").image).save(tmp_path / "a.jpg")
    ended = shell.run(["puppet", "make", *arguments], tmp_path)
    assert ended.code == 2
    assert message in " ".join(ended.said.split())
    assert "Traceback" not in ended.said
    assert not (tmp_path / "a.puppet").exists()
