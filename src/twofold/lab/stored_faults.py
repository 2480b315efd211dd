"""What may be wrong with stored predictions: their store, their age, and the clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from twofold.lab.fault import Fault, Finding, Severity, age, instant, of_all, time
from twofold.lab.scrape import quantile
from twofold.lab.span import Span

STORE_FAILED_RATIO, STORE_SLOW_RATIO = 0.05, 0.5
SKEW_S = 3.0
FUTURE_S, MAX_FUTURE_S = 5.0, 60.0


def store_slow(seen: Span) -> Iterator[Finding]:
    """A store on a server that is slow, or away."""
    store = seen.last.store
    answered, failed, times = seen.store()
    asked = answered + failed
    p50_s, p99_s = quantile(0.5, times), quantile(0.99, times)
    is_failing = asked > 0.0 and failed / asked >= STORE_FAILED_RATIO
    is_slow = p50_s is not None and 0.0 < store.timeout_s * STORE_SLOW_RATIO <= p50_s
    if not (is_failing or is_slow or store.away_since is not None):
        return
    evidence = [
        f"look-ups without an answer in time: {of_all(failed, asked, seen.seconds)}",
        f"a look-up may take (answers.store_timeout_s): {time(store.timeout_s)}",
    ]
    if p50_s is not None:
        evidence.append(f"look-ups, p50 and p99: {time(p50_s)} and {time(p99_s)}")
    if store.away_since is not None:
        evidence.append(f"only tried now and then since: {instant(store.away_since)}")
    yield Finding(
        fault=Fault.STORE_SLOW,
        severity=Severity.FAULT,
        what="The store of snapshots doesn't answer in time: answers are live, remembered, or "
        "refused."
        if is_failing or store.away_since is not None
        else "The store of snapshots is slow: it takes most of the time that a look-up may take.",
        evidence=tuple(evidence),
        fix="Look at the store's load, and at the way to it (`redis-cli --latency`). If it is only "
        f"slow, give it more time: answers.store_timeout_s = {_timeout(store.timeout_s)}.",
        since=store.away_since,
    )


def _timeout(now_s: float) -> str:
    return f"{min(60.0, max(0.1, 5.0 * now_s)):.3g}"


def snapshot_stale(seen: Span) -> Iterator[Finding]:
    """Snapshots that are older than fresh ones may be."""
    max_age_s, now = seen.last.max_age_s, seen.last.now
    for item in seen.models:
        as_of = item.now.snapshot_as_of
        if as_of is None or max_age_s <= 0.0:
            continue
        age_s = (now - as_of).total_seconds()
        if age_s <= max_age_s:
            continue
        asked = sum(item.answers.values())
        stale = item.answers.get("stale", 0.0)
        yield Finding(
            fault=Fault.SNAPSHOT_STALE,
            severity=Severity.FAULT,
            what=f"The snapshot of {item.now.model} is {age(age_s)} old, and fresh for only "
            f"{age(max_age_s)}.",
            evidence=(
                f"its input was true (as_of): {instant(as_of)}",
                f"fresh for (answers.max_age_s): {max_age_s:g} s",
                f"keys answered with a stale prediction: {of_all(stale, asked, seen.seconds)}",
            ),
            fix="Run the batch and publish it: twofold batch run ... --publish. If a schedule "
            "should have, see twofold schedule list. If older predictions will do, raise "
            "answers.max_age_s.",
            since=_after(as_of, max_age_s),
        )


def _after(at: datetime, seconds: float) -> datetime | None:
    try:
        return at + timedelta(seconds=seconds)
    except OverflowError:
        return None


def clock_skew(seen: Span) -> Iterator[Finding]:
    """Clocks that differ."""
    fix = "Have both machines set their clocks by NTP (`timedatectl`, `chronyc tracking`)."
    if abs(seen.skew_s) >= SKEW_S:
        side = "ahead of" if seen.skew_s > 0.0 else "behind"
        yield Finding(
            fault=Fault.CLOCK_SKEW,
            severity=Severity.FAULT,
            what=f"The server's clock is at least {age(abs(seen.skew_s))} {side} this machine's.",
            evidence=(
                f"Date of its last answer: {instant(seen.last.now)}",
                f"this machine's clock then: {instant(seen.last.answered_at)}",
            ),
            fix=f"{fix} Ages of stored predictions are wrong by as much.",
        )
    for item in seen.models:
        as_of = item.now.snapshot_as_of
        ahead_s = 0.0 if as_of is None else (as_of - seen.last.now).total_seconds()
        if as_of is None or ahead_s < FUTURE_S:
            continue
        yield Finding(
            fault=Fault.CLOCK_SKEW,
            severity=Severity.FAULT if ahead_s > MAX_FUTURE_S else Severity.WARNING,
            what=f"The snapshot of {item.now.model} is from the future: its as_of is "
            f"{age(ahead_s)} ahead of the server's clock.",
            evidence=(
                f"its input was true (as_of): {instant(as_of)}",
                f"the server's clock: {instant(seen.last.now)}",
            ),
            fix=f"{fix} If they agree, the run was given a wrong --as-of: publish one with the "
            "right one. Beyond answers.max_skew_s its predictions aren't taken for fresh.",
        )
