"""What each mode costs, from what was measured. Values only.

Assumed throughout: cores add up, and so do machines like the one measured; rows cost the same
whatever there are of them; nothing else runs there. Costs are core-seconds: of batch those that its
runs spend, of a server those that are **held**, around the clock, for its peak, because it isn't
known when that comes:

==================== ==============================================================================
a run                start + rows * (row + publish)
batch, a day         runs a day * a run
real-time, a day     peak / (0.6 * capacity of a worker) * 86,400
hybrid, a day        its runs, published, and 86,400 * (1 - live) * peak / (0.6 * stored capacity)
                     + 86,400 * live * peak / (0.6 * live capacity)
==================== ==============================================================================

This is the **work**; modes are compared by it, since what one model leaves of a core, others can
use. What has to be **kept** is more: whole workers, at least one a machine. Money is that of what
is kept. Single predictions (`cost_per_million`, the break-evens) are counted by the CPU time they
took, and a server's by what is held for that: a share of 0.6 is used at best.

What of a run is fixed is told by a second run over more rows. Without one, all that its process did
before the first partition is fixed; of the rest, rows have at most what the cores could do while
partitions were computed. What is left is fixed, too: so a small input doesn't make rows look dear.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from typing import cast

from twofold.lab.findings import Findings
from twofold.lab.needs import DAY_S, Features, Needs
from twofold.lab.sizing import (
    MAX_LOAD_RATIO,
    Servers,
    live_capacity,
    servers_for,
    stored_capacity,
    workers_held,
)
from twofold.lab.timetable import RunTime, Timetable, timetable_for

PARTLY_LIVE_RATIO = 0.5
"""Share of requests with changed features, where some change: for each that asks what is stored,
one that tries something."""
MILLION = 1_000_000
HOUR_S = 3_600.0
AGES_S = (60.0, 300.0, 900.0, 1_800.0, 3_600.0, 4 * 3_600.0, 12 * 3_600.0, DAY_S, 7 * DAY_S)


class Mode(enum.StrEnum):
    """How predictions are made."""

    BATCH = "batch"
    REAL_TIME = "real-time"
    HYBRID = "hybrid"


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnitCosts:
    """What single things cost.

    Attributes:
        run_core_s: A run, whatever its rows.
        row_core_s: A row of it.
        publish_row_core_s: Publishing a row.
        live_core_s: A live prediction over HTTP, on a worker loaded as it is to be.
        stored_core_s: A stored answer, likewise.
        run_time: How long runs take.
    """

    run_core_s: float
    row_core_s: float
    publish_row_core_s: float
    live_core_s: float
    stored_core_s: float
    run_time: RunTime


@dataclasses.dataclass(frozen=True, kw_only=True)
class DayCost:
    """What a mode costs in a day.

    Attributes:
        work_core_s: Spent by runs, and held for the peak.
        kept_core_s: The same in whole workers.
        cost: Of what is kept.
        cost_per_million: Predictions that are of use; None if none is.
        servers: What is kept running; None for batch.
        timetable: When runs are; None for real time.
    """

    work_core_s: float
    kept_core_s: float
    cost: float
    cost_per_million: float | None
    servers: Servers | None
    timetable: Timetable | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """What each mode costs a day at a tolerated age; None where no run can be that fresh."""

    age_s: float
    batch: DayCost | None
    real_time: DayCost
    hybrid: DayCost | None


def unit_costs(findings: Findings) -> UnitCosts:
    """Take the costs of single things from what was measured, as this module's text says."""
    batch, hybrid, cores = findings.batch, findings.hybrid, max(findings.machine.cores, 1)
    rows, keys = max(batch.rows, 1), max(hybrid.keys, 1)
    computed_s = batch.partitions * batch.compute_s.mean_s
    if batch.scaling is not None:
        row_core_s, row_s = batch.scaling.row_cpu_s, batch.scaling.row_wall_s
    else:
        row_core_s = _least((batch.cpu_s - batch.start_s) / rows, computed_s * cores / rows)
        row_s = _least((batch.wall_s - batch.start_s) / rows, computed_s / rows)
    # A run that publishes does so in its own process: it starts once.
    if hybrid.scaling is not None:
        publish_core_s, publish_row_s = hybrid.scaling.row_cpu_s, hybrid.scaling.row_wall_s
    else:
        publish_row_s = _least((hybrid.publish_s - batch.start_s) / keys, hybrid.publish_s / keys)
        publish_core_s = _least(
            (hybrid.publish_cpu_s - batch.start_s) / keys, hybrid.publish_cpu_s / keys
        )
    return UnitCosts(
        run_core_s=max(batch.cpu_s - rows * row_core_s, 0.0),
        row_core_s=row_core_s,
        publish_row_core_s=publish_core_s,
        live_core_s=findings.real_time.cpu_per_request_s / MAX_LOAD_RATIO,
        stored_core_s=hybrid.cpu_per_request_s / MAX_LOAD_RATIO,
        run_time=RunTime(
            start_s=max(batch.wall_s - rows * row_s, 0.0),
            row_s=row_s,
            publish_row_s=publish_row_s,
        ),
    )


def _least(*values: float) -> float:
    return max(0.0, min(values))


def live_ratio(needs: Needs) -> float:
    """Share of the requests that a stored prediction can't answer."""
    return {
        Features.KNOWN: 0.0,
        Features.PARTLY: PARTLY_LIVE_RATIO,
        Features.WITH_REQUEST: 1.0,
    }[needs.features]


def rows_of_run(needs: Needs, period_s: float) -> float:
    """Rows a run predicts: all that are known; of those that come, what came since the last one."""
    if needs.features is Features.WITH_REQUEST:
        return max(1.0, needs.rows_per_day * period_s / DAY_S)
    return float(needs.rows_per_day)


def is_published(mode: Mode, needs: Needs) -> bool:
    """Whether runs become snapshots: of use only if a row that was predicted is asked for again."""
    return mode is Mode.HYBRID and needs.features is not Features.WITH_REQUEST


def run_time_of(mode: Mode, needs: Needs, units: UnitCosts) -> RunTime:
    """How long the mode's runs take."""
    if is_published(mode, needs):
        return units.run_time
    return dataclasses.replace(units.run_time, publish_row_s=0.0)


def cost_a_day(mode: Mode, needs: Needs, findings: Findings) -> DayCost | None:
    """What a mode costs in a day, with what it takes.

    Returns:
        None if it has runs, and none can be as fresh as is needed.
    """
    units = unit_costs(findings)
    timetable: Timetable | None = None
    servers: Servers | None = None
    work = kept = 0.0
    if mode is not Mode.REAL_TIME:
        time = run_time_of(mode, needs, units)
        timetable = timetable_for(needs.max_age_s, lambda period: rows_of_run(needs, period), time)
        if timetable is None:
            return None
        work = kept = runs_core_s(units, timetable, published=is_published(mode, needs))
    if mode is not Mode.BATCH:
        held = _held(mode, needs, findings)
        servers = servers_for(held, findings, needs.machines_at_least)
        work += held * DAY_S
        kept += servers.workers * DAY_S
    cost = kept / HOUR_S * needs.cost_per_core_hour
    used = needs.used_per_day
    if needs.wants_all and timetable is not None:
        used = min(used, timetable.runs_per_day * timetable.rows_per_run)
    return DayCost(
        work_core_s=work,
        kept_core_s=kept,
        cost=cost,
        cost_per_million=cost / used * MILLION if used else None,
        servers=servers,
        timetable=timetable,
    )


def runs_core_s(units: UnitCosts, timetable: Timetable, *, published: bool) -> float:
    """What a day's runs spend; each machine of a run starts for itself."""
    row = units.row_core_s + (units.publish_row_core_s if published else 0.0)
    run = units.run_core_s * timetable.machines + timetable.rows_per_run * row
    return timetable.runs_per_day * run


def _held(mode: Mode, needs: Needs, findings: Findings) -> float:
    """Workers held for the peak, as a fraction."""
    live = 1.0 if mode is Mode.REAL_TIME else live_ratio(needs)
    load = needs.load_per_s
    held = 0.0
    if live > 0.0:
        held += workers_held(live * load, live_capacity(findings.real_time, needs.slo_s))
    if live < 1.0:
        held += workers_held((1.0 - live) * load, stored_capacity(findings, needs.slo_s))
    return held


def cost_per_million(findings: Findings, cost_per_core_hour: float) -> dict[Mode, float]:
    """What a million predictions cost, each of use, the start of runs left out.

    Batch: a row. Real-time: a request. Hybrid: a row, published, and a stored answer.
    """
    units = unit_costs(findings)
    core_s = {
        Mode.BATCH: units.row_core_s,
        Mode.REAL_TIME: units.live_core_s,
        Mode.HYBRID: units.row_core_s + units.publish_row_core_s + units.stored_core_s,
    }
    return {mode: MILLION * one / HOUR_S * cost_per_core_hour for mode, one in core_s.items()}


def break_even_rows_per_day(
    findings: Findings, asked_ratio: float, runs_per_day: float = 1.0
) -> float | None:
    """From how many rows on batch of all of them costs less than predicting what is asked for.

    runs * (start + rows * row) = rows * ratio * live, solved for rows.

    Returns:
        None if it never does: a live prediction of those asked for costs less than all rows.
    """
    units = unit_costs(findings)
    saved = asked_ratio * units.live_core_s - runs_per_day * units.row_core_s
    return runs_per_day * units.run_core_s / saved if saved > 0.0 else None


def break_even_asked_ratio(
    findings: Findings, rows_per_day: float, runs_per_day: float = 1.0
) -> float | None:
    """From which share on that is asked for in a day batch of all rows costs less.

    Returns:
        Maybe above 1, if rows are asked for several times. None if live predictions cost nothing.
    """
    units = unit_costs(findings)
    batch = runs_per_day * (units.run_core_s + rows_per_day * units.row_core_s)
    live = rows_per_day * units.live_core_s
    return batch / live if live > 0.0 else None


def break_even_age_s(findings: Findings, rows_per_day: float, asked_per_day: float) -> float | None:
    """Below which age batch has to run so often that predicting what is asked for costs less.

    Returns:
        The period at which both cost the same; None if nothing is asked for.
    """
    units = unit_costs(findings)
    live = asked_per_day * units.live_core_s
    run = units.run_core_s + rows_per_day * units.row_core_s
    return DAY_S * run / live if live > 0.0 else None


def cost_against_freshness(
    needs: Needs, findings: Findings, ages_s: Sequence[float] = AGES_S
) -> list[Point]:
    """What each mode costs a day at each tolerated age.

    Args:
        needs: All but the age.
        findings: What was measured.
        ages_s: Tolerated ages.
    """
    points: list[Point] = []
    for age_s in ages_s:
        at = dataclasses.replace(needs, max_age_s=age_s)
        points.append(
            Point(
                age_s=age_s,
                batch=cost_a_day(Mode.BATCH, at, findings),
                # It has no runs that could be too old.
                real_time=cast("DayCost", cost_a_day(Mode.REAL_TIME, at, findings)),
                hybrid=cost_a_day(Mode.HYBRID, at, findings),
            )
        )
    return points
