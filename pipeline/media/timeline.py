"""One line of time for all tracks of a container, whatever its clock does."""

from __future__ import annotations

CLOSE_S = 0.1  # times of one track lie nearer to each other's ends than this
FORWARD_S = 2.0  # a step forward beyond this is no pause where the clock may be discontinuous
KEPT = 8  # corrections
TICK_S = 0.001  # between two pictures of a track that claim the same time


class Timeline:
    """Corrects the times of packets, in the order in which they are stored.

    Where a track's clock goes back, its packets follow on from the last ones, and the other tracks, whose clock goes
    back a few packets earlier or later, with the same correction: picture and sound stay together. A glitch that the
    clock itself takes back is forgotten with it. may_jump: a step forward beyond FORWARD_S is treated alike, and not as
    a pause.
    """

    def __init__(self, may_jump: bool) -> None:
        self._may_jump = may_jump
        self._corrections = [0.0]  # the newest last
        self._current: dict[int, float] = {}  # of each track
        self._ends: dict[int, float] = {}  # on the line, of each track's last packet

    def correction(self, track: int, at_s: float, length_s: float) -> float:
        """Seconds to add to a packet's times. at_s: when it is due by its own clock; length_s: 0 if not known."""
        current = self._current.get(track, self._corrections[-1])
        if track in self._ends:
            current = self._fitting(at_s, self._ends[track], current)
        self._current[track], self._ends[track] = current, at_s + current + length_s
        return current

    def _fitting(self, at_s: float, end_s: float, current: float) -> float:
        gap_s = at_s + current - end_s
        if abs(gap_s) <= CLOSE_S:
            return current
        nearest = min(self._corrections, key=lambda c: abs(at_s + c - end_s))
        if abs(at_s + nearest - end_s) <= CLOSE_S:
            return nearest
        if gap_s >= -CLOSE_S and not (self._may_jump and gap_s > FORWARD_S):
            return current  # an honest pause
        known = self._corrections
        for newer in known[known.index(current) + 1 :] if current in known else known:
            if abs(at_s + newer - end_s) <= FORWARD_S:
                return newer  # another track has been here already
        self._corrections = [*self._corrections[-KEPT + 1 :], end_s - at_s]
        return self._corrections[-1]
