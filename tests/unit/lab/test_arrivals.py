from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import ConfigError
from twofold.lab.arrivals import Arrivals, level, ramp, steps


def test_constant_arrivals_are_evenly_spaced_from_the_start() -> None:
    dues = level(4, 2, arrivals=Arrivals.CONSTANT).dues()
    assert dues.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def test_poisson_gaps_have_the_mean_and_the_spread_of_an_exponential_distribution() -> None:
    gaps = np.diff(level(1000, 100).dues())
    assert gaps.mean() == pytest.approx(1e-3, rel=0.02)
    assert gaps.std() == pytest.approx(1e-3, rel=0.02)
    # The median tells it from other distributions of that mean and spread.
    assert np.median(gaps) == pytest.approx(np.log(2) * 1e-3, rel=0.02)


def test_the_same_seed_gives_the_same_instants_and_another_one_others() -> None:
    first = level(50, 2, seed=7).dues()
    assert np.array_equal(first, level(50, 2, seed=7).dues())
    assert not np.array_equal(first, level(50, 2, seed=8).dues())


def test_a_ramp_has_as_many_requests_as_the_area_under_it_and_more_at_its_end() -> None:
    dues = ramp(0, 200, 10, arrivals=Arrivals.CONSTANT).dues()
    assert len(dues) == 1000
    # The rate grows by 20 a second each second: 10 * t^2 are due until t.
    for at, seconds in ((250, 5.0), (640, 8.0)):
        assert dues[at] == pytest.approx(seconds)


def test_a_ramp_may_fall() -> None:
    dues = ramp(200, 0, 10, arrivals=Arrivals.CONSTANT).dues()
    assert len(dues) == 1000
    assert np.count_nonzero(dues < 5) == pytest.approx(750, abs=1)


def test_steps_follow_one_another() -> None:
    dues = steps([10, 30], 2, arrivals=Arrivals.CONSTANT).dues()
    assert np.count_nonzero(dues < 2) == 20
    assert np.count_nonzero(dues >= 2) == 60


def test_the_peak_is_the_highest_rate_of_any_stretch() -> None:
    assert steps([10, 30, 20], 1).peak_per_s == 30
    assert ramp(100, 5, 1).peak_per_s == 100
    assert level(7, 1).warmed(1).peak_per_s == 7


def test_a_warm_up_comes_first_at_the_first_rate_and_is_a_stretch_of_its_own() -> None:
    warmed = steps([10, 30], 2, arrivals=Arrivals.CONSTANT).warmed(1)
    assert warmed.edges_s == [0, 1, 3, 5]
    assert np.count_nonzero(warmed.dues() < 1) == 10


@given(
    rates=st.lists(st.floats(0.5, 300), min_size=1, max_size=5),
    seconds=st.floats(0.1, 3),
    arrivals=st.sampled_from(Arrivals),
    seed=st.integers(0, 50),
)
def test_instants_ascend_within_the_profile(
    rates: list[float], seconds: float, arrivals: Arrivals, seed: int
) -> None:
    profile = steps(rates, seconds, arrivals=arrivals, seed=seed)
    dues = profile.dues()
    assert (np.diff(dues) >= 0).all()
    assert (dues >= 0).all()
    assert (dues <= profile.seconds * (1 + 1e-9)).all()


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (-1, 1), (1, 0), (float("nan"), 1)])
def test_what_is_no_load_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(ConfigError, match="Give a positive"):
        level(rate, seconds)


def test_more_requests_than_are_kept_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 20,000,000 requests, got 36,000,000"):
        level(10_000, 3600)
