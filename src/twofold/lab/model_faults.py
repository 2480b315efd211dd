"""What may be wrong with models and with what is asked of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from twofold.lab.fault import (
    Fault,
    Finding,
    Severity,
    count,
    most,
    of_all,
    percent,
    rate,
    time,
    whose,
)
from twofold.lab.span import ModelSpan, Span

SHED_RATIO = 0.01
IDLE_RATIO = 0.5
LATE_RATIO, LEAST_LATE = 0.05, 3.0
FAILED_RATIO = 0.01
INVALID_RATIO, LEAST_INVALID = 0.1, 5.0
LEAST_ANSWERED = 3.0
SLOWER, LEAST_SLOWER_S = 5.0, 0.001
"""A model is slow whose rows cost so many times what they did when it was packed, and so many
seconds more: another machine makes a difference, too."""
REST_S, REST_RATIO = 0.02, 0.5


def slow_models(seen: Span) -> Iterator[Finding]:
    """Models that are slower than when they were packed, and requests that are long to read."""
    for item in seen.models:
        finding = _slow_predict(item) or _slow_rest(item)
        if finding is not None:
            yield finding


def _slow_predict(item: ModelSpan) -> Finding | None:
    if not _is_slow(item):
        return None
    now, p50_s = item.now, item.predict_s(0.5)
    times = f"{now.row_cost_s / now.packed_row_cost_s:,.0f} times"
    return Finding(
        fault=Fault.SLOW_MODEL,
        severity=Severity.FAULT,
        what=f"{now.name} is slow in its stage predict: a row takes {time(now.row_cost_s)}, "
        f"{times} what it took when it was packed.",
        evidence=(
            f"a row of {now.name} by itself: {time(now.row_cost_s)}",
            f"the same when it was packed: {time(now.packed_row_cost_s)}",
            f"stage predict, p50 of the answered requests: {time(p50_s)}",
            *_stages(item),
        ),
        fix=f"Look at what {now.model} waits for that it didn't when it was packed: a file, a "
        "service, a lock, a core (`top`). If an older version was quicker, go back to it: twofold "
        f"alias {now.model} champion VERSION.",
    )


def _is_slow(item: ModelSpan) -> bool:
    now, p50_s = item.now, item.predict_s(0.5)
    if now.packed_row_cost_s <= 0.0 or item.ended("ok") < LEAST_ANSWERED or p50_s is None:
        return False
    limit_s = max(SLOWER * now.packed_row_cost_s, now.packed_row_cost_s + LEAST_SLOWER_S)
    # A few slow rows among many move the mean, but not the median.
    return now.row_cost_s >= limit_s and p50_s >= limit_s


def _slow_rest(item: ModelSpan) -> Finding | None:
    """Reading and writing takes longer than anything else."""
    rest_s, whole_s = item.stages_s.get("parse and encode", 0.0), sum(item.stages_s.values())
    if item.ended("ok") < LEAST_ANSWERED or rest_s < REST_S or rest_s < REST_RATIO * whole_s:
        return None
    rows = item.rows / item.ended("ok")
    return Finding(
        fault=Fault.SLOW_MODEL,
        severity=Severity.FAULT,
        what=f"Requests to {item.now.name} spend most of their time in the stage parse and encode: "
        f"{time(rest_s)} of {time(whole_s)}.",
        evidence=(f"rows of a request, mean: {rows:,.1f}", *_stages(item)),
        fix="Send fewer rows at once (--max-rows limits them), or send binary tensors (Open "
        "Inference Protocol V2); many rows without hurry are for `twofold batch run`.",
    )


def _stages(item: ModelSpan) -> list[str]:
    return [f"stage {name}, mean: {time(took_s)}" for name, took_s in item.stages_s.items()]


def failing_models(seen: Span) -> Iterator[Finding]:
    """Models that fail."""
    for item in seen.models:
        failed = item.ended("failed")
        if failed <= 0.0 or item.share("failed") < FAILED_RATIO:
            continue
        who, share = most(seen.last.clients, "failed")
        yield Finding(
            fault=Fault.MODEL_FAILS,
            severity=Severity.FAULT,
            what=f"{item.now.name} fails for {percent(item.share('failed'))} of its requests, "
            "which are answered 500.",
            evidence=(
                f"failed requests: {of_all(failed, item.asked, seen.seconds)}",
                *whose(who, share, "of all that failed"),
            ),
            fix="The server's stderr has each failure, with the id that its caller was given. If "
            f"an older version did better, go back to it: twofold alias {item.now.model} champion "
            "VERSION.",
            who=who,
        )


def overloaded(seen: Span) -> Iterator[Finding]:
    """Models of which more is asked than they can answer."""
    refused = seen.responses("503")
    for item in seen.models:
        # Those over their quota are refused, too, but not because of load.
        shed = min(item.ended("refused"), refused)
        if item.now.overloaded_since is None or shed < SHED_RATIO * max(item.asked, 1.0):
            continue
        if _has_time(item, shed):
            continue
        yield _overload_of(seen, item, shed)


def _has_time(item: ModelSpan, shed: float) -> bool:
    """Whether the model could answer far more, and what isn't answered is mostly given up late.

    Whoever asks with a deadline that is shorter than a row takes is refused, too, whenever there is
    anything to wait for.
    """
    return item.per_s(item.asked) < IDLE_RATIO * item.now.capacity_per_s and (
        item.ended("late") >= shed
    )


def _overload_of(seen: Span, item: ModelSpan, shed: float) -> Finding:
    now = item.now
    offered_per_s, answered_per_s = item.per_s(item.asked), item.per_s(item.ended("ok"))
    who, share = most(seen.last.clients, "shed")
    evidence = [
        f"offered: {rate(offered_per_s)}",
        f"answered: {rate(answered_per_s)}",
        f"refused because of load: {rate(item.per_s(shed))}",
        f"capacity: {rate(now.capacity_per_s)} (workers: {count(seen.last.workers)})"
        if now.capacity_per_s > 0.0
        else "capacity: not known yet",
        f"waiting: {count(now.waiting_requests)} requests",
        *whose(who, share, "of what was refused"),
    ]
    fix = (
        "Add workers (--workers) while there are free cores, or servers; or make the model quicker."
    )
    if who is not None:
        fix += _limit(seen.last.clients, who, now.capacity_per_s)
    beyond = (
        f", {offered_per_s / now.capacity_per_s:.1f} times what it can answer"
        if offered_per_s > now.capacity_per_s > 0.0
        else ""
    )
    return Finding(
        fault=Fault.OVERLOADED,
        severity=Severity.FAULT,
        what=f"{now.name} is overloaded: {rate(offered_per_s)} are offered{beyond}; "
        f"{percent(shed / max(item.asked, 1.0))} of them are refused.",
        evidence=tuple(evidence),
        fix=fix,
        since=now.overloaded_since,
        who=who,
    )


def _limit(clients: Mapping[str, Mapping[str, float]], who: str, capacity_per_s: float) -> str:
    """What to do about the client that asks most: a quota that leaves the others their part."""
    others_per_s = sum(sum(rates.values()) for name, rates in clients.items() if name != who)
    rest_per_s = math.floor(0.9 * capacity_per_s - others_per_s)
    rate = f"{rest_per_s:,}".replace(",", "") if rest_per_s >= 1 else "RATE"
    return f" Or limit {who}: max_requests_per_s = {rate} for its key (`twofold keys`)."


def deadline_short(seen: Span) -> Iterator[Finding]:
    """Requests that come too late though nobody is refused."""
    for item in seen.models:
        late = item.ended("late")
        if late < LEAST_LATE or item.share("late") < LATE_RATIO:
            continue
        is_overloaded = item.now.overloaded_since is not None
        if _is_slow(item) or (is_overloaded and not _has_time(item, item.ended("refused"))):
            continue
        who, share = most(seen.last.clients, "late")
        yield Finding(
            fault=Fault.DEADLINE_SHORT,
            severity=Severity.WARNING,
            what=f"{percent(item.share('late'))} of the requests to {item.now.name} come too late "
            "though it isn't busy: their deadlines are shorter than what they ask takes.",
            evidence=(
                f"too late (504): {of_all(late, item.asked, seen.seconds)}",
                f"a row by itself: {time(item.now.row_cost_s)}",
                *whose(who, share, "of them"),
            ),
            fix="Have the client send X-Twofold-Deadline-Ms with more time, or fewer rows at once; "
            "without that header --deadline-s counts.",
            who=who,
        )


def over_quota(seen: Span) -> Iterator[Finding]:
    """Clients that ask for more than they may."""
    refused = seen.responses("429")
    if refused <= 0.0:
        return
    who, share = most(seen.last.clients, "over_quota")
    yield Finding(
        fault=Fault.OVER_QUOTA,
        severity=Severity.WARNING,
        what=f"{who or 'A client'} asks for more than the quota of its key allows.",
        evidence=(
            f"over a quota (429): {count(refused)} within the last {time(seen.seconds)}",
            *whose(who, share, "of them"),
        ),
        fix="Have the client keep to Retry-After; or raise max_requests_per_s of its key in the "
        "file of --api-keys: the server takes it over within a second.",
        who=who,
    )


def invalid(seen: Span) -> Iterator[Finding]:
    """Requests that don't fit."""
    for item in seen.models:
        invalid = item.ended("invalid")
        if invalid < LEAST_INVALID or item.share("invalid") < INVALID_RATIO:
            continue
        who, share = most(seen.last.clients, "invalid")
        yield Finding(
            fault=Fault.INVALID_REQUESTS,
            severity=Severity.WARNING,
            what=f"{percent(item.share('invalid'))} of the requests to {item.now.name} don't fit "
            "its signature, or the protocol.",
            evidence=(
                f"invalid requests: {of_all(invalid, item.asked, seen.seconds)}",
                *whose(who, share, "of them"),
            ),
            fix="Each answer says which field and how to mend it. See what the model wants: "
            f"twofold models {item.now.name}, or GET /v1/models/{item.now.model}. If the callers "
            "are right, the wrong version is served.",
            who=who,
        )
