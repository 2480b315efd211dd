"""What a server exposes is read as Prometheus reads it, and its percentiles are Prometheus'."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate, pairwise

import pytest
from counted_server import CHURN, Server
from hypothesis import given
from hypothesis import strategies as st

from twofold.lab.scrape import grown, parsed, quantile
from twofold.serving.metrics import (
    BOUNDS_S,
    DURATION,
)


def test_comments_blank_lines_and_families_that_nobody_knows_are_no_trouble() -> None:
    scrape = parsed(
        "# HELP twofold_x What.\n# TYPE twofold_x counter\n#\n\n"
        "go_goroutines 8\n"
        'rpc_seconds{quantile="0.5"} NaN\n'
        "twofold_x 3 1700000000000\n"
        'twofold_y{a="1",b="2",} 4.5e-05\n'
        'spread{a="1"}\t+Inf\n',
        at_s=7.0,
    )
    assert (scrape.at_s, scrape.value("twofold_x")) == (7.0, 3.0)
    assert scrape.value("twofold_y", b="2", a="1") == 4.5e-05
    assert scrape.value("spread", a="1") == math.inf
    assert math.isnan(scrape.value("rpc_seconds", quantile="0.5"))
    assert (scrape.value("nothing"), scrape.buckets("nothing")) == (0.0, {})


@pytest.mark.parametrize(
    "line",
    [
        "<html>",
        "name",
        "name 1 2 3",
        "name one",
        "name 1_000",
        "1name 1",
        'name{a="1} 1',
        "name{a=1} 1",
        r'name{a="\x"} 1',
        'name{a="1"b="2"} 1',
        'name_bucket{le="much"} 1',
        "twofold_waiting_requests NaN",
        "twofold_requests_total +Inf",
    ],
)
def test_line_that_is_no_sample_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"^line 2: ") as caught:
        parsed(f"name 1\n{line}\n", at_s=0.0)
    assert repr(line) in str(caught.value)


def test_histogram_of_the_server_is_read_back() -> None:
    server = Server()
    for value_s in (0.00002, 0.0003, 0.0003, 20.0):
        server.observe(DURATION, *CHURN, "ok", value_s=value_s)
    buckets = server.look(0.0).buckets(DURATION, model="churn", version="1", outcome="ok")
    assert list(buckets) == [*BOUNDS_S, math.inf]
    assert [buckets[bound] for bound in (0.000025, 0.00025, 0.0005, 10.0, math.inf)] == [
        *(1.0, 1.0, 3.0, 3.0, 4.0)
    ]


@pytest.mark.parametrize(
    ("share", "counts", "value"),
    [
        (0.5, (0, 0, 0, 0), None),
        (0.5, (10, 10, 10, 10), 0.5),
        (0.9, (0, 10, 10, 10), 1.9),
        (0.5, (5, 5, 10, 10), 1.0),
        (0.75, (5, 5, 10, 10), 3.0),
        (1.0, (1, 2, 3, 3), 4.0),
        # Beyond the last finite bound, that bound.
        (0.99, (0, 0, 0, 10), 4.0),
    ],
)
def test_percentile_is_interpolated_as_histogram_quantile_does(
    share: float, counts: tuple[float, ...], value: float | None
) -> None:
    buckets = dict(zip((1.0, 2.0, 4.0, math.inf), counts, strict=True))
    assert quantile(share, buckets) == (None if value is None else pytest.approx(value))


def test_without_an_infinite_bound_or_with_no_other_there_is_no_percentile() -> None:
    assert quantile(0.5, {}) is None
    assert quantile(0.5, {1.0: 5.0}) is None
    assert quantile(0.5, {math.inf: 5.0}) is None


@given(
    values=st.lists(st.floats(1e-6, 9.9), min_size=1, max_size=50),
    shares=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4),
)
def test_percentile_is_in_the_bucket_of_the_value_it_estimates_and_grows_with_its_share(
    values: list[float], shares: list[float]
) -> None:
    counts = [0] * (len(BOUNDS_S) + 1)
    for value in values:
        counts[bisect_left(BOUNDS_S, value)] += 1
    bounds = (*BOUNDS_S, math.inf)
    buckets = dict(zip(bounds, map(float, accumulate(counts)), strict=True))
    found: list[float] = []
    for share in sorted(shares):
        estimate = quantile(share, buckets)
        true = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
        place = bisect_left(BOUNDS_S, true)
        assert estimate is not None
        assert (0.0, *bounds)[place] <= estimate <= bounds[place] * (1 + 1e-12)
        found.append(estimate)
    assert all(low <= high * (1 + 1e-12) for low, high in pairwise(found))


def test_counter_that_fell_counts_from_zero() -> None:
    looks = [parsed(f"n_total {value}\n", at_s=at) for at, value in enumerate((7, 9, 4))]
    assert grown(looks[0], looks[1], "n_total") == 2.0
    assert grown(looks[1], looks[2], "n_total") == 4.0
    assert grown(looks[0], looks[1], "m_total") == 0.0
