"""A request is admitted only if its turn comes in time; lower classes may wait for less of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.serving.admission import (
    GUARD_S,
    MAX_RETRY_S,
    MIN_RETRY_S,
    SHARES,
    Load,
    admits,
    refused_ratio,
    retry_after_s,
)
from twofold.serving.priority import Priority

SECONDS = st.floats(0.0, 1e6)
LOADS = st.builds(Load, SECONDS, SECONDS, SECONDS, st.floats(0.5, 4.0))
CLASSES = st.sampled_from(Priority)


def load(*, lag_s: float = 0.0, ahead_s: float = 0.0, own_s: float = 0.01) -> Load:
    return Load(lag_s, ahead_s, own_s, margin=1.0)


def test_answer_is_expected_after_the_loop_s_lag_and_all_predictions_with_a_margin() -> None:
    assert Load(lag_s=0.5, ahead_s=2.0, own_s=1.0, margin=1.5).expected_s == 0.5 + 1.5 * 3.0


def test_request_is_refused_when_its_turn_would_come_after_its_deadline() -> None:
    assert admits(load(ahead_s=0.7), Priority.NORMAL, left_s=1.0)
    assert not admits(load(ahead_s=0.9), Priority.NORMAL, left_s=1.0)


def test_time_is_left_for_what_comes_after_the_model() -> None:
    share_s = SHARES[Priority.NORMAL] * 1.0
    assert admits(load(ahead_s=share_s - 0.01 - 1.01 * GUARD_S), Priority.NORMAL, left_s=1.0)
    assert not admits(load(ahead_s=share_s - 0.01 - 0.99 * GUARD_S), Priority.NORMAL, left_s=1.0)


def test_lower_class_gives_way_first() -> None:
    waits = [load(ahead_s=share - 0.05) for share in (0.4, 0.8, 0.9)]
    admitted = [
        [admits(wait, priority, left_s=1.0) for priority in Priority]  # the highest one first
        for wait in waits
    ]
    assert admitted == [[True, True, True], [True, True, False], [True, False, False]]


def test_idle_model_admits_even_what_it_may_not_manage() -> None:
    assert admits(load(own_s=10.0), Priority.BACKGROUND, left_s=1.0)


def test_idle_model_admits_no_more_than_a_loop_that_keeps_up_can_read() -> None:
    assert admits(load(lag_s=GUARD_S), Priority.NORMAL, left_s=0.001)
    assert not admits(load(lag_s=2 * GUARD_S), Priority.NORMAL, left_s=0.001)


@given(LOADS, SECONDS)
def test_class_is_never_refused_what_a_lower_one_is_admitted_to(load: Load, left_s: float) -> None:
    admitted = [admits(load, priority, left_s) for priority in Priority]
    assert admitted == sorted(admitted, reverse=True)


@given(LOADS, CLASSES, SECONDS, SECONDS)
def test_more_time_never_turns_a_yes_into_a_no(
    load: Load, priority: Priority, left_s: float, more_s: float
) -> None:
    assert admits(load, priority, left_s + more_s) or not admits(load, priority, left_s)


@given(LOADS, CLASSES, st.floats(0.0, 3_600.0))
def test_what_is_admitted_to_a_busy_model_is_expected_in_time(
    load: Load, priority: Priority, left_s: float
) -> None:
    if load.ahead_s > 0.0 and admits(load, priority, left_s):
        assert load.expected_s <= left_s


@pytest.mark.parametrize("priority", Priority)
def test_share_refused_of_what_is_read_at_once_grows_from_half_of_the_most(
    priority: Priority,
) -> None:
    most_s = SHARES[priority] * 1.0 - GUARD_S
    for part, ratio in ((0.0, 0.0), (0.5, 0.0), (0.75, 0.5), (1.0, 1.0), (9.0, 1.0)):
        assert refused_ratio(part * most_s, priority, 1.0) == pytest.approx(ratio)


@given(lag_s=SECONDS, priority=CLASSES, allowed_s=SECONDS, more_s=SECONDS)
def test_share_refused_is_one_and_never_more_for_who_has_more_time(
    lag_s: float, priority: Priority, allowed_s: float, more_s: float
) -> None:
    ratio = refused_ratio(lag_s, priority, allowed_s)
    assert 0.0 <= refused_ratio(lag_s, priority, allowed_s + more_s) <= ratio <= 1.0


def test_loop_that_keeps_up_refuses_nobody_however_little_time_there_is() -> None:
    assert refused_ratio(GUARD_S, Priority.NORMAL, 1e-9) == 0.0
    assert refused_ratio(2 * GUARD_S, Priority.NORMAL, 1e-9) == 1.0


@given(st.floats(0.0, 1e9), st.floats(0.0, 1.0))
def test_client_is_told_whole_seconds_within_bounds(expected_s: float, chance: float) -> None:
    told = retry_after_s(expected_s, chance)
    assert isinstance(told, int)
    assert MIN_RETRY_S <= told <= MAX_RETRY_S
    assert told >= min(expected_s - 0.5, MAX_RETRY_S)


def test_clients_refused_together_come_back_at_different_seconds() -> None:
    assert {retry_after_s(5.0, chance / 10) for chance in range(11)} == {5, 6, 7}


@pytest.mark.parametrize("priority", Priority)
def test_every_class_may_wait_for_a_part_of_its_time(priority: Priority) -> None:
    assert 0.0 < SHARES[priority] < 1.0
