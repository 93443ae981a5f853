"""A short part of the fuzzing: the kept inputs and some hundred mutants of them, the same each time. `make fuzz` goes on."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator

import pytest
from aiortc import RTCDataChannel, RTCSctpTransport
from aiortc.rtcsctptransport import DataChunk

from streamer.webrtc.damaged import MOST_CHUNKS, MOST_STREAMS, decode_params

from ..fuzz import packets
from ..fuzz.targets import TARGETS, corpus, mutants

MUTANTS, COSTLY = 100, {"templates": 20}


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)
    packets.close()


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what is damaged
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_raised_but_refusals(name: str) -> None:
    if name == "templates":
        pytest.importorskip("torch", reason="PyTorch is not here; 'make test' installs it")
    seeds = corpus(name)
    for data in (*seeds, *mutants(seeds, COSTLY.get(name, MUTANTS), seed=7)):
        TARGETS[name](data)


def test_a_parameter_without_length_is_not_read_for_ever() -> None:
    assert decode_params(struct.pack("!HH", 1, 8) + b"abcd") == [(1, b"abcd")]
    with pytest.raises(ValueError, match="of 0 bytes"):
        decode_params(bytes(4))


@pytest.fixture
async def association() -> RTCSctpTransport:
    return packets.association()


async def tell(association: RTCSctpTransport, *chunks: bytes) -> None:
    for chunk in chunks:
        await association._handle_data(packets.sctp_packet(association, chunk))


def data_chunk(number: int, data: bytes, kind: int = 51, flags: int = 3, stream: int = 0) -> bytes:
    """A whole message by default; kind: payload protocol (RFC 8831 §8)."""
    chunk = DataChunk(flags)
    chunk.tsn, chunk.stream_id, chunk.stream_seq, chunk.protocol, chunk.user_data = number, stream, number - 1, kind, data
    return bytes(chunk)


@pytest.mark.parametrize(
    ("numbers", "stream", "data"),
    [
        (range(1, 2000), lambda n: 0, bytes(1000)),  # a message that never ends
        (range(1, 3000), lambda n: 0, b"x"),  # the same in small pieces
        (range(2, 3000), lambda n: 0, b"x"),  # with one that never comes
        (range(1, 3000), lambda n: n, b"x"),  # on very many streams
        (range(1, 100), lambda n: 0, b""),
    ],
)  # fmt: skip
async def test_a_peer_that_ends_no_message_fills_no_memory(association, numbers, stream, data) -> None:
    await tell(association, *(data_chunk(n, data, flags=0, stream=stream(n)) for n in numbers))
    kept = [chunk for each in association._inbound_streams.values() for chunk in each.reassembly]
    assert sum(len(chunk.user_data) for chunk in kept) <= 1024 * 1024
    assert len(kept) <= MOST_CHUNKS
    assert len(association._sack_misordered) <= MOST_CHUNKS
    assert len(association._inbound_streams) <= MOST_STREAMS


async def test_a_damaged_packet_leaves_the_channel_open(association) -> None:
    channels: list[RTCDataChannel] = []
    heard: list[str] = []

    @association.on("datachannel")
    def _opened(channel: RTCDataChannel) -> None:
        channels.append(channel)
        channel.on("message", heard.append)

    opened = struct.pack("!BBHLHH", 3, 0, 0, 0, 4, 0) + b"chat"
    await tell(association, data_chunk(1, opened, kind=50), data_chunk(2, b"\xff"), data_chunk(3, opened, kind=50))
    await tell(association, b"\4\0\0\10" + bytes(4))  # a heartbeat whose parameter has no length
    await tell(association, data_chunk(4, b"hello"))
    assert (len(channels), heard) == (1, ["hello"])
