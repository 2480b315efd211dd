"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.lab.shown import (
    shown_bytes,
    shown_cost,
    shown_count,
    shown_number,
    shown_tick,
    shown_time,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (3e-9, "3 ns"),
        (1.42e-5, "14.2 µs"),
        (0.05, "50 ms"),
        (0.99999, "1 s"),
        (59.0, "59 s"),
        (60.0, "1 min"),
        (5_400.0, "1.5 h"),
        (86_400.0, "1 d"),
        (7 * 86_400.0, "7 d"),
    ],
)
def test_a_time_has_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert shown_time(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1_234.5, "1,230"),
        (45.678, "45.7"),
        (0.0123, "0.0123"),
        (1e-3, "0.001"),
        (9.583e-6, "9.58e-6"),
        (1e-4, "1e-4"),
        (math.inf, "never"),
        (math.nan, "-"),
    ],
)
def test_a_number_has_three_digits(value: float, text: str) -> None:
    assert shown_number(value) == text


@given(st.floats(1e-12, 1e12))
def test_what_is_shown_of_a_number_is_off_by_half_a_percent_at_most(value: float) -> None:
    assert float(shown_number(value).replace(",", "")) == pytest.approx(value, rel=5.1e-3)


def test_large_counts_sizes_and_costs_are_in_words() -> None:
    assert shown_count(2_500_000.0) == "2.5 million"
    assert shown_count(3e9) == "3 billion"
    assert shown_count(999.0) == "999"
    assert shown_bytes(139_000_000) == "139 MB"
    assert shown_bytes(12) == "12 B"
    assert shown_cost(0.04) == "0.04"


def test_a_tick_is_short() -> None:
    assert [shown_tick(value) for value in (0.0, 0.5, 999.0, 2500.0, 1e6)] == [
        "0", "0.5", "999", "2.5k", "1,000k",
    ]  # fmt: skip
