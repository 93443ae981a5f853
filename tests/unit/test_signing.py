"""What files say of themselves (C2PA): whose key signs, every kind of file, and what is not as it was signed."""

from __future__ import annotations

import shutil
import stat
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cryptography import x509
from PIL import Image as Pillow

from pipeline.frames import _SEAL, AnimatedFrame, planar
from pipeline.offline.writers import write_file
from streamer.config import Config, Signing
from streamer.errors import ConfigError
from streamer.signing.keys import OWN, credentials
from streamer.signing.manifest import Made
from streamer.signing.signed import Signer, open_signer, read
from streamer.sinks.library import Library
from streamer.sinks.recording import PART, Recording

MADE = Made(("mesh",), ("ab" * 32,), ("1beef07001", "1beef07002"))
MOVING, STILL = (".mp4", ".mov", ".webm", ".gif", ".webp"), (".png", ".jpg")


def picture(k: int = 0) -> np.ndarray:
    image = np.zeros((64, 64, 3), np.uint8)
    image[k : k + 20] = 200
    return image


@pytest.fixture(scope="module")
def signer(tmp_path_factory) -> Signer:
    made = open_signer(Signing(folder=tmp_path_factory.mktemp("keys")))
    assert made is not None
    return made


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """One of each kind that is written."""
    folder = tmp_path_factory.mktemp("files")
    for suffix in MOVING:
        write_file(((k / 10, picture(k)) for k in range(8)), folder / f"a{suffix}", Fraction(10), None)
    for suffix in STILL:
        Pillow.fromarray(picture()).save(folder / f"a{suffix}")
    return {path.suffix: path for path in folder.iterdir()}


def as_shown(path: Path) -> list[bytes]:
    """The pictures in a file."""
    if path.suffix in (*STILL, ".gif", ".webp"):
        with Pillow.open(path) as opened:
            return [(opened.seek(k), opened.convert("RGB").tobytes())[1] for k in range(getattr(opened, "n_frames", 1))]
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24").tobytes() for frame in container.decode(video=0)]


@pytest.mark.parametrize("suffix", [*MOVING, *STILL])
def test_every_kind_of_file_says_what_it_is_and_shows_what_it_showed(signer, files, suffix, tmp_path):
    path = Path(shutil.copy(files[suffix], tmp_path / f"a{suffix}"))
    path.chmod(0o640)
    assert read(path) is None  # as files of before
    signer.sign(path, MADE)
    said = read(path)
    assert said is not None
    assert (said.valid, said.trusted, said.problems) == (True, False, ())
    assert said.generator.startswith("puppetcast ")
    assert said.source == "compositeWithTrainedAlgorithmicMedia"
    assert said.made == MADE
    assert as_shown(path) == as_shown(files[suffix])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    beside = ["a.c2pa"] if suffix == ".webm" else []
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([path.name, *beside]), "something was left"


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".jpg"])
def test_what_was_changed_afterwards_is_noticed(signer, files, suffix, tmp_path):
    path = Path(shutil.copy(files[suffix], tmp_path / f"a{suffix}"))
    signer.sign(path, MADE)
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    said = read(path)
    assert said is not None
    assert not said.valid
    assert any("mismatch" in problem for problem in said.problems), said.problems


def test_a_key_is_made_once_and_nobody_else_reads_it(tmp_path):
    first = credentials(Signing(folder=tmp_path / "own"))
    assert stat.S_IMODE((tmp_path / "own" / OWN).stat().st_mode) == 0o600
    assert credentials(Signing(folder=tmp_path / "own")) == first
    assert credentials(Signing(folder=tmp_path / "other")).key != first.key
    (tmp_path / "other" / OWN).write_text("damaged")
    with pytest.raises(ConfigError, match=f"{OWN} is damaged; put back what it was, or delete it"):
        credentials(Signing(folder=tmp_path / "other"))
    leaf, root = x509.load_pem_x509_certificates(first.chain)
    leaf.verify_directly_issued_by(root)
    assert (leaf.not_valid_after_utc - datetime.now(UTC)).days > 3000


def test_a_companys_certificate_signs(signer, tmp_path):
    """Its chain and key are files of their own."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(signer.credentials.chain)
    key.write_bytes(signer.credentials.key)
    theirs = open_signer(Config(signing={"certificate": chain, "key": key}).signing)
    assert theirs is not None
    assert not theirs.credentials.own
    Pillow.fromarray(picture()).save(tmp_path / "a.png")
    theirs.sign(tmp_path / "a.png", MADE)
    assert read(tmp_path / "a.png").valid
    assert open_signer(Signing(enabled=False)) is None


def test_what_is_wrong_with_a_certificate_is_one_line_that_names_it(signer, tmp_path):
    good, key, other = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "other.pem"
    good.write_bytes(signer.credentials.chain)
    key.write_bytes(signer.credentials.key)
    other.write_bytes(credentials(Signing(folder=tmp_path / "own")).key)
    alone = tmp_path / "alone.pem"  # vouches for itself
    alone.write_bytes(b"-----BEGIN CERT" + signer.credentials.chain.split(b"-----BEGIN CERT")[2])
    for certificate, secret, said in (
        (tmp_path / "nowhere.pem", key, "signing.certificate: .*nowhere.pem: No such file"),
        (key, key, "signing.certificate: .*key.pem: no certificate in PEM"),
        (alone, key, "signing.key: .*key.pem: not the key of .*alone.pem"),
        (good, good, "signing.key: .*chain.pem: no private key in PEM"),
        (good, other, "signing.key: .*other.pem: not the key of .*chain.pem"),
    ):
        with pytest.raises(ConfigError, match=said) as raised:
            open_signer(Signing(certificate=certificate, key=secret))
        assert "\n" not in str(raised.value)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"signing\.folder"):
        open_signer(Signing(folder=tmp_path / "file" / "below"))


def recorded(folder: Path, sign) -> Recording:
    recording = Recording(folder, "live", 60, 100, made_of=lambda: ("mesh", "ab" * 32, "1beef07001"), sign=sign)
    frames = [AnimatedFrame(planar(picture(k)), k / 10, k, _SEAL) for k in range(15)]
    recording.open(frames[0], 0.0)
    for frame in frames:
        recording.write(frame, frame.captured_s)
    return recording


def test_a_recording_is_signed_before_it_has_its_name(signer, tmp_path):
    seen = []

    def sign(part: Path, whole: Path, made) -> bool:
        seen.append(whole.exists())
        signer.sign(part, Made.of(made), whole)
        return True

    recorded(tmp_path, sign).close()
    [path] = tmp_path.iterdir()
    assert seen == [False]
    assert read(path).valid
    assert read(path).made == Made(("mesh",), ("ab" * 32,), ("1beef07001",))
    assert len(as_shown(path)) == 15


def test_what_cannot_be_signed_is_kept(tmp_path):
    recorded(tmp_path, lambda part, whole, made: False).close()
    [path] = tmp_path.iterdir()
    assert path.suffixes == [".mp4"]
    assert read(path) is None


def test_what_a_killed_process_left_is_signed_when_it_is_finished(signer, tmp_path):
    recording = recorded(tmp_path, lambda part, whole, made: False)
    recording._claim.close()  # as its end does
    [part] = tmp_path.glob(f"*{PART}")
    torn = tmp_path / f"torn{PART}"
    shutil.copy(part, torn)
    torn.with_suffix(".json").write_text('[["mesh", "ab')  # it was killed while it wrote that

    def sign(part: Path, whole: Path, made) -> bool:
        signer.sign(part, Made.of(made), whole)
        return True

    Library(tmp_path, sign=sign).finish_left_over()
    left, unknown = sorted(tmp_path.iterdir())
    assert (left.suffix, unknown.name) == (".mp4", "torn.mp4")
    assert read(left).valid
    assert read(left).made == Made(("mesh",), ("ab" * 32,), ("1beef07001",))
    assert (read(unknown).valid, read(unknown).made) == (True, Made())
    assert as_shown(left)
