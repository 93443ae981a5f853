"""ICE restarts (RFC 9725 §4.3, draft-ietf-wish-whep §4.5): the session goes on by other addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from aioice import Candidate
from aiortc import RTCIceTransport, RTCPeerConnection

from streamer.errors import BadOffer
from streamer.webrtc import aiortc_patches, ice_restart
from streamer.webrtc.sdp import read_fragment

from ..conftest import run_server
from ..peers import Camera, connected, negotiate, peer, pictures
from ..waiting import LIMIT_S, until, wait_until

FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
STAR = {**FRAGMENT, "If-Match": "*"}
OTHER = "a=ice-ufrag:othr\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"


@pytest.fixture(scope="module")
def server(model):
    with run_server(webrtc={"handshake_timeout_s": 2}) as running:
        yield running


@pytest.fixture
async def http(server) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as client:
        yield client


def transport_of(connection: RTCPeerConnection) -> RTCIceTransport:
    return connection.getTransceivers()[0].receiver.transport.transport


@asynccontextmanager
async def viewing(http: httpx.AsyncClient) -> AsyncIterator[tuple[RTCPeerConnection, httpx.Response]]:
    async with peer() as viewer:
        viewer.addTransceiver("video", direction="recvonly")
        reply = await negotiate(http, viewer, "/live/live/whep")
        await connected(viewer)
        yield viewer, reply
        assert (await http.delete(reply.headers["location"])).status_code == 200


async def restart(http: httpx.AsyncClient, connection: RTCPeerConnection, location: str, trickle: bool = False) -> str:
    """As a browser restarts; the new tag. trickle: candidates come later."""
    transport = transport_of(connection)
    fresh = (await ice_restart._prepare([transport], []))[transport]
    candidates = "".join(f"a=candidate:{c.to_sdp()}\r\n" for c in fresh.local_candidates)
    login = f"a=ice-ufrag:{fresh.local_username}\r\na=ice-pwd:{fresh.local_password}\r\n"
    section = "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    body = login + section + ("" if trickle else candidates)
    reply = await http.patch(location, content=body, headers=STAR)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/trickle-ice-sdpfrag"
    assert "a=ice-options:trickle\r\n" in reply.text, "§4.3.3: as in the answer"
    if trickle:
        headers = {**FRAGMENT, "If-Match": reply.headers["etag"]}
        assert (await http.patch(location, content=login + section + candidates, headers=headers)).status_code == 204
    answer = read_fragment(reply.text)
    fresh.remote_username, fresh.remote_password = answer.login(["0"])
    for _, line in [] if trickle else answer.candidates:
        await fresh.add_remote_candidate(Candidate.from_sdp(line))
    await asyncio.wait_for(fresh.connect(), LIMIT_S)
    await ice_restart._take_over(transport, fresh)
    return reply.headers["etag"]


def silence(connection: RTCPeerConnection) -> None:
    """Its address is gone: nothing comes or goes there."""
    for protocol in transport_of(connection)._connection._protocols:
        protocol.transport.sendto = lambda *args: None  # type: ignore[method-assign]
        protocol.datagram_received = lambda *args: None  # type: ignore[method-assign]


@pytest.mark.parametrize("trickle", [False, True])
async def test_a_viewer_whose_address_is_gone_goes_on(http, server, trickle):
    async with viewing(http) as (viewer, reply):
        session = server.sessions.find(reply.headers["location"].rpartition("/")[2])
        track = viewer.getTransceivers()[0].receiver
        await pictures(track, 2)
        before = transport_of(session.connection)._connection
        silence(viewer)
        tag = await restart(http, viewer, reply.headers["location"], trickle)
        assert tag != reply.headers["etag"]
        await pictures(track, 2)
        assert transport_of(session.connection)._connection is not before
        assert before._closed, "the old candidates are thrown away"
        assert (transport_of(session.connection).state, session.connection.connectionState) == ("completed", "connected")
        assert await restart(http, viewer, reply.headers["location"]) not in (tag, reply.headers["etag"])
        await pictures(track, 2)


async def test_a_publisher_goes_on(http, server):
    async with peer() as camera:
        camera.addTrack(Camera())
        reply = await negotiate(http, camera, "/live/live/whip")
        await connected(camera)
        await until(lambda: server.control.state("live").frames_in > 5)
        silence(camera)
        await restart(http, camera, reply.headers["location"])
        before = server.control.state("live").frames_in
        await until(lambda: server.control.state("live").frames_in > before + 10)
        assert server.control.state("live").publisher
        assert (await http.delete(reply.headers["location"])).status_code == 200


async def test_a_restart_that_comes_to_nothing_ends_nothing(http, server):
    """§4.3.3: the session is not ended by it; nobody is at the other's new address."""
    async with viewing(http) as (viewer, reply):
        session = server.sessions.find(reply.headers["location"].rpartition("/")[2])
        before = transport_of(session.connection)._connection
        others = (OTHER, OTHER.replace("othr", "anot"))
        answers = [await http.patch(reply.headers["location"], content=other, headers=STAR) for other in others]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].headers["etag"] != answers[1].headers["etag"]
        await until(lambda: not session.ice._fresh, 10)
        assert transport_of(session.connection)._connection is before
        assert not before._query_consent_task.done(), "and whether the other side is there is asked on"
        assert await restart(http, viewer, reply.headers["location"])


async def test_tags(http):
    """§4.3.1: 428 without a tag, 412 with another; 409 where there is nothing to restart yet."""
    async with viewing(http) as (viewer, reply):
        location, tag = reply.headers["location"], reply.headers["etag"]
        assert tag.startswith('"')
        same = f"a=ice-ufrag:{transport_of(viewer)._connection.local_username}\r\n"
        for body, match, status in (
            (same, None, 428), (same, '"old"', 412), (same, tag, 204), (same, f'"old", {tag}', 204), (same, "*", 204),
            (same, f"W/{tag}", 412), (OTHER, None, 428), (OTHER, '"old"', 412), ("a=ice-ufrag:othr\r\n", "*", 400),
            (OTHER, '"*"', 200), (same, tag, 412),
        ):  # fmt: skip
            headers = FRAGMENT | ({"If-Match": match} if match else {})
            patched = await http.patch(location, content=body, headers=headers)
            assert (patched.status_code, "etag" in patched.headers) == (status, status == 200), (body, match)
    async with peer() as viewer:
        viewer.addTransceiver("video", direction="recvonly")
        await viewer.setLocalDescription(await viewer.createOffer())
        offer = viewer.localDescription.sdp
        reply = await http.post("/live/live/whep", content=offer, headers={"Content-Type": "application/sdp"})
        assert (await http.patch(reply.headers["location"], content=OTHER, headers=STAR)).status_code == 409
        assert (await http.delete(reply.headers["location"])).status_code == 200


def test_without_bundle_each_medium_starts_anew():
    """RFC 8840 §9: credentials by medium."""
    first, second = ("aaaa", 22 * "p"), ("bbbb", 22 * "q")
    text = "a=group:BUNDLE 0 1\nm=audio 9 RTP/AVP 0\na=mid:0\na=ice-ufrag:{}\na=ice-pwd:{}\nm=video 9 RTP/AVP 0\na=mid:1\n"
    text += "a=ice-ufrag:{}\na=ice-pwd:{}\na=candidate:1 1 udp 1 1.2.3.4 5 typ host\n"
    fragment = read_fragment(text.format(*first, *second))
    assert [fragment.login([mid]) for mid in "01"] == [first, second]
    assert [mid for mid, _ in fragment.candidates] == ["1"]
    for ufrag, password in (("aaa", 22 * "p"), ("aaaa", 21 * "p")):
        with pytest.raises(BadOffer, match=r"needs 4 characters, a=ice-pwd 22 \(RFC 8839"):
            read_fragment(text.format(ufrag, password, *second)).login(["0"])


def test_a_browser_has_time_to_notice():
    least_s = 0.5 + (aiortc_patches.CONSENT_FAILURES - 1) * (0.8 * aiortc_patches.CONSENT_INTERVAL_S + 0.5)
    assert least_s > 5 + 1.5, "Chromium's own time, and ours to gather candidates"


COUNT = "document.getElementById('puppet').getVideoPlaybackQuality().totalVideoFrames"


@pytest.mark.browser
@pytest.mark.long
def test_the_page_restarts_before_it_posts_anew(model, page, camera):
    """Camera and picture, each in the session that it had. Chromium takes six seconds to notice."""
    camera("d14", 60)
    asked: list[tuple[str, int]] = []

    def note(method: str, status: int) -> None:
        if method != "HEAD" or status != 200:  # it asks whether the session is there, and it is
            asked.append((method, status))

    page.on("response", lambda reply: note(reply.request.method, reply.status) if "/live/live" in reply.url else None)
    with run_server() as server:
        page.goto(server.url)
        page.click("#start")
        wait_until(lambda: server.control.state("live").frames_in > 10 and page.evaluate(COUNT) > 10)
        sessions = list(server.sessions._sessions.values())
        tags = [session.tag for session in sessions]
        asked.clear()
        for session in sessions:
            silence(session.connection)
        frames, shown = server.control.state("live").frames_in, page.evaluate(COUNT)
        wait_until(lambda: server.control.state("live").frames_in > frames + 20 and page.evaluate(COUNT) > shown + 20)
        assert asked == [("PATCH", 200)] * 2
        assert list(server.sessions._sessions.values()) == sessions
        assert all(session.tag != tag for session, tag in zip(sessions, tags, strict=True))
