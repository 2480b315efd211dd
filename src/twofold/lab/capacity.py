"""The highest rate that a server keeps up with: doubling, then bisection."""

from __future__ import annotations

from collections.abc import Callable

from twofold.lab.findings import Level

MIN_IN_TIME_RATIO = 0.99
"""Of what was offered, what has to be answered in time."""
PRECISION_RATIO = 0.05
MAX_PER_S = 1e6
MIN_PER_S = 0.5
STEP_DOWN, MAX_STEPS_DOWN = 0.93, 6


def is_kept(level: Level, slo_s: float) -> bool:
    """Whether a level keeps the objective: p99, and that nearly all was answered in time.

    A level that the generator couldn't offer is none.
    """
    answered = level.offered_per_s * MIN_IN_TIME_RATIO
    p99_s = level.latency.percentiles_s.get("99", level.latency.max_s)
    return level.is_valid and p99_s <= slo_s and level.in_time_per_s >= answered


def find_capacity(
    measure: Callable[[float], Level],
    *,
    slo_s: float,
    start_per_s: float = 100.0,
    max_per_s: float = MAX_PER_S,
) -> tuple[float, list[Level]]:
    """Find the highest rate whose p99 stays under an objective.

    The rate is doubled (or halved, if already the first is too much) until one is kept and twice
    as much isn't; then the interval is halved until it is narrower than 5 % of the rate.

    Args:
        measure: Offers a rate (requests/s) and tells what came of it.
        slo_s: What p99 is held to.
        start_per_s: The first rate to try.
        max_per_s: No higher rate is tried.

    Returns:
        The highest rate that was kept, 0 if none was; and all levels, in the order of their rates.
    """
    levels: list[Level] = []

    def keeps(rate: float) -> bool:
        levels.append(measure(rate))
        return is_kept(levels[-1], slo_s)

    kept, lost = 0.0, 0.0
    rate = min(start_per_s, max_per_s)
    while not kept or not lost:
        if keeps(rate):
            kept = rate
            if rate >= max_per_s or lost:
                break
            rate = min(2 * rate, max_per_s)
        else:
            lost = rate
            if kept or rate / 2 < MIN_PER_S:
                break
            rate /= 2
    while kept and lost and lost - kept > PRECISION_RATIO * kept:
        middle = (kept + lost) / 2
        if keeps(middle):
            kept = middle
        else:
            lost = middle
    return kept, sorted(levels, key=lambda level: level.offered_per_s)


def kept_for_longer(
    measure: Callable[[float], Level], capacity_per_s: float, *, slo_s: float
) -> tuple[float, Level]:
    """Offer a capacity for longer than it was found in, and less than it until that is kept.

    A server that falls behind slowly keeps up for a moment.

    Args:
        measure: Offers a rate (requests/s) for longer, and tells what came of it.
        capacity_per_s: What `find_capacity` found.
        slo_s: What p99 is held to.

    Returns:
        The rate that was kept, or the last one that was tried; and what came of it.
    """
    level = measure(capacity_per_s)
    for _ in range(MAX_STEPS_DOWN):
        if is_kept(level, slo_s):
            break
        capacity_per_s *= STEP_DOWN
        level = measure(capacity_per_s)
    return capacity_per_s, level
