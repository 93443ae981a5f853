"""How the payload is protected: a check of eight bits, and a tail-biting convolutional code decided softly.

The code is the one of constraint length 15 and rate 1/4 that the Galileo probe spoke (O. Collins, "The subtleties and intricacies
of building a constraint length 15 convolutional decoder", IEEE Trans. Communications 40(12), 1992), bitten in its tail so that no
bits are spent on an end (H. Ma and J. Wolf, "On tail biting convolutional codes", 1986), decoded by Viterbi's algorithm going
round three times.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .payload import BITS, Bits

Soft = NDArray[np.float32]
GENERATORS = (0o46321, 0o51271, 0o63667, 0o70535)
MEMORY = 14  # bits
CHECK = 8  # bits
CHECK_POLYNOMIAL = 0x12F  # x^8 + x^5 + x^3 + x^2 + x + 1: any two wrong bits are seen in so few
LENGTH = BITS + CHECK
CODED = LENGTH * len(GENERATORS)
LAPS = 3  # the one in the middle no longer knows where it began


def encode(payload: Bits) -> NDArray[np.int8]:
    """(40,) bits -> (192,) of 1 and -1."""
    bits = np.concatenate([payload, _check(payload)])
    taps = [sum(np.roll(bits, j) * (g >> MEMORY - j & 1) for j in range(MEMORY + 1)) % 2 for g in GENERATORS]
    return (1 - 2 * np.stack(taps, axis=1).astype(np.int8)).reshape(-1)


def decode(soft: Soft) -> Bits | None:
    """(192,) of which the sign tells the bit and the size how sure that is -> (40,) bits; None where the check says no."""
    best = _likeliest(soft.reshape(LENGTH, len(GENERATORS)))
    return best[:BITS] if (_check(best[:BITS]) == best[BITS:]).all() else None


def _check(bits: Bits) -> Bits:
    """A cyclic redundancy check, (8,)."""
    rest = int("".join(map(str, bits.tolist())), 2) << CHECK
    for at in range(len(bits) - 1, -1, -1):
        if rest >> at + CHECK & 1:
            rest ^= CHECK_POLYNOMIAL << at
    return np.array([rest >> k & 1 for k in range(CHECK - 1, -1, -1)], np.uint8)


LOW = 7  # of the register's middle bits, those that stand lower


@cache
def _sent() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which of the sixteen quadruples each content of the register sends, as two parts of which one is turned by the other
    (exclusive or): (2, 2^6) by the newest bit and the upper ones, (2, 2^7) by the oldest bit and the lower ones."""
    high = np.arange(2)[:, None] << MEMORY | np.arange(1 << MEMORY - 1 - LOW) << LOW + 1
    low = np.arange(2)[:, None] | np.arange(1 << LOW) << 1
    return _quadruple(high), _quadruple(low)


def _quadruple(register: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.asarray(sum((np.bitwise_count(register & g) & 1).astype(np.intp) << k for k, g in enumerate(GENERATORS)))


def _likeliest(soft: Soft) -> Bits:
    """(n, 4) -> (n,) the bits whose code fits best. The register holds the newest bit foremost."""
    signs = 1 - 2 * (np.arange(16)[:, None] >> np.arange(4) & 1)
    high, low = _sent()
    gains = (soft @ signs.T).astype(np.float32)[:, np.arange(16)[:, None] ^ low[:, None]]  # (n, 2, 16, 2^7)
    metric, last = np.zeros(1 << MEMORY, np.float32), np.empty((2, 1, 1 << MEMORY - 1), np.float32)
    ways = np.empty((2, 2, 1 << MEMORY - 1), np.float32)  # by the oldest bit, the newest, those between
    came = np.empty((LAPS * len(soft), 1 << MEMORY), np.bool_)
    for step in range(len(came)):  # rows at once, and what lies side by side: three times as fast as bit by bit
        np.take(gains[step % len(soft)], high, axis=1, out=ways.reshape(2, *high.shape, -1), mode="clip")
        np.copyto(last, metric.reshape(-1, 2).T[:, None])
        ways += last
        np.greater(ways[1], ways[0], out=came[step].reshape(2, -1))
        np.maximum(ways[1], ways[0], out=metric.reshape(2, -1))
    state, bits = int(metric.argmax()), np.empty(len(came), np.uint8)
    for step in range(len(came) - 1, -1, -1):
        bits[step] = state >> MEMORY - 1
        state = state << 1 & (1 << MEMORY) - 1 | int(came[step, state])
    return bits[len(soft) : 2 * len(soft)]
