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
    a pause. jumps: how many there were.
    """

    def __init__(self, may_jump: bool) -> None:
        self._may_jump = may_jump
        self.jumps = 0
        self._corrections = [0.0]  # the newest last
        self._current: dict[int, float] = {}  # of each track
        self._last: dict[int, tuple[float, float]] = {}  # where on the line each track's last packet begins and ends

    def correction(self, track: int, due_s: float | None, length_s: float) -> float:
        """Seconds to add to a packet's times. due_s: when it is to be decoded by its own clock, if it says so; length_s: 0
        if not known."""
        current = self._current.get(track, self._corrections[-1])
        if due_s is None:
            return current
        if track in self._last:
            current = self._fitting(track, due_s, current)
        begin_s = due_s + current
        self._current[track], self._last[track] = current, (begin_s, begin_s + min(length_s, FORWARD_S))
        return current

    def _fitting(self, track: int, due_s: float, current: float) -> float:
        begin_s, end_s = self._last[track]
        if begin_s - CLOSE_S <= due_s + current <= end_s + CLOSE_S:
            return current
        nearest = min(self._corrections, key=lambda c: abs(due_s + c - end_s))
        if abs(due_s + nearest - end_s) <= CLOSE_S:
            return nearest
        if due_s + current > end_s and (not self._may_jump or self._goes_on(due_s + current, current)):
            return current  # an honest pause
        known = self._corrections
        for newer in known[known.index(current) + 1 :] if current in known else known:
            if abs(due_s + newer - end_s) <= FORWARD_S:
                return newer  # another track has been here already
        self.jumps += 1
        self._corrections = [*self._corrections[-KEPT + 1 :], end_s - due_s]
        return self._corrections[-1]

    def _goes_on(self, at_s: float, current: float) -> bool:
        """Whether some track was near a time on the line before it came, by the same correction."""
        ends_s = (end_s for track, (_, end_s) in self._last.items() if self._current[track] == current)
        return any(abs(at_s - end_s) <= FORWARD_S for end_s in ends_s)
