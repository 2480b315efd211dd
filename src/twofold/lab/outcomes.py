"""How requests end, and the counts of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from twofold.lab.histogram import Histogram, PackedHistogram

SHED_STATUSES = (429, 503)


class Outcome(StrEnum):
    """How a request ended.

    Attributes:
        IN_TIME: Answered with a 2xx before its deadline.
        LATE: Answered with a 2xx after it.
        SHED: 503 or 429: refused because of load.
        GAVE_UP: Sent, and not answered before the timeout.
        CLIENT_ERROR: Any other 4xx.
        SERVER_ERROR: Any other 5xx, as 504 of a server that saw the deadline pass.
        UNEXPECTED: A 2xx without the text that was expected in it, or a 3xx.
        REFUSED: Nothing took the connection.
        RESET: The connection was reset.
        BROKEN: The answer ended too early, or was no HTTP.
        UNSENT: No connection before the timeout: all were busy, or the server took none.
        OWN_LIMIT: This side had no file or port left for another connection.
    """

    IN_TIME = "in_time"
    LATE = "late"
    SHED = "shed"
    GAVE_UP = "gave_up"
    CLIENT_ERROR = "client_error"
    SERVER_ERROR = "server_error"
    UNEXPECTED = "unexpected"
    REFUSED = "refused"
    RESET = "reset"
    BROKEN = "broken"
    UNSENT = "unsent"
    OWN_LIMIT = "own_limit"


# As in src/load/engine.h.
WITHOUT_STATUS = {
    -1: Outcome.GAVE_UP,
    -2: Outcome.UNSENT,
    -3: Outcome.REFUSED,
    -4: Outcome.RESET,
    -5: Outcome.BROKEN,
    -6: Outcome.UNEXPECTED,
    -7: Outcome.BROKEN,
    -8: Outcome.OWN_LIMIT,
}
GOOD = range(200, 300)
REDIRECTED = range(300, 400)
CLIENT_ERRORS = range(400, 500)


def outcome_of(result: int, *, is_in_time: bool) -> Outcome:
    """What a status, or what stands for one, means."""
    if result < 0:
        return WITHOUT_STATUS[result]
    if result in GOOD:
        return Outcome.IN_TIME if is_in_time else Outcome.LATE
    if result in SHED_STATUSES:
        return Outcome.SHED
    if result in REDIRECTED:
        return Outcome.UNEXPECTED
    return Outcome.CLIENT_ERROR if result in CLIENT_ERRORS else Outcome.SERVER_ERROR


@dataclass(frozen=True)
class Course:
    """What the engine wrote: an array each, an element a request; see `src/load/engine.h`."""

    due_s: Any
    done_s: Any
    late_s: Any
    result: Any


class PackedTally(msgspec.Struct, frozen=True):
    """A tally on its way between processes."""

    outcomes: dict[str, int]
    statuses: dict[str, int]
    latency: PackedHistogram
    lateness: PackedHistogram


@dataclass
class Tally:
    """What came of some requests.

    Attributes:
        outcomes: How many ended how.
        statuses: How many were answered with which status.
        latency: Of those that were answered with a 2xx.
        lateness: Of the generator, over all.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    lateness: Histogram = field(default_factory=Histogram)

    @property
    def count(self) -> int:
        """All requests."""
        return sum(self.outcomes.values())

    def merge(self, other: Tally) -> None:
        """Add another one."""
        for mine, theirs in ((self.outcomes, other.outcomes), (self.statuses, other.statuses)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        self.latency.merge(other.latency)
        self.lateness.merge(other.lateness)

    def packed(self) -> PackedTally:
        """To be sent to another process."""
        return PackedTally(
            self.outcomes, self.statuses, self.latency.packed(), self.lateness.packed()
        )

    @staticmethod
    def unpacked(packed: PackedTally) -> Tally:
        """What another process has sent."""
        return Tally(
            packed.outcomes,
            packed.statuses,
            Histogram.unpacked(packed.latency),
            Histogram.unpacked(packed.lateness),
        )


def tallied(course: Course, edges_s: list[float], *, deadline_s: float) -> list[Tally]:
    """Count how requests ended, by when they were due.

    Args:
        course: Of all requests. Those without an end, as the load was stopped, don't count.
        edges_s: Where each stretch begins and, last, where the last one ends; what was due before
            the first edge, in the warm-up, doesn't count.
        deadline_s: For how long an answer is in time, from when its request was due.

    Returns:
        One tally a stretch.
    """
    # A sum of gaps may lie an ulp beyond the end that it belongs to.
    which = np.searchsorted(edges_s[:-1], course.due_s, side="right") - 1
    which[course.result == 0] = -1
    return [_tally(course, which == at, deadline_s) for at, _ in enumerate(pairwise(edges_s))]


def _tally(course: Course, chosen: Any, deadline_s: float) -> Tally:
    tally = Tally()
    results = course.result[chosen].astype(np.int64)
    took_s = course.done_s[chosen] - course.due_s[chosen]
    in_time = took_s <= deadline_s
    for is_in_time in (True, False):
        kinds, counts = np.unique(results[in_time == is_in_time], return_counts=True)
        for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
            name = outcome_of(kind, is_in_time=is_in_time).value
            tally.outcomes[name] = tally.outcomes.get(name, 0) + count
            if kind > 0:
                tally.statuses[str(kind)] = tally.statuses.get(str(kind), 0) + count
    tally.latency.add(took_s[(results >= GOOD.start) & (results < GOOD.stop)])
    tally.lateness.add(course.late_s[chosen])
    return tally
