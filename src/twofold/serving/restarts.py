"""How often workers that died may be started again."""

from __future__ import annotations

from collections import deque

MINUTE_S = 60.0


class Restarts:
    """Lets at most so many restarts through in any minute.

    A worker that dies of every request must not keep the machine busy with starting it; one that
    was killed is back at once.
    """

    def __init__(self, *, max_per_min: int) -> None:
        """Begin without restarts."""
        self._max_per_min = max_per_min
        self._times_s: deque[float] = deque(maxlen=max_per_min)

    def wait_s(self, now_s: float) -> float:
        """Seconds until one more may happen; 0 if it may now."""
        if len(self._times_s) < self._max_per_min:
            return 0.0
        return max(0.0, self._times_s[0] + MINUTE_S - now_s)

    def note(self, now_s: float) -> None:
        """One happens."""
        self._times_s.append(now_s)
