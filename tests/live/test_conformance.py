"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-03), row by row: each test names its section."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import random
import re
import threading
import time
from contextlib import suppress

import httpx
import pytest
from aiortc import RTCCertificate, RTCSessionDescription
from aiortc.rtcdtlstransport import certificate_digest

from streamer.config import IceServer
from streamer.errors import BadOffer
from streamer.webrtc.ice import credentials
from streamer.webrtc.offer import Offer
from streamer.webrtc.sdp import finish_answer

from ..conftest import FRONT, run_server
from ..peers import SDP, connected, negotiate, offer_of, peer
from ..waiting import LIMIT_S, until

OFFERS = int(os.environ.get("PUPPETCAST_TEST_OFFERS", "200"))  # 1500 take a minute more, and pass too
# With PUPPETCAST_TEST_FRONT all tests have their servers behind the front of a fleet.
BOTH = pytest.mark.parametrize("server", [False, True], ids=["alone", "in a fleet"], indirect=True)
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
# Structured as the sample offer of RFC 9725 §4.2 (Figure 2), with codecs of ours: video is bundle-only.
SAMPLE = """v=0
o=- 5228595038118931041 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=ice-options:trickle ice2
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:zjkk
a=ice-pwd:TP/t0dTnT0K8LVpAxyz0Zbjc
a=fingerprint:sha-256 DA:7B:57:DC:28:CE:04:4F:31:79:85:C4:31:67:EB:27:58:29:ED:77:2A:0D:24:AE:ED:AD:30:BC:BD:F1:9C:02
a=setup:actpass
a=mid:0
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendonly
a=msid:- d46fb922-d52a-4e9c-aa87-444eadc1521b
a=rtcp-mux
a=rtcp-mux-only
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
m=video 0 UDP/TLS/RTP/SAVPF 96 97
a=mid:1
a=bundle-only
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendonly
a=msid:- d46fb922-d52a-4e9c-aa87-444eadc1521b
a=rtcp-mux
a=rtcp-mux-only
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
""".replace("\n", "\r\n")


@pytest.fixture(scope="module")
def server(request):
    rtc = {"max_sessions": 500, "max_connecting": 500, "handshake_timeout_s": 2}
    with run_server(front=getattr(request, "param", FRONT), auth={"requests_per_minute": 100000}, webrtc=rtc) as running:
        yield running


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as client:
        yield client


@BOTH
@pytest.mark.parametrize("kind", ["whip", "whep"])
async def test_post_creates_a_session(http, kind):
    """WHIP §4.2, WHEP §4.3.1; DELETE: WHIP §4.2, WHEP §4.4; unguessable URL: §5."""
    reply = await http.post(f"/live/live/{kind}", content=await offer_of(kind), headers=SDP)
    assert reply.status_code == 201
    assert reply.headers["content-type"] == "application/sdp"
    location = reply.headers["location"]
    assert re.fullmatch(r"/live/live/sessions/(w0\.[\da-f]+\.)?[\w-]{32}", location), "rooted, without a query, not to be guessed"
    assert "a=recvonly" in reply.text if kind == "whip" else "a=sendonly" in reply.text
    assert (await http.get(location)).status_code == 204
    assert (await http.head(location)).status_code == 200
    deleted = await http.delete(location, headers={"If-Match": '"whatever"'})
    assert deleted.status_code == 200
    assert not deleted.content
    for again in (http.delete, http.get):
        assert (await again(location)).status_code == 404
    assert (await http.patch(location, content="a=ice-ufrag:x\r\n", headers=FRAGMENT)).status_code == 404


@BOTH
async def test_wrong_bodies(http):
    """WHIP §4.2, WHEP §4.3.4: 4xx."""
    offer = await offer_of("whip")
    assert (await http.post("/live/live/whip", content=offer, headers={"Content-Type": "text/plain"})).status_code == 415
    assert (await http.post("/live/live/whip", content="hello", headers=SDP)).status_code == 400
    assert (await http.post("/live/live/whip", content="v=0\r\n" + "a=x\r\n" * 20000, headers=SDP)).status_code == 413
    assert (await http.post("/live/live/whip", content=b"v=0\xff\xfe", headers=SDP)).status_code == 400
    assert (await http.post("/live/nothing/whip", content=offer, headers=SDP)).status_code == 404


@pytest.mark.parametrize(
    ("kind", "given", "answered"),
    [("whip", "sendrecv", "recvonly"), ("whep", "sendrecv", "sendonly"), ("whip", "recvonly", None), ("whip", "inactive", None),
     ("whep", "sendonly", None), ("whep", "inactive", None)],
)  # fmt: skip
async def test_directions(http, kind, given, answered):
    """WHIP §4.2, WHEP §4.3.5."""
    offer = re.sub("a=(sendonly|recvonly)", f"a={given}", await offer_of(kind))
    reply = await http.post(f"/live/live/{kind}", content=offer, headers=SDP)
    if answered is None:
        assert reply.status_code == 400
        assert given in reply.json()["detail"]
    else:
        assert reply.status_code == 201
        assert f"a={answered}\r\n" in reply.text
        await http.delete(reply.headers["location"])


async def test_candidates_come_later(http, server):
    """WHIP §4.3.2, WHEP §4.5.2: a viewer whose offer has no candidate trickles them, and connects."""
    async with peer() as viewer:
        viewer.addTransceiver("video", direction="recvonly")
        await viewer.setLocalDescription(await viewer.createOffer())
        lines = viewer.localDescription.sdp.splitlines()
        candidates = [line for line in lines if line.startswith("a=candidate:") and "127.0.0.1" in line]
        bare = "\r\n".join(k for k in lines if not k.startswith(("a=candidate:", "a=end-of-candidates"))) + "\r\n"
        reply = await http.post("/live/live/whep", content=bare, headers=SDP)
        assert reply.status_code == 201
        assert "a=ice-options:trickle" in reply.text
        assert reply.headers["accept-patch"] == "application/trickle-ice-sdpfrag"
        assert re.fullmatch('"[^"]+"', reply.headers["etag"]), "§4.3.1: a strong one"
        await viewer.setRemoteDescription(RTCSessionDescription(reply.text, "answer"))
        ufrag, pwd = (next(line for line in lines if line.startswith(f"a=ice-{k}:")) for k in ("ufrag", "pwd"))
        fragment = "\r\n".join([ufrag, pwd, "m=video 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", *candidates,
                                "a=candidate:1 1 udp 2113937151 3f0a.local 5000 typ host",
                                "a=candidate:2 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active", ""])  # fmt: skip
        location = reply.headers["location"]
        patched = await http.patch(location, content=fragment, headers={**FRAGMENT, "If-Match": reply.headers["etag"]})
        assert patched.status_code == 204, patched.text
        assert not patched.content
        assert "etag" not in patched.headers
        assert (await http.patch(location, content=fragment, headers={**FRAGMENT, "If-Match": "*"})).status_code == 204
        await connected(viewer)
        await http.delete(location)


@BOTH
async def test_patches_that_cannot_be(http):
    """WHIP §4.3.1, §4.3.3, WHEP §4.5.1: other bodies; the session stays. Restarts and tags: test_ice_restart.py."""
    reply = await http.post("/live/live/whep", content=await offer_of("whep"), headers=SDP)
    location = reply.headers["location"]
    restart = "a=ice-ufrag:other\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
    assert (await http.patch(location, content=restart, headers=SDP)).status_code == 415
    for broken in ("hello", "", "a=mid:0\r\n"):
        assert (await http.patch(location, content=broken, headers=FRAGMENT)).status_code == 400
    assert (await http.get(location)).status_code == 204, "the session is still there"
    assert (await http.delete(location)).status_code == 200
    assert (await http.delete(location)).status_code == 404


@BOTH
@pytest.mark.parametrize("kind", ["whip", "whep"])
async def test_options_get_and_head(http, kind):
    """OPTIONS: WHIP §4.2, WHEP §4.4 (Accept-Post). GET and HEAD: WHIP §4.1, WHEP §4.1. 405: HTTP (RFC 9110 §15.5.6)."""
    options = await http.options(f"/live/live/{kind}")
    assert options.status_code == 200
    assert options.headers["accept-post"] == "application/sdp"
    got = await http.get(f"/live/live/{kind}")
    assert got.is_success
    assert not got.content
    head = await http.head(f"/live/live/{kind}")
    assert head.status_code == 200
    assert head.headers["content-type"] == "application/sdp"
    assert (await http.get("/live/nothing/whep")).status_code == 404
    for method in ("PUT", "PATCH", "DELETE"):
        refused = await http.request(method, f"/live/live/{kind}")
        assert (refused.status_code, refused.headers["allow"]) == (405, "OPTIONS, GET, HEAD, POST")
        assert refused.json() == {"detail": "Method Not Allowed", "code": "MethodNotAllowed"}


@BOTH
async def test_what_a_session_takes(http):
    """OPTIONS and 405 (RFC 9110 §9.3.7, §15.5.6), Accept-Patch (RFC 5789 §3.1)."""
    location = (await http.post("/live/live/whep", content=await offer_of("whep"), headers=SDP)).headers["location"]
    options = await http.options(location)
    assert (options.status_code, options.headers["accept-patch"]) == (200, FRAGMENT["Content-Type"])
    for method in ("PUT", "POST"):
        refused = await http.request(method, location)
        assert (refused.status_code, refused.headers["allow"]) == (405, "OPTIONS, GET, HEAD, PATCH, DELETE")
    await http.delete(location)
    assert (await http.options(location)).status_code == 404


@BOTH
@pytest.mark.parametrize("kind", ["whip", "whep"])
async def test_a_slash_too_many(http, kind):
    """WHIP §4.5: 307, and never 301 or 302, which would make a GET of it."""
    told = await http.post(f"/live/live/{kind}/?take_over=true", content="x", headers=SDP)
    assert (told.status_code, told.headers["location"]) == (307, f"/live/live/{kind}?take_over=true")
    reply = await http.post(f"/live/live/{kind}/", content=await offer_of(kind), headers=SDP, follow_redirects=True)
    assert reply.status_code == 201
    assert (await http.delete(reply.headers["location"])).status_code == 200


async def test_who_takes_over_at_one_moment(http):
    """One of them drives; of the others it is not said that their offers cannot be used."""
    offers = [await offer_of("whip") for _ in range(8)]
    replies = await asyncio.gather(*(http.post("/live/live/whip?take_over=true", content=o, headers=SDP) for o in offers))
    assert {reply.status_code for reply in replies} <= {201, 409}, [reply.text for reply in replies]
    locations = [reply.headers["location"] for reply in replies if reply.status_code == 201]
    left = [await http.delete(location) for location in locations]
    assert [reply.status_code for reply in left].count(200) == 1


async def test_pages_of_other_sites(model):
    """CORS (Fetch) for WHIP §4.2: allowed by config alone; the headers that a client needs can be read."""
    ask = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    ice = {"ice_servers": [{"url": "stun:127.0.0.1:1"}]}
    with run_server(http={"allowed_origins": ["https://a.example"]}, webrtc=ice) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
            allowed = await http.options("/live/live/whip", headers=ask)
            assert allowed.status_code == 204
            assert allowed.headers["access-control-allow-origin"] == "https://a.example"
            assert "link" not in allowed.headers, "§4.6: not on preflight"
            assert "Location" in allowed.headers["access-control-expose-headers"]
            assert "Authorization" in allowed.headers["access-control-allow-headers"]
            other = await http.options("/live/live/whip", headers={**ask, "Origin": "https://b.example"})
            assert "access-control-allow-origin" not in other.headers
            posted = await http.post("/live/live/whip", content="x", headers={**SDP, "Origin": "https://b.example"})
            assert posted.status_code == 403
            posted = await http.post("/live/live/whip", content="x", headers={**SDP, "Origin": "https://a.example"})
            assert posted.status_code == 400
            assert posted.headers["access-control-allow-origin"] == "https://a.example"


async def test_ice_servers_are_told(model):
    """WHIP §4.6, WHEP §4.8: one Link header for each server, with credentials made for now."""
    turn = {"url": "turn:127.0.0.1:1?transport=udp", "secret": "north", "ttl_s": 600}
    began = time.time()
    with run_server(webrtc={"ice_servers": [{"url": "stun:127.0.0.1:1"}, turn]}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
            links = (await http.get("/live/live/whep")).headers.get_list("link")
    assert links[0] == '<stun:127.0.0.1:1>; rel="ice-server"'
    assert len(links) == 2
    [user] = re.findall(r'username="([^"]+)"', links[1])
    [secret] = re.findall(r'credential="([^"]+)"; credential-type="password"', links[1])
    assert began + 599 <= int(user.split(":")[0]) <= time.time() + 601
    assert secret == base64.b64encode(hmac.new(b"north", user.encode(), hashlib.sha1).digest()).decode()
    fixed = IceServer(url="turn:a", username="u", credential="p")
    assert credentials(fixed) == ("u", "p")


async def test_tokens(model):
    """WHIP §4.7, WHEP §4.9: Bearer on every request but preflight; 401 and 403 with WWW-Authenticate (RFC 6750 §3)."""
    with run_server(auth={"token": "key", "view_token": "look"}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
            offer, watch = await offer_of("whip"), await offer_of("whep")
            for headers, status, told in (
                ({}, 401, "Bearer"),
                ({"Authorization": "Bearer wrong"}, 401, 'Bearer error="invalid_token"'),
                ({"Authorization": "Bearer look"}, 403, 'Bearer error="insufficient_scope"'),
                ({"Authorization": "Basic key"}, 401, "Bearer"),
            ):
                refused = await http.post("/live/live/whip", content=offer, headers={**SDP, **headers})
                assert (refused.status_code, refused.headers["www-authenticate"]) == (status, told)
            bearer = {"Authorization": "Bearer key"}
            published = await http.post("/live/live/whip", content=offer, headers={**SDP, **bearer})
            assert published.status_code == 201
            location = published.headers["location"]
            assert (await http.delete(location)).status_code == 200, "who knows a session's address may end it"
            for url, headers in (("/live/live/whep?token=look", {}), ("/live/live/whep", bearer)):
                seen = await http.post(url, content=watch, headers={**SDP, **headers})
                assert seen.status_code == 201
            assert (await http.get("/api/streams", params={"token": "look"})).status_code == 200
            assert (await http.patch("/api/streams/live", json={"demo": True}, params={"token": "look"})).status_code == 403
            assert (await http.patch("/api/streams/live", json={"demo": True}, headers=bearer)).status_code == 200
            assert (await http.get("/metrics")).status_code == 401
            for free in ("/healthz", "/docs", "/"):
                assert (await http.get(free)).status_code == 200
            preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
            assert (await http.options("/live/live/whip", headers=preflight)).status_code == 204


async def test_too_many_requests(model):
    """WHIP §5, WHEP §5: rate limits; HTTP 429 with Retry-After. And 503 with Retry-After on overload: §4.5."""
    with run_server(auth={"requests_per_minute": 5}, webrtc={"max_sessions": 1}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
            watch = await offer_of("whep")
            assert (await http.post("/live/live/whep", content=watch, headers=SDP)).status_code == 201
            full = await http.post("/live/live/whep", content=watch, headers=SDP)
            assert full.status_code == 503
            assert int(full.headers["retry-after"]) > 0
            replies = [await http.post("/live/live/whep", content="x", headers=SDP) for _ in range(6)]
            assert replies[0].status_code == 503
            assert replies[-1].status_code == 429
            assert int(replies[-1].headers["retry-after"]) > 0
            assert (await http.get("/api/streams")).status_code == 200


async def test_bundled_answers(http):
    """WHIP §4.4.1, WHEP §4.6.1: BUNDLE, rtcp-mux, and rtcp-mux-only in each bundled section."""
    reply = await http.post("/live/live/whip", content=await offer_of("whip", audio=True), headers=SDP)
    assert reply.status_code == 201
    _, *media = reply.text.split("\r\nm=")
    assert len(media) == 2
    assert "a=group:BUNDLE 0 1" in reply.text
    for section in media:
        assert "\r\na=rtcp-mux\r\na=rtcp-mux-only\r\n" in section
    await http.delete(reply.headers["location"])


async def test_at_most_one_of_each(http):
    """WHIP §4.4.2, §4.4.3, WHEP §4.6.2."""
    offer = await offer_of("whip")
    session, video = offer.split("m=video", 1)
    twice = session + "m=video" + video + "m=video" + video.replace("a=mid:0", "a=mid:1")
    assert (await http.post("/live/live/whip", content=twice, headers=SDP)).status_code == 400


@pytest.mark.parametrize(("setup", "status"), [("actpass", 201), ("active", 201), ("passive", 400)])
async def test_setup_roles(http, setup, status):
    """WHIP §4.4.4."""
    offer = (await offer_of("whip")).replace("a=setup:actpass", f"a=setup:{setup}")
    reply = await http.post("/live/live/whip", content=offer, headers=SDP)
    assert reply.status_code == status
    if status == 201:
        assert "a=setup:active" in reply.text or "a=setup:passive" in reply.text
        await http.delete(reply.headers["location"])


async def offer_with_fingerprints(viewer, algorithms: str, false: str = "") -> str:
    """A viewer's offer that says its certificate's fingerprints by `algorithms`; that by `false` is another's."""
    viewer.addTransceiver("video", direction="recvonly")
    await viewer.setLocalDescription(await viewer.createOffer())
    certificate, another = viewer._RTCPeerConnection__certificates[0]._cert, RTCCertificate.generateCertificate()._cert
    lines = "".join(
        f"a=fingerprint:{name} {certificate_digest(another if name == false else certificate, name)}\r\n"
        for name in algorithms.split()
    )
    return re.sub(r"(a=fingerprint:.*\r\n)+", lines, viewer.localDescription.sdp)


@pytest.mark.parametrize("kind", ["whip", "whep"])
async def test_an_answer_has_one_fingerprint_for_each_medium(http, kind):
    """RFC 8122 §5: sha-256 is what every peer knows."""
    reply = await http.post(f"/live/live/{kind}", content=await offer_of(kind, audio=True), headers=SDP)
    _, *media = reply.text.split("m=")
    assert [re.findall(r"a=fingerprint:(\S+)", section) for section in media] == [["sha-256"]] * 2
    await http.delete(reply.headers["location"])


@pytest.mark.parametrize("algorithms", ["sha-512", "sha-384 sha-256", "sha-256 sha-384 sha-512"])
async def test_other_fingerprints_of_the_other_side_are_taken(http, algorithms):
    """RFC 8122 §5: of what kind they are is the other side's choice."""
    async with peer() as viewer:
        reply = await http.post("/live/live/whep", content=await offer_with_fingerprints(viewer, algorithms), headers=SDP)
        await viewer.setRemoteDescription(RTCSessionDescription(reply.text, "answer"))
        track = viewer.getTransceivers()[0].receiver.track
        await asyncio.wait_for(track.recv(), LIMIT_S)
        await http.delete(reply.headers["location"])


@pytest.mark.parametrize("algorithms", ["sha-256", "sha-512", "sha-256 sha-512"])
async def test_a_false_fingerprint_gives_no_picture(http, server, algorithms):
    """RFC 8122 §6.2: whoever has another certificate than the offer said is refused."""
    async with peer() as viewer:
        offer = await offer_with_fingerprints(viewer, algorithms, false=algorithms.split()[-1])
        reply = await http.post("/live/live/whep", content=offer, headers=SDP)
        location = reply.headers["location"]
        await viewer.setRemoteDescription(RTCSessionDescription(reply.text, "answer"))
        session = server.sessions.find(location[-32:])
        await until(lambda: session.closed, 10)
        assert not session.connected.is_set()
        assert (await http.get(location)).status_code == 404


async def test_the_sample_offer_of_the_rfc(http):
    """WHIP §4.2, §4.4.1: the second section is bundle-only, and says nothing of its transport."""
    reply = await http.post("/live/live/whip", content=SAMPLE, headers=SDP)
    assert reply.status_code == 201, reply.text
    video = reply.text.split("m=video")[1]
    assert not video.startswith(" 0 "), "taken, not refused"
    assert "VP8/90000" in video
    await http.delete(reply.headers["location"])
    async with peer() as stock:
        with pytest.raises(ValueError, match="ICE username fragment"):
            await stock.setRemoteDescription(RTCSessionDescription(SAMPLE, "offer"))


def test_the_address_that_others_reach():
    """For containers: a host candidate with the address of the machine around it."""
    answer = "a=candidate:1 1 udp 2130706431 172.17.0.2 50000 typ host\r\na=rtcp-mux\r\n"
    assert "203.0.113.5 50000 typ host" in finish_answer(answer, "203.0.113.5")
    assert "172.17.0.2" in finish_answer(answer, "")


async def test_media_stays_within_the_ports_of_the_config(model):
    with run_server(webrtc={"ports": [41000, 41003]}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, peer() as viewer, peer() as other:
            for connection in (viewer, other):
                connection.addTransceiver("video", direction="recvonly")
                reply = await negotiate(http, connection, "/live/live/whep")
                ports = {int(line.split()[5]) for line in reply.text.splitlines() if line.startswith("a=candidate:")}
                assert ports <= set(range(41000, 41004))
                await connected(connection)


def mutated(offer: str, rng: random.Random) -> str:
    lines = offer.split("\r\n")
    for _ in range(rng.randint(1, 4)):
        k = rng.randrange(len(lines))
        match rng.randrange(7):
            case 0:
                del lines[k]
            case 1:
                lines.insert(k, lines[rng.randrange(len(lines))])
            case 2:
                j = rng.randrange(len(lines))
                lines[k], lines[j] = lines[j], lines[k]
            case 3:
                lines[k] = lines[k][: rng.randrange(len(lines[k]) + 1)]
            case 4:
                lines[k] = re.sub(r"\d+", lambda _: str(rng.choice([0, -1, 65536, 10**12])), lines[k])
            case 5:
                lines[k] = lines[k].replace(":", rng.choice(["", " ", "::"]), 1)
            case _:
                lines[k] += rng.choice(["\0", " x", "é", "=" * 300])
        if not lines:
            break
    return "\r\n".join(lines)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_mutated_offers(http, server):
    """No hang, no 5xx, and nothing left behind (WHIP §5)."""
    rng = random.Random(7)
    offers = [await offer_of("whep", audio=True), SAMPLE.replace("sendonly", "recvonly"), await offer_of("whip", audio=True)]
    threads = threading.active_count()
    statuses: dict[int, int] = {}
    for k in range(OFFERS):
        kind = "whip" if k % 3 == 2 else "whep"
        reply = await http.post(f"/live/live/{kind}", content=mutated(offers[k % 3], rng).encode(), headers=SDP, timeout=LIMIT_S)
        statuses[reply.status_code] = statuses.get(reply.status_code, 0) + 1
        assert reply.status_code < 500, reply.text
        if reply.status_code == 201:
            assert (await http.delete(reply.headers["location"])).status_code == 200
        else:
            assert reply.json()["detail"]
    print(statuses)
    assert {201, 400} <= statuses.keys(), "some of them are still offers"
    await until(lambda: not len(server.sessions))
    await until(threading.active_count, holds=lambda now: now <= threads + 2)
    assert (await http.get("/healthz")).status_code == 200


def test_whatever_text_is_refused_in_words():
    rng = random.Random(1)
    for _ in range(2000):
        with suppress(BadOffer):  # anything else fails the test
            Offer(mutated(SAMPLE, rng), "whip")
