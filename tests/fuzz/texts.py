"""Targets: texts that peers, brokers and files bring."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import SessionDescription

from streamer.config import load_config
from streamer.config.yamlfile import read_yaml
from streamer.control.commands import read_change, read_envelope, refusal
from streamer.errors import BadCommand, BadOffer, ConfigError
from streamer.mqtt.bridge import _value, read
from streamer.webrtc.ice_restart import _read
from streamer.webrtc.offer import Offer
from streamer.webrtc.reach import Reach
from streamer.webrtc.sdp import finish_answer, read_fragment, with_uplink_bitrates

from . import one_line

_FILE = Path(tempfile.gettempdir()) / f"puppetcast-fuzz-{os.getpid()}.yaml"


def offers(data: bytes) -> None:
    """An offer, of a publisher or of a viewer by its first byte, as far as aiortc's parser."""
    kind = "whip" if data[:1] < b"m" else "whep"
    with one_line(BadOffer):
        offer = Offer(data[1:].decode("utf-8", "replace"), kind, Reach("192.0.2.1", 16))  # type: ignore[arg-type]
        offer.sdp.encode()
        with suppress(Exception):  # of many kinds; `Sessions._answer` makes a BadOffer of any
            SessionDescription.parse(offer.sdp)


def answers(data: bytes) -> None:
    """An offer of a publisher, and the answer to it, in which its own words come again; as `Sessions` makes it."""

    async def answer(offer: Offer) -> str:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            await connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            return (await connection.createAnswer()).sdp
        except Exception:  # of many kinds, which are a BadOffer there
            return ""
        finally:
            await connection.close()

    with one_line(BadOffer):
        offer = Offer(data.decode("utf-8", "replace"), "whip", Reach("192.0.2.1", 16))
        if said := asyncio.run(answer(offer)):
            with_uplink_bitrates(finish_answer(offer.answered(said), "192.0.2.1"), 300, 2500, 4000).encode()


def fragments(data: bytes) -> None:
    """An SDP fragment: candidates that come later, and restarts of ICE."""
    reach = Reach("192.0.2.1", 16)
    with one_line(BadOffer):
        fragment = read_fragment(data.decode("utf-8", "replace"))
        for _, candidate in _read(fragment.candidates):
            reach.takes(candidate.host, candidate.port)
        fragment.login(["0", "1"])


def commands(data: bytes) -> None:
    """A data channel's message; what is wrong with it can be told in a text."""
    number = None
    try:
        number, change = read_envelope(data.decode("utf-8", "replace"))
        read_change(change)
    except BadCommand as exc:
        json.dumps(refusal(number, exc), allow_nan=False).encode()


def mqtt(data: bytes) -> None:
    """An MQTT message: the rest of its topic, a zero, its payload."""
    name, _, payload = data.partition(b"\0")
    path = ["live", "cmd", name.decode("utf-8", "replace")]
    command = read(path, payload)
    try:
        read_change(command.value if command.name == "change" else {command.name: _value(command)})
    except BadCommand as exc:
        json.dumps(refusal(command.number, exc), allow_nan=False).encode()


def yaml_files(data: bytes) -> None:
    """A config file, as far as what YAML says."""
    _FILE.write_bytes(data)
    try:
        with one_line(ConfigError):
            read_yaml(_FILE)
    finally:
        _FILE.unlink()


def configs(data: bytes) -> None:
    """A config file; what is wrong with it is told in one line."""
    _FILE.write_bytes(data)
    try:
        with one_line(ConfigError):
            load_config(_FILE)
    finally:
        _FILE.unlink()
