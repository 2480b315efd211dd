"""How often a batch has to run for predictions to be young enough. Values only.

A prediction is oldest just before the next run replaces it: its input was read when the run before
began, a period ago, and the next run needs its time, too:

    oldest = period + lateness of the start + run

A run is begun up to `LATE_S` late, which is what a schedule allows. The tolerated age is taken as
people say it: who tolerates a day means a run a day, though the oldest is then a day and a run old.
So the oldest may be beyond it by `GRACE_RATIO`, no more. Of all periods that cron can say, the
longest that fits is taken, with the fewest machines.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from twofold.lab.needs import DAY_S

GRACE_RATIO = 0.1
LATE_S = 60.0
"""As `max_late_s` of a schedule has it."""
MAX_RUN_RATIO = 0.5
"""Of its period a run may take so much: one that fails can be done again before the next is due."""
MAX_MACHINES = 64
"""That a run may be spread over."""
MONTH_S = 31 * DAY_S
MONTHS_PER_DAY = 12 / 365.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunTime:
    """How long a run takes.

    Attributes:
        start_s: Whatever the rows.
        row_s: Of each row, on one machine; spread over several, it is divided by them.
        publish_row_s: To publish a row; one machine does it.
    """

    start_s: float
    row_s: float
    publish_row_s: float = 0.0

    def run_s(self, rows: float, machines: int) -> float:
        """Of so many rows, on so many machines."""
        return self.start_s + rows * (self.row_s / machines + self.publish_row_s)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timetable:
    """When a batch runs.

    Attributes:
        period_s: From one run to the next; of months the longest.
        cron: The same for a schedule, in UTC.
        words: The same for people.
        runs_per_day: How many that is.
        rows_per_run: That each predicts.
        machines: That share a run.
        run_s: How long it takes.
        max_age_s: The age of the oldest prediction, just before the next run replaces it.
    """

    period_s: float
    cron: str
    words: str
    runs_per_day: float
    rows_per_run: float
    machines: int
    run_s: float
    max_age_s: float


def _periods() -> list[tuple[float, str, str]]:
    found = [(MONTH_S, "30 2 1 * *", "every month"), (7 * DAY_S, "30 2 * * 1", "every week")]
    found += [(DAY_S, "30 2 * * *", "every night")]
    for hours in (12, 8, 6, 4, 3, 2):
        found.append((hours * 3_600.0, f"30 */{hours} * * *", f"every {hours} hours"))
    found.append((3_600.0, "0 * * * *", "every hour"))
    for minutes in (30, 20, 15, 12, 10, 6, 5, 4, 3, 2):
        found.append((minutes * 60.0, f"*/{minutes} * * * *", f"every {minutes} minutes"))
    found.append((60.0, "* * * * *", "every minute"))
    return found


PERIODS = _periods()
"""Seconds, cron and words, the longest first."""


def timetable_for(
    age_s: float, rows_of: Callable[[float], float], time: RunTime
) -> Timetable | None:
    """Find the longest period that keeps predictions young enough, and machines for its runs.

    Args:
        age_s: The tolerated age.
        rows_of: Rows of a run, by its period in seconds.
        time: How long a run takes.

    Returns:
        None if no run can be that fresh.
    """
    for period_s, cron, words in PERIODS:
        left_s = (1 + GRACE_RATIO) * age_s - period_s - LATE_S
        may_take_s = min(MAX_RUN_RATIO * period_s, left_s)
        if may_take_s < time.start_s:
            continue
        rows = rows_of(period_s)
        machines = _machines(rows, time, may_take_s)
        if machines is not None:
            run_s = time.run_s(rows, machines)
            return Timetable(
                period_s=period_s,
                cron=cron,
                words=words,
                runs_per_day=MONTHS_PER_DAY if period_s == MONTH_S else DAY_S / period_s,
                rows_per_run=rows,
                machines=machines,
                run_s=run_s,
                max_age_s=float(math.ceil(period_s + LATE_S + run_s)),
            )
    return None


def _machines(rows: float, time: RunTime, may_take_s: float) -> int | None:
    """The fewest that do it in time."""
    shared_s = may_take_s - time.start_s - rows * time.publish_row_s
    alone_s = rows * time.row_s
    if shared_s < 0.0 or alone_s > MAX_MACHINES * shared_s:
        return None
    machines = max(1, math.ceil(alone_s / shared_s)) if alone_s > 0.0 else 1
    return machines if machines <= MAX_MACHINES else None


def youngest_age_s(rows_of: Callable[[float], float], time: RunTime) -> float | None:
    """The smallest tolerated age that some timetable keeps; None if no machines are enough."""
    ages: list[float] = []
    for period_s, _, _ in PERIODS:
        rows = rows_of(period_s)
        if _machines(rows, time, MAX_RUN_RATIO * period_s) is not None:
            run_s = time.run_s(rows, MAX_MACHINES)
            ages.append((period_s + LATE_S + run_s) / (1 + GRACE_RATIO))
    return min(ages, default=None)
