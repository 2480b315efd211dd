"""What a comparison's findings say of costs, under assumptions that are told. Values only.

All costs are those of `twofold.lab.costs`, which says how they are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from twofold.lab.costs import (
    HOUR_S,
    Mode,
    Point,
    UnitCosts,
    break_even_age_s,
    break_even_rows_per_day,
    cost_against_freshness,
    cost_per_million,
    unit_costs,
)
from twofold.lab.findings import Findings
from twofold.lab.needs import DAY_S, Features, Needs
from twofold.lab.timetable import youngest_age_s

PEAK_RATIO = 3.0
"""How much busier the peak is than the mean, where it isn't known."""
ASKED_RATIOS = (0.01, 0.1, 1.0)
PERIODS_S = (HOUR_S, DAY_S)
AGES_S = (
    60.0, 120.0, 300.0, 600.0, 1_800.0, HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 8 * HOUR_S, DAY_S,
    2 * DAY_S, 7 * DAY_S,
)  # fmt: skip
ROWS = tuple(10.0 ** (exponent / 4) for exponent in range(8, 33))


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What is assumed of how predictions are used.

    Attributes:
        cost_per_core_hour: In any currency.
        rows_per_day: Rows that could be asked for.
        asked_ratio: Share of them that is, once a day.
    """

    cost_per_core_hour: float = 0.04
    rows_per_day: int = 1_000_000
    asked_ratio: float = 0.1


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """From how many rows on a daily batch of all costs less than live predictions of some.

    Attributes:
        asked_ratio: Which share is asked for in a day.
        rows_per_day: From how many on; None: never.
    """

    asked_ratio: float
    rows_per_day: float | None


@dataclass(frozen=True, kw_only=True)
class DayOf:
    """What a day of so many rows costs.

    Attributes:
        rows: How many there are.
        batch: All of them, once.
        live: By the share that is asked for, in the order of `ASKED_RATIOS`.
    """

    rows: float
    batch: float
    live: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Derived:
    """What follows.

    Attributes:
        assumed: From what.
        units: What single things cost.
        per_million: By mode.
        break_evens: By the share that is asked for.
        fresh_age_s: Below which age a batch has to run so often that predicting live costs less,
            or can't be; None if nothing is asked for, or it can't be at all.
        points: Costs of a day at each tolerated age.
        days: Costs of a day of ever more rows.
    """

    assumed: Assumed
    units: UnitCosts
    per_million: dict[Mode, float]
    break_evens: tuple[BreakEven, ...]
    fresh_age_s: float | None
    points: tuple[Point, ...]
    days: tuple[DayOf, ...]


def derive(found: Findings, assumed: Assumed, ages_s: Sequence[float] = AGES_S) -> Derived:
    """Compute what follows from findings."""
    units = unit_costs(found)
    core_s = assumed.cost_per_core_hour / HOUR_S
    asked_per_day = assumed.rows_per_day * assumed.asked_ratio
    needs = Needs(
        rows_per_day=assumed.rows_per_day,
        asked_ratio=assumed.asked_ratio,
        max_age_s=DAY_S,
        slo_s=found.real_time.slo_s,
        peak_per_s=PEAK_RATIO * asked_per_day / DAY_S,
        features=Features.KNOWN,
        cost_per_core_hour=assumed.cost_per_core_hour,
    )
    return Derived(
        assumed=assumed,
        units=units,
        per_million=cost_per_million(found, assumed.cost_per_core_hour),
        break_evens=tuple(
            BreakEven(asked_ratio=ratio, rows_per_day=break_even_rows_per_day(found, ratio))
            for ratio in ASKED_RATIOS
        ),
        fresh_age_s=_fresh_age_s(found, units, assumed.rows_per_day, asked_per_day),
        points=tuple(cost_against_freshness(needs, found, ages_s)),
        days=tuple(
            DayOf(
                rows=rows,
                batch=core_s * (units.run_core_s + rows * units.row_core_s),
                live=tuple(core_s * rows * ratio * units.live_core_s for ratio in ASKED_RATIOS),
            )
            for rows in ROWS
        ),
    )


def _fresh_age_s(
    found: Findings, units: UnitCosts, rows_per_day: int, asked_per_day: float
) -> float | None:
    cheaper_s = break_even_age_s(found, rows_per_day, asked_per_day)
    unpublished = replace(units.run_time, publish_row_s=0.0)
    youngest_s = youngest_age_s(lambda _: float(rows_per_day), unpublished)
    if cheaper_s is None or youngest_s is None:
        return None
    return max(cheaper_s, youngest_s)


def work_cost(point_core_s: float, assumed: Assumed) -> float:
    """What core-seconds cost."""
    return point_core_s / HOUR_S * assumed.cost_per_core_hour
