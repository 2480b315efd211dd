"""A worker notes when its loop stood still, since when it refuses, and what it could answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import record_of

from twofold.model.record import Candidate
from twofold.serving.cost import Cost, Curve
from twofold.serving.metrics import (
    BLOCKED_AT,
    BLOCKS,
    CAPACITY,
    IS_APART,
    LONGEST_BLOCK,
    OVERLOADED_SINCE,
    PACKED_ROW_COST,
    ROW_COST,
    Metrics,
    layout_for,
)
from twofold.serving.service import Served, Service
from twofold.serving.turn import Turn
from twofold.serving.vitals import (
    BLOCK_S,
    MEMORY_S,
    PAUSE_S,
    Episode,
    Longest,
    Vitals,
    packed_row_s,
)

EVERY_S = 0.25
UNIX_S = 1_700_000_000.0
DOUBLER = ("doubler", "1")


class Model:
    quick = None

    def predict_checked(self, rows: Any, *, one_by_one: int = 1) -> Any:
        return [[row[0] * 2 for row in rows]]


class Bench:
    """A worker of one model, whose clocks are moved by hand."""

    def __init__(self, loop: Any, *, turn: Turn | None = None) -> None:
        self.loop = loop
        self.block_s = self.cpu_s = 0.0
        layout = layout_for([DOUBLER], [200])
        self.metrics = Metrics(layout, memoryview(bytearray(layout.size_bytes(1))), region=0)
        self.served = Served(record_of(*DOUBLER), self.metrics, model=Model(), turn=turn)
        service = Service([self.served], self.metrics, clock=loop.clock)
        self.vitals = Vitals(
            service,
            longest_block_s=lambda: self.block_s,
            every_s=EVERY_S,
            unix_s=lambda: UNIX_S + loop.now_s,
            cpu_s=lambda: self.cpu_s,
        )

    def note(self, after_s: float = EVERY_S) -> None:
        self.loop.now_s += after_s
        self.vitals.note()

    def answered(self, requests: int, *, rows: int, predict_s: float) -> None:
        served = self.served
        for _ in range(requests):
            self.metrics.answered(
                served.ok_slot, served.rows_slot, rows, served.duration_slot, predict_s,
                served.queue_slot, 0.0, served.predict_slot, predict_s,
            )  # fmt: skip

    def value(self, family: str, *labels: str) -> float:
        return self.metrics.own(self.metrics.layout.slot(family, *labels))


@pytest.fixture
def bench(loop: Any) -> Bench:
    return Bench(loop)


def lane(loop: Any, curve: Curve) -> Turn:
    return Turn(
        lambda groups: groups,
        loop.call_soon,
        cost=Cost(curve, now_s=loop.now_s),
        max_rows=64,
        max_tasks=64,
        clock=loop.clock,
        lag_s=lambda _: 0.0,
    )


def test_loop_that_is_called_in_time_was_not_blocked(bench: Bench) -> None:
    for _ in range(8):
        bench.note()
    assert [bench.value(name) for name in (BLOCKS, LONGEST_BLOCK, BLOCKED_AT)] == [0, 0, 0]


def test_process_that_was_stopped_is_seen_by_being_late(bench: Bench) -> None:
    bench.note()
    bench.note(EVERY_S + 1.5)
    assert bench.value(BLOCKS) == 1
    assert bench.value(LONGEST_BLOCK) == pytest.approx(1.5)
    assert bench.value(BLOCKED_AT) == UNIX_S + bench.loop.now_s


def test_long_thing_is_a_block_and_counted_once(bench: Bench) -> None:
    bench.note()
    bench.block_s = 2 * BLOCK_S
    bench.note(EVERY_S + BLOCK_S)
    bench.block_s = 0.9 * BLOCK_S
    bench.note()
    assert bench.value(BLOCKS) == 1
    assert bench.value(LONGEST_BLOCK) == pytest.approx(2 * BLOCK_S)


def test_longest_block_is_forgotten_after_a_minute_and_its_count_stays(bench: Bench) -> None:
    bench.note()
    bench.note(EVERY_S + 1.0)
    for _ in range(round(MEMORY_S / EVERY_S) + 1):
        bench.note()
    assert bench.value(LONGEST_BLOCK) == 0.0
    assert bench.value(BLOCKS) == 1


def test_overload_has_a_beginning_and_ends_with_a_pause(bench: Bench) -> None:
    bench.note()
    assert bench.value(OVERLOADED_SINCE, *DOUBLER) == 0.0
    began_s = bench.served.shed_s = bench.loop.now_s
    for _ in range(40):
        bench.note()
        bench.served.shed_s = bench.loop.now_s
        since_s = bench.value(OVERLOADED_SINCE, *DOUBLER)
        assert since_s == pytest.approx(UNIX_S + began_s, abs=1e-3)
    bench.note(PAUSE_S + 0.1)
    assert bench.value(OVERLOADED_SINCE, *DOUBLER) == 0.0


def test_refusal_by_the_lane_begins_an_overload_as_one_without_a_lane_does(loop: Any) -> None:
    bench = Bench(loop, turn=lane(loop, Curve(0.0, 0.001)))
    assert bench.served.last_shed_s == -float("inf")
    assert bench.served.turn is not None
    bench.served.turn.shed_s = loop.now_s
    bench.note()
    assert bench.value(OVERLOADED_SINCE, *DOUBLER) == pytest.approx(UNIX_S + loop.now_s - EVERY_S)


def test_capacity_of_a_lane_is_what_its_rows_cost_and_requests_have(loop: Any) -> None:
    bench = Bench(loop, turn=lane(loop, Curve(0.0, 0.001)))
    bench.note()
    assert bench.value(CAPACITY, *DOUBLER) == pytest.approx(1_000.0)
    assert bench.value(ROW_COST, *DOUBLER) == pytest.approx(0.001)
    for _ in range(30):
        bench.answered(10, rows=4, predict_s=0.004)
        bench.note(1.0)
    assert bench.value(CAPACITY, *DOUBLER) == pytest.approx(250.0, rel=0.01)


def test_capacity_without_a_lane_is_what_would_be_answered_if_it_were_always_busy(
    bench: Bench,
) -> None:
    bench.note()
    assert bench.value(CAPACITY, *DOUBLER) == 0.0
    bench.answered(500, rows=1, predict_s=0.00002)
    bench.cpu_s += 0.25
    bench.note(1.0)
    assert bench.value(CAPACITY, *DOUBLER) == pytest.approx(2_000.0)
    assert bench.value(ROW_COST, *DOUBLER) == pytest.approx(0.00002)
    # Who is hardly busy tells nothing: what was known stays.
    bench.answered(1, rows=1, predict_s=0.00002)
    bench.cpu_s += 0.01
    bench.note(1.0)
    assert bench.value(CAPACITY, *DOUBLER) == pytest.approx(2_000.0)


def test_what_never_changes_is_noted_at_the_beginning(bench: Bench) -> None:
    assert bench.value(IS_APART, *DOUBLER) == 0.0
    assert bench.value(PACKED_ROW_COST, *DOUBLER) == packed_row_s(bench.served)


def test_packed_cost_is_that_of_the_runtime_that_answers(loop: Any) -> None:
    bench = Bench(loop)
    record = bench.served.record
    candidate = Candidate(
        runtime=record.runtimes.real_time, passed=True, reason="", one_row_s=0.0125
    )
    other = msgspec.structs.replace(candidate, runtime="onnx", one_row_s=9.0)
    parity = msgspec.structs.replace(record.parity, candidates=(other, candidate))
    bench.served.record = msgspec.structs.replace(record, parity=parity)
    assert packed_row_s(bench.served) == 0.0125
    nothing = msgspec.structs.replace(parity, candidates=(other,))
    bench.served.record = msgspec.structs.replace(record, parity=nothing)
    assert packed_row_s(bench.served) == 0.0


@given(st.lists(st.tuples(st.floats(0.01, 50.0), st.floats(0.0, 9.0)), min_size=1, max_size=40))
def test_longest_is_the_longest_of_the_last_minute(seen: list[tuple[float, float]]) -> None:
    longest, now_s = Longest(), 0.0
    all_seen: list[tuple[float, float]] = []
    for after_s, took_s in seen:
        now_s += after_s
        all_seen.append((now_s, took_s))
        recent = [took for at, took in all_seen if at >= now_s - MEMORY_S]
        assert longest.see(took_s, now_s) == max(recent)


def test_episode_that_was_never_seen_has_no_beginning() -> None:
    episode = Episode()
    assert episode.since_s(-float("inf"), 5.0) is None
    assert episode.since_s(4.0, 5.0) == 4.0
    assert episode.since_s(8.0, 9.0) == 4.0
    assert episode.since_s(8.0, 8.1 + PAUSE_S) is None
