"""The circuit breaker: a store that keeps failing isn't asked for a while. Values only.

As Nygard has it (Release It!, 2007): closed, it lets everything through; open, nothing; and from
time to time one attempt, which closes it if it succeeds.
"""

from __future__ import annotations


class Breaker:
    """Decides whether a store is asked.

    Attributes:
        opened_s: Since when it is open, because it failed too often (monotonic seconds); None if
            it isn't.
    """

    def __init__(self, *, max_failures: int, retry_s: float) -> None:
        """Begin closed.

        Args:
            max_failures: So many in a row open it.
            retry_s: Seconds until one attempt is let through.
        """
        self._max_failures = max_failures
        self._retry_s = retry_s
        self._failures = 0.0
        self._retry_at_s = 0.0
        self.opened_s: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it failed too often."""
        return self.opened_s is not None

    def lets(self, now_s: float) -> bool:
        """Whether to ask at an instant (monotonic seconds): of an open one, only now and then."""
        if not self.is_open:
            return True
        if now_s < self._retry_at_s:
            return False
        self._retry_at_s = now_s + self._retry_s
        return True

    def succeeded(self) -> None:
        """An attempt was answered."""
        self._failures = 0.0
        self.opened_s = None

    def failed(self, now_s: float, share: float = 1.0) -> None:
        """An attempt was not.

        Args:
            now_s: The instant (monotonic seconds).
            share: Of a failure, from 0 to 1: how far the store is to blame.
        """
        self._failures += share
        if self._failures >= self._max_failures:
            if self.opened_s is None:
                self.opened_s = now_s
            self._retry_at_s = now_s + self._retry_s
