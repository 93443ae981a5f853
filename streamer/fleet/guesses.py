"""How wrong the costs lately were by which streams were placed."""

from __future__ import annotations

from math import exp, log, sqrt

LATELY = 100  # guesses by which the next ones are judged
BEYOND = 2.6  # standard deviations: one guess of two hundred is lower than that
MOST = 1.5  # times a guess, at most, as a stream that is unlike the others may find no place at all


class Guesses:
    """Mean and variance of the logarithm of what a stream took, as a part of what it was to take."""

    def __init__(self) -> None:
        self._count, self._mean, self._variance = 0, 0.0, 0.0

    def learn(self, guess: float, took: float) -> None:
        """Shares of one stream."""
        self._count = min(self._count + 1, LATELY)
        off = log(took / guess) - self._mean
        self._mean += off / self._count
        self._variance += (off * off * (1 - 1 / self._count) - self._variance) / self._count

    @property
    def factor(self) -> float:
        """How much of a guess there has to be room for, at least 1."""
        return min(max(exp(self._mean + BEYOND * sqrt(self._variance)), 1.0), MOST)
