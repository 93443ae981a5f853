"""What cannot be read costs itself alone. Patches of aiortc and aioice, which `aiortc_patches` puts in: of theirs, what a peer
cannot have meant ends the whole session with a traceback, or never ends."""

from __future__ import annotations

import functools
import logging
import struct
from collections.abc import Callable
from typing import Any

import aiortc.rtcsctptransport as sctp
from aioice.ice import StunProtocol
from aiortc import RTCDtlsTransport, RTCSctpTransport

log = logging.getLogger(__name__)

# What their parsers raise for data that is cut off or says what cannot be.
UNREADABLE = (struct.error, ValueError, LookupError, AssertionError)
MOST_STREAMS, MOST_CHUNKS = 256, 1024  # of one association; a message of 64 KB has sixty
LEAST_PARAMETER = 4  # bytes: its own head (RFC 9260 §3.2.1)


def _passed_over(read: Callable[..., Any]) -> Any:
    @functools.wraps(read)
    async def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            await read(*args, **kwargs)
        except UNREADABLE as exc:
            log.debug("a packet cannot be read: %r", exc)

    return guarded


handle_rtp_data = _passed_over(RTCDtlsTransport._handle_rtp_data)
handle_rtcp_data = _passed_over(RTCDtlsTransport._handle_rtcp_data)
handle_sctp_data = _passed_over(RTCSctpTransport._handle_data)
_datagram_received, _receive_data_chunk = StunProtocol.datagram_received, RTCSctpTransport._receive_data_chunk


def datagram_received(self: Any, data: bytes, address: Any) -> None:
    """Also from strangers: STUN comes before anything is known of who sends it."""
    try:
        _datagram_received(self, data, address)
    except UNREADABLE as exc:
        log.debug("a datagram cannot be read: %r", exc)


def decode_params(body: bytes) -> list[tuple[int, bytes]]:
    """Parameters of an SCTP chunk; ValueError for one that is shorter than its head, which aiortc would read for ever."""
    parameters, place = [], 0
    while place + LEAST_PARAMETER <= len(body):
        kind, length = struct.unpack_from("!HH", body, place)
        if length < LEAST_PARAMETER:
            raise ValueError(f"a parameter of {length} bytes")
        parameters.append((kind, body[place + LEAST_PARAMETER : place + length]))
        place += length + sctp.padl(length)
    return parameters


async def receive_data_chunk(self: Any, chunk: Any) -> None:
    """Keep no more of what is not whole yet, or out of order, than somebody who keeps to the rules sends: more is lost, and
    sent again (RFC 9260 §6.2)."""
    if _has_room(self, chunk):
        await _receive_data_chunk(self, chunk)


def _has_room(association: Any, chunk: Any) -> bool:
    streams, early = association._inbound_streams, association._sack_misordered
    is_next = chunk.tsn == sctp.tsn_plus_one(association._last_received_tsn)
    return (
        0 < len(chunk.user_data) <= association._advertised_rwnd
        and (is_next or len(early) < MOST_CHUNKS)
        and (chunk.stream_id in streams or len(streams) < MOST_STREAMS)
        and sum(len(stream.reassembly) for stream in streams.values()) < MOST_CHUNKS
    )
