"""What came of a load: how its requests ended, how long they took, and whether that can be told."""

from __future__ import annotations

import msgspec

from twofold.lab.findings import Latency, Level


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """One load, the requests of its warm-up left out.

    Attributes:
        level: The same as rates.
        latency: Of what was answered with a 2xx, from the instant it was due.
        lateness: Of the generator itself: what sending was late by that no server can be blamed
            for.
        count: Requests that were due; in a closed loop, that were sent.
        outcomes: How many ended how, by the names of `twofold.lab.outcomes.Outcome`.
        statuses: Answers by HTTP status.
        resent: Requests that met a connection which the server was just closing, and were sent
            once more.
        elapsed_s: How long requests were due for.
        busy_ratio: Of a core, what the busiest process of the generator used.
        is_valid: Whether the generator kept up.
        reasons: Why it isn't valid; empty if it is.
        stretches: The parts of its profile, as rates.
        was_stopped: It was ended before its time, and this is what was measured until then.
    """

    level: Level
    latency: Latency
    lateness: Latency
    count: int
    outcomes: dict[str, int]
    statuses: dict[str, int]
    resent: int
    elapsed_s: float
    busy_ratio: float
    is_valid: bool
    reasons: list[str]
    stretches: list[Level]
    was_stopped: bool = False
