"""A real RTSP server that takes a publisher (GStreamer's, record mode) and counts decoded pictures.

rtsp_recorder.py PORT; the path is /in. Prints "ready", and the number of pictures so far once a second.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
count = 0


def seen(*_):
    global count
    count += 1


def configure(_, media):
    media.get_element().get_by_name("out").connect("handoff", seen)


server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
picture = "rtph264depay name=depay0 ! avdec_h264 ! fakesink name=out signal-handoffs=true sync=false"
factory.set_launch(f"( {picture} rtpmp4gdepay name=depay1 ! fakesink sync=false )")
factory.connect("media-configure", configure)
server.get_mount_points().add_factory("/in", factory)
server.attach(None)
print("ready", flush=True)
GLib.timeout_add(1000, lambda: print(count, flush=True) or True)
GLib.MainLoop().run()
