"""A table of wrong calls of the command line: each is told in one line that names culprit and cure, with exit code 2."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.liveportrait.files import is_installed
from pipeline.pictures.formats import taken
from pipeline.portrait import BUNDLED, bundled_names

from ..conftest import ROOT

NAMES = ", ".join(bundled_names())
DEMO = str(ROOT / "pipeline" / "portraits" / "demo.mp4")
LACKS = "lacks liveportrait/base_models/appearance_feature" if is_installed() else "needs PyTorch, which is not installed"
NO_LIVE = "meant for the stream 'live', which this config does not have; its streams: hall, door"
FILES = {
    "unknown.yaml": "htpp: {port: 1}",
    "strange.yaml": "nope: 1",
    "twice.yaml": "http: {}\nauth: {}\nhttp: {}",
    "bytes.yaml": "\x81",
    "wall.yaml": "streams: {hall: {}, door: {}}",
    "sink.yaml": "streams: {live: {sinks: [{kind: push, target: 'http://x'}]}}",
    "nobody.yaml": "streams: {live: {portrait: nobody}}",
    "name.yaml": "streams: {a/b: {}}",
    "two.yaml": "streams: {a: {portrait: drawing, face: 0}, b: {portrait: drawing}}",
    "text.jpg": "text",
    "text.mp4": "text",
    "text.puppet": "PK\x03\x04text",
    "words.puppet": "text",
    "any.safetensors": "",
    "later.json": '{"version": 2, "name": "later"}',
}
FACE = ["animate", "face.jpg", DEMO, "--marks"]
# Arguments with files of the desk, and what the line says.
TABLE: list[tuple[list[str], str]] = [
    # Not understood at all
    (["serv"], "no such command 'serv'. Did you mean 'serve'?; see 'puppetcast --help'"),
    (["serve", "--prot", "1"], "no such option: --prot (Possible options: --host, --port, --portrait)"),
    (["serve", "--port"], "option '--port' requires an argument; see 'puppetcast serve --help'"),
    (["serve", "extra"], "got unexpected extra argument(s) (extra); see 'puppetcast serve --help'"),
    (["animate", "drawing"], "missing argument 'DRIVER…'; see 'puppetcast animate --help'"),
    (["puppet", "make", DEMO, "-o", "words.puppet"], "words.puppet: exists; choose another name, or add '--force' to replace it"),
    (["puppet", "make", "-o", "x.puppet"], "missing argument 'SOURCE…'"),
    (["bench", "nothing"], "no such command 'nothing'; see 'puppetcast bench --help'"),
    (["identify", "nobody.jpg"], "error: nobody.jpg: No such file or directory"),
    (["identify", ""], "an empty name; give a file, a folder or an address"),
    (["token", "--address", "not a url"], "--address: 'not a url': an address such as https://puppet.example.org is expected"),
    (["token", "--view", "../x"], "--view: '../x': a name has up to 40 small letters, digits, '-' and '_'"),
    # Poses
    (["pose", "drawing", "--smile", "2"], "invalid value for '--smile': input should be less than or equal to 1"),
    (["pose", "drawing", "--shape", "smirk=1"], "shape 'smirk' is not known; sliders: yaw, pitch, roll,"),
    (["pose", "drawing", "--shape", "jawOpen"], "--shape: 'jawOpen': a name and a number are expected, such as jawOpen=0.4"),
    (["pose", "drawing", "-o", "x.gif"], "x.gif: choose a name that ends in .png or .jpg"),
    (["pose", DEMO, "-o", "x.png"], "a clip; 'puppetcast pose' takes a picture or a puppet"),
    (["pose", "drawing", "--preset", "later.json", "-o", "x.png"], "later.json: preset: version: this program reads version 1"),
    (["pose", "drawing", "--preset", "text.jpg", "-o", "x.png"], "text.jpg: no preset: it is no JSON"),
    (["pose", "drawing", "--save-preset", "a+.b.json"], "preset: name: 1 to 24 letters, digits"),
    (["pose", "drawing", "-o", "x.jpg", "--transparent"], "x.jpg: such a file is never transparent; choose .png or .webp"),
    # Fleets that are made up
    (["fleet", "simulate", "--plot", "x.gif"], "x.gif: choose a name that ends in .svg or .png"),
    (["fleet", "simulate", "--median-share", "0.9", "--limit", "0.5"], "--median-share: 0.9 is above --limit, 0.5"),
    # The config
    (["serve", "--config", "none.yaml"], "none.yaml: No such file or directory"),
    (["serve", "--config", "folder"], "folder: Is a directory"),
    (["serve", "--config", "unknown.yaml"], "unknown.yaml: line 1: htpp: unknown key; did you mean 'http'?"),
    (["serve", "--config", "strange.yaml"], "strange.yaml: line 1: nope: unknown key; there are: http, auth, engine,"),
    (
        ["serve", "--config", "twice.yaml"],
        "twice.yaml: line 3: http: given twice, first in line 1; join the two, or take one out",
    ),
    (["serve", "--config", "bytes.yaml"], "bytes.yaml: not YAML"),
    (["serve", "--config", "sink.yaml"], "streams.live.sinks.0.target: 'http://x': the address must begin"),
    (["serve", "--config", "nobody.yaml"], "streams.live.portrait: nobody: No such file or directory; bundled portraits:"),
    (["serve", "--config", "two.yaml"], "streams.b.portrait: also that of 'a', with another face or other marks; give one"),
    # Where the server listens, and what drives
    (["serve", "--port", "abc"], "invalid value for '--port': a whole number is expected; see 'puppetcast serve --help'"),
    (["serve", "--host", ""], "error: --host: an address is expected, such as 127.0.0.1, or 0.0.0.0 for every network"),
    (["animate", "", DEMO, "-o", "x.mp4"], f"the portrait's name is empty; bundled portraits: {NAMES}"),
    (["serve", "--port", "TAKEN"], "(Address already in use); choose another with --port or PUPPETCAST_HTTP__PORT"),
    (["serve", "--host", "192.0.2.7", "--port", "0"], "(Cannot assign requested address); is that an address of this machine?"),
    (["serve", "--clip", "silent.wav", "--webcam", "0"], "--clip and --webcam: only one of them can drive; leave the others out"),
    (["serve", "--config", "wall.yaml", "--clip", "silent.wav", "--portrait", "drawing"], f"--clip and --portrait: {NO_LIVE}"),
    (["serve", "--config", "wall.yaml", "--face", "1"], f"--face: {NO_LIVE}"),
    (["serve", "--webcam", "99"], "no camera '99' here"),
    (["serve", "--url", "camera"], "error: --url: 'camera': the address must begin with rtsp://"),
    (["serve", "--url", ""], "error: --url: is empty; an address is expected, such as rtsp://camera/stream"),
    (["serve", "--clip", "none.mp4"], "none.mp4: No such file or directory"),
    (["serve", "--clip", "text.mp4"], "text.mp4: not a clip that can be read, or damaged; MP4,"),
    (["serve", "--clip", "silent.wav"], "has no video track"),
    (["serve", "--engine", "warp"], "engine 'warp' is not known; engines: auto, mesh"),
    (["serve", "--engine", "liveportrait"], LACKS),
    # Portraits and faces placed by hand
    (["serve", "--portrait", "none.jpg"], f"error: --portrait: none.jpg: No such file or directory; bundled portraits: {NAMES}"),
    (["animate", "words.puppet", DEMO], "words.puppet: not a puppet, or not whole"),
    (["serve", "--portrait", "text.puppet"], "text.puppet: not a puppet, or not whole"),
    (["serve", "--face", "4"], "error: --face: collins: there is no face 4; it shows 1, counted from 0"),
    (["serve", "--marks", "1,2", "3,4"], "option '--marks' requires 5 arguments"),
    (
        ["serve", "--portrait", "face.jpg", "--marks", "9,9", "9,9", "5,6", "7,8", "9,9"],
        "face.jpg: marks: the eyes are 0 pixels apart",
    ),
    (["animate", "[/x]", "silent.wav"], "[/x]: No such file or directory"),
    (["animate", "folder", DEMO], "folder: Is a directory; a picture file is expected"),
    (["animate", "text.jpg", DEMO], f"text.jpg: not a {taken()} picture"),
    ([*FACE, "1,2", "3,4", "5", "6,7", "8,9"], "--marks: point 3, the tip of the nose: '5' is no point; one such as 120,85 is"),
    (
        [*FACE, "-900,1", "300,100", "200,200", "150,300", "250,300"],
        "marks: the eye on the left is at -900,1, far outside the picture, which has 640x640 pixels",
    ),
    ([*FACE, "300,100", "100,100", "200,200", "150,300", "250,300"], "marks: the eyes are changed over; the one on the left"),
    (
        [*FACE, "150,300", "250,300", "200,200", "100,100", "300,100"],
        "marks: the mouth is not below the eyes; the eyes come first",
    ),
    ([*FACE, "100,100", "300,100", "200,200", "250,300", "150,300"], "marks: the corners of the mouth are changed over"),
    ([*FACE, "100,100", "300,100", "200,200", "200,300", "200,300"], "marks: the corners of the mouth are at one place"),
    (
        [*FACE, "100,100", "300,100", "200,500", "150,300", "250,300"],
        "marks: the tip of the nose is below the mouth; it comes third",
    ),
    (["animate", "drawing", DEMO, "--face", "1"], "drawing: there is no face 1; it shows 1, counted from 0"),
    (["animate", DEMO, DEMO, "--face", "1"], "a clip; '--marks' and '--face' are for pictures"),
    # Numbers, names and files of `animate` and of what is made
    (["animate", "drawing", "[red]no[/red].mp4"], "[red]no[/red].mp4: No such file or directory"),
    (["animate", "drawing", "text.mp4"], "text.mp4: not a clip that can be read, or damaged; MP4,"),
    (["animate", "drawing", "silent.wav"], "has no video track"),
    (
        ["animate", "drawing", DEMO, "--engine", "mesh", "--absolute"],
        "--absolute: the engine mesh has no such option; add '--engine",
    ),
    (["animate", "drawing", "any.safetensors", "--engine", "liveportrait"], LACKS),
    (["animate", "drawing", DEMO, "--background", "red"], "--background: 'red': a colour such as #808080"),
    (
        ["animate", "drawing", DEMO, "--background", "nobody.jpg"],
        "two digits from 0 to f for each of red, green, blue, or a picture's",
    ),
    (
        ["pose", "drawing", "-o", "x.png", "--background", "#00b140", "--transparent"],
        "--background: nothing is behind who is alone",
    ),
    (["animate", "drawing", DEMO, "--region", "nose"], "invalid value for '--region': 'nose' is not one of 'all', 'exp',"),
    (["animate", "drawing", DEMO, "--max-frames", "-3"], "'--max-frames': input should be greater than or equal to 1"),
    (["animate", "drawing", DEMO, "-o", "x.avi"], "x.avi: choose a name that ends in .mp4 or .mov or .webm or .gif"),
    (
        ["animate", "face.jpg", "face.jpg", "-o", "o.mp4"],
        "o.mp4: portrait and driver are both pictures, so one picture comes out",
    ),
    (["animate", "./text.jpg", DEMO, "-o", "x.mp4"], f"error: ./text.jpg: not a {taken()} picture"),
    (["animate", "drawing", DEMO, "--engine", "mesh", "--size", "333"], "--size: 333 pixels; sides of .mp4 are even: 332 or 334"),
    (["animate", "drawing", DEMO, "-o", "no/x.mp4"], "no/x.mp4: there is no folder no; make it first"),
    (["animate", "drawing", DEMO, "-o", "folder"], "folder: is a folder; name the file to write, such as folder/out.mp4"),
    (["animate", "drawing", DEMO, "-o", DEMO], "which is read; choose another name"),
    (["puppet", "make", DEMO, "-o", "x.mp4"], "x.mp4: choose a name that ends in .puppet"),
    (["puppet", "make", DEMO, "--with", "warp", "-o", "x.puppet"], "--with warp: no such engine; engines: mesh"),
    (["template", "make", DEMO, "-o", "x.txt"], "x.txt: choose a name that ends in .safetensors"),
    (["models", "fetch", "x"], "model 'x' is not known; models: face_landmarker, litert, liveportrait"),
    (["bench", "mesh", "--clip", "none.mp4"], "none.mp4: No such file or directory"),
]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with what the calls name."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "latin-1")
    (tmp_path / "folder").mkdir()
    shutil.copy(str(BUNDLED / "astronaut.jpg"), tmp_path / "face.jpg")
    with av.open(str(tmp_path / "silent.wav"), "w") as out:  # sound, and no picture
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        out.mux(stream.encode(frame))
    return tmp_path


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


@pytest.mark.slow
def test_each_wrong_call_is_told_in_one_line(desk, taken_port, shell):
    wrong = []
    for args, message in TABLE:
        words = [taken_port if word == "TAKEN" else word for word in args]
        done = shell.run(
            words,
            desk,
            PUPPETCAST_HTTP__PORT="0",
            PUPPETCAST_DOWNLOADS__FETCH="false",
            PUPPETCAST_LIVEPORTRAIT__CHECKPOINTS=str(desk),
        )
        said = [line for line in done.said.splitlines() if " INFO " not in line and line.strip()]
        if done.code != 2 or len(said) != 1 or not said[0].startswith("error: ") or message not in said[0]:
            wrong.append((words, message, done))
    assert not wrong


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PUPPETCAST_HTTP__PORT", "x", "variable PUPPETCAST_HTTP__PORT: http.port: a whole number is expected"),
        (
            "PUPPETCAST_HTTP",
            "x",
            "variable PUPPETCAST_HTTP: not JSON; set its keys one by one, such as PUPPETCAST_HTTP__PORT=9000",
        ),
        ("PUPPETCAST_HTP__PORT", "1", "variable PUPPETCAST_HTP__PORT: htp: unknown key; did you mean 'http'?"),
        ("PUPPETCAST_AUTH__TOKN", "a", "variable PUPPETCAST_AUTH__TOKN: auth.tokn: unknown key; did you mean 'token'?"),
    ],
)
def test_a_wrong_variable_is_told_in_one_line(variable, value, message, shell, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PUPPETCAST_HTTP")]:
        monkeypatch.delenv(name)
    done = shell.run(["doctor"], **{variable: value})
    assert done.code == 2
    [said] = done.said.splitlines()
    assert message in said
