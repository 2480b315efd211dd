"""What each mode costs."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab_cases import FINDINGS, NEEDS, needs, slower
from lab_typical import TYPICAL

from twofold.lab.costs import (
    AGES_S,
    Mode,
    break_even_age_s,
    break_even_asked_ratio,
    break_even_rows_per_day,
    cost_a_day,
    cost_against_freshness,
    cost_per_million,
    is_published,
    live_ratio,
    rows_of_run,
    runs_core_s,
    unit_costs,
)
from twofold.lab.findings import Findings
from twofold.lab.needs import DAY_S, Features, Needs

UNITS = unit_costs(TYPICAL)


def test_the_measured_run_costs_what_was_measured() -> None:
    batch = TYPICAL.batch
    assert UNITS.run_core_s + batch.rows * UNITS.row_core_s == pytest.approx(batch.cpu_s)
    assert UNITS.run_time.start_s + batch.rows * UNITS.run_time.row_s == pytest.approx(batch.wall_s)


def test_rows_of_a_small_input_are_not_charged_with_what_is_fixed() -> None:
    # 7,000 rows, computed in 10 ms; the rest of the second is start and end.
    computed = msgspec.structs.replace(TYPICAL.batch.compute_s, mean_s=0.01)
    small = msgspec.structs.replace(
        TYPICAL.batch, rows=7_000, partitions=1, wall_s=1.0, cpu_s=1.2, compute_s=computed
    )
    units = unit_costs(msgspec.structs.replace(TYPICAL, batch=small))
    assert units.row_core_s == pytest.approx(0.01 * 2 / 7_000)
    assert units.run_core_s + 7_000 * units.row_core_s == pytest.approx(1.2)


def test_batch_costs_its_runs_and_nothing_that_is_kept() -> None:
    found = cost_a_day(Mode.BATCH, needs(wants_all=True), TYPICAL)
    assert found is not None
    assert found.servers is None
    assert found.work_core_s == found.kept_core_s == pytest.approx(1.45)
    assert found.cost == pytest.approx(1.45 / 3_600 * 0.04)
    assert found.cost_per_million == pytest.approx(found.cost)


def test_real_time_is_held_for_the_peak_and_kept_in_whole_workers() -> None:
    found = cost_a_day(Mode.REAL_TIME, needs(peak_per_s=1_200.0), TYPICAL)
    assert found is not None
    assert found.timetable is None
    assert found.work_core_s == pytest.approx(1_200 / (0.6 * 20_000) * DAY_S)
    assert found.kept_core_s == DAY_S
    assert found.cost == pytest.approx(24 * 0.04)


def test_hybrid_is_published_runs_and_answers_of_both_kinds() -> None:
    found = cost_a_day(Mode.HYBRID, needs(features=Features.PARTLY), TYPICAL)
    assert found is not None
    assert found.timetable is not None
    runs = runs_core_s(UNITS, found.timetable, published=True)
    assert runs == pytest.approx(1.45 + 1_000_000 * UNITS.publish_row_core_s)
    held = 10.0 / (0.6 * 20_000) + 10.0 / (0.6 * 20_000)
    assert found.work_core_s == pytest.approx(runs + held * DAY_S)


def test_runs_that_cannot_be_fresh_enough_have_no_cost() -> None:
    assert cost_a_day(Mode.BATCH, needs(max_age_s=1.0), TYPICAL) is None
    assert cost_a_day(Mode.HYBRID, needs(max_age_s=1.0), TYPICAL) is None
    assert cost_a_day(Mode.REAL_TIME, needs(max_age_s=1.0), TYPICAL) is not None


def test_rows_that_come_are_predicted_once_and_rows_that_are_there_at_each_run() -> None:
    assert rows_of_run(needs(), 3_600.0) == 1_000_000
    assert rows_of_run(needs(features=Features.WITH_REQUEST), 3_600.0) == pytest.approx(1e6 / 24)


def test_only_what_is_asked_for_again_is_published() -> None:
    assert is_published(Mode.HYBRID, needs())
    assert not is_published(Mode.HYBRID, needs(features=Features.WITH_REQUEST))
    assert not is_published(Mode.BATCH, needs())
    assert [live_ratio(needs(features=kind)) for kind in Features] == [0.0, 0.5, 1.0]


def test_a_million_predictions_cost_a_million_times_one() -> None:
    found = cost_per_million(TYPICAL, 3_600.0)
    assert found[Mode.BATCH] == pytest.approx(1e6 * UNITS.row_core_s)
    assert found[Mode.REAL_TIME] == pytest.approx(19.0 / 0.6)
    assert found[Mode.HYBRID] > found[Mode.BATCH]


@given(st.floats(0.01, 1_000.0), st.floats(0.001, 1.0), st.floats(0.1, 100.0))
def test_at_the_break_even_both_cost_the_same(slow: float, ratio: float, runs: float) -> None:
    findings = slower(TYPICAL, slow)
    units = unit_costs(findings)

    def batch(rows: float) -> float:
        return runs * (units.run_core_s + rows * units.row_core_s)

    rows = break_even_rows_per_day(findings, ratio, runs)
    if rows is None:
        assert ratio * units.live_core_s <= runs * units.row_core_s
    else:
        assert batch(rows) == pytest.approx(rows * ratio * units.live_core_s, rel=1e-6)
    share = break_even_asked_ratio(findings, 1e6, runs)
    assert share is not None
    assert batch(1e6) == pytest.approx(1e6 * share * units.live_core_s)


def test_below_the_break_even_age_runs_cost_more_than_live_predictions() -> None:
    age_s = break_even_age_s(TYPICAL, 1_000_000, 10_000)
    assert age_s is not None
    runs = DAY_S / age_s
    live = 10_000 * UNITS.live_core_s
    assert runs * (UNITS.run_core_s + 1e6 * UNITS.row_core_s) == pytest.approx(live)
    assert break_even_age_s(TYPICAL, 1_000_000, 0) is None


def test_fresher_predictions_cost_batch_more_and_real_time_the_same() -> None:
    points = cost_against_freshness(needs(), TYPICAL)
    assert [point.age_s for point in points] == list(AGES_S)
    assert points[0].batch is None
    costs = [point.batch.work_core_s for point in points if point.batch]
    assert costs == sorted(costs, reverse=True)
    assert len({point.real_time.cost for point in points}) == 1


@given(NEEDS, FINDINGS, st.floats(1.0, 100.0))
def test_a_higher_peak_never_costs_less(found: Needs, findings: Findings, times: float) -> None:
    higher = dataclasses.replace(found, peak_per_s=min(found.peak_per_s * times, 1e7))
    for mode in (Mode.REAL_TIME, Mode.HYBRID):
        low, high = cost_a_day(mode, found, findings), cost_a_day(mode, higher, findings)
        assert (low is None) == (high is None)
        if low is not None and high is not None:
            assert high.work_core_s >= low.work_core_s * (1 - 1e-9)


@given(NEEDS, FINDINGS, st.floats(1.0, 100.0))
def test_who_tolerates_more_never_pays_more_for_runs_of_known_rows(
    found: Needs, findings: Findings, times: float
) -> None:
    known = dataclasses.replace(found, features=Features.KNOWN)
    lax = dataclasses.replace(known, max_age_s=min(known.max_age_s * times, 366 * DAY_S))
    units = unit_costs(findings)
    strict_cost = cost_a_day(Mode.BATCH, known, findings)
    lax_cost = cost_a_day(Mode.BATCH, lax, findings)
    if strict_cost is not None:
        assert lax_cost is not None
        assert strict_cost.timetable is not None
        assert lax_cost.timetable is not None
        # More machines, which each start for themselves, are the price of fewer runs.
        extra = lax_cost.timetable.machines * units.run_core_s * lax_cost.timetable.runs_per_day
        assert lax_cost.work_core_s <= strict_cost.work_core_s * (1 + 1e-9) + extra


@given(NEEDS, FINDINGS)
def test_what_is_kept_is_never_less_than_the_work(found: Needs, findings: Findings) -> None:
    for mode in Mode:
        cost = cost_a_day(mode, found, findings)
        if cost is not None:
            assert cost.kept_core_s >= cost.work_core_s * (1 - 1e-9)
