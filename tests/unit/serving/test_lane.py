"""A lane admits by what is in hand and what waits, and ends what can't be in time any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import DeadlineExceeded, Overloaded
from twofold.serving.cost import Cost, Curve
from twofold.serving.lane import LEAST_ROWS, PROBE_S, SHUT_S, Lane, in_ms
from twofold.serving.priority import Priority
from twofold.serving.waiting import Task

INTERACTIVE, NORMAL, BACKGROUND = Priority

Make = Callable[..., "Still"]


class Still(Lane):
    """A lane that predicts nothing: it is as busy as it is told."""

    busy_for_s = 0.0
    late_s = 0.0

    def busy_s(self, now_s: float) -> float:
        return self.busy_for_s

    def submit(self, task: Task) -> None:
        self.waiting.push(task)

    def admitted(self, within_s: float, priority: Priority = NORMAL, rows: int = 1) -> bool:
        try:
            self.admit(rows, priority, self.clock() + within_s, self.clock())
        except Overloaded:
            return False
        return True

    def batch(self, *, begins_in_s: float = 0.0) -> list[Task]:
        return self.take(self.clock(), begins_s=self.clock() + begins_in_s)


@pytest.fixture
def make(loop: Any) -> Make:
    def make(curve: Curve, *, max_rows: int = 100, max_tasks: int = 1_000) -> Still:
        lane = Still(
            Cost(curve, now_s=loop.now_s),
            max_rows=max_rows,
            max_tasks=max_tasks,
            clock=loop.clock,
            lag_s=lambda _: lane.late_s,
        )
        return lane

    return make


@pytest.mark.parametrize(
    ("curve", "rows"),
    [
        (Curve(0.0, 0.01), LEAST_ROWS),  # together is no quicker
        (Curve(0.01, 0.01), 10),
        (Curve(0.035, 0.01), 35),
        (Curve(0.5, 0.01), 100),  # as many as may be
        (Curve(0.01, 0.0), 100),
        (Curve(0.0, 0.0), 100),
    ],
)
def test_micro_batch_grows_until_its_fixed_cost_is_a_tenth(
    make: Make, curve: Curve, rows: int
) -> None:
    assert make(curve).batch_rows == rows


def test_request_expects_what_is_in_hand_what_waits_and_itself_in_calls_of_a_batch(
    make: Make, ask: Any
) -> None:
    lane = make(Curve(0.1, 0.1), max_rows=10)
    lane.busy_for_s, lane.late_s = 0.5, 0.25
    assert lane.admit(2, NORMAL, 1e9, 100.0) == pytest.approx(0.25 + 0.5 + 0.3)
    for rows in (4, 8):
        lane.submit(ask(rows).task)
    # Twelve rows are two calls of at most ten.
    assert lane.admit(2, NORMAL, 1e9, 100.0) == pytest.approx(0.25 + 0.5 + 2 * 0.1 + 1.2 + 0.3)


def test_what_waits_in_a_lower_class_is_not_waited_for(make: Make, ask: Any) -> None:
    lane = make(Curve(0.0, 0.1))
    lane.submit(ask(5, priority=BACKGROUND).task)
    assert [lane.admit(1, priority, 1e9, 100.0) for priority in Priority] == [
        pytest.approx(0.1),
        pytest.approx(0.1),
        pytest.approx(0.6),
    ]


def test_request_whose_turn_would_come_too_late_is_refused_with_the_reason(
    make: Make, ask: Any
) -> None:
    lane = make(Curve(0.0, 0.1))
    lane.submit(ask(20).task)
    assert lane.admitted(within_s=3.0)
    with pytest.raises(Overloaded) as caught:
        lane.admit(1, NORMAL, 101.5, 100.0)
    assert str(caught.value) == (
        "server: expected an answer within 1500 ms, got a queue of 2100 ms. Try again later."
    )
    assert 2 <= caught.value.retry_after_s <= 4


def test_margin_stretches_what_is_expected_when_it_is_compared_with_the_deadline(
    make: Make, ask: Any
) -> None:
    lane = make(Curve(0.0, 0.1))
    lane.submit(ask(10).task)
    assert lane.admitted(within_s=1.5)
    for _ in range(30):
        lane.cost.observe_wait(1.0, 5.0, 100.0)
    assert not lane.admitted(within_s=1.5)
    assert lane.admit(1, NORMAL, 1e9, 100.0) == pytest.approx(1.1), "what the margin is learnt from"


def test_no_more_wait_than_there_is_room_for(make: Make, ask: Any) -> None:
    lane = make(Curve(0.0, 0.0001), max_tasks=3)
    for _ in range(3):
        assert lane.admitted(within_s=1e9)
        lane.submit(ask().task)
    assert not lane.admitted(within_s=1e9, priority=INTERACTIVE)


def test_refusal_holds_for_a_moment_for_all_who_have_no_better_chance(
    make: Make, ask: Any, loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = make(Curve(0.0, 0.1))
    lane.submit(ask(20).task)
    asked: list[float] = []
    monkeypatch.setattr(lane, "busy_s", lambda now_s: asked.append(now_s) or 0.0)
    assert not lane.admitted(within_s=1.0)
    assert not lane.admitted(within_s=1.0)
    assert not lane.admitted(within_s=0.5, priority=BACKGROUND, rows=3)
    assert len(asked) == 1, "nothing was worked out again"
    loop.now_s += SHUT_S
    assert not lane.admitted(within_s=1.0)
    assert len(asked) == 2


@pytest.mark.parametrize("better", [{"priority": INTERACTIVE}, {"within_s": 5.0}, {"rows": 1}])
def test_who_has_a_better_chance_is_not_refused_for_the_sake_of_another(
    make: Make, ask: Any, better: dict[str, Any]
) -> None:
    lane = make(Curve(0.0, 0.1))
    lane.submit(ask(20).task)
    refused: dict[str, Any] = {"within_s": 2.7, "priority": NORMAL, "rows": 10}
    assert not lane.admitted(**refused)
    assert lane.admitted(**{**refused, **better})


def test_refusal_is_forgotten_when_less_waits(make: Make, ask: Any) -> None:
    lane = make(Curve(0.0, 0.1))
    lane.submit(ask(20).task)
    assert not lane.admitted(within_s=1.0)
    lane.batch()
    assert lane.admitted(within_s=1.0)


@given(
    st.integers(1, 50),
    st.lists(
        st.tuples(st.integers(1, 50), st.sampled_from(Priority), st.floats(0.001, 10.0)),
        min_size=2,
        max_size=6,
    ),
)
def test_nobody_is_refused_for_the_sake_of_another_who_would_be_admitted(
    waiting: int, requests: list[tuple[int, Priority, float]]
) -> None:
    def lane() -> Still:
        made = Still(
            Cost(Curve(0.0, 0.1), now_s=0.0),
            max_rows=100,
            max_tasks=100,
            clock=lambda: 0.0,
            lag_s=lambda _: 0.0,
        )
        made.submit(Task(None, waiting, 1e9, NORMAL, lambda _: None, 0.0, 0.0))
        return made

    busy = lane()
    for rows, priority, within_s in requests:
        found = busy.admitted(within_s, priority, rows)
        # It may only make up for what passes while it holds.
        alone = [lane().admitted(within_s - slack_s, priority, rows) for slack_s in (0.0, SHUT_S)]
        assert found in alone


def test_times_are_told_in_milliseconds_short_ones_with_three_digits() -> None:
    assert [in_ms(seconds) for seconds in (12.3456, 0.25, 0.0123456, 0.00005)] == [
        "12346 ms",
        "250 ms",
        "12.3 ms",
        "0.05 ms",
    ]


def test_idle_lane_takes_a_request_in_that_it_may_not_manage(make: Make) -> None:
    lane = make(Curve(0.0, 5.0))
    assert lane.admitted(within_s=1.0, priority=BACKGROUND)


def test_batch_is_what_waits_up_to_what_is_worth_it(make: Make, ask: Any) -> None:
    lane = make(Curve(0.05, 0.01), max_rows=100)
    asked = [ask() for _ in range(60)]
    for item in asked:
        lane.submit(item.task)
    assert lane.batch() == [item.task for item in asked[:50]]
    assert lane.batch() == [item.task for item in asked[50:]]
    assert lane.batch() == []


def test_what_can_t_be_in_time_any_more_is_told_so_and_not_predicted(make: Make, ask: Any) -> None:
    lane = make(Curve(0.0, 0.1))
    late, good = ask(within_s=0.55), ask(within_s=0.65)
    for item in (late, good):
        lane.submit(item.task)
    assert lane.batch(begins_in_s=0.5) == [good.task]
    assert isinstance(late.answer, DeadlineExceeded)
    assert str(late.answer) == (
        "deadline: expected 550 ms to be enough, got a longer queue; the model wasn't asked. "
        "Try again later, or send X-Twofold-Deadline-Ms with more time."
    )
    assert good.answers == []


def test_idle_model_is_asked_now_and_then_although_it_is_expected_to_be_late(
    make: Make, ask: Any, loop: Any
) -> None:
    # Else a curve that is wrong would never be put right: nothing would be observed any more.
    lane = make(Curve(5.0, 0.0))
    first, second, third = (ask(within_s=20 * PROBE_S / 4) for _ in range(3))
    for item in (first, second):
        item.task.deadline_s = loop.now_s + 1.0
        lane.submit(item.task)
    assert lane.batch() == [first.task]
    assert lane.batch() == []
    assert isinstance(second.answer, DeadlineExceeded)
    loop.now_s += PROBE_S
    third.task.deadline_s = loop.now_s + 1.0
    lane.submit(third.task)
    assert lane.batch() == [third.task]


def test_busy_model_is_never_asked_for_what_is_expected_to_be_late(make: Make, ask: Any) -> None:
    lane = make(Curve(5.0, 0.0))
    asked = ask(within_s=1.0)
    lane.submit(asked.task)
    assert lane.batch(begins_in_s=0.1) == []
    assert isinstance(asked.answer, DeadlineExceeded)


def test_model_is_not_asked_for_many_rows_only_to_see_how_long_they_take(
    make: Make, ask: Any
) -> None:
    lane = make(Curve(0.0, 0.3))
    many = ask(LEAST_ROWS + 1, within_s=1.0)
    few = ask(LEAST_ROWS, within_s=1.0)
    for item in (many, few):
        lane.submit(item.task)
    assert lane.batch() == [few.task]
    assert isinstance(many.answer, DeadlineExceeded)


def test_nobody_is_probed_with_whose_deadline_has_passed(make: Make, ask: Any, loop: Any) -> None:
    lane = make(Curve(5.0, 0.0))
    asked = ask(within_s=1.0)
    lane.submit(asked.task)
    loop.now_s += 1.0
    assert lane.batch() == []
    assert isinstance(asked.answer, DeadlineExceeded)
