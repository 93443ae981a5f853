"""How much of the server is used, and whether it could take one more stream: asked, not tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from pipeline.stage import AnimationStage, Cost

from ..config import Device
from ..control.control import Control
from ..stream.admission import Admission
from ..stream.status import SharedSink
from ..stream.stream import Stream
from ..webrtc.sessions import Sessions
from .rights import SERVER, VIEW, Guarded, needs


class StreamLoad(BaseModel):
    """What a stream takes. fps: pictures animated in the last second; cost: the share of its device, or of the cores, whichever
    is more, that one picture a second takes, by the medians of its own last pictures; share: that of all of them. None before any
    measurement."""

    engine: str
    driven: bool
    fps: float
    cost: float | None
    share: float | None
    viewers: int
    bitrate_kbps: int


class LoadState(BaseModel):
    """cores: that are counted on; share: of the cores, or of the device, whichever is fuller, that streams take; free: how much
    more may be used (device.max_busy). takes: whether one more driven stream of the default engine would be let in; why: why not,
    in words. bitrate_kbps: sent to viewers."""

    cores: float
    share: float
    free: float
    sessions: int
    sessions_free: int
    bitrate_kbps: int
    takes: bool
    why: str
    streams: dict[str, StreamLoad]


def router(control: Control, sessions: Sessions) -> APIRouter:
    """The endpoint."""
    api = APIRouter(prefix="/api", route_class=Guarded, tags=["streams"])

    @api.get("/load", summary="How much is used, and whether one more stream would be taken")
    @needs(VIEW, SERVER)
    async def load(fps: Annotated[float, Query(ge=0, le=240)] = 0.0) -> LoadState:
        """fps: pictures a second that the one more would have; 0 asks for no more than device.min_fps promises."""
        return load_of(list(control.streams.values()), await control.stage(), control.admission, sessions, fps)

    return api


def load_of(streams: Sequence[Stream], stage: AnimationStage, admission: Admission, sessions: Sessions, fps: float) -> LoadState:
    """stage: that one more stream would be on."""
    limits = admission.limits
    taken = [(stream, stream.stage.cost(stream.lane.turn), stream.screen.fps()) for stream in streams]  # at one moment
    used = _used(taken, limits)
    free = max(limits.max_busy - used, 0.0)
    why = stage.lost or admission.refusal(stage, fps, free)
    if not why and not sessions.free:
        why = f"there are {len(sessions)} sessions, the limit (webrtc.max_sessions)"
    each = {stream.name: _of(stream, cost, fps, limits) for stream, cost, fps in taken}
    return LoadState(
        cores=limits.usable(), share=round(used, 3), free=round(free, 3), sessions=len(sessions), sessions_free=sessions.free,
        bitrate_kbps=sum(stream.bitrate_kbps for stream in each.values()), takes=not why, why=why, streams=each,
    )  # fmt: skip


def _used(taken: Sequence[tuple[Stream, Cost | None, float]], limits: Device) -> float:
    """Of the cores by all, or of the device that is fullest. taken: streams with their costs and pictures a second."""
    cores, devices = 0.0, dict.fromkeys((stream.stage for stream, _, _ in taken), 0.0)
    for stream, cost, fps in taken:
        if cost is not None:
            cores += fps * cost.cores_s / limits.usable()
            devices[stream.stage] += fps * cost.device_s
    return max([cores, *devices.values()])


def _of(stream: Stream, cost: Cost | None, fps: float, limits: Device) -> StreamLoad:
    one = None if cost is None else cost.share(1.0, limits.usable())
    encoders = [sink.encoder() for sink in stream.sinks if isinstance(sink, SharedSink)]
    return StreamLoad(
        engine=stream.engine.name, driven=stream.driver is not None, fps=fps, cost=None if one is None else round(one, 5),
        share=None if one is None else round(one * fps, 3), viewers=sum(each.viewers for each in encoders),
        bitrate_kbps=sum(each.viewers * each.bitrate for each in encoders) // 1000,
    )  # fmt: skip
