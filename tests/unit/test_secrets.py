"""What is secret in an address is used and never shown; what cannot be used is refused with its cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.config import Mqtt, load_config
from streamer.errors import ConfigError
from streamer.mqtt.bridge import Bridge
from streamer.redaction import Address, redacted
from streamer.sinks.push import Push
from streamer.sources.network import NetworkSource
from streamer.webrtc.whip_push import WhipPush


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:p@cam:554/a?b=c", "rtsp://***@cam:554/a?***"),
        ("http://cam/x", "http://cam/x"),
        ("rtsp://p@ss:wo@rd@cam/1", "rtsp://***@cam/1"),
        ("rtsp://cam/profile@1", "rtsp://cam/profile@1"),
        ("rtsp://[fe80::1]:554/a", "rtsp://[fe80::1]:554/a"),
        (
            "rtsp://cam/user=admin&password=S3cret&channel=1&stream=0.sdp",
            "rtsp://cam/user=***&password=***&channel=1&stream=0.sdp",
        ),
        (
            "rtsp://cam/user=admin_password=S3cret_channel=1_stream=0.sdp",
            "rtsp://cam/user=***_password=***_channel=1_stream=0.sdp",
        ),
        ("http://cam/token/S3cret/live.m3u8", "http://cam/token/***/live.m3u8"),
        ("rtmp://a.example/app/live_S3cret", "rtmp://a.example/app/***"),
        ("rtmps://a.example:443/app/inst/live_S3cret?x=S3cret", "rtmps://a.example:443/app/inst/***?***"),
        ("rtmp://127.0.0.1/app", "rtmp://127.0.0.1/app"),
        ("http://cam/cgi;pw=S3cret", "http://cam/cgi;pw=***"),
        ("http://cam/spinning=1/pin=1234", "http://cam/spinning=1/pin=***"),
        ("https://cdn/e6T3kq9ZxP4mWv7L2bRh/live/index.m3u8", "https://cdn/***/live/index.m3u8"),
        ("https://cdn/hls/550e8400-e29b-41d4-a716-446655440000/1.m3u8", "https://cdn/hls/***/1.m3u8"),
        ("https://cdn/9f86d081884c7d659a2feaa0c55ad015/1.m3u8", "https://cdn/***/1.m3u8"),
        ("http://cam/Streaming/Channels/101/camera-entrance-2024", "http://cam/Streaming/Channels/101/camera-entrance-2024"),
        ("http://cam/CameraEntranceLeft2/stream_1920x1080_30fps_h264.m3u8",) * 2,
        ("", ""),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize(
    "where", ["user:{}@cam", "{}:x@cam", "cam/?pwd={}", "cam/a&passwd={}&b", "cam/Token={}", "cam/#{}", "cam/a?{}"]
)
@pytest.mark.parametrize(
    "secret", ["S3cret", "S3/cret", "S3#cret", "S3?cret", "S3[cret", "S3@cret", "S3:cret", "S3%2Fcret", "S3 cret", "S3]cret"]
)
def test_no_part_of_a_secret_is_shown_and_nothing_is_raised(where: str, secret: str) -> None:
    for scheme in ("rtsp", "http", "mqtt", "rtmp"):
        shown = redacted(f"{scheme}://{where.format(secret)}")
        assert not {"S3", "cret"} & set(shown.replace("***", " ").replace("@", " ").replace("/", " ").split()), shown
        assert "S3" not in shown, shown
        assert "cret" not in shown, shown


@pytest.mark.parametrize(("odd", "written"), [("#", "%23"), ("/", "%2F"), ("?", "%3F"), ("[", "%5B"), ("]", "%5D"), (" ", "%20")])
def test_characters_that_end_a_password_are_refused_with_the_cure(odd: str, written: str) -> None:
    for make in (lambda url: NetworkSource(f"rtsp://{url}"), lambda url: Push(f"rtmp://{url}", 1)):
        with pytest.raises(ConfigError) as told:
            make(f"admin:hunter{odd}2@127.0.0.1:9/x")
        assert f"has '{odd}' in it; write that as {written}" in str(told.value)
        assert "hunter" not in str(told.value)
    NetworkSource(f"rtsp://admin:hunter{written}2@127.0.0.1:9/x")


def test_all_that_is_odd_in_a_password_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"has '#' and '\[' and ' ' in it; write that as %23 and %5B and %20 \(and"):
        NetworkSource("rtsp://admin:a#b[c d#e@cam/x")


def test_a_port_that_there_is_not_is_told_at_the_start() -> None:
    with pytest.raises(ConfigError, match=r"'rtsp://\*\*\*@127.0.0.1:99999/x': there is no port 99999; the last one is 65535"):
        NetworkSource("rtsp://admin:hunter2@127.0.0.1:99999/x")


def test_raw_signs_that_hurt_nobody_are_taken() -> None:
    NetworkSource("rtsp://admin:a@b:c%d+e@127.0.0.1:9/x")


@pytest.mark.parametrize("url", ["http://[::1", "https://a:b@[x]/whip", "http://h:port/whip"])
def test_an_address_that_cannot_be_asked_is_told_at_the_start(url: str) -> None:
    with pytest.raises(ConfigError, match="'http"):
        WhipPush(None, None, url, "")  # type: ignore[arg-type]


def test_the_login_of_a_broker_is_decoded() -> None:
    assert Address.of("mqtt://me%40home:p%40ss%2F1@broker:1884").login == ("me@home", "p@ss/1")
    assert Address.of("mqtt://broker").login == (None, None)


@pytest.mark.parametrize(
    "url", ["mqtt://me:hunter@", "mqtt://me:hunter@h:99999", "mqtt://me:hunter@[::1", "http://me:hunter@h", "mqtt:hunter"]
)
def test_a_broker_that_cannot_be_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"mqtt.url: '.*' is not mqtt://") as told:
        Bridge(Mqtt(url=url), None)  # type: ignore[arg-type]
    assert "hunter" not in str(told.value).replace("mqtt:hunter", "")


@pytest.mark.parametrize(
    "text",
    [
        "streams: {live: {source: network, path: [rtsp://u:hunter@cam/1]}}",
        "mqtt: {url: 5, password: [hunter]}",
        "auth: {token: [hunter]}",
        "streams: {live: {sinks: [{kind: push, target: [rtmp://a/b/hunter]}]}}",
        "mqtt: {password: *hunter}",
        "mqtt: {password: 'hunter}",
        "mqtt: hunter",
    ],
)
def test_a_config_that_is_refused_shows_no_secret(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError) as told:
        load_config(tmp_path / "c.yaml")
    assert "hunter" not in str(told.value)
