"""How predictions are spread, and how far two snapshots' are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.statistics import ColumnStatistics, Numbers
from twofold.hybrid.spread import BINS, LABELS, SpreadCount, bins_of, bins_told, drift
from twofold.stores.snapshot import Spread

PSI_SHIFTED = 0.25
FLOATS = st.lists(st.floats(), max_size=50)
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=2), max_size=50)


def counted(*parts: Any, bins: Spread | None = None) -> Spread:
    count = SpreadCount(bins)
    for part in parts:
        count.add(part if isinstance(part, pa.Array) else pa.array(part))
    return count.spread


def apart(before: Any, now: Any) -> tuple[float, float]:
    first = counted(before)
    return drift(counted(now, bins=first), first)


def normal(seed: int, *, rows: int = 5_000, mean: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(mean, 1.0, rows)


def test_bins_of_numbers_are_their_deciles_and_what_is_less_than_all() -> None:
    spread = counted([float(number) for number in range(1, 101)])
    assert spread.edges[1:] == (11, 21, 31, 41, 51, 61, 71, 81, 91)
    assert spread.edges[0] == np.nextafter(1.0, 0.0)
    assert spread.rows == (0, 11, *[10] * 8, 9)
    assert len(spread.edges) == BINS


def test_bins_of_labels_are_the_most_frequent_ones_and_the_others() -> None:
    values = [f"label-{number:02}" for number in range(30) for _ in range(number + 1)]
    spread = counted(values)
    assert spread.labels == tuple(f"label-{number}" for number in range(29, 29 - LABELS, -1))
    assert spread.rows == (*range(30, 10, -1), sum(range(1, 11)))
    assert bins_of(pa.array(["b", "a"])).labels == ("a", "b")


def test_booleans_and_dictionaries_are_labels_and_whole_numbers_are_numbers() -> None:
    assert counted([True, False, True]) == Spread(labels=("true", "false"), rows=(2, 1, 0))
    coded = pa.array(["x", "y", "x"]).dictionary_encode()
    assert counted(coded) == Spread(labels=("x", "y"), rows=(2, 1, 0))
    assert counted([1, 2, 3]).edges[-1] == 3.0


@given(st.lists(FLOATS, max_size=4) | st.lists(TEXTS, max_size=4))
def test_every_prediction_is_in_one_bin_in_whatever_parts_they_come(
    parts: Sequence[Sequence[Any]],
) -> None:
    kind = pa.string() if any(isinstance(v, str) for part in parts for v in part) else pa.float64()
    arrays = [pa.array(part, kind) for part in parts]
    spread = counted(*arrays)
    assert sum(spread.rows) == sum(map(len, arrays))
    assert [*spread.edges] == sorted(set(spread.edges))
    assert all(map(np.isfinite, spread.edges))  # JSON has no others
    joined = pa.concat_arrays(arrays) if arrays else pa.array([], kind)
    again = counted(joined, bins=spread) if len(joined) else Spread()
    assert again.rows == spread.rows


def test_no_predictions_are_spread_over_no_bins() -> None:
    assert counted() == counted(pa.array([], pa.float64())) == Spread()
    assert drift(Spread(), Spread()) == (0.0, 0.0)
    first = counted([1.0, 2.0])
    assert drift(counted(bins=first), first) == (0.0, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_equal_distributions_are_apart_by_no_more_than_chance_explains(seed: int) -> None:
    psi, by_chance = apart(normal(seed), normal(seed + 100))
    assert psi < by_chance < 0.02
    psi, by_chance = apart(normal(seed, rows=100), normal(seed + 100, rows=100))
    assert psi < by_chance < 0.7
    labels = np.random.default_rng(seed).choice(["a", "b", "c"], 4_000)
    psi, by_chance = apart(labels[:2_000], labels[2_000:])
    assert psi < by_chance < 0.02


def test_the_same_predictions_are_not_apart_at_all() -> None:
    for values in [normal(1), [True, False, True], ["a", "b"], [7, 7, 8], [0.5] * 9, [np.nan] * 3]:
        assert apart(values, values)[0] == 0.0


@pytest.mark.parametrize("mean", [-1.0, 1.0, 30.0, -30.0])
def test_shifted_distributions_are_far_apart(mean: float) -> None:
    psi, by_chance = apart(normal(1), normal(2, mean=mean))
    assert psi > max(PSI_SHIFTED, 10 * by_chance)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([0.5] * 100, [0.9] * 100),
        ([0.5] * 100, [0.1] * 100),
        ([0.0] * 95 + [1.0] * 5, [-1.0] * 100),
        ([1.0] * 100, [float("nan")] * 100),
        ([True] * 90 + [False] * 10, [False] * 90 + [True] * 10),
        (["a"] * 60 + ["b"] * 40, ["c"] * 100),
        (["a"] * 80 + ["b"] * 20, ["b"] * 80 + ["a"] * 20),
        ([7] * 100, [8] * 100),
        # The model predicts something else by now.
        (["a"] * 60 + ["b"] * 40, [0.5] * 100),
        ([0.5, 1.5] * 50, ["a"] * 100),
    ],
)
def test_predictions_that_became_others_are_far_apart(before: list[Any], now: list[Any]) -> None:
    psi, by_chance = apart(before, now)
    assert psi > max(PSI_SHIFTED, by_chance)


def test_what_is_no_number_is_no_edge_and_among_the_greatest() -> None:
    values = [1.0, 2.0, float("nan"), float("inf"), float("-inf")]
    spread = counted(values)
    assert all(np.isfinite(spread.edges))
    assert spread.rows[0] == 1  # the least of all
    assert spread.rows[-1] == 2
    assert counted([float("nan")] * 3) == Spread(rows=(3,))


def test_snapshots_of_other_bins_are_not_compared() -> None:
    assert drift(counted([1.0, 2.0]), counted(["a"])) == (0.0, 0.0)


def told(minimum: Any, *quantiles: Any) -> ColumnStatistics:
    numbers = Numbers(
        mean=0.5,
        deviation=0.1,
        minimum=minimum,
        maximum=1.0,
        quantiles={str(place): value for place, value in enumerate(quantiles)},
    )
    return ColumnStatistics(name="prediction", type="float64", rows=9, nulls=0, numbers=numbers)


def test_bins_are_those_of_all_rows_where_statistics_tell_them() -> None:
    edges = bins_told(told(0.0, 0.25, 0.5, 0.5, 0.75))
    assert edges is not None
    assert edges.edges == (-5e-324, 0.25, 0.5, 0.75)
    for nothing in (told(-math.inf, 0.5), told("2026-01-31", "2026-01-31"), told(0.0, math.nan)):
        assert bins_told(nothing) is None
    labels = ColumnStatistics(name="prediction", type="string", rows=9, nulls=0)
    assert bins_told(labels) is None


def test_a_shift_of_sorted_predictions_is_seen_with_the_bins_of_all_of_them() -> None:
    before = pa.array(np.linspace(0.0, 1.0, 1_000))
    bins = bins_told(told(0.0, 0.25, 0.5, 0.75))
    counts = [SpreadCount(bins), SpreadCount(bins)]
    counts[0].add(before.slice(0, 100))  # the first part has the least ones only
    counts[0].add(before.slice(100))
    counts[1].add(pa.array(np.linspace(0.0, 1.0, 1_000) ** 0.25))
    psi, by_chance = drift(counts[1].spread, counts[0].spread)
    assert psi > max(0.25, by_chance)
