"""How late the event loop is, and what keeps it: the turns it takes, the things done in them."""

from __future__ import annotations

import math
from collections.abc import Callable


class Pulse:
    """Measures the turns of an event loop, and the things done in them.

    A turn counts from the first thing to its end.
    """

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
        self._touched_s = self._began_s
        self._read_s = -math.inf
        self._took_s = self._longest_s = 0.0
        self._is_open = False

    def touch(self, now_s: float, read_s: float = -math.inf) -> None:
        """Something is being done in this turn.

        Args:
            now_s: Monotonic seconds.
            read_s: If it is what came over a connection, when that was read the last time.
        """
        if self._is_open:
            self._longest_s = max(self._longest_s, now_s - self._touched_s)
        else:
            self._is_open = True
            self._began_s = now_s
            self._soon(self._end)
        self._touched_s, self._read_s = now_s, read_s

    def lag_s(self, now_s: float) -> float:
        """Seconds that what is handled now has waited for the loop, at most.

        It came during the turn before, at worst at its beginning; if the loop was idle since, it
        came when this turn began. And it came after its connection was read the last time: under
        load a turn of libuv goes on as long as there is anything to read, for up to 48 times 1,024
        connections, and is far longer than anybody in it has waited.
        """
        idle_s = self._began_s - self._ended_s if self._is_open else now_s - self._ended_s
        waited_s = max(0.0, self._took_s - idle_s)
        turns_s = waited_s + (now_s - self._began_s if self._is_open else 0.0)
        return min(turns_s, now_s - self._read_s)

    def longest_s(self) -> float:
        """The longest that one thing took since this was last asked, seconds."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s

    def _end(self) -> None:
        self._is_open = False
        self._ended_s = self._clock()
        self._took_s = self._ended_s - self._began_s
        self._longest_s = max(self._longest_s, self._ended_s - self._touched_s)
