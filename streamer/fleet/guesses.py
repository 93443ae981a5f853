"""How far too low the costs lately were by which streams were placed."""

from __future__ import annotations

from math import exp, log, sqrt

LATELY = 100  # guesses by which the next ones are judged
BEYOND = 3.7  # times the root of their mean square: where as many are too high as too low, one of two hundred is lower than that
MOST = 1.5  # times a guess, at most, as a stream that is unlike the others may find no place at all


class Guesses:
    """What a stream took, as a part of what it was to take: the mean square of its logarithm, where one too high counts 0."""

    def __init__(self) -> None:
        self._count, self._square = 0, 0.0

    def learn(self, guess: float, took: float) -> None:
        """Shares of one stream."""
        self._count = min(self._count + 1, LATELY)
        self._square += (max(log(took / guess), 0.0) ** 2 - self._square) / self._count

    @property
    def factor(self) -> float:
        """How much of a guess there has to be room for, at least 1."""
        return min(exp(BEYOND * sqrt(self._square)), MOST)
