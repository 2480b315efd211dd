"""Drift: the index by hand, bins from the sample, and what chance makes of both."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch import drift
from twofold.batch.buckets import bucket_entries, number_sketches
from twofold.batch.statistics import NumberSketch, TextSketch


def sketch(values: list[float], nulls: int = 0) -> NumberSketch:
    array = np.array(values, np.float32)
    limits = np.array([[array.min(), array.max()]])
    return number_sketches([bucket_entries(array)], limits, [nulls], [1])[0]


def test_the_index_is_what_a_hand_computes() -> None:
    found = drift.psi([30, 70], [50, 50])
    assert found == pytest.approx((0.3 - 0.5) * math.log(0.6) + (0.7 - 0.5) * math.log(1.4))
    assert drift.psi([3, 7], [30, 70]) == 0.0


def test_an_empty_bin_counts_as_half_a_row_but_not_as_less_than_the_floor() -> None:
    half = 0.5 / 100
    assert drift.psi([0, 10], [20, 80]) == pytest.approx(
        (0.05 - 0.2) * math.log(0.05 / 0.2) + (1 - 0.8) * math.log(1 / 0.8)
    )
    assert drift.psi([20, 80], [0, 100]) == pytest.approx(
        (0.2 - half) * math.log(0.2 / half) + (0.8 - 1) * math.log(0.8)
    )
    million = drift.psi([0, 10**6], [1, 1])
    floor = drift.MIN_SHARE
    assert million == pytest.approx((floor - 0.5) * math.log(floor / 0.5) + 0.5 * math.log(2))


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=12).filter(
        lambda pairs: all(sum(side) for side in zip(*pairs, strict=True))
    )
)
def test_the_index_is_never_negative_nor_infinite(pairs: list[tuple[int, int]]) -> None:
    now, then = zip(*pairs, strict=True)
    assert -0.02 <= drift.psi(now, then) < 100


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 10.828), (9, 27.877), (19, 43.820)])
def test_the_chi_squared_quantile_is_that_of_the_tables(degrees: int, quantile: float) -> None:
    found = drift.psi_by_chance(degrees + 1, 1e12, 1.0)
    assert found == pytest.approx(quantile, rel=0.035)


def test_chance_explains_what_samples_of_one_source_differ_by() -> None:
    random = np.random.default_rng(3)
    beyond = 0
    for _ in range(200):
        run = sketch(random.normal(size=2000).tolist())
        sample = sketch(random.normal(size=500).tolist())
        counts, sample_counts = drift.number_bins(run, sample)
        used = sum(any(pair) for pair in zip(counts, sample_counts, strict=True))
        beyond += drift.psi(counts, sample_counts) > drift.psi_by_chance(used, 2000, 500)
    assert beyond <= 3


def test_bins_hold_a_tenth_of_the_sample_each_and_nulls_are_apart() -> None:
    sample = sketch(np.linspace(1, 2, 3000).tolist(), nulls=7)
    counts, sample_counts = drift.number_bins(sketch([0.5, 1.5, 9.0], nulls=1), sample)
    assert len(sample_counts) >= 9
    assert max(sample_counts[:-1]) <= 3000 * 0.15
    assert sample_counts[-1] == 7
    assert (sum(counts), counts[0], counts[-2], counts[-1]) == (4, 1, 1, 1)


def test_a_frequent_number_has_a_bin_of_its_own() -> None:
    sample = sketch([0.0] * 60 + [1.0] * 20 + [2.0] * 20)
    assert drift.number_bins(sample, sample)[1] == [60, 20, 20, 0]


def test_texts_that_are_rare_in_the_sample_share_a_bin_with_unseen_ones() -> None:
    sample = TextSketch((50, 4, 46), {}, 0, 2)
    run = TextSketch((10, 3, 20), {"new": 5}, 1, 0)
    assert drift.text_bins(run, sample) == ([10, 20, 9, 0], [50, 46, 4, 2])


def test_many_texts_that_came_once_let_more_unseen_ones_be_expected() -> None:
    few, free = TextSketch((50, 50), {}, 0, 0), TextSketch((1,) * 100, {}, 0, 0)
    assert drift.unseen_by_chance(few, 1e6) < 0.05
    assert drift.unseen_by_chance(free, 1e6) == 1.0
    assert drift.unseen_by_chance(TextSketch((), {}, 0, 0), 10) == 1.0


def test_one_bin_never_drifts() -> None:
    assert drift.psi_by_chance(1, 10, 10) == 0.0
    empty = NumberSketch(
        np.empty(0, np.int32), np.empty(0, np.int64), 3, 0, 0, Fraction(), Fraction()
    )
    assert drift.number_bins(empty, empty) == ([0, 3], [0, 3])
