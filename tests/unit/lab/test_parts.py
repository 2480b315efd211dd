"""Where the time of a row or a request goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.lab.parts import (
    STAGES,
    Part,
    Taken,
    latency_of,
    overhead_of,
    row_latencies,
    scaling_of,
    stages_of,
)

SECONDS = st.floats(0.0, 100.0)


@given(
    st.lists(st.tuples(st.integers(1, 50), SECONDS, SECONDS), min_size=1, max_size=5),
    st.floats(0.001, 100.0),
)
def test_what_a_row_waits_for_adds_up_to_the_run(
    parts: list[tuple[int, float, float]], wall_s: float
) -> None:
    found = row_latencies([Part(*part) for part in parts], wall_s)
    rows = sum(part[0] for part in parts)
    assert [latency.count for latency in found] == [rows] * 3
    assert sum(latency.mean_s for latency in found) == pytest.approx(wall_s)


def test_rows_of_a_later_partition_wait_longer_for_it_and_less_for_the_commit() -> None:
    parts = [Part(10, 1.0, 2.0), Part(30, 2.0, 4.0)]
    waited, computed, committed = row_latencies(parts, 5.0)
    assert waited.mean_s == pytest.approx((10 * 1.0 + 30 * 2.0) / 40)
    assert computed.mean_s == pytest.approx((10 * 1.0 + 30 * 2.0) / 40)
    assert committed.mean_s == pytest.approx((10 * 3.0 + 30 * 1.0) / 40)
    assert waited.percentiles_s["50"] == pytest.approx(2.0, rel=1e-3)


@given(
    fixed_s=st.floats(0.0, 10.0),
    row_s=st.floats(0.0, 1e-3),
    rows=st.integers(1, 10_000),
    more=st.integers(1, 1_000_000),
)
def test_a_line_through_two_runs_is_found_again(
    fixed_s: float, row_s: float, rows: int, more: int
) -> None:
    def taken(count: int) -> Taken:
        return Taken(count, fixed_s + count * row_s, 2 * fixed_s + count * row_s)

    small, large = taken(rows), taken(rows + more)
    found = scaling_of(small, large)
    if found is None:
        assert large.cpu_s < 1.1 * small.cpu_s or large.wall_s < 1.1 * small.wall_s
        assert large.wall_s < 2 * small.wall_s
        return
    assert found.fixed_wall_s == pytest.approx(fixed_s, abs=1e-6, rel=1e-6)
    assert found.fixed_cpu_s == pytest.approx(2 * fixed_s, abs=1e-6, rel=1e-6)
    assert found.row_wall_s * more == pytest.approx(row_s * more, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("large", [(1.9, 4.0), (3.9, 2.1), (2.1, 2.1)])
def test_a_larger_run_that_took_hardly_longer_tells_nothing(large: tuple[float, float]) -> None:
    assert scaling_of(Taken(10, 2.0, 2.0), Taken(1_000, *large)) is None


def test_a_run_that_waits_twice_as_long_but_computes_no_more_tells_what_a_row_adds() -> None:
    found = scaling_of(Taken(10, 2.0, 1.0), Taken(110, 7.0, 0.9))
    assert found is not None
    assert (found.row_wall_s, found.fixed_wall_s) == pytest.approx((0.05, 1.5))
    assert (found.row_cpu_s, found.fixed_cpu_s) == (0.0, 1.0)


def test_stages_are_read_from_the_headers_that_have_them() -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nserver-timing: parse;dur=0.5, queue;dur=0.0, "
        b"predict;dur=0.25, encode;dur=0.125, total;dur=0.875"
    )
    assert stages_of(head) == {
        "parse": 0.0005,
        "queue": 0.0,
        "predict": 0.00025,
        "encode": 0.000125,
        "total": 0.000875,
    }
    assert stages_of(b"HTTP/1.1 200 OK\r\nContent-Length: 2") is None
    assert stages_of(b"HTTP/1.1 200 OK\r\nServer-Timing: total;dur=1") is None


@given(
    total_s=st.floats(1e-6, 1.0),
    told=st.lists(st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5), min_size=1, max_size=9),
)
def test_parts_of_a_request_add_up_and_none_is_below_nothing(
    total_s: float, told: list[list[float]]
) -> None:
    stages = [dict(zip(STAGES, one, strict=True)) for one in told]
    split = overhead_of(total_s, stages)
    parts = [split.network_s, split.parse_s, split.queue_s, split.predict_s, split.encode_s]
    assert sum(parts) == pytest.approx(total_s)
    assert min(parts) >= -1e-12


def test_percentiles_are_those_that_so_many_times_bear() -> None:
    assert latency_of([0.001] * 19).percentiles_s == {}
    assert set(latency_of([0.001] * 20).percentiles_s) == {"50"}
    assert set(latency_of([0.001] * 1_000).percentiles_s) == {"50", "90", "99"}
