"""GStreamer's webrtcbin as a WHIP publisher or a WHEP viewer: another ICE, DTLS and RTP implementation.

gst_webrtc.py whip|whep URL VP8|H264; runs on the system's Python until its input ends. Prints the number of each tenth
frame that went or came, and at the end the connection's state.
"""

import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

mode, url, codec = sys.argv[1:4]
Gst.init(None)
loop = GLib.MainLoop()
frames = 0
location = None
kept = []  # replies of promises: without a reference their SDP is gone

CAPS = f"application/x-rtp,media=video,encoding-name={codec},clock-rate=90000,payload=96"
if codec == "H264" and mode == "whep":
    CAPS += ",packetization-mode=(string)1,profile-level-id=(string)42e01f"
CODER = {
    "VP8": "vp8enc deadline=1 keyframe-max-dist=60 ! rtpvp8pay pt=96 picture-id-mode=15-bit",
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60 ! video/x-h264,profile=constrained-baseline "
    "! rtph264pay pt=96 config-interval=-1 aggregate-mode=zero-latency",
}
if mode == "whip":
    description = (
        "webrtcbin name=peer bundle-policy=max-bundle videotestsrc is-live=true pattern=ball "
        "! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! identity name=seen "
        f"! {CODER[codec]} ! {CAPS} ! peer."
    )
    pipeline = Gst.parse_launch(description)
    pipeline.get_by_name("seen").connect("handoff", lambda *_: count())
    peer = pipeline.get_by_name("peer")
else:
    pipeline = Gst.Pipeline.new("viewer")
    peer = Gst.ElementFactory.make("webrtcbin", "peer")
    peer.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
    pipeline.add(peer)
    peer.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(CAPS))


def count():
    global frames
    frames += 1
    if frames % 10 == 0:
        print(frames, flush=True)


def on_pad(_, pad):
    depay = {"VP8": "rtpvp8depay ! vp8dec", "H264": "rtph264depay ! avdec_h264"}[codec]
    if codec == "H264" and not Gst.ElementFactory.find("avdec_h264"):
        depay = "rtph264depay ! h264parse ! openh264dec" if Gst.ElementFactory.find("openh264dec") else "rtph264depay ! h264parse"
    sink = Gst.parse_bin_from_description(f"{depay} ! fakesink name=out signal-handoffs=true sync=false", True)
    sink.get_by_name("out").connect("handoff", lambda *_: count())
    pipeline.add(sink)
    sink.sync_state_with_parent()
    pad.link(sink.get_static_pad("sink"))


def on_offer(promise, *_):
    promise.wait()
    reply = promise.get_reply()
    kept.append(reply)
    offer = reply.get_value("offer")
    kept.append(offer)
    peer.emit("set-local-description", offer, Gst.Promise.new())


def on_gathered(*_):
    global location
    if peer.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE or location is not None:
        return
    sdp = peer.get_property("local-description").sdp.as_text().encode()
    request = urllib.request.Request(url, sdp, {"Content-Type": "application/sdp"}, method="POST")
    with urllib.request.urlopen(request, timeout=10) as reply:
        location = reply.headers["Location"]
        answer = reply.read()
    _, message = GstSdp.SDPMessage.new_from_text(answer.decode())
    description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
    kept.append(description)
    peer.emit("set-remote-description", description, Gst.Promise.new())


def on_negotiation(*_):
    peer.emit("create-offer", None, Gst.Promise.new_with_change_func(on_offer, None))


peer.connect("on-negotiation-needed", on_negotiation)
peer.connect("notify::ice-gathering-state", on_gathered)
peer.connect("pad-added", on_pad)
pipeline.set_state(Gst.State.PLAYING)
GLib.io_add_watch(sys.stdin.fileno(), GLib.IO_HUP | GLib.IO_IN, lambda *_: loop.quit())
loop.run()
state = peer.get_property("connection-state").value_nick
pipeline.set_state(Gst.State.NULL)
if location:
    base = url.split("/live/")[0]
    urllib.request.urlopen(urllib.request.Request(base + location, method="DELETE"), timeout=5).close()
print(state)
