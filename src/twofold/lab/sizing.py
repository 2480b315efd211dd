"""How many requests a server keeps up with at a latency, and the workers for a peak. Values only.

A worker is a process that has a core for itself. Workers are taken to add up: two answer twice as
many as one, and a second machine as many as the one that was measured. What was measured had no
network in it but the loopback, and shared its cores with the load.
"""

from __future__ import annotations

import dataclasses
import math

from twofold.lab.findings import Findings, HybridFound, Latency, Level, RealTimeFound

MAX_LOAD_RATIO = 0.6
"""Share of its capacity that a worker is given at the peak.

Requests come unevenly: at 60 % of capacity one waits for one and a half others on average (M/M/1:
load / (1 - load)), at 90 % for nine. The rest is also what the others have when a worker dies.
"""
MIN_ANSWERED_RATIO = 0.99
"""Of what was offered at a level, for it to count as kept up with."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capacity:
    """What one worker keeps up with.

    Attributes:
        per_worker_per_s: Requests.
        meets_slo: Whether 99 of 100 were in time, of a lone client's at least.
        is_guess: Whether only a lone client's were: the rate is a guess then.
        p50_s: The median at the peak, sized as here.
        p99_s: The 99th percentile there.
        measured_per_s: The highest rate the whole server was measured at.
    """

    per_worker_per_s: float
    meets_slo: bool
    is_guess: bool
    p50_s: float
    p99_s: float
    measured_per_s: float


def quantile_s(latency: Latency, percent: str) -> float:
    """A percentile, or the longest if the count didn't bear it."""
    return latency.percentiles_s.get(percent, latency.max_s)


def live_capacity(found: RealTimeFound, slo_s: float | None) -> Capacity:
    """What a worker keeps up with when every request is predicted.

    Args:
        found: What was measured.
        slo_s: What 99 of 100 may take; None for what the measurement held.
    """
    return _capacity(found.levels, found.alone, found, found, slo_s)


def stored_capacity(findings: Findings, slo_s: float | None) -> Capacity:
    """What a worker keeps up with when every answer is stored; arguments as above.

    It was measured at its capacity and at half of that. Between, stored answers are taken to be
    slowed down by load as live ones are.
    """
    found, live = findings.hybrid, findings.real_time
    capacity = _capacity([found.level] if found.level else [], found.alone, found, live, slo_s)
    if slo_s is None or capacity.is_guess or not capacity.meets_slo:
        return capacity
    ratio = _rate(live.levels, live, live, slo_s) / max(live.capacity_per_s or 0.0, 1e-9)
    like_live = min(1.0, ratio) * (found.capacity_per_s or 0.0) / max(live.workers, 1)
    per_s = max(capacity.per_worker_per_s, like_live)
    return dataclasses.replace(capacity, per_worker_per_s=per_s)


def _capacity(
    levels: list[Level],
    alone: Latency,
    found: RealTimeFound | HybridFound,
    server: RealTimeFound,
    slo_s: float | None,
) -> Capacity:
    wanted_s = server.slo_s if slo_s is None else slo_s
    per_s = _rate(levels, found, server, wanted_s)
    is_guess = per_s <= 0.0
    meets_slo = not is_guess or quantile_s(alone, "99") <= wanted_s
    if is_guess:
        # A client that sends its next request when it has the answer is a rate, too: of the one
        # worker it keeps busy. Rates that were too much are known. Half of the least is a guess.
        lone_per_s = max(server.workers, 1) / max(alone.mean_s, 1e-9)
        tried = [level.offered_per_s for level in levels if level.offered_per_s > 0.0]
        per_s = min([lone_per_s, *tried]) / 2
    calm = _calm(levels, per_s) or alone
    valid = [level.offered_per_s for level in levels if level.is_valid]
    return Capacity(
        per_worker_per_s=per_s / max(server.workers, 1),
        meets_slo=meets_slo,
        is_guess=is_guess,
        p50_s=quantile_s(calm, "50"),
        p99_s=quantile_s(calm, "99"),
        measured_per_s=max([found.capacity_per_s or 0.0, *valid]),
    )


def _rate(
    levels: list[Level], found: RealTimeFound | HybridFound, server: RealTimeFound, slo_s: float
) -> float:
    """The highest rate of the whole server that was seen to keep a latency; 0 if none was."""
    rates = [level.offered_per_s for level in _kept(levels, slo_s)]
    if slo_s >= server.slo_s:
        rates.append(found.capacity_per_s or 0.0)
    return max(rates, default=0.0)


def _kept(levels: list[Level], slo_s: float) -> list[Level]:
    """The levels up to the first that was too much."""
    kept: list[Level] = []
    for level in levels:
        if not level.is_valid:
            continue
        answered = level.answered_per_s >= MIN_ANSWERED_RATIO * level.offered_per_s
        if not answered or quantile_s(level.latency, "99") > slo_s:
            break
        kept.append(level)
    return kept


def _calm(levels: list[Level], capacity_per_s: float) -> Latency | None:
    """Latencies at the highest load that is no more than a worker is given."""
    below = [
        level.latency
        for level in levels
        if level.is_valid and level.offered_per_s <= MAX_LOAD_RATIO * capacity_per_s
    ]
    return below[-1] if below else None


def workers_held(load_per_s: float, capacity: Capacity) -> float:
    """Workers that have to be ready for a peak, as a fraction."""
    return load_per_s / (MAX_LOAD_RATIO * max(capacity.per_worker_per_s, 1e-9))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Servers:
    """What is kept running.

    Attributes:
        workers: Processes, a core each, on all machines together.
        machines: With as many cores as the one that was measured.
        workers_per_machine: The same number on each.
        memory_bytes: Of the workers of a machine.
    """

    workers: int
    machines: int
    workers_per_machine: int
    memory_bytes: int


def servers_for(held: float, findings: Findings, machines_at_least: int) -> Servers:
    """Round up to whole workers, and spread them over machines.

    Args:
        held: Workers as a fraction.
        findings: What was measured.
        machines_at_least: There are to be.
    """
    cores = max(findings.machine.cores, 1)
    machines = max(machines_at_least, math.ceil(held / cores))
    each = max(1, math.ceil(held / machines))
    # A master, the model and the libraries are shared, so this is more than it will be.
    of_worker = findings.real_time.memory_bytes / max(findings.real_time.workers, 1)
    return Servers(
        workers=each * machines,
        machines=machines,
        workers_per_machine=each,
        memory_bytes=math.ceil(of_worker * each),
    )
