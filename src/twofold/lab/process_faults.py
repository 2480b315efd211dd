"""What may be wrong with a server's processes: they die, stand still, or are full."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from twofold.lab.fault import Fault, Finding, Severity, count, instant, time
from twofold.lab.look import ModelLook
from twofold.lab.span import Span, grown

LONG_BLOCK_S = 0.5
"""A single pause of a loop that matters; shorter ones do if they go on."""
BLOCK_BOUND_S = 0.25
RECENT = timedelta(minutes=10)
JUST_NOW = timedelta(minutes=1)
CONNECTIONS_RATIO = 0.9


def worker_restarts(seen: Span) -> Iterator[Finding]:
    """Workers that died, lately."""
    last = seen.last
    yield from _restarts(
        seen,
        Fault.WORKER_RESTARTS,
        "workers died and were replaced",
        grown(seen.first.restarts, last.restarts),
        (last.restarts, last.restarted_at),
        "Look at the server's stderr and at the system's log for why: a model that ends its "
        "process, or the system that was out of memory and killed it (`dmesg`). Fewer workers "
        "(--workers) need less memory.",
    )


def model_restarts(seen: Span) -> Iterator[Finding]:
    """Models' own processes that died or hung, lately."""
    last = seen.last
    yield from _restarts(
        seen,
        Fault.MODEL_RESTARTS,
        "models' own processes died or hung, and were replaced",
        grown(seen.first.deaths, last.deaths),
        (last.deaths, last.died_at),
        "Look at the server's stderr for the model and the row that did it; a row that ends its "
        "process is answered 500. A model that is only slow, not hung, needs a higher "
        "--max-predict-s.",
    )


def _restarts(
    seen: Span,
    fault: Fault,
    what: str,
    new: float,
    ever: tuple[float, datetime | None],
    fix: str,
) -> Iterator[Finding]:
    total, at = ever
    age = None if at is None else seen.last.now - at
    if total <= 0.0 or not (new > 0.0 or (age is not None and age <= RECENT)):
        return
    evidence = [f"since the server was started: {count(total)}"]
    if new > 0.0:
        evidence.append(f"within the last {time(seen.seconds)}: {count(new)}")
    if at is not None:
        evidence.append(f"the last one: {instant(at)}")
    is_now = new > 0.0 or (age is not None and age <= JUST_NOW)
    yield Finding(
        fault=fault,
        severity=Severity.FAULT if is_now else Severity.WARNING,
        what=f"{count(total)} of the {what}.",
        evidence=tuple(evidence),
        fix=fix,
        since=at,
    )


def not_ready(seen: Span) -> Iterator[Finding]:
    """A server that says so."""
    if not seen.last.is_ready:
        yield Finding(
            fault=Fault.NOT_READY,
            severity=Severity.FAULT,
            what="The server says that it isn't ready: a model is not loaded, or it is stopping.",
            evidence=("GET /v2/health/ready: 503", f"workers: {count(seen.last.workers)}"),
            fix="Wait for what is being loaded, and look at the server's stderr for what can't be.",
        )


def loop_blocked(seen: Span) -> Iterator[Finding]:
    """Event loops that stood still."""
    first, last = seen.first, seen.last
    new = grown(first.blocks, last.blocks)
    if new <= 0.0 and last.longest_block_s < LONG_BLOCK_S:
        return
    cause, fix = _cause_of_block(seen)
    evidence = [
        f"longest pause of an event loop in the last minute: {time(last.longest_block_s)}",
        (
            f"pauses of 250 ms or more: {count(new)} within the last {time(seen.seconds)}, "
            f"{count(last.blocks)} since the server was started"
        ),
        *cause,
    ]
    if last.blocked_at is not None:
        evidence.append(f"the last one: {instant(last.blocked_at)}")
    yield Finding(
        fault=Fault.LOOP_BLOCKED,
        severity=Severity.FAULT,
        what=f"An event loop stood still for {time(last.longest_block_s)}: meanwhile its worker "
        "answered nobody.",
        evidence=tuple(evidence),
        fix=fix,
        since=last.blocked_at,
    )


def _cause_of_block(seen: Span) -> tuple[list[str], str]:
    slow = [(item, longest) for item in seen.last.models if (longest := _longest_here(item))]
    if slow:
        item, longest_s = max(slow, key=lambda pair: pair[1])
        some = f"some took more than {time(longest_s)}, since the server started"
        return (
            [f"predictions of {item.name} in the event loop: {some}"],
            (
                f"{item.name} was quick when it was loaded, so it is predicted in the event loop. "
                "Mend what makes it slow now and then: a look-up, a lock, a large row. Until then "
                "more workers (--workers) answer while one stands still."
            ),
        )
    return (
        ["predictions in the event loop: none took as long, so it was something else"],
        (
            "Look for a machine without a free core or memory (`top`, `vmstat 1`), a worker that "
            "was stopped (a debugger, a suspended container), and bodies of many megabytes "
            "(--max-body-bytes)."
        ),
    )


def _longest_here(item: ModelLook) -> float:
    """Beyond what the slowest prediction in the loop was; 0 if none was as long as a block."""
    if item.is_apart:
        return 0.0
    buckets, longest_s, below = item.predict.buckets, 0.0, 0.0
    lower = 0.0
    for bound in sorted(buckets):
        if buckets[bound] > below:
            longest_s = lower
        lower, below = bound, buckets[bound]
    return longest_s if longest_s >= BLOCK_BOUND_S else 0.0


def connections(seen: Span) -> Iterator[Finding]:
    """Connections that are nearly all taken."""
    last = seen.last
    if last.max_connections <= 0.0 or last.connections < CONNECTIONS_RATIO * last.max_connections:
        return
    yield Finding(
        fault=Fault.TOO_MANY_CONNECTIONS,
        severity=Severity.WARNING,
        what="Nearly all connections that the server keeps open are taken; further ones are "
        "answered 503.",
        evidence=(f"open connections: {count(last.connections)} of {count(last.max_connections)}",),
        fix="Have clients keep few connections and use them again, close idle ones sooner "
        "(--idle-timeout-s), or allow more: --max-connections "
        f"{count(2 * last.max_connections / max(1.0, last.workers))} for each worker.",
    )


def reload_refused(seen: Span) -> Iterator[Finding]:
    """A version that couldn't be loaded."""
    refused, switched = seen.last.refused_at, seen.last.switched_at
    if refused is None or (switched is not None and switched > refused):
        return
    yield Finding(
        fault=Fault.RELOAD_REFUSED,
        severity=Severity.WARNING,
        what="The version that is to be served can't be loaded; the one before it serves on.",
        evidence=(
            f"changes refused since the server was started: {count(seen.last.reloads_refused)}",
            f"the last one: {instant(refused)}",
        ),
        fix="The server's stderr says why (`refused NAME@VERSION`). Pack the model again, or move "
        "the alias back: twofold alias NAME champion VERSION.",
        since=refused,
    )
