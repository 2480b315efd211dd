"""What was readable in one turn of the loop is predicted together at its end, without a timer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from twofold.errors import DeadlineExceeded, Overloaded
from twofold.serving.cost import Cost, Curve
from twofold.serving.priority import Priority
from twofold.serving.turn import MAX_BLOCK_S, Turn


class Bench:
    """A lane whose model doubles numbers, fails on negative ones, and takes manual time."""

    def __init__(self, loop: Any, curve: Curve, max_rows: int = 1_000) -> None:
        self.loop = loop
        self.calls: list[list[Any]] = []
        self.takes_s = 0.0
        self.lane = Turn(
            self._predict,
            loop.call_soon,
            cost=Cost(curve, now_s=loop.now_s),
            max_rows=max_rows,
            max_tasks=1_000,
            clock=loop.clock,
            lag_s=lambda _: 0.0,
        )

    def _predict(self, groups: Sequence[Any]) -> list[Any]:
        self.calls.append(list(groups))
        self.loop.now_s += self.takes_s
        return [ValueError(number) if number < 0 else number * 2 for number in groups]


Make = Callable[..., Bench]


@pytest.fixture
def make(loop: Any) -> Make:
    def make(curve: Curve = Curve(0.001, 0.00001), **options: int) -> Bench:  # noqa: B008 - frozen
        return Bench(loop, curve, **options)

    return make


def test_what_comes_in_a_turn_is_predicted_in_one_call_at_its_end(
    make: Make, ask: Any, loop: Any
) -> None:
    bench = make()
    asked = [ask(work=number) for number in (1, 2, 3)]
    for item in asked:
        bench.lane.submit(item.task)
    assert bench.calls == []
    loop.turn()
    assert bench.calls == [[1, 2, 3]]
    assert [item.answer for item in asked] == [2, 4, 6]


def test_idle_loop_is_left_alone(make: Make, ask: Any, loop: Any) -> None:
    bench = make()
    bench.lane.submit(ask(work=1).task)
    for _ in range(3):
        loop.turn()
    assert loop._soon == []
    bench.lane.submit(ask(work=2).task)
    loop.turn()
    assert bench.calls == [[1], [2]]


def test_request_the_model_fails_on_is_answered_with_its_error(
    make: Make, ask: Any, loop: Any
) -> None:
    bench = make()
    bad, good = ask(work=-1), ask(work=1)
    for item in (bad, good):
        bench.lane.submit(item.task)
    loop.turn()
    assert isinstance(bad.answer, ValueError)
    assert good.answer == 2


def test_loop_is_never_blocked_for_long(make: Make, ask: Any, loop: Any) -> None:
    bench = make(Curve(0.001, 0.0005))
    for number in range(8):
        bench.lane.submit(ask(work=number).task)
    loop.turn()
    # A call of six rows is expected to take as long as the loop may be blocked.
    assert bench.calls == [[0, 1, 2, 3, 4, 5]]
    assert bench.lane.cost.curve(6) <= MAX_BLOCK_S
    loop.turn()
    assert bench.calls[1:] == [[6, 7]]


def test_one_row_is_predicted_however_long_it_blocks(make: Make, ask: Any, loop: Any) -> None:
    bench = make(Curve(0.01, 0.1))
    for number in range(2):
        bench.lane.submit(ask(work=number).task)
    for _ in range(2):
        loop.turn()
    assert bench.calls == [[0], [1]]


def test_between_two_micro_batches_the_loop_reads_what_has_come(
    make: Make, ask: Any, loop: Any
) -> None:
    bench = make(max_rows=2)
    for number in range(3):
        bench.lane.submit(ask(work=number).task)
    loop.turn()
    bench.lane.submit(ask(work=9, priority=Priority.INTERACTIVE).task)
    loop.turn()
    assert bench.calls == [[0, 1], [9, 2]]


def test_task_learns_when_its_turn_began_and_how_long_the_model_took(
    make: Make, ask: Any, loop: Any
) -> None:
    bench = make()
    asked = ask(work=1)
    bench.lane.submit(asked.task)
    loop.now_s += 0.5
    bench.takes_s = 0.25
    loop.turn()
    assert (asked.task.admitted_s, asked.task.started_s) == (100.0, 100.5)
    assert asked.task.predict_s == 0.25


def test_cost_and_waits_are_learnt_from_every_call(make: Make, ask: Any, loop: Any) -> None:
    bench = make(Curve(0.0, 0.001))
    bench.takes_s = 0.002
    for _ in range(100):
        bench.lane.submit(ask(work=1, expected_s=0.001).task)
        loop.turn()
    assert bench.lane.cost.curve(1) == pytest.approx(0.002, rel=0.01)
    assert bench.lane.cost.margin(loop.now_s) > 1.5


def test_what_can_t_be_in_time_any_more_is_ended_and_the_lane_goes_on(
    make: Make, ask: Any, loop: Any
) -> None:
    bench = make()
    late = ask(work=1, within_s=0.2)
    bench.lane.submit(late.task)
    loop.now_s += 0.3
    loop.turn()
    assert isinstance(late.answer, DeadlineExceeded)
    assert bench.calls == []
    good = ask(work=2)
    bench.lane.submit(good.task)
    loop.turn()
    assert good.answer == 4


def test_request_whose_caller_has_gone_is_not_predicted(make: Make, ask: Any, loop: Any) -> None:
    bench = make()
    gone, good = ask(work=1), ask(work=2)
    for item in (gone, good):
        bench.lane.submit(item.task)
    gone.task.gone = True
    loop.turn()
    assert bench.calls == [[2]]
    assert gone.answers == []


def test_request_sent_while_an_answer_is_given_is_predicted_in_the_next_turn(
    make: Make, ask: Any, loop: Any
) -> None:
    bench = make()
    first, second = ask(work=1), ask(work=2)
    first.task.done = lambda _: bench.lane.submit(second.task)
    bench.lane.submit(first.task)
    loop.turn()
    assert bench.calls == [[1]]
    loop.turn()
    assert bench.calls == [[1], [2]]
    assert second.answer == 4
    assert loop._soon == []


def test_answer_that_can_t_be_given_costs_the_others_nothing_but_a_turn(
    make: Make, ask: Any, loop: Any
) -> None:
    bench = make(max_rows=1)
    first, second = ask(work=1), ask(work=2)

    def broken(answer: Any) -> None:
        raise ConnectionError

    first.task.done = broken
    for item in (first, second):
        bench.lane.submit(item.task)
    with pytest.raises(ConnectionError):
        loop.turn()
    loop.turn()
    assert second.answer == 4


def test_nothing_is_half_done_when_a_request_asks_to_be_admitted(make: Make, ask: Any) -> None:
    bench = make(Curve(0.0, 0.001))
    assert bench.lane.admit(1, Priority.NORMAL, 101.0, 100.0) == pytest.approx(0.001)
    for number in range(900):
        bench.lane.submit(ask(work=number).task)
    with pytest.raises(Overloaded):
        bench.lane.admit(1, Priority.NORMAL, 101.0, 100.0)
