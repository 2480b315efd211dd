"""What predicting costs is learnt while running; what was learnt of a bad moment is forgotten."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.serving.cost import (
    DRIFT_S,
    MAX_MARGIN,
    MAX_SURPRISE,
    MIN_MARGIN,
    Cost,
    Curve,
)

TIMES_S = st.floats(0.0, 1e4)
ROWS = st.integers(1, 100_000)
CURVES = st.builds(Curve, st.floats(0.0, 10.0), st.floats(0.0, 10.0))
CALLS = st.lists(st.tuples(ROWS, TIMES_S), max_size=60)


def settled(curve: Curve, truth: Curve, rows: tuple[int, ...], calls: int = 400) -> Curve:
    """What a cost that began with one curve has learnt of a model that follows another."""
    cost = Cost(curve, now_s=0.0)
    for call in range(calls):
        count = rows[call % len(rows)]
        cost.observe(count, truth(count))
    return cost.curve


def test_call_costs_its_fixed_part_and_each_of_its_rows() -> None:
    assert Curve(0.25, 0.5)(3) == 1.75


@given(ROWS, ROWS, TIMES_S, TIMES_S)
def test_line_through_two_measurements_has_no_negative_part(
    few: int, more: int, few_s: float, many_s: float
) -> None:
    curve = Curve.through((few, few_s), (few + more, many_s))
    assert curve.fixed_s >= 0.0
    assert curve.per_row_s >= 0.0


def test_line_goes_through_both_measurements_where_it_can() -> None:
    curve = Curve.through((1, 1.5), (16, 9.0))
    assert (curve.fixed_s, curve.per_row_s) == (1.0, 0.5)


def test_line_of_many_rows_that_cost_more_than_one_by_one_is_still_right_for_many() -> None:
    assert Curve.through((1, 0.1), (16, 3.2)) == Curve(0.0, 0.2)


def test_line_of_many_rows_that_cost_less_than_one_is_right_for_one() -> None:
    assert Curve.through((1, 0.2), (16, 0.1)) == Curve(0.2, 0.0)


@given(CURVES, CALLS)
def test_curve_is_never_negative_whatever_is_observed(
    curve: Curve, calls: list[tuple[int, float]]
) -> None:
    cost = Cost(curve, now_s=0.0)
    for rows, took_s in calls:
        cost.observe(rows, took_s)
        assert cost.curve.fixed_s >= 0.0
        assert cost.curve.per_row_s >= 0.0
        assert math.isfinite(cost.curve(rows))


@given(CURVES, CALLS)
def test_nothing_observed_makes_rows_cheaper_by_being_more(
    curve: Curve, calls: list[tuple[int, float]]
) -> None:
    cost = Cost(curve, now_s=0.0)
    for rows, took_s in calls:
        cost.observe(rows, took_s)
        assert cost.curve(rows + 1) >= cost.curve(rows)


@pytest.mark.parametrize("truth", [Curve(0.02, 0.001), Curve(0.0, 0.004), Curve(0.01, 0.0)])
def test_both_parts_are_learnt_where_the_rows_of_a_call_differ(truth: Curve) -> None:
    found = settled(Curve(0.001, 0.01), truth, rows=(1, 5, 30))
    assert found.fixed_s == pytest.approx(truth.fixed_s, abs=1e-6)
    assert found.per_row_s == pytest.approx(truth.per_row_s, abs=1e-6)


def test_curve_keeps_its_shape_where_all_calls_have_the_same_rows() -> None:
    found = settled(Curve(0.002, 0.001), Curve(0.0, 0.05), rows=(4,))
    assert found(4) == pytest.approx(0.2)
    assert found.fixed_s == pytest.approx(2 * found.per_row_s)


def test_bad_fit_is_not_kept_where_all_calls_are_alike_because_of_it() -> None:
    truth = Curve(0.005, 0.0002)
    cost = Cost(truth, now_s=0.0)
    for rows, times in [(200, 4.0), (4, 0.5), (250, 4.0), (4, 0.5)]:
        cost.observe(rows, times * truth(rows))
    assert cost.curve.fixed_s == 0.0
    for _ in range(600):
        cost.observe(4, truth(4))
    assert cost.curve.fixed_s == pytest.approx(truth.fixed_s)


def test_model_that_was_loaded_again_is_learnt_from_what_was_measured_then() -> None:
    cost = Cost(Curve(0.1, 0.1), now_s=0.0)
    for rows in (1, 5, 30):
        cost.observe(rows, 0.1 + 0.1 * rows)
    cost.begin(Curve(0.001, 0.002))
    assert cost.curve == Curve(0.001, 0.002)
    cost.observe(3, 0.007)
    assert cost.curve(3) == pytest.approx(0.007)


def test_model_that_is_quick_again_is_believed_soon() -> None:
    cost = Cost(Curve(0.0, 0.01), now_s=0.0)
    for _ in range(300):
        cost.observe(1, 1.0)
    assert cost.curve(1) == pytest.approx(1.0, rel=0.01)
    for _ in range(10):
        cost.observe(1, 0.01)
    assert cost.curve(1) < 0.05


def test_model_that_becomes_a_hundred_times_slower_or_quicker_is_learnt_anew() -> None:
    slow, quick = Curve(0.1, 0.1), Curve(0.001, 0.001)
    assert settled(quick, slow, rows=(1, 8))(4) == pytest.approx(slow(4), rel=0.01)
    assert settled(slow, quick, rows=(1, 8))(4) == pytest.approx(quick(4), rel=0.01)


@given(st.floats(0.001, 1.0), st.floats(1.0, 1e6), st.integers(1, 16))
def test_one_stall_counts_as_a_surprise_of_bounded_size(
    row_s: float, times: float, rows: int
) -> None:
    cost = Cost(Curve(0.0, row_s), now_s=0.0)
    cost.observe(rows, times * cost.curve(rows))
    assert cost.curve(rows) <= MAX_SURPRISE * row_s * rows * 1.000001


def test_one_stall_among_many_calls_hardly_counts() -> None:
    cost = Cost(Curve(0.0, 0.01), now_s=0.0)
    for _ in range(100):
        cost.observe(4, 0.04)
    cost.observe(4, 40.0)
    assert cost.curve(4) < 1.2 * 0.04


@given(
    st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 10.0), st.floats(0.0, 10.0))),
)
def test_margin_stays_within_its_bounds(waits: list[tuple[float, float, float]]) -> None:
    cost, now_s = Cost(Curve(0.01, 0.01), now_s=5.0), 5.0
    for expected_s, waited_s, passed_s in waits:
        now_s += passed_s
        cost.observe_wait(expected_s, waited_s, now_s)
        assert MIN_MARGIN <= cost.margin(now_s) <= MAX_MARGIN


@given(
    st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 10.0)), min_size=1),
    st.floats(0.0, 100.0),
)
def test_margin_drifts_back_to_one_when_nothing_is_observed(
    waits: list[tuple[float, float]], passed_s: float
) -> None:
    cost = Cost(Curve(0.01, 0.01), now_s=0.0)
    for expected_s, waited_s in waits:
        cost.observe_wait(expected_s, waited_s, 0.0)
    before = cost.margin(0.0)
    after = cost.margin(passed_s)
    assert abs(after - 1.0) <= abs(before - 1.0)
    assert (after - 1.0) * (before - 1.0) >= 0.0
    assert cost.margin(passed_s + 60 * DRIFT_S) == pytest.approx(1.0)


def test_asking_for_the_margin_often_does_not_change_how_it_drifts() -> None:
    seldom, often = (Cost(Curve(0.01, 0.01), now_s=0.0) for _ in range(2))
    for cost in (seldom, often):
        for _ in range(30):
            cost.observe_wait(1.0, 2.0, 0.0)
    for step in range(1, 1_001):
        often.margin(step / 1_000)
    assert often.margin(1.0) == pytest.approx(seldom.margin(1.0))


def test_a_clock_that_is_asked_about_an_earlier_instant_changes_nothing() -> None:
    cost = Cost(Curve(0.01, 0.01), now_s=10.0)
    cost.observe_wait(1.0, 2.0, 10.0)
    assert cost.margin(9.0) == cost.margin(10.0)


def test_margin_settles_where_one_wait_in_twenty_is_longer() -> None:
    # As `DRIFT_S` pulls it to 1 it settles a little nearer to it than where one in twenty lies.
    cost, now_s = Cost(Curve(0.01, 0.01), now_s=0.0), 0.0
    longer = 0
    for call in range(20_000):
        now_s += 0.0001
        waited_s = 0.5 + (call * 7919 % 1000) / 1000  # evenly from 0.5 to 1.5 times as expected
        longer += call >= 10_000 and waited_s > cost.margin(now_s)
        cost.observe_wait(1.0, waited_s, now_s)
    assert 0.04 < longer / 10_000 < 0.08
