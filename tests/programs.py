"""Programs that others wrote: whether they are here, and a port for them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

SYSTEM_PYTHON = "/usr/bin/python3"  # which has `gi`
HERE = Path(__file__).parent
RTSP_SERVER, RTSP_RECORDER, GST_WEBRTC = HERE / "rtsp_server.py", HERE / "rtsp_recorder.py", HERE / "gst_webrtc.py"
NEEDS = {
    "GStreamer's RTSP server": "gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer",
    "GStreamer's RTSP server with TLS": "gi.require_version('GstRtspServer', '1.0'); "
    "from gi.repository import Gio, GstRtspServer; assert Gio.TlsBackend.get_default().supports_tls()",
    "GStreamer's webrtcbin": "gi.require_version('GstWebRTC', '1.0'); from gi.repository import Gst, GstWebRTC; Gst.init(None); "
    "assert Gst.ElementFactory.find('webrtcbin') and Gst.ElementFactory.find('nicesrc')",
}


def absent(what: str, cure: str = "'make peers' installs it") -> NoReturn:
    """Skip the test, and say so; in CI that is a failure."""
    message = f"{what} is absent ({cure})"
    if os.environ.get("CI"):
        pytest.fail(message + "; in CI that is a failure")
    pytest.skip(message + ": it was not tested with")


def program(*names: str, cure: str = "'make peers' installs it") -> str:
    """The path of a program, which may have several names."""
    for name in names:
        path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
        if path:
            return path
    absent(names[0], cure)


def need_gstreamer(what: str) -> None:
    """Skip where one of NEEDS is not here."""
    if not _gstreamer(what):
        absent(what)


@cache
def _gstreamer(what: str) -> bool:
    probe = [SYSTEM_PYTHON, "-c", f"import gi; {NEEDS[what]}"]
    return Path(SYSTEM_PYTHON).exists() and not subprocess.run(probe, capture_output=True, check=False).returncode


def free_port() -> int:
    """A TCP port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
