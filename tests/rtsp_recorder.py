"""A real RTSP server that takes a publisher (GStreamer's, record mode): counts decoded pictures, or keeps all as a file.

rtsp_recorder.py PORT [FILE.mkv]; the path is /in. Prints "ready", and the number of pictures so far once a second.
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
count_them = "identity name=out signal-handoffs=true"
if len(sys.argv) > 2:
    picture = f"rtph264depay name=depay0 ! h264parse ! {count_them} ! mux. rtpmp4gdepay name=depay1 ! aacparse ! mux."
    factory.set_launch(f"( {picture} matroskamux name=mux streamable=true ! filesink sync=false location={sys.argv[2]} )")
else:
    picture = f"rtph264depay name=depay0 ! avdec_h264 ! {count_them} ! fakesink sync=false"
    factory.set_launch(f"( {picture} rtpmp4gdepay name=depay1 ! fakesink sync=false )")
factory.connect("media-configure", configure)
server.get_mount_points().add_factory("/in", factory)
server.attach(None)
print("ready", flush=True)
GLib.timeout_add(1000, lambda: print(count, flush=True) or True)
GLib.MainLoop().run()
