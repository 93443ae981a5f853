"""Whose face a portrait shows, and who may drive it: passes, faces, files, the shelf, and the log of drives."""

from __future__ import annotations

import io
import json
import time
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline import passes, puppetfile
from pipeline.budget import FrameBudget
from pipeline.errors import PortraitError, PuppetError
from pipeline.face.faces import faces_by
from pipeline.face.likeness import LIMIT, STRANGE, TOO_ROUGH, FaceLock, proportions, unlike
from pipeline.face.motion import rotation_matrix
from pipeline.frames import AnimatedFrame
from pipeline.lane import Lane, Screen
from pipeline.mark.marker import UNMARKED
from pipeline.mesh.engine import MeshEngine
from pipeline.offline.animate import animate
from pipeline.offline.mux import Output
from pipeline.portrait import bundled, bundled_names, load_portrait, pack_puppet, read_puppet, save_puppet
from pipeline.terms import NO_PASS, WRONG_PASS, OnlyFace, Terms, Whose
from streamer.addresses import shortened
from streamer.config import Drives
from streamer.control.drives import DriveLog, drives_file
from streamer.control.shelf import ABOUT, Shelf
from streamer.stream.status import Who

from ..commands import Commands
from ..fakes import FACE, FakePrepared, FakePuppeteer, ManualTime, camera_frame


def test_a_pass_opens_its_lock_and_so_do_its_grants_for_a_while():
    mine, other = passes.made(), passes.made()
    lock = passes.lock_of(mine)
    assert passes.opens(mine, lock, now_s=0)
    assert not passes.opens(other, lock, now_s=0)
    grant = passes.grant(mine, until_s=1000)
    assert passes.opens(grant, lock, now_s=1000)
    assert not passes.opens(grant, lock, now_s=1001)
    assert not passes.opens(grant.replace("1000", "9999"), lock, now_s=0), "its end is signed"
    assert not passes.opens(passes.grant(other, 1000), lock, now_s=0)
    for text in ("", lock, f"pass.{lock}", "grant.1.x", "grant." + "9" * 12 + "." + "A" * 86, mine[:-1], "ö"):
        assert not passes.opens(text, lock, now_s=0)
    with pytest.raises(PuppetError, match="this is no pass"):
        passes.grant(grant, 2000)


@pytest.fixture(scope="module")
def puppet():
    portrait = bundled("mei")
    small = replace(portrait, image=portrait.image[::4, ::4].copy(), landmarks=portrait.landmarks / 4)
    return replace(small, terms=Terms(Whose.MINE, passes.lock_of(passes.made()), OnlyFace.SHOWN))


def test_terms_go_with_a_puppet_file_and_an_enrolled_face_does_not(puppet):
    assert read_puppet("x", pack_puppet(puppet, puppetfile.About("me"))).terms == puppet.terms
    enrolled = replace(puppet, terms=replace(puppet.terms, face=OnlyFace.ENROLLED, enrolled=(1.0,) * 11))
    data = pack_puppet(enrolled, puppetfile.About("me"))
    told = zipfile.ZipFile(io.BytesIO(data)).read(puppetfile.ABOUT).decode()
    terms = json.loads(told)["terms"]
    assert terms["face"] == "enrolled", "that it is one face's goes with it"
    assert not any(isinstance(value, list) for value in terms.values()), "and nothing of the face"
    read = read_puppet("x", data)
    assert read.terms == replace(enrolled.terms, enrolled=None)
    assert read.face_lock == FaceLock(None)
    assert read.face_lock.refusal(puppet.landmarks, "mediapipe"), "who is not known here is nobody"


@pytest.mark.parametrize(
    "terms", [{"version": 2}, [], "x", {"version": 1, "whose": "theirs"}, {"version": 1, "lock": 5}, {"version": 1, "face": []},
              {"version": 1, "lock": "A" * 42}],
)  # fmt: skip
def test_terms_that_cannot_be_read_let_nobody_in(puppet, tmp_path, terms):
    path = tmp_path / "me.puppet"
    save_puppet(puppet, path, puppetfile.About("me"))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "new.puppet", "w") as new:
        for name in old.namelist():
            text = json.loads(old.read(name)) | {"terms": terms} if name == puppetfile.ABOUT else None
            new.writestr(name, old.read(name) if text is None else json.dumps(text))
    with pytest.raises(PortraitError, match=r"^x: says who may drive it in a way that"):
        read_puppet("x", (tmp_path / "new.puppet").read_bytes())


def test_a_puppet_file_is_told_who_may_drive_it(puppet, tmp_path, shell: Commands):
    path = tmp_path / "me.puppet"
    save_puppet(replace(puppet, terms=Terms()), path, puppetfile.About("me", label="hello"))
    pictures = {m.filename: m.CRC for m in zipfile.ZipFile(path).infolist() if m.filename != puppetfile.ABOUT}
    done = shell.run(["puppet", "allow", path, "--whose", "mine", "--pass"], tmp_path)
    given = next(line for line in done.said.splitlines() if line.startswith("pass."))
    portrait = load_portrait(str(path), None)  # type: ignore[arg-type]
    assert portrait.terms == Terms(Whose.MINE, passes.lock_of(given))
    assert portrait.about is not None
    assert portrait.about.label == "hello"
    assert {m.filename: m.CRC for m in zipfile.ZipFile(path).infolist() if m.filename != puppetfile.ABOUT} == pictures
    grant = shell.run(["puppet", "grant", given], tmp_path).said.strip()
    assert passes.opens(grant, portrait.terms.lock, now_s=0)
    told = shell.run(["pose", path, "-o", "posed.png", "--smile", "0.5", "--pass", passes.made()], tmp_path)
    assert f"{WRONG_PASS}; give it with '--pass'" in " ".join(told.said.split())
    soon = shell.run(["puppet", "grant", given, "--minutes", "0.2"], tmp_path).said.strip()
    assert passes.opens(soon, portrait.terms.lock, time.time())
    assert not passes.opens(soon, portrait.terms.lock, time.time() + 13)
    assert not (tmp_path / "posed.png").exists()


def test_bundled_portraits_say_whose_they_are():
    assert {bundled(name).terms.whose for name in bundled_names()} == {Whose.PUBLIC_DOMAIN, Whose.DRAWN}


def test_a_face_is_alike_wherever_it_is_and_unlike_others():
    mei, samuel = bundled("mei").landmarks, bundled("samuel").landmarks
    turned = 0.3 * mei @ rotation_matrix(0.2, -0.1, 0.5).T + np.array([7, -5, 1], np.float32)
    mirror = mei.copy()
    assert unlike(proportions(mei), proportions(turned)) < 0.1
    assert unlike(proportions(mirror), proportions(mei)) == 0
    lock = FaceLock.of(mei)
    assert lock.refusal(turned, "mediapipe") == ""
    assert lock.refusal(samuel, "mediapipe") == STRANGE
    assert lock.refusal(turned, "cascade") == TOO_ROUGH
    assert unlike(proportions(mei), proportions(samuel)) > LIMIT


class Filmed:
    """A lane before a camera, a picture each 33 ms of a time that a test sets."""

    def __init__(self) -> None:
        self.time = ManualTime()
        self.shown: list[AnimatedFrame] = []
        self.screen = Screen(FakePrepared(), self.shown.append, UNMARKED, self.time)
        self.puppeteer = FakePuppeteer()
        self.told = 0
        self.lane = Lane(self.puppeteer, self.screen, FrameBudget(clock=self.time), clock=self.time, told=self.tell)

    def tell(self) -> None:
        self.told += 1

    def film(self, seconds: float) -> list[int]:
        """The numbers of the work that was done."""
        done = []
        for k in range(round(30 * seconds)):
            self.time.sleep(1 / 30)
            work = self.lane.step(camera_frame(100 + k % 50, self.time()))
            if work is not None:
                work.done(FakePrepared().yuv, 0.001)
                done.append(work.seen)
        return done


def test_a_lane_moves_for_its_one_face_alone():
    filmed = Filmed()
    filmed.screen.restrict("", FaceLock.of(FACE))
    assert len(filmed.film(0.5)) == 0, "while it is measured"
    assert filmed.lane.refused.endswith("look straight into the camera")
    filmed.film(2)
    assert filmed.lane.refused == ""
    assert len(filmed.film(1)) > 10
    strange = FACE * np.array([1.3, 1, 1], np.float32)
    filmed.screen.restrict("", FaceLock.of(strange))
    assert filmed.film(1) == [], "the driver's is measured already"
    assert filmed.lane.refused == STRANGE
    assert filmed.film(5) == []
    assert (filmed.lane.refused, filmed.told) == (STRANGE, 3), "it is looked at again and again, and said once"


def test_what_was_followed_before_a_portrait_was_barred_is_not_shown():
    filmed = Filmed()
    filmed.film(3)
    filmed.time.sleep(1 / 30)
    work = filmed.lane.step(camera_frame(140, filmed.time()))
    assert work is not None
    filmed.screen.change(FakePrepared(grey=50), NO_PASS)
    before = len(filmed.shown)
    work.done(FakePrepared().yuv, 0.001)
    assert len(filmed.shown) == before
    assert filmed.film(3) == []
    assert filmed.shown[-1].yuv[8, 8] == FakePrepared(grey=50).yuv[8, 8], "it rests"
    filmed.screen.restrict("", None)
    assert len(filmed.film(1)) > 10


def test_an_enrolled_face_is_kept_for_its_owner_alone(tmp_path, puppet):
    shelf = Shelf(tmp_path)
    key = "upload-" + "a" * 16
    shelf.put(key, puppet, pack_puppet(puppet, puppetfile.About("me")))
    about = tmp_path / key / ABOUT
    old = json.loads(about.read_text())
    for name in ("whose", "lock", "only_face", "enrolled"):
        old.pop(name)
    about.write_text(json.dumps(old))
    kept = shelf.about(key)
    assert kept is not None
    assert kept.terms == Terms(), "one of before says nothing"
    terms = Terms(Whose.CONSENT, "", OnlyFace.ENROLLED, tuple(proportions(FACE).tolist()))
    shelf.restrict(key, terms)
    portrait = Shelf(tmp_path).load(key)
    assert portrait is not None
    assert portrait.terms == terms
    assert about.stat().st_mode & 0o077 == 0
    about.write_text(about.read_text().replace('"lock": ""', '"lock": "x"'))
    assert Shelf(tmp_path).about(key) is None


class Driven:
    """What the log asks of a stream."""

    refused = ""
    driver: Driven | None = None

    def __init__(self, name: str) -> None:
        self.name, self.shown = name, self
        self.id = "mei"
        self.who = Who("camera", address="192.0.2.0/24")


def test_the_log_of_drives_is_private_bounded_and_deleted(tmp_path):
    now = datetime(2026, 11, 1, tzinfo=UTC)
    config = Drives(file=tmp_path / "in" / "drives.jsonl", max_kb=16, max_days=10)
    log, stream = DriveLog(config, lambda: now), Driven("live")
    log.note(stream)
    assert not drives_file(config).exists(), "nobody drives, and nobody did"
    for _ in range(2):
        stream.driver = stream
        log.note(stream)
    stream.driver = None
    log.note(stream)
    assert [drive.driver for drive in log.drives()] == ["camera", "none"]
    assert drives_file(config).stat().st_mode & 0o777 == 0o600
    with drives_file(config).open("a") as file:
        file.write("nonsense\n{}\n")
    other = Driven("other")
    for k in range(200):
        other.driver, other.id = other, f"portrait-{k}"
        log.note(other)
    assert drives_file(config).stat().st_size <= 16_000
    kept = log.drives("other")
    assert kept[-1].portrait == "portrait-199"
    assert 50 < len(kept) < 200
    log.delete("other")
    assert log.drives("other") == []
    stream.driver = stream
    log.note(stream)
    now += timedelta(days=11)
    assert DriveLog(config, lambda: now).drives() == []
    assert not drives_file(config).exists(), "nothing that is too old stays in the file"


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.77", "192.0.2.0/24"), ("::ffff:192.0.2.77", "192.0.2.0/24"), ("2001:db8:1:2::5%eth0", "2001:db8:1::/48"),
     ("127.0.0.1", "127.0.0.1"), ("testclient", "")],
)  # fmt: skip
def test_addresses_are_shortened(address, network):
    assert shortened(address) == network


def test_a_clip_of_somebody_else_animates_nothing(model, short, tmp_path):
    engine, output = MeshEngine(faces_by(model)), Output(tmp_path / "out.mp4")
    drawn = replace(bundled("drawing"), terms=Terms(face=OnlyFace.SHOWN))
    with pytest.raises(PuppetError, match=f"drawing: .*short.mp4: {STRANGE}"):
        animate(engine, drawn, short, output)
    locked = replace(drawn, terms=Terms(lock=passes.lock_of(passes.made())))
    with pytest.raises(PuppetError, match=f"drawing: {NO_PASS}; give it with '--pass'"):
        animate(engine, locked, short, output)
    with pytest.raises(PuppetError, match=f"drawing: {WRONG_PASS}; give it with '--pass'"):
        animate(engine, locked, short, output, passes=[passes.made()])
    assert list(tmp_path.iterdir()) == []
