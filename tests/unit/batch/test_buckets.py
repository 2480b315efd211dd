"""Buckets: counts and sums are exact, quantiles near, whatever the numbers are."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.buckets import (
    bucket_entries,
    edges,
    key_of,
    number_sketches,
    quantiles,
    shares_below,
)
from twofold.batch.statistics import NumberSketch

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)


def sketch(values: Any, *, grain: int = 1) -> NumberSketch:
    array = np.array(values, np.float32)
    limits = np.array([[np.fmin.reduce(array), np.fmax.reduce(array)]])
    return number_sketches([bucket_entries(array)], limits, [0], [grain])[0]


@given(st.lists(FLOATS, min_size=1))
def test_the_sum_is_the_exact_one(values: list[float]) -> None:
    found = sketch(values)
    exact = math.fsum(Fraction(value) for value in values)
    # Next to the origin, where the smallest floats lie, a sign is lost.
    assert float(found.total) == pytest.approx(exact, rel=1e-12, abs=1e-36)
    assert found.values == len(values)


@given(st.lists(st.integers(-1000, 1000), min_size=1))
def test_squares_are_near(values: list[int]) -> None:
    found = sketch(values)
    assert float(found.squares) == pytest.approx(sum(v * v for v in values), rel=1e-3)


@given(st.lists(FLOATS, min_size=1), st.integers(0, 255 * 32))
def test_every_value_lies_between_the_edges_of_its_bucket(values: list[float], grain: int) -> None:
    for value in values:
        found = sketch([value], grain=grain)
        lower, upper = edges(found.keys, grain)
        assert lower[0] <= value <= upper[0]


@given(st.lists(st.floats(1.0, 1e6), min_size=1), st.sampled_from([0.01, 0.25, 0.5, 0.99]))
def test_a_quantile_is_within_a_bucket_of_the_true_one(values: list[float], ratio: float) -> None:
    measured = SimpleNamespace(origin=0.0, grain=1, type="float32")
    single = np.sort(np.array(values, np.float32)).astype(np.float64)
    true = single[max(math.ceil(ratio * len(single)) - 1, 0)]
    (found,) = quantiles(sketch(values), [ratio], measured)
    assert found == pytest.approx(true, rel=1 / 32)


def test_quantiles_of_small_whole_numbers_are_whole() -> None:
    measured = SimpleNamespace(origin=10.0, grain=key_of(1.0), type="int64")
    entries = bucket_entries(np.arange(40, dtype=np.float32) - 10)
    (found,) = number_sketches([entries], np.array([[0, 39]]), [0], [measured.grain])
    at = quantiles(found, (0.01, 0.25, 0.5, 1.0), measured)
    assert at == [0.0, 9.0, 19.0, 39.0]


def test_nan_is_a_null_and_infinity_a_far_number() -> None:
    found = sketch([math.nan, 1.0, math.inf, -math.inf])
    assert (found.nulls, found.values) == (1, 3)
    assert float(found.total) == 1.0


def test_zeros_of_either_sign_are_one() -> None:
    found = sketch([0.0, -0.0])
    assert found.keys.tolist() == [0]
    assert math.copysign(1.0, found.minimum) == 1.0


def test_shares_below_points_rise_from_none_to_all() -> None:
    found = sketch(np.linspace(1, 2, 1000))
    shares = shares_below(found, np.array([0.0, 1.0, 1.5, 2.0, 3.0]), 0.0, 1)
    assert shares.tolist() == pytest.approx([0, 0, 0.5, 1, 1], abs=0.01)


def test_grain_holds_buckets_near_the_origin_together() -> None:
    found = sketch([1e-9, -1e-8, 1e-3, 1.0, 2.0], grain=key_of(0.5))
    assert found.counts.tolist() == [3, 1, 1]
