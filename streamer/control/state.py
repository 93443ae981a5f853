"""What a stream does, as every transport tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel

from pipeline.budget import Skip
from pipeline.clock import date_s
from pipeline.follow.calibration import Calibrating
from pipeline.stage import AnimationStage

from ..config import Kind, Puppet
from ..sinks.base import OVER, OutputState
from ..sinks.outputs import Outputs
from ..sources.driver import Driver
from ..stream.admission import Admission
from ..stream.status import EncoderStatus, SharedSink, SourceState
from ..stream.stream import Stream


class EncoderState(BaseModel):
    """One encoder of a stream; all viewers of its codec share it. Counts are of frames."""

    codec: str
    viewers: int
    bitrate_kbps: int
    encoded: int
    key_frames: int
    viewer_drops: int


class DriverState(BaseModel):
    """A driver that is no browser. detail: why it is not live; lag_s: seconds by which its pictures have fallen behind, by its
    own clock, where it has one."""

    name: str
    state: SourceState
    detail: str
    restarts: int
    lag_s: float | None


class RecordingState(BaseModel):
    """The last recording of a stream. file: that is written, or was last, with its whole path for those who may control the
    server; detail: why it ended, for those who may control the stream."""

    running: bool
    file: str
    seconds: float
    frames: int
    dropped: int
    detail: str


class OutputInfo(BaseModel):
    """An output that the config names."""

    kind: str
    name: str
    state: OutputState
    detail: str
    frames: int
    dropped: int


class CalibrationState(BaseModel):
    """How far taking a neutral has come. share: 0..1; problem: what keeps it, in words for the driver."""

    share: float
    problem: str

    @classmethod
    def of(cls, calibrating: Calibrating) -> CalibrationState:
        return cls(share=round(calibrating.share, 2), problem=calibrating.problem)


class StreamState(BaseModel):
    """What one stream does. Times in milliseconds; ages are from capture to the last packet sent.

    serial: of two states that came by different ways, or of different servers, the one with the higher is the newer. puppet: what
    can be changed while live, as it is now; lacks: what of it the engine does not have. faces: how many the driver shows.
    mark: what the mark in its pictures says, ten hexadecimal digits; empty where they have none.
    width, height: of the animated picture, in pixels; matte: whether another background can be put behind the person.
    gallery: how often it was changed since the start. presets: names of those that are on, the oldest first; shapes: what is
    held by number; preset_changes: how often presets were kept or deleted since the start.
    problem: why it is not animated, or not by the engine that it had, in words; stalled: why it stands still, in words; refused:
    why the portrait does not move as whoever drives, in words; left_out: what it did elsewhere and could not go on with here,
    each with its reason, until the next command; all empty where all is well. still: of the animated frames, those for which
    nothing had moved, so that they show the picture before again. last_s: of how many seconds there is a copy to save.
    label: the kinds of outputs that are labelled; label_at: x, y, width and height of it in what viewers get, in pixels, null
    where it is not shown all along; signed: whose signature saved files get, empty for none.
    """

    serial: int
    name: str
    portrait: str
    width: int
    height: int
    matte: bool
    mark: str
    previous_portrait: str | None
    gallery: int
    engine: str
    problem: str
    stalled: str
    refused: str
    left_out: list[str]
    lacks: list[str]
    tracker: str
    face: str
    faces: int
    calibration: CalibrationState
    puppet: Puppet
    presets: list[str]
    shapes: dict[str, float]
    preset_changes: int
    sound: bool
    publisher: bool
    demo: bool
    source: DriverState | None
    viewers: int
    encoders: list[EncoderState]
    recording: RecordingState | None
    last_s: int
    label: list[Kind]
    label_at: tuple[int, int, int, int] | None
    signed: str
    outputs: list[OutputInfo]
    fps: float
    frames_in: int
    animated: int
    still: int
    errors: int
    skipped: dict[str, int]
    rate_limit: float
    busy: float
    age_p50_ms: float | None
    age_p95_ms: float | None
    stage_p50_ms: float | None
    stage_p95_ms: float | None

    def for_viewers(self) -> Self:
        """The same without where on this machine recordings lie, and why one ended."""
        return self._without("")

    def for_guests(self, folder: Path) -> Self:
        """The same without where on this machine recordings lie, `folder`: for those who may control this stream alone."""
        return self._without(self.recording.detail.replace(f"{folder}: ", "") if self.recording else "")

    def _without(self, detail: str) -> Self:
        if self.recording is None:
            return self
        update = {"file": Path(self.recording.file).name, "detail": detail}
        return self.model_copy(update={"recording": self.recording.model_copy(update=update)})


# What says how it goes, and changes all the time; the rest changes when something happens.
TELEMETRY = frozenset(
    {"fps", "frames_in", "animated", "still", "errors", "skipped", "rate_limit", "busy", "encoders"}
    | {f"{what}_{p}_ms" for what in ("age", "stage") for p in ("p50", "p95")}
)
PASSING: dict[str, Any] = {
    **dict.fromkeys({"serial"} | TELEMETRY, True),
    "calibration": True,
    "recording": {"seconds", "frames", "dropped"},
    "outputs": {"__all__": {"frames", "dropped"}},
}


class DeviceState(BaseModel):
    """What animates for all streams. frame_ms: of its time for one frame; batches: how many of each size.

    fps_with_one_more: what each driven stream would get if one more were driven; None before any measurement. lost: why it
    cannot be used any more, in words; empty while it can.
    """

    engine: str
    lost: str
    driven: int
    frame_ms: float | None
    fps_with_one_more: float | None
    batches: dict[int, int]


def is_demo(stream: Stream) -> bool:
    """Whether the built-in clip drives."""
    return isinstance(stream.driver, Driver) and stream.driver.demo


def _source(stream: Stream) -> DriverState | None:
    status = None if stream.driver is None else stream.driver.status
    return None if status is None else DriverState(**vars(status))


APART = ("recording", "recent")  # outputs of which there is more to say


def state_of(stream: Stream, outputs: Outputs, gallery: int, presets: int = 0) -> StreamState:
    """What `stream` does now. gallery, presets: how often those were changed."""
    puppeteer, stats = stream.lane.puppeteer, stream.screen.stats
    age, spent = list(stream.ages_s), list(stats.stage_s)
    encoders = [_encoder(sink.encoder()) for sink in stream.sinks if isinstance(sink, SharedSink)]
    return StreamState(
        serial=int(date_s() * 1e6), name=stream.name, portrait=stream.shown.id, previous_portrait=stream.before, gallery=gallery,
        width=stream.shown.prepared.still.shape[1], height=stream.shown.prepared.still.shape[0],
        matte=stream.shown.prepared.has_matte, mark=payload.hex if (payload := stream.screen.marker.payload) else "",
        engine=stream.engine.name, problem=stream.stage.lost or stream.problem, stalled=stream.stalled, refused=stream.refused,
        left_out=stream.left_out,
        lacks=sorted(stream.engine.lacks), tracker=puppeteer.tracker_name,
        face=stream.lane.face.value, faces=puppeteer.faces,
        calibration=CalibrationState.of(puppeteer.calibrating),
        puppet=stream.puppet,
        presets=stream.poses.presets, shapes=stream.poses.shapes, preset_changes=presets,
        sound=stream.audio.has_sound, publisher=stream.driver is not None,
        demo=is_demo(stream), viewers=sum(e.viewers for e in encoders), encoders=encoders,
        source=_source(stream),
        recording=_recording(stream, outputs), last_s=_last_s(stream, outputs),
        label=[kind for kind in Kind if stream.label_of(kind) is not None], label_at=_label_at(stream),
        signed="" if outputs.signer is None else outputs.signer.credentials.signer, outputs=_outputs(stream, outputs),
        fps=stream.screen.fps(), frames_in=stream.intake.received, animated=stats.animated, still=stats.still,
        errors=stats.errors,
        skipped={r.value: stream.budget.skipped[r] for r in Skip} | {"queue": stream.intake.dropped},
        rate_limit=stream.budget.rate, busy=round(stream.budget.busy, 3),
        age_p50_ms=percentile(age, 50), age_p95_ms=percentile(age, 95),
        stage_p50_ms=percentile(spent, 50), stage_p95_ms=percentile(spent, 95),
    )  # fmt: skip


def _label_at(stream: Stream) -> tuple[int, int, int, int] | None:
    label, prepared = stream.label_of(Kind.VIEWERS), stream.shown.prepared
    if label is None or label.seconds:
        return None
    return label.place(prepared.still.shape[1], prepared.still.shape[0], prepared.face_box)


def device_of(stage: AnimationStage, admission: Admission) -> DeviceState:
    """What `stage` does now."""
    frame_s, fps = stage.frame_s(), admission.fps_with_one_more(stage)
    return DeviceState(
        engine=stage.engine.name, lost=stage.lost, driven=admission.driven(stage),
        frame_ms=None if frame_s is None else round(1000 * frame_s, 2),
        fps_with_one_more=None if fps is None else round(fps, 1), batches=dict(stage.batches),
    )  # fmt: skip


def _outputs(stream: Stream, outputs: Outputs) -> list[OutputInfo]:
    return [OutputInfo(**vars(status)) for status in outputs.statuses(stream.name) if status.kind not in APART]


def _recording(stream: Stream, outputs: Outputs) -> RecordingState | None:
    last = outputs.recording(stream.name)
    if last is None:
        return None
    runner, output = last
    status = runner.status
    file = str(output.path.absolute()) if output.path.name else ""
    return RecordingState(
        running=status.state not in OVER, file=file, seconds=round(runner.seconds, 1),
        frames=status.frames, dropped=status.dropped, detail=status.detail,
    )  # fmt: skip


def _last_s(stream: Stream, outputs: Outputs) -> int:
    recent = outputs.recent(stream.name)
    return 0 if recent is None else recent.seconds


def _encoder(state: EncoderStatus) -> EncoderState:
    return EncoderState(
        codec=state.codec, viewers=state.viewers, bitrate_kbps=state.bitrate // 1000, encoded=state.frames,
        key_frames=state.key_frames, viewer_drops=state.dropped,
    )  # fmt: skip


def percentile(samples: list[float], share: int) -> float | None:
    """In milliseconds, of seconds; None without samples."""
    return round(float(np.percentile(samples, share)) * 1000, 1) if samples else None
