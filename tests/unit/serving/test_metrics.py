"""Metrics add up over processes that never write to each other's slots."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.serving import metrics as counting
from twofold.serving.metrics import (
    ANSWERS,
    BOUNDS_S,
    CONNECTIONS,
    DURATION,
    IN_HAND,
    LAG,
    MAX_VERSIONS,
    OVERLOADED_SINCE,
    PREDICT,
    QUEUE,
    REQUESTS,
    RESPONSES,
    ROWS,
    SNAPSHOT_AS_OF,
    SNAPSHOT_KEYS,
    STORE_REQUESTS,
    Answered,
    Layout,
    Metrics,
    Outcome,
    layout_for,
)
from twofold.serving.native import native
from twofold.serving.shared import SharedArray

LAYOUT = layout_for([("churn", "3"), ("fraud", "1")], [200, 422])
VERSIONS = st.lists(
    st.tuples(st.sampled_from(["churn", "fraud"]), st.sampled_from("123456789")),
    min_size=1,
    max_size=9,
    unique=True,
)


def total(metrics: Metrics, family: str, *labels: str) -> Sequence[float]:
    return next(v for f, at, v in metrics.totals() if (f.name, *at) == (family, *labels))


def test_every_region_is_summed_whoever_asks() -> None:
    shared = memoryview(bytearray(LAYOUT.size_bytes(3)))
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


@pytest.fixture(params=["native", "python"])
def region(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Metrics]:
    """Make metrics that are counted by the native code, or where it wasn't built."""
    if request.param == "python":
        monkeypatch.setattr(counting, "native", lambda: None)
    elif native() is None:
        pytest.skip("no native code was built")
    return one_region


def one_region() -> Metrics:
    return Metrics(LAYOUT, memoryview(bytearray(LAYOUT.size_bytes(1))), 0)


def test_answered_request_is_counted_with_its_rows_and_its_times(
    region: Callable[[], Metrics],
) -> None:
    metrics = region()
    version = ("fraud", "1")
    slots = [
        metrics.layout.slot(family, *version, *labels)
        for family, labels in [
            (REQUESTS, ["ok"]), (ROWS, []), (DURATION, ["ok"]), (QUEUE, ["ok"]), (PREDICT, ["ok"])
        ]
    ]  # fmt: skip
    requests, rows, duration, queue, predict = slots
    metrics.answered(requests, rows, 7, duration, 0.5, queue, 0.25, predict, 0.125)
    assert total(metrics, REQUESTS, *version, "ok") == [1]
    assert total(metrics, ROWS, *version) == [7]
    for family, seconds in [(DURATION, 0.5), (QUEUE, 0.25), (PREDICT, 0.125)]:
        *counts, summed = total(metrics, family, *version, "ok")
        assert (sum(counts), summed) == (1, seconds)
    others = [v for f, at, v in metrics.totals() if at[:2] != version]
    assert sum(map(sum, others)) == 0


def test_counter_goes_up_by_one_or_by_what_is_said_and_a_gauge_is_set(
    region: Callable[[], Metrics],
) -> None:
    metrics = region()
    metrics.add(LAYOUT.slot(RESPONSES, "200"))
    metrics.add(LAYOUT.slot(RESPONSES, "200"), 2.5)
    for value in (3.0, 2.0):
        metrics.set(LAYOUT.slot(IN_HAND, "churn", "3"), value)
    assert total(metrics, RESPONSES, "200") == [3.5]
    assert total(metrics, IN_HAND, "churn", "3") == [2]


VALUES = st.lists(st.floats(0, 20) | st.sampled_from(BOUNDS_S))


@given(VALUES)
def test_histogram_counts_every_value_in_the_first_bucket_that_holds_it(
    values: list[float],
) -> None:
    metrics = one_region()
    for value in values:
        metrics.observe(LAYOUT.slot(DURATION, "churn", "3", "ok"), value)
    *counts, summed = total(metrics, DURATION, "churn", "3", "ok")
    bounds = (-1.0, *BOUNDS_S, float("inf"))
    for count, low, high in zip(counts, bounds, bounds[1:], strict=False):
        assert count == sum(low < value <= high for value in values)
    assert summed == pytest.approx(sum(values))
    assert sum(total(metrics, DURATION, "fraud", "1", "ok")) == 0


@pytest.mark.skipif(native() is None, reason="no native code was built")
@given(VALUES, st.lists(st.floats(-10, 10)))
def test_native_code_counts_as_python_does(values: list[float], amounts: list[float]) -> None:
    regions = [bytearray(8 * 40) for _ in range(2)]
    tallies: list[Any] = [
        counting._Tally(memoryview(regions[0]).cast("d")),
        native().Tally(memoryview(regions[1]).cast("d"), BOUNDS_S),
    ]
    for tally in tallies:
        for value in values:
            tally.observe(3, value)
            tally.answered(0, 1, 5, 15, value, 10, value / 2, 18, value / 4)
        for amount in amounts:
            tally.add(2, amount)
    assert regions[0] == regions[1]


def count_in_child(shared: SharedArray, layout_slots: int, region: int, times: int) -> None:
    layout = layout_for([("churn", "3"), ("fraud", "1")], [200, 422])
    assert layout.slots == layout_slots
    metrics = Metrics(layout, shared.view, region)
    for _ in range(times):
        metrics.add(layout.slot(RESPONSES, "200"))


def test_real_processes_lose_no_count() -> None:
    shared = SharedArray.of_size(LAYOUT.size_bytes(3))
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


def slots(layout: Layout) -> dict[tuple[str, ...], range]:
    """Where each series lies."""
    return {
        (family.name, *labels): range(start, start + family.width)
        for family in layout.families
        for labels in family.series
        for start in [layout.slot(family.name, *labels)]
    }


@given(VERSIONS)
def test_layout_gives_every_series_slots_of_its_own(versions: list[tuple[str, str]]) -> None:
    layout = layout_for(versions, [200, 422])
    taken = sorted(slot for series in slots(layout).values() for slot in series)
    assert taken == list(range(layout.slots))


def test_layout_of_nothing_has_no_slots() -> None:
    assert Layout([], []).slots == 0


@given(VERSIONS, st.integers(1, 9))
def test_next_generation_finds_everything_where_the_one_before_had_it(
    versions: list[tuple[str, str]], before: int
) -> None:
    old, new = (layout_for(items, [200, 422]) for items in (versions[:before], versions))
    known = slots(old)
    assert {series: place for series, place in slots(new).items() if series in known} == known
    assert old.region_slots == new.region_slots


def test_array_has_room_for_all_versions_to_come() -> None:
    versions = [("churn", str(number)) for number in range(MAX_VERSIONS)]
    full = layout_for(versions, [200, 422])
    assert full.slots == full.region_slots == LAYOUT.region_slots
    assert LAYOUT.size_bytes(3) == 3 * 8 * full.slots


def test_generations_that_know_different_versions_count_in_one_array() -> None:
    shared = memoryview(bytearray(LAYOUT.size_bytes(2)))
    later = layout_for([("churn", "3"), ("fraud", "1"), ("churn", "4")], [200, 422])
    old, new = Metrics(LAYOUT, shared, 0), Metrics(later, shared, 1)
    old.add(LAYOUT.slot(ROWS, "fraud", "1"), 2)
    new.add(later.slot(ROWS, "fraud", "1"), 3)
    new.add(later.slot(ROWS, "churn", "4"), 7)
    new.add(later.slot(RESPONSES, "200"))
    for metrics in (old, new):
        assert total(metrics, ROWS, "fraud", "1") == [5]
        assert total(metrics, RESPONSES, "200") == [1]
    assert total(new, ROWS, "churn", "4") == [7]
    assert sum(total(old, ROWS, "churn", "3")) == 0


def test_cleared_version_has_never_been_counted_and_the_others_stay() -> None:
    shared = memoryview(bytearray(LAYOUT.size_bytes(2)))
    regions = [Metrics(LAYOUT, shared, region) for region in range(2)]
    for metrics in regions:
        for series in slots(LAYOUT).values():
            for slot in series:
                metrics.add(slot)
    LAYOUT.clear_version(shared, 0)
    for family, labels, values in regions[0].totals():
        left = 2 if family.together == "sum" else 1
        expected = 0 if labels[:2] == ("churn", "3") else left
        assert values == [expected] * family.width


def test_worker_that_begins_sets_its_own_gauges_to_zero_and_nothing_else() -> None:
    shared = memoryview(bytearray(LAYOUT.size_bytes(2)))
    for region in range(2):
        metrics = Metrics(LAYOUT, shared, region)
        metrics.set(LAYOUT.slot(LAG), 0.5)
        metrics.set(LAYOUT.slot(IN_HAND, "fraud", "1"), 3)
        metrics.add(LAYOUT.slot(ROWS, "fraud", "1"), 4)
    replacement = Metrics(LAYOUT, shared, 1)
    assert total(replacement, LAG) == [0.5]
    assert total(replacement, IN_HAND, "fraud", "1") == [3]
    assert total(replacement, ROWS, "fraud", "1") == [8]


def test_every_ending_of_a_request_has_its_counter_and_its_times() -> None:
    known = slots(LAYOUT)
    for outcome in Outcome:
        for family in (REQUESTS, DURATION, QUEUE, PREDICT):
            assert (family, "churn", "3", outcome) in known


def test_what_all_workers_say_of_the_same_thing_is_not_summed() -> None:
    shared = memoryview(bytearray(LAYOUT.size_bytes(3)))
    first, second, third = (Metrics(LAYOUT, shared, region) for region in range(3))
    for family in (SNAPSHOT_AS_OF, SNAPSHOT_KEYS):
        slot = LAYOUT.slot(family, "churn", "3")
        first.set(slot, 1_000.0)
        second.set(slot, 1_007.0)  # it has seen the switch already
        assert total(third, family, "churn", "3") == [1_007.0]
        assert total(third, family, "fraud", "1") == [0.0]
    second.clear_gauges()
    assert total(third, SNAPSHOT_KEYS, "churn", "3") == [1_000.0]


def test_only_gauges_are_put_together_otherwise_than_by_a_sum() -> None:
    kinds = {family.kind for family in LAYOUT.families if family.together != "sum"}
    assert kinds == {"gauge"}


def test_of_instants_since_when_something_goes_on_the_earliest_counts_and_none_is_zero() -> None:
    shared = memoryview(bytearray(LAYOUT.size_bytes(3)))
    first, second, third = (Metrics(LAYOUT, shared, region) for region in range(3))
    slot = LAYOUT.slot(OVERLOADED_SINCE, "churn", "3")
    assert total(third, OVERLOADED_SINCE, "churn", "3") == [0.0]
    first.set(slot, 1_007.0)
    second.set(slot, 1_003.0)
    assert total(third, OVERLOADED_SINCE, "churn", "3") == [1_003.0]
    second.set(slot, 0.0)
    assert total(third, OVERLOADED_SINCE, "churn", "3") == [1_007.0]


def test_process_can_tell_what_it_has_counted_by_itself() -> None:
    shared = memoryview(bytearray(LAYOUT.size_bytes(2)))
    first, second = (Metrics(LAYOUT, shared, region) for region in range(2))
    slot = LAYOUT.slot(ROWS, "churn", "3")
    first.add(slot, 2)
    second.add(slot, 5)
    assert (first.own(slot), second.own(slot)) == (2, 5)


def test_keys_are_counted_by_version_and_by_what_they_were_answered_with() -> None:
    metrics = Metrics(LAYOUT, memoryview(bytearray(LAYOUT.size_bytes(1))), 0)
    for at, answered in enumerate(Answered, 1):
        metrics.add(LAYOUT.slot(ANSWERS, "fraud", "1", answered), at)
    for at, answered in enumerate(Answered, 1):
        assert total(metrics, ANSWERS, "fraud", "1", answered) == [at]
        assert total(metrics, ANSWERS, "churn", "3", answered) == [0]
    assert total(metrics, STORE_REQUESTS, "answered") == [0]
    assert total(metrics, STORE_REQUESTS, "failed") == [0]
