"""Prometheus metrics, read from the streams when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ..config import Kind
from ..control.control import Control
from ..control.state import StreamState
from ..stream.status import SourceState


class StreamCollector:
    """Turns stream states into metric families."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def collect(self) -> Iterator[Metric]:
        states = self._control.states()
        yield from _counters(states)
        yield from _gauges(states)
        skipped = CounterMetricFamily("puppetcast_frames_skipped", "Frames not animated, by reason.", labels=["stream", "reason"])
        for state in states:
            for reason, count in state.skipped.items():
                skipped.add_metric([state.name, reason], count)
        yield skipped
        yield from _encoders(states)
        yield from _sources(states)
        lost = GaugeMetricFamily("puppetcast_device_lost", "1 for an engine whose device does not answer.", labels=["engine"])
        for device in self._control.devices():
            lost.add_metric([device.engine], float(bool(device.lost)))
        yield lost
        restarts = CounterMetricFamily(
            "puppetcast_restarts", "How often a thread or task that died or hung was begun anew.", labels=["stream", "part"]
        )
        for (stream, part), count in self._control.supervisor.restarts.items():
            restarts.add_metric([stream, part], count)
        yield restarts
        marked = GaugeMetricFamily("puppetcast_mark", "1 where pictures are marked, 0 where not.", labels=["stream"])
        for state in states:
            marked.add_metric([state.name], float(bool(state.mark)))
        yield marked
        label = GaugeMetricFamily("puppetcast_label", "1 for a kind of output that is labelled.", labels=["output"])
        for kind in Kind:
            label.add_metric([kind], float(kind in self._control.config.label.kinds()))
        yield label
        signs = self._control.outputs.signer is not None
        yield GaugeMetricFamily("puppetcast_signing", "1 where saved files are signed.", value=float(signs))
        free = self._control.outputs.library.free_bytes()
        yield GaugeMetricFamily("puppetcast_recordings_free_bytes", "Room on the disk that recordings go to.", value=free)


def _sources(states: list[StreamState]) -> Iterator[Metric]:
    state_of = GaugeMetricFamily("puppetcast_source_state", "1 for the state that a source is in.", labels=["stream", "state"])
    restarts = CounterMetricFamily("puppetcast_source_restarts", "How often a source was opened again.", labels=["stream"])
    lag = GaugeMetricFamily(
        "puppetcast_source_lag_seconds", "How far a source's pictures have fallen behind, by its own clock.", labels=["stream"]
    )
    for state in states:
        if state.source is not None:
            if state.source.lag_s is not None:
                lag.add_metric([state.name], state.source.lag_s)
            for name in SourceState:
                state_of.add_metric([state.name, name.value], float(state.source.state is name))
            restarts.add_metric([state.name], state.source.restarts)
    yield state_of
    yield restarts
    yield lag


def _encoders(states: list[StreamState]) -> Iterator[Metric]:
    for field, text in (
        ("encoded", "Frames encoded, once for all viewers of a codec."),
        ("key_frames", "Key frames among them."),
        ("viewer_drops", "Frames not sent to a viewer that is behind or on a narrow line."),
    ):
        counter = CounterMetricFamily(f"puppetcast_{field}", text, labels=["stream", "codec"])
        for state in states:
            for encoder in state.encoders:
                counter.add_metric([state.name, encoder.codec], getattr(encoder, field))
        yield counter
    bitrate = GaugeMetricFamily("puppetcast_bitrate_kbps", "Bitrate asked of an encoder.", labels=["stream", "codec"])
    for state in states:
        for encoder in state.encoders:
            bitrate.add_metric([state.name, encoder.codec], encoder.bitrate_kbps)
    yield bitrate


def _counters(states: list[StreamState]) -> Iterator[Metric]:
    for field, text in (
        ("frames_in", "Driving frames received."),
        ("animated", "Frames animated."),
        ("still", "Frames animated that show the picture before again, as nothing had moved."),
        ("errors", "Frames on which the engine failed."),
    ):
        name = "puppetcast_frames_received" if field == "frames_in" else f"puppetcast_frames_{field}"
        family = CounterMetricFamily(name, text, labels=["stream"])
        for state in states:
            family.add_metric([state.name], getattr(state, field))
        yield family


def _gauges(states: list[StreamState]) -> Iterator[Metric]:
    for field, text in (
        ("viewers", "Viewers."),
        ("rate_limit", "The budget's frame rate limit."),
        ("busy", "Share of the window spent."),
    ):
        family = GaugeMetricFamily(f"puppetcast_{field}", text, labels=["stream"])
        for state in states:
            family.add_metric([state.name], getattr(state, field))
        yield family
    stalled = GaugeMetricFamily(
        "puppetcast_stalled", "1 for a stream that stands still by a fault of its own.", labels=["stream"]
    )
    for state in states:
        stalled.add_metric([state.name], float(bool(state.stalled)))
    yield stalled
    for field, text in (("age", "Age at send."), ("stage", "Time in the stage.")):
        family = GaugeMetricFamily(f"puppetcast_{field}_seconds", text, labels=["stream", "quantile"])
        for state in states:
            for quantile, suffix in (("0.5", "p50"), ("0.95", "p95")):
                value = getattr(state, f"{field}_{suffix}_ms")
                if value is not None:
                    family.add_metric([state.name, quantile], value / 1000)
        yield family


def exposition(control: Control) -> bytes:
    """The text that Prometheus scrapes."""
    registry = CollectorRegistry()
    registry.register(StreamCollector(control))  # type: ignore[arg-type]
    return generate_latest(registry)
