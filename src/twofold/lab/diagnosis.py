"""What is wrong with a server, told in words from several looks at its metrics. A pure decision.

What is wrong brings about other things that are wrong: a worker that dies makes the others busy, a
slow model makes requests wait, and whoever waits too long is refused. So the findings come in an
order: what does harm before what may, and of that causes before their effects (`CAUSES_FIRST`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from twofold.lab import model_faults, process_faults, stored_faults
from twofold.lab.fault import CAUSES_FIRST, Finding, Severity
from twofold.lab.look import Look
from twofold.lab.span import Span, span

_RULES: tuple[Callable[[Span], Iterator[Finding]], ...] = (
    process_faults.worker_restarts,
    process_faults.model_restarts,
    process_faults.not_ready,
    model_faults.slow_models,
    process_faults.loop_blocked,
    stored_faults.store_slow,
    stored_faults.clock_skew,
    stored_faults.snapshot_stale,
    model_faults.failing_models,
    model_faults.overloaded,
    model_faults.deadline_short,
    model_faults.over_quota,
    model_faults.invalid,
    process_faults.connections,
    process_faults.reload_refused,
)


def diagnose(looks: Sequence[Look]) -> list[Finding]:
    """Tell what is wrong.

    Args:
        looks: In the order they were made; rates and shares are those from the first to the last.
            Of a single one only what its gauges say is told.

    Returns:
        What does harm first, and causes before their effects; nothing if nothing is wrong.
    """
    if not looks:
        return []
    seen = span(looks)
    found = [finding for rule in _RULES for finding in rule(seen)]
    order = {fault: place for place, fault in enumerate(CAUSES_FIRST)}
    return sorted(found, key=lambda item: (item.severity is Severity.WARNING, order[item.fault]))
