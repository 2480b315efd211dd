"""What grew from the first look to the last, and how far two clocks are apart at least."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looks import AT, FIRST, look_of, model_of, stage

from twofold.lab.look import Look
from twofold.lab.span import span


def skewed(ahead_s: float, at_s: float, trip_s: float = 0.002) -> Look:
    """A look at a server whose clock is so far ahead; its Date has whole seconds."""
    asked = AT + timedelta(seconds=at_s)
    date = asked + timedelta(seconds=ahead_s + trip_s / 2)
    return dataclasses.replace(
        look_of(at_s=at_s),
        asked_at=asked,
        answered_at=asked + timedelta(seconds=trip_s),
        server_date=date.replace(microsecond=0),
    )


def test_counts_are_those_from_the_first_look_to_the_last() -> None:
    [model] = span([FIRST, look_of(at_s=2.0), look_of(at_s=5.0)]).models
    assert (model.asked, model.rows, model.seconds) == (500.0, 500.0, 5.0)
    assert model.per_s(model.asked) == 100.0
    assert model.stages_s == pytest.approx(
        {"queue": 0.0001, "predict": 0.0004, "parse and encode": 0.0001}
    )


def test_server_that_was_started_anew_counts_from_zero() -> None:
    before = look_of(at_s=1.0, models=(model_of(requests={"ok": 9_000.0}),))
    [model] = span([before, look_of(at_s=2.0)]).models
    assert model.ended("ok") == 500.0


def test_of_one_look_nothing_has_grown() -> None:
    found = span([look_of()])
    assert found.seconds == 0.0
    assert found.models[0].asked == 0.0
    assert found.models[0].per_s(3.0) == 0.0
    assert found.models[0].stages_s == {}


@pytest.mark.parametrize("ahead_s", [-1.0, -0.3, 0.0, 0.4, 1.0])
def test_clocks_that_may_be_as_near_as_a_second_are_taken_for_equal_enough(ahead_s: float) -> None:
    looks = [skewed(ahead_s, at / 3) for at in range(10)]
    assert abs(span(looks).skew_s) <= 1.0


@given(st.floats(-1e6, 1e6), st.floats(0.0, 3.0), st.integers(1, 6))
def test_skew_is_never_said_to_be_more_than_it_is_and_is_told_to_the_second_and_the_trip(
    ahead_s: float, trip_s: float, count: int
) -> None:
    found_s = span([skewed(ahead_s, at * 0.7, trip_s) for at in range(count)]).skew_s
    assert found_s * ahead_s >= 0.0
    assert abs(found_s) <= abs(ahead_s) + 1e-6
    assert abs(ahead_s - found_s) <= 2.5 + trip_s


def test_without_a_date_and_with_a_clock_that_was_set_meanwhile_nothing_is_known() -> None:
    assert span([dataclasses.replace(FIRST, server_date=None)]).skew_s == 0.0
    assert span([skewed(100.0, 0.0), skewed(-100.0, 1.0)]).skew_s == 0.0


def test_date_of_a_loop_that_stood_still_may_be_as_old_as_that() -> None:
    late = dataclasses.replace(skewed(-6.0, 0.0), longest_block_s=8.0)
    assert span([late]).skew_s == 0.0
    assert span([skewed(-6.0, 0.0)]).skew_s < -3.0


def test_predictions_are_those_within_the_span() -> None:
    before = look_of(at_s=1.0, models=(model_of(predict=stage(100, 0.4)),))
    both = dict(stage(100, 0.4).buckets)
    for bound, count in stage(50, 0.0005).buckets.items():
        both[bound] += count
    grown = dataclasses.replace(model_of().predict, buckets=both)
    [model] = span([before, look_of(models=(model_of(predict=grown),))]).models
    assert model.predict_s(0.99) is not None
    assert model.predict_s(0.99) <= 0.001
