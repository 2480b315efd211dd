"""What waits is taken by class and in order, in time or not at all; nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from twofold.serving.priority import Priority
from twofold.serving.waiting import CallerGone, Task, Waiting

INTERACTIVE, NORMAL, BACKGROUND = Priority
FOREVER_S = 1e9
EVERYTHING = {"max_rows": 1_000_000, "max_tasks": 1_000_000, "finish_s": lambda _: 0.0}


def task(
    rows: int = 1, deadline_s: float = FOREVER_S, priority: Priority = NORMAL, name: str = ""
) -> Task:
    return Task(name, rows, deadline_s, priority, lambda _: None, 0.0, 0.0)


def names(tasks: Iterable[Task]) -> str:
    return "".join(task.work for task in tasks)


def waiting_of(*tasks: Task) -> Waiting:
    waiting = Waiting()
    for item in tasks:
        waiting.push(item)
    return waiting


def taken(waiting: Waiting, **limits: Any) -> tuple[str, str]:
    """Names of the next micro-batch, and of what comes too late."""
    batch, expired = waiting.pop(**{**EVERYTHING, **limits})
    return names(batch), names(expired)


def test_all_that_waits_is_taken_the_highest_class_first_each_in_its_order() -> None:
    waiting = waiting_of(
        task(name="c", priority=BACKGROUND),
        task(name="b", priority=NORMAL),
        task(name="a", priority=INTERACTIVE),
        task(name="B", priority=NORMAL),
        task(name="A", priority=INTERACTIVE),
    )
    assert taken(waiting) == ("aAbBc", "")
    assert taken(waiting) == ("", "")


@pytest.mark.parametrize(
    ("limits", "batches"),
    [
        ({"max_rows": 5}, ["ab", "c", "de"]),
        ({"max_rows": 1}, ["a", "b", "c", "d", "e"]),
        ({"max_tasks": 2}, ["ab", "cd", "e"]),
    ],
)
def test_micro_batch_ends_where_the_next_one_is_too_much(
    limits: dict[str, int], batches: list[str]
) -> None:
    waiting = waiting_of(
        *(task(rows, name=name) for name, rows in zip("abcde", [2, 3, 9, 1, 4], strict=True))
    )
    assert [taken(waiting, **limits)[0] for _ in batches] == batches
    assert len(waiting) == 0


def test_newcomer_has_its_own_class_and_the_higher_ones_before_it() -> None:
    waiting = waiting_of(
        task(2, priority=INTERACTIVE), task(3, priority=NORMAL), task(5, priority=BACKGROUND)
    )
    assert [waiting.rows_before(priority) for priority in Priority] == [2, 5, 10]


def test_what_would_come_too_late_even_by_itself_is_not_predicted() -> None:
    waiting = waiting_of(task(4, 5.0, name="a"), task(2, 5.0, name="b"), task(9, 12.0, name="c"))
    assert taken(waiting, finish_s=lambda rows: 2.0 + rows) == ("b", "a")
    assert taken(waiting, finish_s=lambda rows: 4.0 + rows) == ("", "c")


def test_micro_batch_ends_before_what_would_make_any_of_it_late() -> None:
    patient = waiting_of(task(2, 5.0, name="a"), task(3, 100.0, name="b"), task(1, name="c"))
    assert taken(patient, finish_s=lambda rows: 1.0 * rows) == ("ab", "")
    hurried = waiting_of(task(2, 100.0, name="a"), task(3, 4.0, name="b"))
    assert taken(hurried, finish_s=lambda rows: 1.0 * rows) == ("a", "")
    assert taken(hurried, finish_s=lambda rows: 1.0 * rows) == ("b", "")


def test_what_nobody_waits_for_is_dropped_without_a_word() -> None:
    gone, ended = task(name="g"), task(name="e")
    waiting = waiting_of(gone, task(name="a"), ended)
    gone.gone = True
    ended.end("too late")
    assert taken(waiting) == ("a", "")
    assert waiting.rows == [0, 0, 0]


def test_suspect_is_predicted_without_company() -> None:
    tasks = [task(name=name) for name in "abcd"]
    tasks[1].alone = True
    waiting = waiting_of(*tasks)
    assert [taken(waiting)[0] for _ in range(3)] == ["a", "b", "cd"]


def test_what_is_pushed_back_is_the_next_again() -> None:
    waiting = waiting_of(*(task(name=name) for name in "abcd"))
    batch, _ = waiting.pop(max_rows=3, max_tasks=3, finish_s=lambda _: 0.0)
    for item in reversed(batch[1:]):
        waiting.push_back(item)
    assert taken(waiting) == ("bcd", "")


def test_every_deadline_that_has_passed_is_found_wherever_it_waits() -> None:
    gone = task(deadline_s=3.0, name="g", priority=BACKGROUND)
    waiting = waiting_of(
        task(name="a"),
        task(deadline_s=5.0, name="b"),
        task(name="c"),
        task(deadline_s=4.0, name="d", priority=INTERACTIVE),
        gone,
    )
    gone.gone = True
    assert names(waiting.expire(3.9)) == ""
    assert waiting.rows == [1, 3, 0]
    assert names(waiting.expire(5.0)) == "db"
    assert waiting.rows == [0, 2, 0]
    assert taken(waiting) == ("ac", "")


def test_task_is_answered_once_and_only_while_somebody_waits() -> None:
    answers: list[str] = []
    item = Task(None, 1, 1.0, NORMAL, answers.append, 0.0, 0.0)
    item.end("first")
    item.end("second")
    assert answers == ["first"]
    item = Task(None, 1, 1.0, NORMAL, answers.append, 0.0, 0.0)
    item.gone = True
    item.end("nobody hears it")
    assert answers == ["first"]
    assert item.ended


def test_task_whose_caller_leaves_says_so_once() -> None:
    answers: list[object] = []
    item = Task(None, 1, 1.0, NORMAL, answers.append, 0.0, 0.0)
    item.leave()
    item.leave()
    item.end("nobody hears it")
    assert [type(answer) for answer in answers] == [CallerGone]
    assert item.gone


@settings(max_examples=60, stateful_step_count=30)
class Queueing(RuleBasedStateMachine):
    """Any sequence of what a lane may do, beside lists of what must wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = Waiting()
        self.expected: list[list[Task]] = [[] for _ in Priority]
        self.last: list[Task] = []

    @rule(
        rows=st.integers(0, 8),
        deadline_s=st.floats(0.0, 100.0),
        priority=st.sampled_from(Priority),
        alone=st.booleans(),
    )
    def push(self, rows: int, deadline_s: float, priority: Priority, *, alone: bool) -> None:
        item = task(rows, deadline_s, priority)
        item.alone = alone
        self.waiting.push(item)
        self.expected[priority].append(item)

    @rule(priority=st.sampled_from(Priority), data=st.data())
    def hang_up(self, priority: Priority, data: st.DataObject) -> None:
        if self.expected[priority]:
            data.draw(st.sampled_from(self.expected[priority])).gone = True

    @rule(
        max_rows=st.integers(1, 20),
        max_tasks=st.integers(1, 6),
        begins_s=st.floats(0.0, 100.0),
        row_s=st.floats(0.0, 5.0),
    )
    def pop(self, max_rows: int, max_tasks: int, begins_s: float, row_s: float) -> None:
        def finish_s(rows: int) -> float:
            return begins_s + row_s * rows

        batch, expired = self.waiting.pop(max_rows=max_rows, max_tasks=max_tasks, finish_s=finish_s)
        self._are_gone_from_the_front(batch, expired)
        self.last = batch
        rows = sum(item.rows for item in batch)
        assert all(not item.gone and finish_s(rows) <= item.deadline_s for item in batch)
        assert all(finish_s(item.rows) > item.deadline_s for item in expired)
        if len(batch) > 1:
            assert rows <= max_rows
            assert len(batch) <= max_tasks
            assert not any(item.alone for item in batch)
        assert [item.priority for item in batch] == sorted(item.priority for item in batch)
        following = next((queue[0] for queue in self.expected if queue), None)
        if following is not None:
            # It waits for a reason.
            more = rows + following.rows
            assert batch
            assert (
                more > max_rows
                or len(batch) == max_tasks
                or following.alone
                or batch[0].alone
                or finish_s(more) > min(item.deadline_s for item in [*batch, following])
            )

    def _are_gone_from_the_front(self, batch: list[Task], expired: list[Task]) -> None:
        """Exactly those were taken, in their order, and what nobody waits for."""
        for priority, expected in enumerate(self.expected):
            kept = list(self.waiting._queues[priority])
            removed = expected[: len(expected) - len(kept)]
            assert kept == expected[len(removed) :]
            assert [item for item in batch if item.priority == priority] == [
                item for item in removed if item in batch
            ]
            assert all(item in batch or item in expired or item.gone for item in removed)
            assert not any(item in kept for item in [*batch, *expired])
            self.expected[priority] = kept

    @rule(data=st.data())
    def push_back(self, data: st.DataObject) -> None:
        keep = data.draw(st.integers(0, len(self.last)))
        for item in reversed(self.last[keep:]):
            self.waiting.push_back(item)
            self.expected[item.priority].insert(0, item)
        self.last = []

    @rule(now_s=st.floats(0.0, 100.0))
    def expire(self, now_s: float) -> None:
        expired = self.waiting.expire(now_s)
        everybody = [item for queue in self.expected for item in queue if not item.gone]
        assert expired == [item for item in everybody if item.deadline_s <= now_s]
        self.expected = [
            [item for item in queue if not item.gone and item.deadline_s > now_s]
            for queue in self.expected
        ]

    @invariant()
    def counters_are_those_of_what_waits(self) -> None:
        assert [list(queue) for queue in self.waiting._queues] == self.expected
        assert self.waiting.rows == [sum(item.rows for item in queue) for queue in self.expected]
        assert len(self.waiting) == sum(map(len, self.expected))


class TestQueueing(Queueing.TestCase):
    pass
