"""What a reader of a server knows of a pointer, and when it asks again."""

from __future__ import annotations

from twofold.stores.snapshot import Pointer

REFRESH_S = 0.25
"""A switch is seen after so long, at the latest."""
LOST_S = 5.0
"""For so long a server that tells an older pointer than before is not believed."""


class View:
    """A pointer as it was last told.

    Attributes:
        pointer: It; None before it was told.
        has_live: Whether live predictions are kept beside its current snapshot.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self.pointer: Pointer | None = None
        self.has_live = False
        self._asked_s = 0.0
        self._older_since_s: float | None = None

    def is_due(self, now_s: float) -> bool:
        """Whether the pointer is to be read again."""
        return self.pointer is None or now_s - self._asked_s >= REFRESH_S

    def confirm(self, *, has_live: bool, asked_s: float) -> None:
        """Take note that the pointer is what it was.

        Args:
            has_live: Whether live predictions are kept.
            asked_s: The instant before it was read, monotonic seconds.
        """
        self.has_live = has_live
        self._asked_s = max(self._asked_s, asked_s)
        self._older_since_s = None

    def learn(self, pointer: Pointer, *, asked_s: float) -> None:
        """Take note of a pointer that was told.

        Answers may overtake one another, and a replica that took over may lag behind. So an older
        pointer than the known one is not gone back to, unless nothing else is told for so long
        that the server must have lost the newer one: holding on to that would be forever.

        Args:
            pointer: It.
            asked_s: The instant before it was read, monotonic seconds.
        """
        if self.pointer is not None and pointer.switches < self.pointer.switches:
            if self._older_since_s is None:
                self._older_since_s = asked_s
            if asked_s - self._older_since_s < LOST_S:
                self._asked_s = max(self._asked_s, asked_s)
                return
        if pointer != self.pointer:
            # Whether there are live ones is told at the next refresh; until then they are looked
            # for, as another reader may have kept one already.
            self.has_live = True
        self.pointer = pointer
        self._asked_s = max(self._asked_s, asked_s)
        self._older_since_s = None
