"""The faults: a name, what is promised, and how each is made. Another one is another line."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from . import around, cameras, peers, strangers
from .house import House

GOES_ON = "pictures go on"
FRAME = "that frame is lost, the last picture stays"
AGAIN = "begun anew"
OTHERS = "others do not notice"


@dataclass(frozen=True)
class Fault:
    """promise: in words; lasts_s: how long the fault itself lasts, when it is not one moment; place: the kind of server that it
    is made to (see `run.PLACES`). inject may tell in words how it went, and raises AssertionError for a broken promise."""

    name: str
    promise: str
    inject: Callable[[House], Awaitable[Any]]
    lasts_s: float = 0.0
    place: str = "main"


def inside(name: str, promise: str, fault: str, lasts_s: float = 0.0) -> Fault:
    """One of `inside.FAULTS`."""
    return Fault(name, promise, lambda house: house.server.do(fault), lasts_s)


def bad_camera(codec: str, mime: str, make: Callable[[bytes, int], bytes] = lambda data, k: data, **more: Any) -> Any:
    """A camera of the other stream."""
    return lambda house: cameras.bad_camera(house, cameras.Garbage(codec, make, **more), mime)


async def nothing(house: House) -> None: ...


FAULTS = [
    Fault("nothing (for comparison)", GOES_ON, nothing),
    inside("engine raises once", FRAME, "engine raises"),
    inside("engine raises for 1 s", "the last picture stays, then they go on", "engine raises for 1 s", 1),
    inside("engine has no memory", FRAME, "engine out of memory"),
    inside("engine gives too few pictures", FRAME, "too few pictures"),
    inside("engine gives one of another size", FRAME, "wrong size"),
    inside("engine gives floats", FRAME, "float picture"),
    inside("engine gives nothing", FRAME, "no picture"),
    inside("engine hangs", "the stage is begun anew after 5 s", "engine hangs", 5),
    inside("animation stage dies", AGAIN, "stage dies"),
    inside("tracker raises for 1 s", "the last picture stays, then they go on", "tracker raises for 1 s", 1),
    inside("tracker gives NaN", GOES_ON, "tracker NaN"),
    inside("tracker gives 1e30", GOES_ON, "tracker 1e30"),
    inside("tracker hangs", "the follower is begun anew after 5 s", "tracker hangs", 5),
    inside("follower dies", AGAIN, "follower dies"),
    inside("encoder raises", FRAME, "encoder raises"),
    inside("encoder hangs", "begun anew after 5 s", "encoder hangs", 5),
    inside("encoder's task dies", AGAIN, "encoder dies"),
    inside("sound's task dies", AGAIN, "sound dies"),
    inside("event loop blocked for 2 s", "nobody is cut off", "loop blocked 2 s", 2),
    inside("clock an hour on, two back", GOES_ON, "clock stepped"),
    inside("names are not resolved", GOES_ON, "names gone"),
    inside("config read anew, with a mistake", "the one of before stays", "mistaken config"),
    Fault("camera's machine vanishes, another comes", "it takes over", cameras.vanishing_camera, 0.5),
    Fault("another publisher takes over", "it drives", cameras.camera_changes),
    Fault("viewer's machine vanishes", OTHERS, peers.vanishing_viewer),
    Fault("slow viewer, 60 kbit/s", OTHERS, peers.slow_viewer),
    Fault("40 viewers of one address, idle", "another address gets a seat", peers.idle_viewers),
    Fault("offers to publish, half open", "the real one drives on", peers.half_open),
    Fault("offers of 2,300 lines", "refused; " + OTHERS, peers.long_offers),
    Fault("candidates to addresses of others", "passed over", peers.bad_candidates),
    Fault("VP8, damaged", OTHERS, bad_camera("libvpx", "video/VP8", cameras.mutated)),
    Fault("H.264, damaged", OTHERS, bad_camera("libx264", "video/H264", cameras.mutated)),
    Fault("VP8 of 16383² from 64² bytes", "not decoded", bad_camera("libvpx", "video/VP8", cameras.huge)),
    Fault("another size four times a second", OTHERS,
          bad_camera("libvpx", "video/VP8", size=lambda k: 64 + k // 15 % 8 * 32)),
    Fault("1,500 datagrams of garbage", OTHERS, lambda house: peers.flood(house, peers.garbage, 1500)),
    Fault("1,500 STUN requests of nobody", OTHERS, lambda house: peers.flood(house, peers.stun, 1500)),
    Fault("500 requests for key frames", OTHERS, peers.key_flood),
    Fault("data channel: unreadable JSON", "the next command is done", peers.deep_channel),
    Fault("data channel: 1,000 commands", OTHERS, peers.command_flood),
    Fault("300 data channels of one viewer", "four are listened to", peers.many_channels),
    Fault("300 wrong tokens", "429 after ten; " + OTHERS, strangers.wrong_tokens),
    Fault("other names, foreign pages, paths", "refused", strangers.not_allowed),
    Fault("300 idle connections", OTHERS, strangers.idle_connections),
    Fault("100 listeners that never read", OTHERS, strangers.never_read),
    Fault("JSON of 20 MB", "refused", strangers.large_json),
    Fault("JSON 12,000 levels deep", "refused", strangers.deep_json),
    Fault("upload of 120 MB that never ends", "refused", strangers.endless_upload),
    Fault("6 pictures of 6300² at once", "refused; " + OTHERS, strangers.picture_bombs),
    Fault("50 viewers at once", "all connect", peers.many_viewers),
    Fault("MQTT broker killed, back after 1 s", OTHERS, around.broker_gone),
    Fault("MQTT: unreadable, 2 MB, 200 at once", "the next command is done", around.mqtt_garbage),
    Fault("RTSP camera answers with noise", "its stream says why; " + OTHERS, around.rtsp_garbage),
    Fault("recording's disk is full", "it says so; " + GOES_ON, around.disk_full, place="disk"),
    Fault("recording's file is deleted", "it says so, or begins anew", around.folder_gone, place="disk"),
    Fault("out of descriptors (ulimit -n 96)", "503 for who comes; " + GOES_ON, strangers.out_of_descriptors,
          place="descriptors"),
    Fault("6 such pictures under ulimit -v 4 GB", "refused; " + GOES_ON, strangers.picture_bombs, place="memory"),
    Fault("kill -9 while recording; started again", "what was recorded plays", around.ended(signal.SIGKILL), place="again"),
    Fault("SIGTERM while recording; started again", "the recording is finished", around.ended(signal.SIGTERM), place="again"),
    *(Fault(f"viewer joins: {loss} of packets lost, 100 ms each way", GOES_ON, peers.joins, place=f"{loss} lost")
      for loss in ("1 %", "5 %", "10 %")),
]  # fmt: skip
