"""A table of bad inputs and the exact message each gives; other streams go on."""

from __future__ import annotations

import io
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from PIL import Image
from pydantic import ValidationError

from pipeline.errors import PortraitError
from pipeline.pictures.decode import decode_picture
from pipeline.pictures.formats import taken
from streamer.cli.override import override
from streamer.config import Config, load_config
from streamer.control.commands import read_change
from streamer.control.gallery import FOREIGN
from streamer.errors import BadCommand, ConfigError
from streamer.http.portraits import FaceChoice

from ..conftest import ROOT, run_server

TAKEN = taken()
SDP = {"Content-Type": "application/sdp"}


def png(width: int, height: int, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), "steelblue").save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("htttp: {port: 1}", "line 1: htttp: unknown key; did you mean 'http'?"),
        ("fleet: {workers: -3}", "line 1: fleet.workers: a number from 1 to 10000, or 'auto', is expected (given: -3)"),
        ("http: {prot: 1}", "line 1: http.prot: unknown key; did you mean 'port'?"),
        (
            "streams: {b: {sinks: [{kind: push, tarjet: a}]}}",
            "line 1: streams.b.sinks.0.tarjet: unknown key; did you mean 'target'?",
        ),
        (
            "portraits: {background: red}",
            "line 1: portraits.background: 'red': a colour such as #808080 is expected: two digits from 0 to f for each of red, "
            "green, blue",
        ),
        (
            "portraits:\n  background: #808080",
            'line 2: portraits.background: a colour in quotes is expected, such as "#808080": a bare # begins a comment',
        ),
        (
            "mqtt: {base_topic: a b}",
            "line 1: mqtt.base_topic: a topic has no spaces, '#' or '+', such as home/puppetcast (given: 'a b')",
        ),
        (
            "webrtc: {ice_servers: [{url: 'http://a'}]}",
            "line 1: webrtc.ice_servers.0.url: an address begins with stun:, turn: or turns:, such as stun:stun.example.org:3478",
        ),
        (
            "streams: {Live: {}}",
            "line 1: streams.Live: a name has up to 40 small letters, digits, '-' and '_', such as live or camera-2 "
            "(given: 'Live')",
        ),
        (
            "streams: {live: {puppet: {region: nose}}}",
            "line 1: streams.live.puppet.region: input should be 'all', 'exp', 'pose', 'lip' or 'eyes' (given: 'nose')",
        ),
        ("persistence: {zzz: 1}", "line 1: persistence.zzz: unknown key; there are: file"),
        (
            "http: {port: 99999}",
            "line 1: http.port: input should be less than or equal to 65535 (given: 99999)",
        ),
        (
            "streams: {live: {source: tv}}",
            "line 1: streams.live.source: input should be 'browser', 'network', 'file', 'webcam' or 'pattern' (given: 'tv')",
        ),
        ("- 1", "a mapping of sections is expected, such as 'http:'"),
        ("a: [1", "line 1: not YAML (expected ',' or ']', but got '<stream end>')"),
        ("streams: 5", "line 1: streams: a mapping of keys is expected"),
        ("auth: {token: 123}", "line 1: auth.token: a text is expected; put it in quotes"),  # and it is not shown
        ("streams: {live: {source: file}}", "line 1: streams.live: 'path' is missing: with 'source: file' it says where"),
        ("1: 2", "a mapping of sections is expected, such as 'http:'"),
        (
            "http:\n  port: 1\nauth: {}\nhttp: {}",
            "line 4: http: given twice, first in line 1; join the two, or take one out",
        ),
        (
            "webrtc:\n  ports: [60000, 50000]",
            "line 2: webrtc.ports: the lowest comes first; write [50000, 60000] (given: [60000, 50000])",
        ),
        (
            "webrtc: {uplink_kbps: [3, 2, 1]}",
            "line 1: webrtc.uplink_kbps: the lowest comes first; write [1, 2, 3] (given: [3, 2, 1])",
        ),
        (
            "webrtc: {min_bitrate_kbps: 9000}",
            "line 1: webrtc: min_bitrate_kbps, 9000, is above max_bitrate_kbps, 4000; lower the one or raise the other",
        ),
        (
            "webrtc: {ports: [0, 5]}",
            "line 1: webrtc.ports.0: input should be greater than or equal to 1 (given: 0)",
        ),
        (
            "streams:\n  live:\n    puppet: {pose_gain: true}",
            "line 3: streams.live.puppet.pose_gain: a number is expected, such as 1, not true or false (given: true)",
        ),
        (
            "streams: {live: {size: [640, false]}}",
            "line 1: streams.live.size: a number is expected, such as 1, not true or false (given: [640, false])",
        ),
        (
            "liveportrait: {max_batch: true}",
            "line 1: liveportrait.max_batch: a number is expected, such as 1, not true or false (given: true)",
        ),
    ],
)
def test_config(text, message, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}: {message}"


def test_the_shipped_config_equals_the_defaults():
    assert load_config(ROOT / "configs" / "default.yaml") == Config()


def test_a_variable_overrides(monkeypatch):
    monkeypatch.setenv("PUPPETCAST_HTTP__PORT", "9000")
    assert load_config().http.port == 9000


def test_a_wrong_variable_is_named_and_not_the_line_that_it_overrides(monkeypatch, tmp_path):
    monkeypatch.setenv("PUPPETCAST_HTTP__PORT", "99999")
    path = tmp_path / "c.yaml"
    path.write_text("http: {port: 80}")
    with pytest.raises(ConfigError, match="variable PUPPETCAST_HTTP__PORT: http"):
        load_config(path)


def test_keys_that_a_merge_repeats_are_not_given_twice(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("streams:\n  live: &same {source: pattern, fps: 10}\n  two: {<<: *same, fps: 20}")
    assert [stream.fps for stream in load_config(path).streams.values()] == [10, 20]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pose_gain": True}, "pose_gain: a number is expected, such as 1, not true or false (given: true)"),
        ({"pose_gain": "1"}, 'pose_gain: a number is expected (given: "1")'),
        ({"max_fps": "24"}, 'max_fps: a whole number is expected (given: "24")'),
        ({"recording": "yes"}, 'recording: true or false is expected (given: "yes")'),
        ({"mirror": 1}, "mirror: true or false is expected (given: 1)"),
        ({"calibrate": False}, "calibrate: true is expected (given: false)"),
        ({"region": None, "smoothing": [None, True]}, "smoothing: a number is expected (given: [null, true])"),
        ({"region": "nose"}, 'region: "all", "exp", "pose", "lip" or "eyes" is expected (given: "nose")'),
    ],
)
def test_a_command_takes_nothing_for_something_else_and_says_so_as_json_does(change, told):
    with pytest.raises(BadCommand) as refused:
        read_change(change)
    assert str(refused.value) == told


def test_numbers_and_lists_are_taken_as_json_has_them():
    assert read_change({"max_fps": 24.0, "pose_gain": 1, "max_age_ms": None}).model_dump(exclude_unset=True) == {
        "max_fps": 24, "pose_gain": 1.0, "max_age_ms": None,
    }  # fmt: skip
    assert FaceChoice.model_validate({"marks": [[0, 0.5]] * 5}).marks == ((0.0, 0.5),) * 5
    with pytest.raises(ValidationError, match="a valid number"):
        FaceChoice.model_validate({"marks": [[0, "0.5"]] * 5})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not a picture", f"p: not a {TAKEN} picture"),
        (png(400, 300)[:500], "p: damaged picture"),
        (png(10000, 10000, "1"), "p: 100 megapixels; at most 40 are taken"),
        (png(20, 20), "p: 20x20 pixels; at least 64x64 are needed"),
        (bytes(65_000_000), "p: 65 MB; at most 64 MB are taken"),
    ],
    ids=["none", "damaged", "too large", "too small", "too long"],  # not the bytes, which are many
)
def test_pictures(data, message):
    with pytest.raises(PortraitError) as caught:
        decode_picture(data, "p")
    assert str(caught.value).startswith(message)


def test_http(model):
    with (
        run_server(streams={"live": {}, "other": {"portrait": "drawing"}}) as server,
        httpx.Client(base_url=server.url, timeout=60) as http,
    ):
        upload = {"file": ("wall.png", png(300, 300), "image/png")}
        table = [
            (http.post("/live/live/whip", content="hello", headers=SDP), 400,
             "the body is not SDP: it does not begin with 'v=0'"),
            (http.post("/live/live/whip", content="v=0"), 415, "Content-Type is 'missing'; application/sdp is expected"),
            (http.post("/live/live/whep", content="v=0\r\n", headers=SDP), 400, "the offer has no video"),
            (http.post("/live/no/whep", content="v=0\r\n", headers=SDP), 404, "no stream 'no'; streams: live, other"),
            (http.get("/api/streams/no"), 404, "no stream 'no'; streams: live, other"),
            (http.delete("/live/live/sessions/abc"), 404, "no such session; it may have ended already"),
            (http.patch("/api/streams/live", json={"portrait": "x"}), 404, "no portrait 'x'; GET /api/portraits lists them"),
            (http.post("/api/portraits", files=upload), 422,
             "wall.png: no face found; use a picture that shows one face from the front"),
            (http.post("/api/portraits", files={"file": ("a.txt", b"text")}), 422, FOREIGN.format("a.txt", TAKEN)),
            (http.post("/api/portraits", content=b"text", params={"name": "b.txt"}), 422, FOREIGN.format("b.txt", TAKEN)),
            (http.put("/api/streams/live/background", content=b"text"), 422, f"background: not a {TAKEN} picture"),
            (http.post("/api/portraits", files={"film": ("a.png", b"text")}), 422,
             "file: a file is expected, with a name (multipart/form-data)"),
            (http.patch("/api/streams/live", content=b"<a/>"), 422,
             "command: an object is expected, as JSON with 'Content-Type: application/json' (given: \"<a/>\")"),
            (http.patch("/api/streams/live", json={"calibrate": True}, headers={"Origin": "http://evil.test"}), 403,
             "requests from http://evil.test are not allowed; see http.allowed_origins"),
        ]  # fmt: skip
        for response, status, detail in table:
            assert (response.status_code, response.json()["detail"]) == (status, detail)
        offer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\n"
        no_json = http.patch("/api/streams/live", content="{bad", headers={"Content-Type": "application/json"})
        assert no_json.json()["detail"].startswith("the body is not JSON (")
        broken = http.post("/live/live/whip", content=offer, headers=SDP)
        assert broken.status_code == 400
        assert broken.json()["detail"] == "the offer's video has no codec; VP8 and H264 are taken"
        assert len(server.sessions) == 0
        assert http.patch("/api/streams/live", json={"demo": True}).status_code == 200
        offer += "a=rtpmap:96 VP8/90000\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=rtcp-mux\r\n"
        offer += "a=fingerprint:sha-256 " + ":".join(32 * ["AB"]) + "\r\na=setup:actpass\r\n"
        busy = http.post("/live/live/whip", content=offer, headers=SDP)
        assert (busy.status_code, busy.json()["detail"]) == (
            409,
            "stream 'live' already has a publisher; end that one first, or take over (POST …/whip?take_over=true)",
        )
        assert http.patch("/api/streams/live", json={"demo": False}).json()["publisher"] is False
        assert http.get("/readyz").json() == {"ready": True}
        assert http.get("/openapi.json").status_code == 200


def test_options_of_the_command_line_win_and_are_checked(monkeypatch):
    monkeypatch.setenv("PUPPETCAST_HTTP__PORT", "9000")
    config = Config(streams={"live": {"sinks": [{"kind": "push", "target": "rtsp://a"}], "puppet": {"smoothing": 0.7}}})
    told = override(config, None, 9001, "drawing", None, None, "rtsp://cam/a", "mesh")
    assert (told.http.port, told.http.host, told.engine.name) == (9001, config.http.host, "mesh")
    live = told.streams["live"]
    assert (live.portrait, live.source, live.path) == ("drawing", "network", "rtsp://cam/a")
    assert (live.sinks, live.puppet) == (config.streams["live"].sinks, config.streams["live"].puppet)
    assert override(config, None, None, None, None, None, None, None) == config
    for port in (-1, 65536):
        with pytest.raises(ConfigError, match=f"command line: port: input should be .* \\(given: {port}\\)"):
            override(config, None, port, None, None, None, None, None)
    with pytest.raises(ConfigError, match="--webcam and --url: only one of them can drive"):
        override(config, None, None, None, None, "0", "rtsp://cam/a", None)


def test_marks_are_of_the_picture_that_they_are_given_with():
    marks = [(1.0, 2.0)] * 5
    config = Config(streams={"live": {"portrait": "a.png", "marks": marks, "face": 1}})
    live = override(config, None, None, "b.png", None, None, None, None).streams["live"]
    assert (live.portrait, live.marks, live.face) == ("b.png", None, None)
    live = override(config, None, None, "b.png", None, None, None, None, 2, marks).streams["live"]
    assert (live.portrait, live.marks, live.face) == ("b.png", tuple(marks), 2)
    assert override(config, None, None, None, None, None, None, None, 0).streams["live"].marks == tuple(marks)


def test_the_version_is_told():
    installed = Path(sys.executable).parent / "puppetcast"
    done = subprocess.run([str(installed), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"puppetcast {version('puppetcast')}\n"


def test_of_the_commands_only_the_one_that_is_called_is_loaded() -> None:
    program = (
        "import sys; from streamer.cli.main import app; app(sys.argv[1:], standalone_mode=False); print(*sorted(sys.modules))"
    )
    call = [sys.executable, "-c", program, "token", "--help"]
    loaded = subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()
    assert "streamer.cli.token" in loaded
    assert not {"streamer.cli.animate", "streamer.cli.fleet", "fastapi", "httpx", "av", "cv2"} & {*loaded}
