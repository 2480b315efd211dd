"""What came of a load: how its requests ended, how long they took, and whether that can be told."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from twofold.lab.findings import Latency, Level
from twofold.lab.outcomes import Outcome, Tally

LATE_SHARES = (99, 90, 50)
"""In percent; the first of them that the count bears is judged."""
MAX_LATE_S = 0.001
MAX_LATE_RATIO = 0.1
MAX_BUSY_RATIO = 0.95


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
            once more; those of the warm-up, too.
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


class Conduct(msgspec.Struct, frozen=True, kw_only=True):
    """How the generator fared.

    Attributes:
        is_closed: Each connection asked again when it was answered.
        busy_ratio: Of a core, what its busiest process used.
        resent: See `Loaded`.
        stopped_s: When it was ended before its time, from its start; else None.
        is_full: A closed loop had no memory for more requests.
        timeout_s: After which a request was given up.
    """

    is_closed: bool
    busy_ratio: float
    resent: int
    stopped_s: float | None
    is_full: bool
    timeout_s: float


def loaded_of(tallies: Sequence[Tally], edges_s: Sequence[float], conduct: Conduct) -> Loaded:
    """Make rates of counts, and judge whether the generator kept up.

    It did not if its lateness at p99 is above 1 ms and above a tenth of the latency at p99, which
    is then its own as much as the server's (of fewer than 1,000 requests both at p90, of fewer than
    100 at p50); if it had no file or port left for a connection; or if, in a closed loop, where
    nothing is due, it was busy all the time. Lateness is part of the latency that is told: a load
    that keeps an objective keeps it in spite of it.

    Args:
        tallies: One a stretch.
        edges_s: Where each stretch begins and, last, where the last one ends.
        conduct: How the generator fared.
    """
    whole = Tally()
    stretches: list[Level] = []
    elapsed_s = 0.0
    for tally, (begin_s, end_s) in zip(tallies, pairwise(edges_s), strict=True):
        whole.merge(tally)
        ended_s = end_s if conduct.stopped_s is None else min(end_s, conduct.stopped_s)
        if ended_s <= begin_s:
            continue
        elapsed_s += ended_s - begin_s
        is_valid = not _reasons(tally, conduct)
        stretches.append(level_of(tally, ended_s - begin_s, is_valid=is_valid))
    reasons = _reasons(whole, conduct)
    return Loaded(
        level=level_of(whole, elapsed_s, is_valid=not reasons),
        latency=whole.latency.latency(),
        lateness=whole.lateness.latency(),
        count=whole.count,
        outcomes=whole.outcomes,
        statuses=whole.statuses,
        resent=conduct.resent,
        elapsed_s=elapsed_s,
        busy_ratio=conduct.busy_ratio,
        is_valid=not reasons,
        reasons=reasons,
        stretches=stretches,
        was_stopped=conduct.stopped_s is not None,
    )


def level_of(tally: Tally, seconds: float, *, is_valid: bool) -> Level:
    """The rates of what was due within some seconds."""
    counts = {outcome: tally.outcomes.get(outcome.value, 0) for outcome in Outcome}
    answered = counts[Outcome.IN_TIME] + counts[Outcome.LATE]
    failed = tally.count - answered - counts[Outcome.SHED]

    def per_s(count: int) -> float:
        return count / seconds if seconds > 0 else 0.0

    return Level(
        offered_per_s=per_s(tally.count),
        answered_per_s=per_s(answered),
        in_time_per_s=per_s(counts[Outcome.IN_TIME]),
        shed_per_s=per_s(counts[Outcome.SHED]),
        failed_per_s=per_s(failed),
        latency=tally.latency.latency(),
        lateness_p99_s=tally.lateness.percentile(99),
        is_valid=is_valid,
    )


def _took_s(tally: Tally, share: float, conduct: Conduct) -> float:
    """How long a request took; where none was answered, but given up, at least so long."""
    if not tally.latency.count and tally.outcomes.get(Outcome.GAVE_UP.value):
        return conduct.timeout_s
    return tally.latency.percentile(share)


def _reasons(tally: Tally, conduct: Conduct) -> list[str]:
    reasons: list[str] = []
    if not tally.count:
        reasons.append("nothing was measured")
    share = next((share for share in LATE_SHARES if tally.lateness.bears(share)), LATE_SHARES[-1])
    late_s, took_s = tally.lateness.percentile(share), _took_s(tally, share, conduct)
    if late_s > max(MAX_LATE_S, MAX_LATE_RATIO * took_s):
        reasons.append(
            f"the generator was late by {late_s * 1e3:.3g} ms at p{share}, more than 1 ms and than "
            "a tenth of the latency there: give it a calmer machine, or more --processes"
        )
    if conduct.is_closed and conduct.busy_ratio > MAX_BUSY_RATIO:
        reasons.append(
            f"the generator used {conduct.busy_ratio:.0%} of its core, so that it may have been "
            "slower than the server: give it more --processes"
        )
    if out := tally.outcomes.get(Outcome.OWN_LIMIT.value):
        reasons.append(
            f"for {out:,} requests this machine had no file or port left: take fewer --connections"
        )
    if conduct.is_full:
        reasons.append("it ended early, as there were more requests than are kept: measure shorter")
    return reasons
