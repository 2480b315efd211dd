"""`twofold lab load`: what is asked, how much of it, and what came of that, put together."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from twofold.errors import ConfigError, problem
from twofold.lab.arrivals import Arrivals, Profile, level
from twofold.lab.capacity import MAX_PER_S, find_capacity, is_kept, kept_for_longer
from twofold.lab.endpoint import Endpoint, Wanted, find_endpoint
from twofold.lab.findings import Level
from twofold.lab.generator import (
    MAX_CONNECTIONS,
    MIN_CONNECTIONS,
    Stopped,
    connections_for,
    run_closed,
    run_open,
)
from twofold.lab.goodput_page import Curve, render_goodput
from twofold.lab.loaded import Loaded

CURVE_RATIOS = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0)
"""Of the capacity: the rates of a goodput curve."""
MIN_SECONDS = 2.0
ENOUGH_REQUESTS = 1100
"""So that p99 says something."""
LONGER = 2.0
"""A capacity is offered for so many times as long as the levels that it was found from."""
MAX_SEARCH_S = 10.0
"""Of a level of the search."""
TRIES = 3
"""Of a level at which the generator didn't keep up."""
PAUSE_S = 0.3
"""Between two levels: what the server still has to do is no business of the next."""
FIRST_PER_S = 100.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How a load is sent and judged.

    Attributes:
        deadline_s: For how long an answer is in time.
        slo_s: What p99 is held to.
        timeout_s: When a request is given up.
        warm_up_s: Before each load, that doesn't count.
        connections: Most at a time; None for what `connections_for` says.
        processes: Of the generator.
        arrivals: How requests follow one another.
        seed: Of Poisson arrivals.
    """

    deadline_s: float
    slo_s: float
    timeout_s: float
    warm_up_s: float
    connections: int | None
    processes: int
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 1


Told = Callable[[str, float], None]
"""What is called before each load: what it is, and how many seconds it will take."""


@dataclass(frozen=True)
class Search:
    """A capacity, and the levels it was found from.

    Attributes:
        capacity_per_s: The highest rate that kept the objective; 0 if none did.
        levels: All that were offered, ascending.
        limit: Why it may be higher: the generator, or the highest rate that is tried; else "".
        was_stopped: It was interrupted; the levels are those until then.
    """

    capacity_per_s: float
    levels: list[Level]
    limit: str
    was_stopped: bool = False


def endpoint_of(wanted: Wanted) -> Endpoint:
    """What a URL speaks, tried once; see `find_endpoint`."""
    return find_endpoint(wanted)


def load_open(endpoint: Endpoint, profile: Profile, limits: Limits) -> Loaded:
    """Offer a profile of rates; interrupted, what was measured until then."""
    try:
        return run_open(
            endpoint.target,
            profile,
            deadline_s=limits.deadline_s,
            timeout_s=limits.timeout_s,
            warm_up_s=limits.warm_up_s,
            connections=limits.connections
            or connections_for(profile.peak_per_s, limits.deadline_s),
            processes=limits.processes,
        )
    except Stopped as stopped:
        return stopped.loaded


def load_closed(endpoint: Endpoint, connections: int, seconds: float, limits: Limits) -> Loaded:
    """Ask from so many connections, each again when it is answered; interrupted as above."""
    try:
        return run_closed(
            endpoint.target,
            connections=connections,
            seconds=seconds,
            warm_up_s=limits.warm_up_s,
            deadline_s=limits.deadline_s,
            timeout_s=limits.timeout_s,
            processes=limits.processes,
        )
    except Stopped as stopped:
        return stopped.loaded


class _Ended(Exception):
    """A load within a search was interrupted."""


def search_capacity(
    endpoint: Endpoint, limits: Limits, seconds: float, told: Told, *, start_per_s: float | None
) -> Search:
    """Find the highest rate whose p99 keeps the objective.

    A level at which the generator itself was late is offered anew, up to three times in all: that
    says nothing about the server.

    Args:
        endpoint: What is asked.
        limits: How it is judged.
        seconds: Of a level, at least; a slow one takes longer, so that its p99 says something.
        told: Called before each level.
        start_per_s: The first rate; None: half of what one connection gets that always asks again.
    """
    levels: list[Level] = []

    def measure(rate_per_s: float, for_s: float = seconds) -> Level:
        found, was_stopped = offer(endpoint, rate_per_s, limits, for_s, told)
        if was_stopped:
            raise _Ended
        levels.append(found)
        return found

    try:
        first = start_per_s or _first_rate(endpoint, limits, told)
        capacity, found = find_capacity(measure, slo_s=limits.slo_s, start_per_s=first)
        if capacity:
            capacity, held = kept_for_longer(
                lambda rate: measure(rate, LONGER * seconds), capacity, slo_s=limits.slo_s
            )
            found = _ascending([*found, held])
    except _Ended:
        kept = [item.offered_per_s for item in levels if is_kept(item, limits.slo_s)]
        return Search(max(kept, default=0.0), _ascending(levels), "", was_stopped=True)
    above = [item for item in found if item.offered_per_s > capacity * 1.01]
    limit = ""
    if capacity >= MAX_PER_S:
        limit = f"no higher rate than {MAX_PER_S:,.0f}/s is tried"
    elif above and not above[0].is_valid:
        limit = "at the next higher rate the generator itself was too late: see --processes"
    return Search(capacity, found, limit)


def offer(
    endpoint: Endpoint, rate_per_s: float, limits: Limits, seconds: float, told: Told
) -> tuple[Level, bool]:
    """Offer a rate; again, if the generator was late. The second: whether it was interrupted."""
    wanted_s = max(seconds, min(ENOUGH_REQUESTS / rate_per_s, MAX_SEARCH_S))
    loaded: Loaded | None = None
    for attempt in range(TRIES):
        again = f", attempt {attempt + 1}" if attempt else ""
        told(f"{rate_per_s:,.0f} requests/s{again}", limits.warm_up_s + wanted_s)
        profile = level(rate_per_s, wanted_s, arrivals=limits.arrivals, seed=limits.seed + attempt)
        loaded = load_open(endpoint, profile, limits)
        if loaded.is_valid or loaded.was_stopped:
            break
        time.sleep(PAUSE_S)
    assert loaded is not None  # noqa: S101 - there is at least one attempt
    return loaded.level, loaded.was_stopped


def goodput_curve(
    endpoint: Endpoint, search: Search, limits: Limits, seconds: float, told: Told
) -> Curve:
    """Offer shares and multiples of a capacity, and tell what was answered in time."""
    levels: list[Level] = []
    was_stopped = search.was_stopped
    for ratio in CURVE_RATIOS if search.capacity_per_s and not was_stopped else ():
        time.sleep(PAUSE_S)
        rate = search.capacity_per_s * ratio
        found, was_stopped = offer(endpoint, rate, limits, seconds, told)
        if was_stopped:
            break
        levels.append(found)
    found = without_curve(search, limits)
    return msgspec.structs.replace(found, levels=levels, was_stopped=was_stopped)


def without_curve(search: Search, limits: Limits) -> Curve:
    """Only what a search has found."""
    return Curve(
        capacity_per_s=search.capacity_per_s,
        slo_s=limits.slo_s,
        deadline_s=limits.deadline_s,
        levels=[],
        search=search.levels,
        limit=search.limit,
        was_stopped=search.was_stopped,
    )


def write_goodput(path: Path, curve: Curve, url: str, endpoint: Endpoint, limits: Limits) -> None:
    """Write a page of a curve."""
    most = limits.connections or f"{MIN_CONNECTIONS} to {MAX_CONNECTIONS:,}"
    facts = {
        "URL": url,
        "Asked": f"{endpoint.path} ({endpoint.protocol.value}), "
        f"{endpoint.rows:,} different requests in turn",
        "Arrivals": limits.arrivals.value,
        "In time": f"within {limits.deadline_s * 1e3:g} ms",
        "Given up": f"after {limits.timeout_s:g} s",
        "Warm-up": f"{limits.warm_up_s:g} s before each rate, not counted",
        "Generator": f"{limits.processes} process{'es' if limits.processes > 1 else ''}, "
        f"at most {most} connections",
    }
    path.write_text(render_goodput(curve, facts), encoding="utf-8")


def curve_of(levels: Sequence[Level], limits: Limits, *, was_stopped: bool) -> Curve:
    """The curve of steps or of a ramp, without a search."""
    kept = [item.offered_per_s for item in levels if is_kept(item, limits.slo_s)]
    return Curve(
        capacity_per_s=max(kept, default=0.0),
        slo_s=limits.slo_s,
        deadline_s=limits.deadline_s,
        levels=_ascending(levels),
        search=[],
        limit="",
        was_stopped=was_stopped,
    )


def _ascending(levels: Sequence[Level]) -> list[Level]:
    return sorted(levels, key=lambda item: item.offered_per_s)


def _first_rate(endpoint: Endpoint, limits: Limits, told: Told) -> float:
    """Half of what one connection gets that always asks again: surely within the capacity."""
    told("one connection, to begin with", MIN_SECONDS / 2)
    alone = dataclasses.replace(limits, processes=1, warm_up_s=0.0)
    loaded = load_closed(endpoint, 1, MIN_SECONDS / 2, alone)
    if loaded.was_stopped:
        raise _Ended
    if not loaded.level.answered_per_s:
        fix = "Look at what the server says to one request after another."
        got = ", ".join(f"{count} {name}" for name, count in loaded.outcomes.items()) or "nothing"
        raise ConfigError(problem("lab load", "good answers to one client", got, fix))
    return max(loaded.level.answered_per_s / 2, 1.0)
