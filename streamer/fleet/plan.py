"""What a made-up fleet is given."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from .base import FleetFull
from .placement import Cost

P95 = 1.645  # standard deviations above the mean


@dataclass(frozen=True)
class Plan:
    """What is made up. arrivals and spare: percent of `streams`, a minute and of all; error: standard deviation of the logarithm
    by which the cost that a stream is placed with is wrong; burst: percent of `streams` that come beside the others within the
    minute in the middle; mttf_hours: of a worker, 0 for never; boot_s: from the wish for a worker to its first report; dead_s:
    from its death to when it is known; retry_s: after which a stream that found no room asks again."""

    streams: int = 10_000
    minutes: float = 40.0
    arrivals: float = 5.0
    spare: float = 10.0
    limit: float = 0.9
    median_share: float = 0.19
    sigma: float = 0.4
    error: float = 0.0
    burst: float = 0.0
    mttf_hours: float = 0.0
    boot_s: float = 90.0
    dead_s: float = 1.0
    report_late_s: float = 0.0
    drain_s: float = 600.0
    retry_s: float = FleetFull("").retry_after_s
    spread: bool = False
    seed: int = 1

    @property
    def mean_share(self) -> float:
        return self.median_share * exp(self.sigma**2 / 2)

    @property
    def p95(self) -> Cost:
        return Cost(self.median_share * exp(P95 * self.sigma))
