"""What may be wrong with a server, and how it is told."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from datetime import UTC, datetime


class Fault(enum.StrEnum):
    """What may be wrong."""

    WORKER_RESTARTS = "worker_restarts"
    MODEL_RESTARTS = "model_restarts"
    NOT_READY = "not_ready"
    SLOW_MODEL = "slow_model"
    LOOP_BLOCKED = "loop_blocked"
    STORE_SLOW = "store_slow"
    CLOCK_SKEW = "clock_skew"
    SNAPSHOT_STALE = "snapshot_stale"
    MODEL_FAILS = "model_fails"
    OVERLOADED = "overloaded"
    DEADLINE_SHORT = "deadline_short"
    OVER_QUOTA = "over_quota"
    INVALID_REQUESTS = "invalid_requests"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    RELOAD_REFUSED = "reload_refused"


CAUSES_FIRST = tuple(Fault)
"""The order above: nothing is caused by what comes after it."""


class Severity(enum.StrEnum):
    """How bad it is."""

    FAULT = "fault"
    WARNING = "warning"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        fault: Which.
        severity: `fault`: somebody is refused, waits or gets a wrong answer; `warning`: not yet,
            or not any more, or it is for a client to mend.
        what: What is wrong, one sentence.
        evidence: What shows it, each `what: value`.
        fix: What to do about it.
        since: Since when, UTC, by the server's clock; None if that isn't known.
        who: The client that has most to do with it; None if that isn't known.
    """

    fault: Fault
    severity: Severity
    what: str
    evidence: tuple[str, ...]
    fix: str
    since: datetime | None = None
    who: str | None = None


def most(clients: Mapping[str, Mapping[str, float]], outcome: str) -> tuple[str | None, float]:
    """The client with most requests that ended so, and its share of those that are known."""
    rates = {client: ended.get(outcome, 0.0) for client, ended in clients.items()}
    total = sum(rates.values())
    if total <= 0.0:
        return None, 0.0
    who = max(rates, key=lambda client: rates[client])
    return who, rates[who] / total


def whose(who: str | None, share: float, of: str) -> list[str]:
    """Say so, if it is known."""
    return [] if who is None else [f"client {who}: {percent(share)} {of}, in the last seconds"]


WHOLE = 10.0
"""From two digits on, fractions are noise."""
LEAST = 0.01
NEXT_UNIT = 1e3


def of_all(part: float, whole: float, seconds: float) -> str:
    """So many of so many, in so many seconds."""
    return f"{count(part)} of {count(whole)} within the last {time(seconds)}"


def count(number: float) -> str:
    """A count."""
    return f"{number:,.0f}"


def rate(per_s: float) -> str:
    """A rate, with as many digits as one reads."""
    return f"{per_s:,.0f}/s" if per_s == 0.0 or per_s >= WHOLE else f"{per_s:.2g}/s"


def percent(share: float) -> str:
    """A share."""
    return f"{100.0 * share:.0f} %" if share == 0.0 or share >= LEAST else "less than 1 %"


def time(seconds: float | None) -> str:
    """A time in its unit, three digits."""
    if seconds is None:
        return "unknown"
    for unit, per_s in (("µs", 1e6), ("ms", 1e3)):
        if seconds * per_s < NEXT_UNIT:
            return f"{seconds * per_s:.3g} {unit}"
    return f"{seconds:,.3g} s" if seconds < NEXT_UNIT else f"{seconds:,.0f} s"


def age(seconds: float) -> str:
    """A long time in its largest unit."""
    for unit, unit_s in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2.0 * unit_s:
            return f"{seconds / unit_s:,.1f} {unit}"
    return f"{seconds:,.3g} s"


def instant(at: datetime) -> str:
    """An instant, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
