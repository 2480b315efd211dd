"""How late the event loop is: what comes now waits as long as the turns take."""

from __future__ import annotations

from collections.abc import Callable


class Pulse:
    """Measures the turns of an event loop, from the first thing done in one to its end."""

    def __init__(
        self, *, clock: Callable[[], float], soon: Callable[[Callable[[], None]], object]
    ) -> None:
        """Begin idle.

        Args:
            clock: Monotonic seconds.
            soon: Runs a function at the end of this turn.
        """
        self._clock = clock
        self._soon = soon
        self._began_s = self._ended_s = clock()
        self._took_s = self._longest_s = 0.0
        self._is_open = False

    def touch(self, now_s: float) -> None:
        """Something is being done in this turn."""
        if not self._is_open:
            self._is_open = True
            self._began_s = now_s
            self._soon(self._end)

    def lag_s(self, now_s: float) -> float:
        """Seconds that what is handled now has waited for the loop, at most.

        It came during the turn before, at worst at its beginning; if the loop was idle since, it
        came when this turn began.
        """
        idle_s = self._began_s - self._ended_s if self._is_open else now_s - self._ended_s
        waited_s = max(0.0, self._took_s - idle_s)
        return waited_s + (now_s - self._began_s if self._is_open else 0.0)

    def longest_s(self) -> float:
        """The longest turn since this was last asked, seconds."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s

    def _end(self) -> None:
        self._is_open = False
        self._ended_s = self._clock()
        self._took_s = took_s = self._ended_s - self._began_s
        self._longest_s = max(self._longest_s, took_s)
