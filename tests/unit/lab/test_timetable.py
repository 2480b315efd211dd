"""How often a batch has to run."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.lab.needs import DAY_S
from twofold.lab.timetable import (
    GRACE_RATIO,
    MAX_MACHINES,
    MAX_RUN_RATIO,
    PERIODS,
    RunTime,
    Timetable,
    timetable_for,
    youngest_age_s,
)
from twofold.schedule.cron import check_cron, due_after

QUICK = RunTime(start_s=0.5, row_s=1e-6)
TIMES = st.builds(
    RunTime,
    start_s=st.floats(0.0, 1e4),
    row_s=st.floats(0.0, 0.1),
    publish_row_s=st.floats(0.0, 1e-4),
)
ROWS = st.integers(1, 10**9)
AGES = st.floats(0.0, 366 * DAY_S)


def table_of(age_s: float, rows: float = 1e6, time: RunTime = QUICK) -> Timetable | None:
    return timetable_for(age_s, lambda _: rows, time)


@pytest.mark.parametrize(
    ("age_s", "words"),
    [
        (31 * DAY_S, "every month"),
        (7 * DAY_S, "every week"),
        (DAY_S, "every night"),
        (0.9 * DAY_S, "every 12 hours"),
        (3_600.0, "every hour"),
        (900.0, "every 15 minutes"),
        (300.0, "every 4 minutes"),
        (150.0, "every minute"),
    ],
)
def test_the_period_is_what_people_call_the_tolerated_age(age_s: float, words: str) -> None:
    found = table_of(age_s)
    assert found is not None
    assert found.words == words


@pytest.mark.parametrize("age_s", [0.0, 5.0, 100.0])
def test_no_run_is_younger_than_its_period_its_late_start_and_itself(age_s: float) -> None:
    assert table_of(age_s) is None


def test_runs_that_are_too_long_for_one_machine_share_several() -> None:
    slow = RunTime(start_s=10.0, row_s=0.0002)
    found = table_of(DAY_S, rows=1e8, time=slow)
    assert found is not None
    assert (found.words, found.machines) == ("every night", 3)
    assert found.run_s == pytest.approx(10.0 + 1e8 * 0.0002 / 3)


def test_runs_that_no_machines_can_do_in_time_have_no_timetable() -> None:
    assert table_of(DAY_S, rows=1e11, time=RunTime(start_s=1.0, row_s=1.0)) is None
    assert youngest_age_s(lambda _: 1e11, RunTime(start_s=1.0, row_s=1.0)) is None


@given(AGES, ROWS, TIMES)
def test_what_is_found_is_young_enough_and_leaves_time_for_another_attempt(
    age_s: float, rows: int, time: RunTime
) -> None:
    found = table_of(age_s, rows, time)
    if found is not None:
        assert found.max_age_s <= (1 + GRACE_RATIO) * age_s + 1.0
        assert found.run_s <= MAX_RUN_RATIO * found.period_s * (1 + 1e-9)
        assert 1 <= found.machines <= MAX_MACHINES


@given(AGES, AGES, ROWS, TIMES)
def test_who_tolerates_more_never_needs_more_runs(
    one_s: float, other_s: float, rows: int, time: RunTime
) -> None:
    strict, lax = (table_of(age_s, rows, time) for age_s in sorted((one_s, other_s)))
    if strict is not None:
        assert lax is not None
        assert lax.runs_per_day <= strict.runs_per_day


@given(ROWS, TIMES)
def test_the_youngest_age_has_a_timetable_and_a_younger_one_has_none(
    rows: int, time: RunTime
) -> None:
    youngest_s = youngest_age_s(lambda _: rows, time)
    if youngest_s is not None:
        assert table_of(youngest_s * 1.001 + 0.1, rows, time) is not None
        assert table_of(youngest_s * 0.999 - 0.1, rows, time) is None


@pytest.mark.parametrize(("period_s", "cron", "words"), PERIODS)
def test_cron_says_what_the_period_is(period_s: float, cron: str, words: str) -> None:
    check_cron(cron)
    due = list(islice(due_after(cron, "UTC", datetime(2026, 1, 31, 23, 59, tzinfo=UTC)), 400))
    gaps_s = {(later - earlier).total_seconds() for earlier, later in pairwise(due)}
    assert max(gaps_s) == period_s, words
    assert len(gaps_s) == 1 or words == "every month"
