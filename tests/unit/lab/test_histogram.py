from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.lab.histogram import SIZE, Histogram


def histogram_of(times_s: list[float]) -> Histogram:
    histogram = Histogram()
    histogram.add(np.array(times_s))
    return histogram


@given(st.lists(st.floats(1e-6, 3600), min_size=1, max_size=60), st.floats(0, 100))
def test_a_percentile_is_that_of_nearest_rank_to_three_digits(
    times_s: list[float], share: float
) -> None:
    rank = max(1, int(np.ceil(round(share * len(times_s) / 100, 6))))
    exact = sorted(times_s)[rank - 1]
    assert histogram_of(times_s).percentile(share) == pytest.approx(exact, rel=1e-3, abs=1e-9)


@given(st.lists(st.floats(0, 4000)), st.lists(st.floats(0, 4000)))
def test_histograms_add_up_however_times_are_split(one: list[float], other: list[float]) -> None:
    merged, whole = histogram_of(one), histogram_of(one + other)
    merged.merge(Histogram.unpacked(histogram_of(other).packed()))
    assert merged.count == whole.count
    assert merged.max_s == whole.max_s
    assert merged.sum_s == pytest.approx(whole.sum_s)
    for share in (0, 10, 50, 90, 99, 99.9, 100):
        assert merged.percentile(share) == whole.percentile(share)


def test_a_percentile_needs_ten_values_beyond_it() -> None:
    borne = {count: list(histogram_of([0.001] * count).latency().percentiles_s)
             for count in (19, 20, 99, 100, 999, 1000, 9999, 10_000, 100_000)}  # fmt: skip
    assert borne == {
        19: [],
        20: ["50"],
        99: ["50"],
        100: ["50", "90"],
        999: ["50", "90"],
        1000: ["50", "90", "99"],
        9999: ["50", "90", "99"],
        10_000: ["50", "90", "99", "99.9"],
        100_000: ["50", "90", "99", "99.9", "99.99"],
    }


def test_mean_and_maximum_are_exact() -> None:
    latency = histogram_of([0.001, 0.0023456789, 1.5]).latency()
    assert latency.max_s == 1.5
    assert latency.mean_s == pytest.approx((0.001 + 0.0023456789 + 1.5) / 3, rel=1e-15)


def test_of_nothing_everything_is_0() -> None:
    latency = Histogram().latency()
    assert (latency.count, latency.mean_s, latency.max_s, latency.percentiles_s) == (0, 0, 0, {})


def test_times_beyond_an_hour_count_as_an_hour_and_size_stays() -> None:
    histogram = histogram_of([1e9, -1.0])
    assert histogram.percentile(100) == 3600
    assert histogram.percentile(0) == 0
    assert SIZE < 40_000
