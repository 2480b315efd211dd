"""A quota holds over all workers together, whichever of them is asked, and when."""

from __future__ import annotations

import multiprocessing
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.serving.quotas import (
    MAX_KEYS,
    NUMBER_BYTES,
    ROUNDING_S,
    SLOTS,
    Quota,
    Quotas,
    default_burst,
    slots_of,
)
from twofold.serving.shared import SharedArray

SLOTS_HERE = 8
SLOT = 5
SLACK_S = 2 * ROUNDING_S
START_S = 250_000.0
"""The clock of a machine that has been up for some days."""


class Workers:
    """Several workers' quotas over one array."""

    def __init__(self, count: int, quota: Quota) -> None:
        self.quota = quota
        self.now_s = START_S
        self.shared = bytearray(Quotas.size_bytes(count, SLOTS_HERE))
        self._count = count
        self.workers = [self.worker(region) for region in range(count)]

    def worker(self, region: int, shared: bytearray | None = None) -> Quotas:
        view = memoryview(self.shared if shared is None else shared)
        return Quotas(view, regions=self._count, region=region, capacity_keys=SLOTS_HERE)

    def take(self, region: int = 0) -> bool:
        return self.workers[region].take(SLOT, self.quota, self.now_s) == 0.0

    def taken(self, times: int) -> int:
        """Ask so many times at once, the workers in turn."""
        return sum(self.take(turn % self._count) for turn in range(times))

    def take_together(self, regions: set[int]) -> int:
        """Ask several workers in the same instant: none sees what the others take."""
        before = bytes(self.shared)
        numbers = memoryview(self.shared).cast("d")
        taken = 0
        for region in regions:
            alone = bytearray(before)
            taken += self.worker(region, alone).take(SLOT, self.quota, self.now_s) == 0.0
            written = memoryview(alone).cast("d")
            for place in range(region, len(numbers), self._count):
                numbers[place] = written[place]
        return taken


def test_rested_key_may_ask_for_its_burst_at_once_and_then_for_its_rate() -> None:
    workers = Workers(3, Quota(10.0, 4))
    assert workers.taken(9) == 4
    workers.now_s += 0.1 + SLACK_S
    assert workers.taken(9) == 1
    workers.now_s += 0.35
    assert workers.taken(9) == 3
    workers.now_s += 1_000
    assert workers.taken(9) == 4


def test_refusal_says_when_there_will_be_room_and_costs_nothing() -> None:
    workers = Workers(2, Quota(2.0, 1))
    first, second = workers.workers
    assert first.take(SLOT, workers.quota, START_S) == 0.0
    for _ in range(5):
        assert second.take(SLOT, workers.quota, START_S) == pytest.approx(0.5)
    assert second.take(SLOT, workers.quota, START_S + 0.4) == pytest.approx(0.1)
    assert second.take(SLOT, workers.quota, START_S + 0.5 + SLACK_S) == 0.0


def test_worker_that_was_not_asked_for_long_knows_what_the_others_let_in() -> None:
    workers = Workers(2, Quota(10.0, 5))
    assert workers.take(1)
    # A hundred seconds of just the rate: a bucket that only one worker keeps would by now have
    # forgotten a thousand requests, or hold all of them against the key.
    for _ in range(1_000):
        workers.now_s += 0.1 + SLACK_S
        assert workers.take(0)
    assert [workers.take(1) for _ in range(6)] == [True] * 4 + [False] * 2


def test_worker_that_replaces_a_dead_one_goes_on_with_its_bucket() -> None:
    workers = Workers(2, Quota(1.0, 3))
    assert workers.taken(3) == 3
    workers.workers = [workers.worker(0), workers.worker(1)]
    assert workers.taken(2) == 0
    workers.now_s += 1 + SLACK_S
    assert workers.taken(2) == 1


def test_keys_do_not_touch_each_other() -> None:
    workers = Workers(2, Quota(1.0, 1))
    first, second = workers.workers
    for slot in (0, 1, SLOTS_HERE - 1):
        assert first.take(slot, workers.quota, START_S) == 0.0
    for slot in (0, 1, SLOTS_HERE - 1):
        assert second.take(slot, workers.quota, START_S) > 0.0
    assert second.take(2, workers.quota, START_S) == 0.0


@pytest.mark.parametrize("rate", [0.5, 1_000.0])
def test_changed_quota_holds_at_once_and_waits_out_no_more_than_the_old_burst(rate: float) -> None:
    workers = Workers(2, Quota(10.0, 20))
    assert workers.taken(30) == 20
    workers.quota = Quota(rate, 1)
    wait_s = workers.workers[0].take(SLOT, workers.quota, workers.now_s)
    assert 0 < wait_s <= 2 + SLACK_S
    workers.now_s += 2 + SLACK_S
    assert workers.taken(3) == 1


def test_one_process_counts_by_itself() -> None:
    quotas, quota = Quotas.of_one_process(), Quota(1.0, 2)
    waits_s = [quotas.take(SLOTS - 1, quota, 0.0) for _ in range(3)]
    assert waits_s == [0.0, 0.0, pytest.approx(1.0)]


PAUSES_S = st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 20))
QUOTAS = st.builds(Quota, st.floats(0.1, 50), st.integers(1, 12))


@given(
    quota=QUOTAS,
    count=st.integers(1, 5),
    steps=st.lists(st.tuples(PAUSES_S, st.sets(st.integers(0, 4), min_size=1)), max_size=60),
)
def test_no_window_ever_sees_more_than_its_burst_its_rate_and_a_request_per_worker(
    quota: Quota, count: int, steps: list[tuple[float, set[int]]]
) -> None:
    workers = Workers(count, quota)
    taken: list[tuple[float, int]] = []
    for pause_s, regions in steps:
        workers.now_s += pause_s
        together = workers.take_together({region % count for region in regions})
        taken.append((workers.now_s, together))
    for first, (start_s, _) in enumerate(taken):
        total = 0
        for end_s, number in taken[first:]:
            total += number
            window_s = end_s - start_s + SLACK_S
            allowed = quota.burst_requests + quota.max_requests_per_s * window_s
            assert total <= allowed + (count - 1)


@given(
    quota=QUOTAS,
    count=st.integers(1, 5),
    steps=st.lists(st.tuples(PAUSES_S, st.integers(0, 4)), max_size=60),
)
def test_one_after_the_other_workers_are_one_token_bucket(
    quota: Quota, count: int, steps: list[tuple[float, int]]
) -> None:
    workers = Workers(count, quota)
    rate = quota.max_requests_per_s
    tokens, before_s = float(quota.burst_requests), workers.now_s
    for pause_s, region in steps:
        workers.now_s += pause_s
        tokens = min(quota.burst_requests, tokens + rate * (workers.now_s - before_s))
        before_s = workers.now_s
        wait_s = workers.workers[region % count].take(SLOT, quota, workers.now_s)
        # At the very edge rounding decides.
        if wait_s == 0.0:
            assert tokens >= 1 - rate * SLACK_S
            tokens -= 1
        else:
            assert tokens < 1 + rate * SLACK_S
            assert wait_s == pytest.approx((1 - tokens) / rate, abs=SLACK_S)


@given(
    quota=QUOTAS,
    count=st.integers(1, 5),
    steps=st.lists(st.tuples(PAUSES_S, st.sets(st.integers(0, 4), min_size=1)), max_size=30),
    one=st.integers(0, 4),
    other=st.integers(0, 4),
)
def test_whoever_waits_as_long_as_was_said_is_let_in_by_any_worker(
    quota: Quota, count: int, steps: list[tuple[float, set[int]]], one: int, other: int
) -> None:
    workers = Workers(count, quota)
    for pause_s, regions in steps:
        workers.now_s += pause_s
        workers.take_together({region % count for region in regions})
    wait_s = workers.workers[one % count].take(SLOT, quota, workers.now_s)
    if wait_s > 0.0:
        # At most for a burst, and for what workers let in without seeing each other.
        assert wait_s <= (quota.burst_requests + count) / quota.max_requests_per_s
        workers.now_s += wait_s
        assert workers.take(other % count)


def take_in_child(shared: SharedArray, region: int, results: SharedArray) -> None:
    quotas = Quotas(shared.view, regions=2, region=region)
    quota = Quota(0.001, 500)
    taken = sum(quotas.take(SLOT, quota, time.monotonic()) == 0.0 for _ in range(5_000))
    results.view.cast("d")[region] = taken


def test_real_processes_let_in_one_burst_between_them() -> None:
    shared = SharedArray.of_size(Quotas.size_bytes(2))
    results = SharedArray.of_size(2 * NUMBER_BYTES)
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=take_in_child, args=(shared, region, results)) for region in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert 500 <= sum(results.view.cast("d")) <= 501


# Slots.

NAMES = st.sets(st.text("abc", min_size=1, max_size=4), max_size=40)


@given(st.lists(st.sampled_from([f"key-{number}" for number in range(60)]), unique=True))
def test_slots_depend_on_the_names_and_not_on_their_order(names: list[str]) -> None:
    slots = slots_of(names, 64)
    assert slots_of(sorted(names), 64) == slots
    assert set(slots) == set(names)
    assert len(set(slots.values())) == len(names)
    assert all(0 <= slot < 64 for slot in slots.values())


@given(names=NAMES, more=st.text("abc", min_size=1, max_size=4))
def test_name_keeps_its_slot_unless_it_collides_with_what_came(names: set[str], more: str) -> None:
    before, after = slots_of(names, 64), slots_of({*names, more}, 64)
    moved = {name for name in names if before[name] != after[name]}
    if after[more] not in before.values():
        assert not moved
    alone = {name: slots_of([name], 64)[name] for name in moved | {more}}
    # All of one run of neighbours, which begins where the newcomer belongs.
    assert all((before[name] - alone[more]) % 64 <= len(names) for name in moved)


def test_slots_are_the_same_in_every_process_and_release() -> None:
    # Workers of one server agree on them without a word; Python's own hash would not do.
    assert slots_of(["support-desk", "nightly"]) == {"nightly": 3862, "support-desk": 1143}


def test_even_all_keys_have_slots_of_their_own() -> None:
    names = [f"team-{number}" for number in range(MAX_KEYS)]
    slots = slots_of(names)
    assert len(set(slots.values())) == MAX_KEYS
    assert max(slots.values()) < SLOTS
    assert len(set(slots_of(names, MAX_KEYS).values())) == MAX_KEYS


@pytest.mark.parametrize(("rate", "burst"), [(0.001, 1), (0.5, 1), (0.6, 2), (50.0, 100), (1.2, 3)])
def test_default_burst_is_two_seconds_of_requests(rate: float, burst: int) -> None:
    assert default_burst(rate) == burst
