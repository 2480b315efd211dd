from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.lab.capacity import find_capacity, is_kept, kept_for_longer
from twofold.lab.findings import Latency, Level

SLO_S = 0.1


def level(
    rate: float, *, p99_s: float = 0.01, in_time: float = 1.0, is_valid: bool = True
) -> Level:
    latency = Latency(count=5000, mean_s=0.01, max_s=1.0, percentiles_s={"99": p99_s})
    return Level(
        offered_per_s=rate,
        answered_per_s=rate,
        in_time_per_s=rate * in_time,
        shed_per_s=0,
        failed_per_s=0,
        latency=latency,
        lateness_p99_s=0,
        is_valid=is_valid,
    )


@given(capacity=st.floats(1, 900_000), start=st.floats(1, 900_000))
def test_the_capacity_is_found_to_5_percent_from_wherever_it_starts(
    capacity: float, start: float
) -> None:
    tried: list[float] = []

    def measure(rate: float) -> Level:
        tried.append(rate)
        return level(rate, p99_s=0.01 if rate <= capacity else 0.2)

    found, levels = find_capacity(measure, slo_s=SLO_S, start_per_s=start)
    assert capacity / 1.0501 <= found <= capacity
    assert [item.offered_per_s for item in levels] == sorted(tried)
    assert len(tried) < 40


def test_where_nothing_is_kept_the_capacity_is_0() -> None:
    found, levels = find_capacity(lambda rate: level(rate, p99_s=1.0), slo_s=SLO_S, start_per_s=8)
    assert found == 0
    assert levels


def test_no_rate_above_the_highest_is_tried() -> None:
    found, levels = find_capacity(level, slo_s=SLO_S, max_per_s=1000)
    assert found == 1000
    assert max(item.offered_per_s for item in levels) == 1000


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (level(100), True),
        (level(100, p99_s=0.11), False),
        (level(100, in_time=0.98), False),
        (level(100, in_time=0.991), True),
        (level(100, is_valid=False), False),
    ],
)
def test_a_level_is_kept_by_p99_and_by_what_was_in_time(given: Level, kept: bool) -> None:
    assert is_kept(given, SLO_S) is kept


def test_where_the_count_bears_no_p99_the_longest_time_stands_for_it() -> None:
    latency = Latency(count=50, mean_s=0.01, max_s=0.2, percentiles_s={"50": 0.01})
    assert not is_kept(msgspec.structs.replace(level(5), latency=latency), SLO_S)


def test_what_is_kept_for_longer_stays_the_capacity() -> None:
    assert kept_for_longer(level, 800.0, slo_s=SLO_S) == (800.0, level(800.0))


def test_less_is_offered_until_it_is_kept_for_longer_but_not_for_ever() -> None:
    tried: list[float] = []

    def measure(rate: float) -> Level:
        tried.append(rate)
        return level(rate, p99_s=0.01 if rate <= 1_000 else 0.2)

    capacity, held = kept_for_longer(measure, 1_150.0, slo_s=SLO_S)
    assert 930 < capacity <= 1_000
    assert held.offered_per_s == capacity == tried[-1]
    assert tried == sorted(tried, reverse=True)
    tried.clear()
    kept_for_longer(measure, 1e5, slo_s=SLO_S)
    assert len(tried) == 7
