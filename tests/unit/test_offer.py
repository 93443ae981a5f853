"""Offers as programs send them: usable ones are taken, impossible ones refused in our own words, and the answer has a
section for each that was offered."""

from __future__ import annotations

import re

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from streamer.errors import BadOffer
from streamer.webrtc.offer import Kind, Offer

from ..conftest import SHARED

HEAD = "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\n"
TRANSPORT = "c=IN IP4 0.0.0.0\na=ice-ufrag:abcd\na=ice-pwd:" + 24 * "a" + "\na=fingerprint:sha-256 " + ":".join(32 * ["AB"])
TRANSPORT += "\na=setup:actpass\na=rtcp-mux\n"


def video(codec: str = "VP8/90000", fmtp: str = "", mid: str = "a=mid:0\n", more: str = "", direction: str = "sendonly") -> str:
    parameters = f"a=fmtp:96 {fmtp}\n" if fmtp else ""
    return f"m=video 9 UDP/TLS/RTP/SAVPF 96\n{TRANSPORT}{mid}a={direction}\na=rtpmap:96 {codec}\n{parameters}{more}"


def audio(port: int = 9, numbers: str = "97", more: str = "a=rtpmap:97 opus/48000/2\n", mid: str = "a=mid:1\n") -> str:
    return f"m=audio {port} UDP/TLS/RTP/SAVPF {numbers}\n{TRANSPORT}{mid}a=sendonly\n{more}"


async def answer(text: str, kind: Kind = "whip") -> str:
    """As a session would answer."""
    offer = Offer(text, kind)
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        await connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        for transceiver in connection.getTransceivers():
            transceiver.direction = "recvonly" if kind == "whip" else "sendonly"
        await connection.setLocalDescription(await connection.createAnswer())
        return offer.answered(connection.localDescription.sdp)
    finally:
        await connection.close()


def media(sdp: str) -> list[tuple[str, str]]:
    """Kind and port of each section; of ports only whether they are 0."""
    return [(m[1], "0" if m[2] == "0" else "9") for m in re.finditer(r"^m=(\w+) (\d+)", sdp, re.MULTILINE)]


@pytest.mark.parametrize("mid", ["a=mid:0\n", ""])
async def test_an_answer_makes_no_group_that_was_not_offered(mid) -> None:
    assert "BUNDLE" not in await answer(re.sub("a=group:BUNDLE.*\n", "", HEAD) + video(mid=mid))


H264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="


@pytest.mark.parametrize(
    "fmtp",
    [
        f"{H264}4d001f", f"{H264}640c1f", f"{H264}640028", f"{H264}640032", f"{H264}42e01f", "",
        "packetization-mode=0;profile-level-id=42e01f", "profile-level-id=42e01f",
        "profile-level-id=42e01f; packetization-mode=1",
        "packetization-mode=1; profile-level-id=4d0028; sprop-parameter-sets=Z00=,aO4=", f"{H264}64001F", f"  {H264}42e01f;",
        "profile-level-id=4D401F", "packetization-mode=1;\t profile-level-id=640028", "packetization-mode=2;profile-level-id=xyz",
    ],
)  # fmt: skip
async def test_any_h264_of_a_publisher_is_taken_and_answered_in_its_own_words(fmtp: str) -> None:
    said = await answer(HEAD + video("H264/90000", fmtp))
    assert media(said) == [("video", "9")]
    assert re.search(r"a=rtpmap:96 H264/90000", said)
    profile = re.search(r"profile-level-id=(\w+)", fmtp)
    if profile is not None:
        assert set(re.findall(r"profile-level-id=(\w+)", said.lower())) == {profile[1].lower()}


async def test_what_aiortc_knows_comes_first() -> None:
    text = HEAD + video("H264/90000", f"{H264}640028").replace("SAVPF 96", "SAVPF 96 98") + "a=rtpmap:98 VP8/90000\n"
    said = await answer(text)
    assert "a=rtpmap:98 VP8/90000" in said
    assert "H264" not in said, "aiortc does not know that profile, and need not"


@pytest.mark.parametrize(
    "unusable",
    [
        audio(more="a=rtpmap:97 L16/44100/2\n"), audio(more="a=rtpmap:97 MPEG4-GENERIC/48000/2\n"), audio(numbers="0", more=""),
        audio(port=0), "m=audio 0 UDP/TLS/RTP/SAVPF 0\na=mid:1\na=inactive\n",
        audio(more="a=rtpmap:97 speex/16000\n"),
        audio(numbers="13 97", more="a=rtpmap:13 CN/8000\na=rtpmap:97 telephone-event/8000\n"),
        audio(more="a=rtpmap:97 t140/1000\n").replace("m=audio", "m=text"), "m=message 9 TCP/TLS/MSRP *\na=mid:1\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
async def test_a_section_that_cannot_be_used_costs_itself_alone(unusable: str, first: bool) -> None:
    parts = [unusable, video()] if first else [video(), unusable]
    said = await answer(f"{HEAD}a=group:BUNDLE 0 1\n" + "".join(parts))
    kind = unusable[2:].split()[0]
    assert media(said) == ([(kind, "0"), ("video", "9")] if first else [("video", "9"), (kind, "0")])
    assert "a=group:BUNDLE 0\r\n" in said
    assert sorted(re.findall(r"a=mid:(\d)", said)) == ["0", "1"]


async def test_a_second_video_that_was_stopped_is_none() -> None:
    stopped = video(mid="a=mid:2\n").replace("m=video 9", "m=video 0")
    said = await answer(HEAD + "a=group:BUNDLE 0 1\n" + video() + audio() + stopped)
    assert media(said) == [("video", "9"), ("audio", "9"), ("video", "0")]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text, lambda text: text.replace("\n", "  \n"), lambda text: text + "a=ssrc:1\n",
        lambda text: text + "a=candidate:\r\n", lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("\n", "\n\n"),
        *(lambda text, line=line: text + line + "\n" for line in (
            "a=candidate:1 1 UDP 2130706431", "a=candidate:1 1 UDP 1 1.2.3.4 port typ host", "a=candidate: ", "a=ssrc:123 cname",
            "a=ssrc:abc cname:x", "a=rtcp-fb:96", "a=rtcp:9", "a=fmtp:55 apt=1", "a=rtpmap:55 VP9/90000",
            "a=extmap:2 urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on",
            "a=extmap:3/sendonly urn:ietf:params:rtp-hdrext:toffset",
            "a=rid:0 send pt=96", "a=simulcast:send 0;~1", "a=simulcast: send rid=0;1", "a=msid:-", "a=", "x",
            "a=rtpmap:", "a=rtpmap:97", "a=rtpmap:97 VP8/abc", "a=fmtp:", "a=fmtp:96 ", "a=rtcp:", "a=rtcp:x", "c=IN",
        )),
        lambda text: text.replace("m=video 9", "m=video 9/2"),
        lambda text: text.replace("SAVPF 96", "SAVPF 96 x"), lambda text: text.replace("m=video 9 ", "m=video  9 "),
        lambda text: text.replace("a=setup:actpass\n", ""), lambda text: text.replace("a=sendonly\n", ""),
        lambda text: text.replace("VP8/90000", "vp8/90000"), lambda text: text.replace("sha-256", "SHA-256"),
    ],
)  # fmt: skip
async def test_untidy_text_is_tidied(change) -> None:
    assert media(await answer(change(HEAD + video()))) == [("video", "9")]


async def test_sections_without_a_name_are_answered_without_one() -> None:
    said = await answer(HEAD + video(mid="") + audio(mid=""))
    assert media(said) == [("video", "9"), ("audio", "9")]
    assert "a=mid" not in said


def test_each_section_may_have_an_ice_of_its_own() -> None:
    assert Offer(HEAD + video() + audio().replace("abcd", "efgh"), "whip").ufrags == ["abcd", "efgh"]


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (HEAD + re.sub("a=fingerprint.*\n", "", video()), "whip", "has no a=fingerprint: it is not for WebRTC"),
        (HEAD + re.sub("a=ice-pwd.*\n", "", video()), "whip", "has no a=ice-pwd"),
        (HEAD + video().replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "whip", "the offer's video is RTP/AVP; UDP/TLS/RTP/SAVPF is"),
        (HEAD + video("H265/90000"), "whip", "the offer's video has H265; VP8 and H264 are taken"),
        (HEAD + video("AV1/90000", direction="recvonly"), "whep", "the offer's video has AV1; VP8 and H264 are taken"),
        (HEAD + video().replace("SAVPF 96", "SAVPF 97"), "whip", "the offer's video has no codec"),
        (HEAD + video().replace("a=rtcp-mux\n", ""), "whip", "the offer has no a=rtcp-mux"),
        (HEAD + audio(), "whip", "the offer has no video"),
        (HEAD + video() + video(mid="a=mid:1\n"), "whip", "more than one video or audio"),
        (HEAD + video(direction="recvonly"), "whip", "the offer's video is recvonly; WHIP needs the other way"),
        (HEAD + "a=recvonly\n" + video().replace("a=sendonly\n", ""), "whip", "the offer's video is recvonly"),
        (HEAD + video() + audio(mid="a=mid:0\n"), "whip", "two media of the offer have the same a=mid"),
        (HEAD + video().replace("sha-256", "sha-1"), "whip", "by none of sha-256, sha-384, sha-512"),
        (HEAD + video(direction="inactive"), "whep", "the offer's video is inactive; WHEP needs the other way"),
        (HEAD + video().replace("actpass", "passive"), "whip", "actpass or active is expected"),
        (HEAD + video().replace("actpass", "holdconn"), "whip", "the offer is a=setup:holdconn; actpass or active is expected"),
        (HEAD + video().replace(":AB", "", 1), "whip", "a=fingerprint is by none of sha-256, sha-384, sha-512, or not whole"),
        (HEAD + video().replace("pwd:aaa", "pwd:"), "whip", "the offer's a=ice-pwd needs 22 characters"),
        (HEAD + video().replace("m=video 9", "m=video x"), "whip", "'m=video x UDP/TLS/RTP/SAVPF 96' is no m= line"),
        (HEAD + video("H264/90000", f"{H264}640028", direction="recvonly"), "whep",
            f"the offer's video has H264 with '{H264}640028'; viewers get VP8, or H264 Baseline in packetization mode 1"),
        (HEAD + video().replace("SAVPF", "SAVPF 300"), "whip", "payload type 300: at most 127 is expected"),
        ("hello", "whip", "it does not begin with 'v=0'"), ("", "whip", "it does not begin with 'v=0'"),
        (HEAD + video() + 70 * "a=candidate:1 1 udp 1 1.2.3.4 5 typ host\n", "whip", "the offer is too large"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words(text: str, kind: Kind, reason: str) -> None:
    with pytest.raises(BadOffer, match=re.escape(reason)):
        Offer(text, kind)


def test_names_instead_of_addresses_are_left_out() -> None:
    more = "a=candidate:1 1 udp 1 ab.local 5 typ host\na=end-of-candidates\n"
    said = Offer(HEAD + video(more=more, direction="recvonly"), "whep").sdp
    assert ".local" not in said
    assert "end-of-candidates" not in said


CASES = sorted((SHARED / "cases" / "sdp").glob("*.sdp"))
REFUSED = {"no_fingerprint", "no_rtcp_mux", "h265_only", "av1_only"}


@pytest.mark.skipif(not CASES, reason="the cases are not here")
@pytest.mark.parametrize(
    ("name", "text"), [(path.stem, path.read_bytes().decode()) for path in CASES], ids=[path.stem for path in CASES]
)
async def test_the_shared_offers(name: str, text: str) -> None:
    if name in REFUSED:
        with pytest.raises(BadOffer):
            Offer(text, "whip")
        return
    said = await answer(text)
    assert [kind for kind, _ in media(said)] == [kind for kind, _ in media(text)]
    assert ("video", "9") in media(said)
    audio_is_used = ("audio", "9") in media(said)
    assert not audio_is_used or not name.startswith(("audio_", "rejected"))
