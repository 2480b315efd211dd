"""Metrics add up over processes that never write to each other's slots."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.serving.metrics import (
    BOUNDS_S,
    CONNECTIONS,
    DURATION,
    RESPONSES,
    Layout,
    Metrics,
    layout_for,
)
from twofold.serving.shared import SharedArray

LAYOUT = layout_for([("churn", "3"), ("fraud", "1")], [200, 422])


def total(metrics: Metrics, family: str, *labels: str) -> Sequence[float]:
    return next(v for f, at, v in metrics.totals() if (f.name, *at) == (family, *labels))


def test_every_region_is_summed_whoever_asks() -> None:
    shared = memoryview(bytearray(LAYOUT.size_bytes(2)))
    first, second, supervisor = (Metrics(LAYOUT, shared, region) for region in range(3))
    slot = LAYOUT.slot(RESPONSES, "422")
    first.add(slot)
    second.add(slot, 2)
    supervisor.add(slot, 4)
    for metrics in (first, second, supervisor):
        assert total(metrics, RESPONSES, "422") == [7]
        assert total(metrics, RESPONSES, "200") == [0]


def test_replaced_worker_goes_on_counting_where_the_dead_one_stopped() -> None:
    shared = memoryview(bytearray(LAYOUT.size_bytes(1)))
    dead = Metrics(LAYOUT, shared, 0)
    dead.add(LAYOUT.slot(RESPONSES, "200"), 5)
    dead.add(LAYOUT.slot(CONNECTIONS), 3)
    replacement = Metrics(LAYOUT, shared, 0)
    replacement.add(LAYOUT.slot(RESPONSES, "200"))
    assert total(replacement, RESPONSES, "200") == [6]
    assert total(replacement, CONNECTIONS) == [0], "its connections died with it"


@given(st.lists(st.floats(0, 20)))
def test_histogram_counts_every_value_in_the_first_bucket_that_holds_it(
    values: list[float],
) -> None:
    metrics = Metrics(LAYOUT, memoryview(bytearray(LAYOUT.size_bytes(1))), 0)
    for value in values:
        metrics.observe(LAYOUT.slot(DURATION, "churn", "3"), value)
    *counts, summed = total(metrics, DURATION, "churn", "3")
    bounds = (-1.0, *BOUNDS_S, float("inf"))
    for count, low, high in zip(counts, bounds, bounds[1:], strict=False):
        assert count == sum(low < value <= high for value in values)
    assert summed == pytest.approx(sum(values))
    assert sum(total(metrics, DURATION, "fraud", "1")) == 0


def count_in_child(shared: SharedArray, layout_slots: int, region: int, times: int) -> None:
    layout = layout_for([("churn", "3"), ("fraud", "1")], [200, 422])
    assert layout.slots == layout_slots
    metrics = Metrics(layout, shared.view, region)
    for _ in range(times):
        metrics.add(layout.slot(RESPONSES, "200"))


def test_real_processes_lose_no_count() -> None:
    shared = SharedArray.of_size(LAYOUT.size_bytes(2))
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=count_in_child, args=(shared, LAYOUT.slots, region, 20_000))
        for region in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert total(Metrics(LAYOUT, shared.view, 2), RESPONSES, "200") == [40_000]


def test_shared_array_begins_with_zeros() -> None:
    assert bytes(SharedArray.of_size(64).view) == bytes(64)


def test_layout_gives_every_series_slots_of_its_own() -> None:
    taken: list[int] = []
    for family in LAYOUT.families:
        for labels in family.series:
            start = LAYOUT.slot(family.name, *labels)
            taken += range(start, start + family.width)
    assert taken == list(range(LAYOUT.slots))
    assert Layout([]).slots == 0
