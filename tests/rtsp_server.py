"""A real RTSP server (GStreamer's) with a moving test picture. Runs on the system's Python, which has `gi`.

rtsp_server.py PORT [CODEC [WIDTHxHEIGHT [USER:PASSWORD [FILE.pem [TRANSPORT]]]]]; prints "ready". The stream is /test.
FILE.pem: a certificate and its key, for rtsps. TRANSPORT: the only one that it takes, TCP or UDP.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

port, codec, size, login, pem, only = (*sys.argv[1:], *["", "h264", "320x240", "", "", ""][len(sys.argv) - 1 :])
width, height = size.split("x")
CODED = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0 pt=96 config-interval=1",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph265pay name=pay0 pt=96 config-interval=1",
    "mjpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
}
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory()
picture = f"videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width={width},height={height},framerate=25/1"
factory.set_launch(f"( {picture} ! {CODED[codec]} )")
factory.set_shared(True)
if only:
    factory.set_protocols(getattr(GstRtsp.RTSPLowerTrans, only))
auth = GstRtspServer.RTSPAuth()
if pem:
    auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(pem))
    server.set_auth(auth)
if login:
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*login.split(":")), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory("/test", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
