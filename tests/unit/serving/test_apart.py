"""Requests reach a model in a process of its own, whatever becomes of the process.

The process is played by the test, at the other end of a real pipe and a real mailbox.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from twofold.errors import ConfigError, DeadlineExceeded, Overloaded, PredictionFailed
from twofold.serving.apart import (
    COUNTED_BYTES,
    MAX_BATCHES_HELD,
    RETRY_S,
    SWEEP_S,
    Apart,
    Child,
)
from twofold.serving.cost import Cost, Curve
from twofold.serving.mailbox import MAX_TASKS, Hello, Job, Mailbox, Result, Sender, Word, say_hello
from twofold.serving.priority import Priority
from twofold.serving.restarts import Restarts

START_S = 0.5
ROW_S = 0.01
MAX_PREDICT_S = 5.0
MAX_BYTES = 100


class Model:
    """A process that was started, and does what the test says."""

    def __init__(self, loop: Any) -> None:
        ours, self._pipe = multiprocessing.Pipe()
        self._loop = loop
        self._taken: list[tuple[int, list[Job]]] = []
        self.mailbox = Mailbox()
        self.sender = Sender(ours, self.mailbox)
        self.calls: list[str] = []
        self.is_dead = False

    def kill(self) -> None:
        self.calls.append("kill")
        self.die()

    def join(self, timeout: float | None = None) -> None:
        self.calls.append("join")

    def die(self) -> None:
        self.is_dead = True
        self._pipe.close()

    def say(self, hello: Hello | None = None) -> None:
        """Say the first word, and have it heard."""
        say_hello(self._pipe, hello or Hello(0.0, ROW_S))
        self._loop.look()

    def take(self) -> list[bytes]:
        """Bodies of the next micro-batch, which must be here."""
        assert self._pipe.poll(), "nothing was handed over"
        word = msgspec.msgpack.decode(self._pipe.recv_bytes(), type=Word)
        packed = self.mailbox.requests[word.slot].get(word.size_bytes)
        jobs = msgspec.msgpack.decode(packed, type=list[Job])
        self._taken.append((word.slot, jobs))
        return [job.body for job in jobs]

    @property
    def has_more(self) -> bool:
        return self._pipe.poll()

    def answer(self, *, rows: int = 1, took_s: float = ROW_S, predict_s: float = ROW_S / 2) -> None:
        """Answer the first micro-batch that was taken, and have it heard."""
        slot, jobs = self._taken.pop(0)
        results = [Result("ok", rows, b"to " + job.body) for job in jobs]
        size = self.mailbox.results[slot].put(msgspec.msgpack.encode(results))
        word = Word(slot, size, predict_s, took_s)
        self._pipe.send_bytes(msgspec.msgpack.encode(word))
        self._loop.look()

    def gone(self, slot: int, count: int) -> list[bool]:
        start = slot * MAX_TASKS
        return [bool(flag) for flag in self.mailbox.gone.view[start : start + count]]


class Bench:
    """A lane, and the processes that it has started."""

    def __init__(self, loop: Any, *, max_rows: int = 1_000, restarts_per_min: int = 100) -> None:
        self.loop = loop
        self.models: list[Model] = []
        self.deaths = 0
        self.no_process = 0
        self.lane = Apart(
            self._spawn,
            loop,
            name="churn@3",
            start_s=START_S,
            restarts=Restarts(max_per_min=restarts_per_min),
            died=self._died,
            max_predict_s=MAX_PREDICT_S,
            max_batch_bytes=MAX_BYTES,
            cost=Cost(Curve(0.0, ROW_S), now_s=loop.now_s),
            max_rows=max_rows,
            max_tasks=5_000,
            clock=loop.clock,
            lag_s=lambda _: 0.0,
        )

    def _spawn(self) -> Child:
        if self.no_process:
            self.no_process -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        model = Model(self.loop)
        self.models.append(model)
        return Child(model, model.sender, model.mailbox, self.loop.now_s)

    def _died(self) -> None:
        self.deaths += 1

    @property
    def model(self) -> Model:
        """The process that was started last."""
        return self.models[-1]

    def ready(self, hello: Hello | None = None) -> Model:
        """Start the first process, or go on with the one that was started; it is ready."""
        if not self.models:
            self.lane.start()
        self.model.say(hello)
        assert self.lane.is_ready
        return self.model

    def die(self) -> Model:
        """Let the process die; give the one that replaces it."""
        count = len(self.models)
        self.model.die()
        self.loop.look()
        self.loop.run(0.0)
        assert len(self.models) == count + 1
        return self.model

    def submit(self, *asked: Any) -> None:
        for item in asked:
            self.lane.submit(item.task)


Make = Callable[..., Bench]


@pytest.fixture
def make(loop: Any) -> Iterator[Make]:
    made: list[Bench] = []

    def make(**options: int) -> Bench:
        made.append(Bench(loop, **options))
        return made[-1]

    yield make
    for bench in made:
        bench.lane.stop()


@pytest.fixture
def bench(make: Make) -> Bench:
    return make()


def admit(bench: Bench, *, within_s: float) -> float:
    now_s = bench.loop.now_s
    return bench.lane.admit(1, Priority.NORMAL, now_s + within_s, now_s)


# Starting.


def test_process_is_started_by_the_first_request_and_answers_it_once_it_has_loaded(
    bench: Bench, ask: Any
) -> None:
    assert bench.models == []
    assert admit(bench, within_s=10.0) == pytest.approx(START_S + ROW_S)
    asked = ask(body=b"a")
    bench.submit(asked)
    assert len(bench.models) == 1
    assert not bench.lane.is_ready
    admit(bench, within_s=10.0)
    assert len(bench.models) == 1
    model = bench.ready()
    assert model.take() == [b"a"]
    model.answer()
    assert asked.answer == Result("ok", 1, b"to a")


def test_request_that_can_t_wait_for_the_process_to_start_is_refused(
    bench: Bench, loop: Any
) -> None:
    with pytest.raises(Overloaded):
        admit(bench, within_s=0.5)
    loop.run(0.3)
    assert admit(bench, within_s=0.5) == pytest.approx(0.2 + ROW_S)
    # One that has not started in that time may take as long again as it is late.
    loop.run(0.5)
    assert admit(bench, within_s=0.5) == pytest.approx(0.3 + ROW_S)


def test_time_that_a_process_took_to_start_is_expected_of_the_next_one(
    bench: Bench, loop: Any
) -> None:
    bench.lane.start()
    loop.run(2.0)
    bench.ready()
    bench.die()
    assert admit(bench, within_s=10.0) == pytest.approx(2.0 + ROW_S)


def test_costs_are_those_that_the_process_has_measured(bench: Bench) -> None:
    bench.ready(Hello(0.25, 0.125))
    assert bench.lane.cost.curve == Curve(0.25, 0.125)


def test_worker_waits_for_a_model_that_has_no_other_place(bench: Bench) -> None:
    bench.lane.start()
    say_hello(bench.model._pipe, Hello(0.0, ROW_S))
    bench.lane.wait_ready(1.0)
    assert bench.lane.is_ready


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("churn@3: expected 3 files, got 2. Pack it again.", "churn@3: expected 3 files, got 2."),
        (None, "churn@3: expected to load in its process, got an end of it. See stderr."),
    ],
)
def test_model_that_can_t_be_loaded_at_the_start_is_an_error_in_its_own_words(
    bench: Bench, failure: str | None, words: str
) -> None:
    bench.lane.start()
    if failure is None:
        bench.model.die()
    else:
        say_hello(bench.model._pipe, Hello(failure=failure))
    with pytest.raises(ConfigError) as caught:
        bench.lane.wait_ready(1.0)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("is_started", [True, False])
def test_model_that_does_not_load_in_time_is_an_error(bench: Bench, *, is_started: bool) -> None:
    if is_started:
        bench.lane.start()
    with pytest.raises(ConfigError, match="expected to load within 0 s, got nothing"):
        bench.lane.wait_ready(0.0)


def test_replacement_that_can_t_load_says_why_and_is_replaced_in_turn(
    bench: Bench, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench.ready()
    asked = ask()
    bench.submit(asked)
    broken = bench.die()
    with caplog.at_level(logging.ERROR):
        broken.say(Hello(failure="churn@3: expected its file, got none."))
    assert "churn@3: churn@3: expected its file, got none." in caplog.text
    assert not bench.lane.is_ready
    bench.loop.run(0.0)
    assert len(bench.models) == 3
    assert bench.deaths == 2
    model = bench.ready()
    model.take()
    model.answer()
    assert asked.answer.outcome == "ok"


def test_request_is_an_error_while_no_process_can_be_started_and_the_next_tries_again(
    bench: Bench,
) -> None:
    bench.no_process = 1
    with pytest.raises(BlockingIOError):
        admit(bench, within_s=10.0)
    admit(bench, within_s=10.0)
    assert bench.ready() is not None


def test_dead_process_is_replaced_as_soon_as_the_system_can(
    bench: Bench, ask: Any, loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench.ready()
    asked = ask()
    bench.submit(asked)
    bench.no_process = 2
    bench.model.die()
    loop.look()
    loop.run(0.0)
    assert "no process can be started: [Errno 11] Resource temporarily unavailable" in caplog.text
    loop.run(RETRY_S)
    assert len(bench.models) == 1
    loop.run(RETRY_S)
    assert len(bench.models) == 2
    model = bench.ready()
    model.take()
    model.answer()
    assert asked.answer.outcome == "ok"


# Micro-batches.


def test_idle_process_is_given_a_request_at_once_and_the_next_one_lies_ready(
    bench: Bench, ask: Any
) -> None:
    model = bench.ready()
    bench.submit(ask(body=b"a"), ask(body=b"b"), ask(body=b"c"), ask(body=b"d"))
    assert [model.take(), model.take()] == [[b"a"], [b"b"]]
    assert not model.has_more
    assert (bench.lane.in_hand, len(bench.lane.waiting)) == (2, 2)
    model.answer()
    # All that has come meanwhile is given together.
    assert model.take() == [b"c", b"d"]


def test_every_request_gets_its_own_answer_and_learns_its_times(
    bench: Bench, ask: Any, loop: Any
) -> None:
    model = bench.ready()
    asked = [ask(body=body) for body in (b"a", b"b", b"c")]
    bench.submit(*asked)
    model.take()
    loop.now_s += 0.25
    model.answer(took_s=0.125, predict_s=0.0625)
    model.take()
    model.answer()
    model.take()
    model.answer()
    assert [item.answer.answer for item in asked] == [b"to a", b"to b", b"to c"]
    first = asked[0].task
    assert (first.admitted_s, first.started_s, first.predict_s) == (100.0, 100.125, 0.0625)


def test_micro_batch_ends_where_its_bodies_would_be_too_many_bytes(bench: Bench, ask: Any) -> None:
    model = bench.ready()
    sizes = [1, 1, 60, 40, 1, 250, 50, 50]
    asked = [ask(body=bytes(size)) for size in sizes]
    bench.submit(*asked)
    batches: list[list[int]] = []
    while model.has_more:
        batches.append([len(body) for body in model.take()])
        model.answer()
    assert batches == [[1], [1], [60, 40], [1], [250], [50, 50]]
    assert all(item.answer.outcome == "ok" for item in asked)


def test_micro_batch_has_no_more_requests_than_there_are_marks(make: Make, ask: Any) -> None:
    bench = make(max_rows=10_000)
    model = bench.ready(Hello(1.0, 0.0))
    asked = [ask(body=b"") for _ in range(MAX_TASKS + 12)]
    bench.submit(*asked)
    sizes: list[int] = []
    while model.has_more:
        sizes.append(len(model.take()))
        model.answer()
    assert sizes == [1, 1, MAX_TASKS, 10]
    assert all(item.answer.outcome == "ok" for item in asked)


def test_rows_of_a_body_are_told_from_those_seen(bench: Bench, ask: Any) -> None:
    model = bench.ready()
    assert bench.lane.rows_of(1_000_000) == 1
    bench.submit(ask(body=bytes(80)))
    model.take()
    model.answer(rows=8)
    assert bench.lane.rows_of(1_000) == 100
    assert bench.lane.rows_of(0) == 1


def test_cost_and_waits_are_learnt_from_every_micro_batch(
    bench: Bench, ask: Any, loop: Any
) -> None:
    model = bench.ready()
    for _ in range(100):
        bench.submit(ask(expected_s=ROW_S))
        model.take()
        loop.run(2 * ROW_S)
        model.answer(took_s=2 * ROW_S)
    assert bench.lane.cost.curve(1) == pytest.approx(2 * ROW_S, rel=0.01)
    assert bench.lane.cost.margin(loop.now_s) > 1.5


def test_request_waits_for_what_is_in_hand(bench: Bench, ask: Any, loop: Any) -> None:
    model = bench.ready(Hello(0.0, 0.1))
    assert bench.lane.busy_s(loop.now_s) == 0.0
    bench.submit(ask(3), ask(2))
    model.take()
    assert bench.lane.busy_s(loop.now_s) == pytest.approx(0.5)
    loop.run(0.25)
    assert bench.lane.busy_s(loop.now_s) == pytest.approx(0.25)
    # What takes longer than predicted may take as long again as it is late.
    loop.run(0.25)
    assert bench.lane.busy_s(loop.now_s) == pytest.approx(0.2 + 0.2)
    model.answer(rows=3, took_s=0.3)
    assert bench.lane.busy_s(loop.now_s) == pytest.approx(0.2, rel=0.01)


# Deadlines, and callers who are gone.


def test_request_in_hand_is_answered_at_its_deadline_and_its_prediction_is_dropped(
    bench: Bench, ask: Any, loop: Any
) -> None:
    model = bench.ready()
    slow, patient = ask(within_s=0.25), ask()
    bench.submit(slow, patient)
    model.take()
    loop.run(0.25 - SWEEP_S)
    assert slow.answers == []
    loop.run(2 * SWEEP_S)
    assert isinstance(slow.answer, DeadlineExceeded)
    assert str(slow.answer) == (
        "deadline: expected 250 ms to be enough, got a model that takes longer. "
        "Send X-Twofold-Deadline-Ms with more time, or fewer rows."
    )
    model.answer()
    assert len(slow.answers) == 1
    model.take()
    model.answer()
    assert patient.answer.outcome == "ok"


def test_request_that_waits_is_answered_at_its_deadline(bench: Bench, ask: Any, loop: Any) -> None:
    bench.ready()
    asked = [ask() for _ in range(2)]
    late = ask(within_s=0.25)
    bench.submit(*asked, late)
    loop.run(0.25 + SWEEP_S)
    assert isinstance(late.answer, DeadlineExceeded)
    assert "the model wasn't asked" in str(late.answer)
    assert len(bench.lane.waiting) == 0


def test_request_that_waits_for_a_process_to_start_is_answered_at_its_deadline(
    bench: Bench, ask: Any, loop: Any
) -> None:
    bench.lane.start()
    late = ask(within_s=0.25)
    bench.submit(late)
    loop.run(0.25 + SWEEP_S)
    assert isinstance(late.answer, DeadlineExceeded)


def test_what_lies_ready_is_marked_when_its_caller_goes(bench: Bench, ask: Any, loop: Any) -> None:
    model = bench.ready()
    first = ask()
    bench.submit(first, ask())
    model.take()
    model.answer()
    staged = [ask(body=b"a"), ask(body=b"b"), ask(body=b"c")]
    bench.submit(*staged)
    model.take()
    model.answer()
    assert [len(model.take()), bench.lane.in_hand] == [1, 3]
    assert model.take() == [b"b", b"c"]
    staged[1].task.gone = True
    staged[0].task.gone = True
    loop.run(SWEEP_S)
    # The first one is being predicted: it is too late for it.
    assert [model.gone(0, 1), model.gone(1, 2)] == [[False], [True, False]]
    model.answer()
    model.answer()
    assert staged[0].answers == staged[1].answers == []
    assert staged[2].answer.outcome == "ok"


def test_what_waits_is_dropped_when_its_caller_goes(bench: Bench, ask: Any, loop: Any) -> None:
    model = bench.ready()
    bench.submit(ask(), ask())
    gone, good = ask(body=b"gone"), ask(body=b"good")
    bench.submit(gone, good)
    gone.task.gone = True
    loop.run(SWEEP_S)
    assert len(bench.lane.waiting) == 1
    model.take()
    model.answer()
    model.take()
    assert model.take() == [b"good"]
    assert gone.answers == []


def test_nothing_is_looked_at_when_nobody_waits(bench: Bench, ask: Any, loop: Any) -> None:
    model = bench.ready()
    bench.submit(ask())
    model.take()
    model.answer()
    loop.run(SWEEP_S)
    assert loop._timers == []
    bench.submit(ask())
    assert len(loop._timers) == 1


# A process that dies or hangs.


def test_what_a_dead_process_had_in_hand_is_predicted_by_the_next_one(
    bench: Bench, ask: Any
) -> None:
    bench.ready()
    asked = ask(body=b"a")
    bench.submit(asked)
    dead = bench.model
    bench.die()
    assert dead.calls == ["kill", "join"]
    assert bench.deaths == 1
    model = bench.ready()
    assert model.take() == [b"a"]
    model.answer()
    assert asked.answer == Result("ok", 1, b"to a")


def crowd(bench: Bench, ask: Any, first: bytes, second: bytes) -> tuple[list[Any], list[Any]]:
    """A micro-batch that is being predicted, and one that lies ready: a letter each."""
    model = bench.ready()
    bench.submit(ask(), ask())
    groups = [[ask(body=bytes([letter])) for letter in group] for group in (first, second)]
    bench.submit(*groups[0])
    model.take()
    model.answer()
    bench.submit(*groups[1])
    model.take()
    model.answer()
    assert [model.take(), model.take()] == [
        [item.task.work.body for item in group] for group in groups
    ]
    return groups[0], groups[1]


def test_suspects_are_tried_one_by_one_but_not_what_lay_ready_behind_them(
    bench: Bench, ask: Any
) -> None:
    suspects, staged = crowd(bench, ask, b"abc", b"de")
    bench.die()
    model = bench.ready()
    batches: list[list[bytes]] = []
    while model.has_more:
        batches.append(model.take())
        model.answer()
    assert batches == [[b"a"], [b"b"], [b"c"], [b"d", b"e"]]
    assert all(item.answer.outcome == "ok" for item in (*suspects, *staged))


def test_culprit_alone_fails_when_it_kills_a_process_again(bench: Bench, ask: Any) -> None:
    suspects, staged = crowd(bench, ask, b"abc", b"de")
    bench.die()
    model = bench.ready()
    assert model.take() == [b"a"]
    model.answer()
    # b kills it, while c lies ready.
    assert [model.take(), model.take()] == [[b"b"], [b"c"]]
    bench.die()
    assert isinstance(suspects[1].answer, PredictionFailed)
    assert str(suspects[1].answer) == "the model's process ended, twice, with this row"
    model = bench.ready()
    batches: list[list[bytes]] = []
    while model.has_more:
        batches.append(model.take())
        model.answer()
    assert batches == [[b"c"], [b"d", b"e"]]
    others = [suspects[0], suspects[2], *staged]
    assert all(item.answer.outcome == "ok" for item in others)
    assert bench.deaths == 2


def test_answers_that_came_before_the_death_count(bench: Bench, ask: Any, loop: Any) -> None:
    model = bench.ready()
    first, second = ask(body=b"a"), ask(body=b"b")
    bench.submit(first, second)
    model.take()
    model.take()
    # Both words are in the pipe before anybody looks: the answer, and the end.
    slot, _ = model._taken[0]
    results = msgspec.msgpack.encode([Result("ok", 1, b"to a")])
    size = model.mailbox.results[slot].put(results)
    model._pipe.send_bytes(msgspec.msgpack.encode(Word(slot, size)))
    bench.die()
    assert first.answer.answer == b"to a"
    assert second.answers == []
    model = bench.ready()
    assert model.take() == [b"b"]
    model.answer()
    assert second.answer.outcome == "ok"


def test_death_that_is_noticed_when_the_next_request_is_handed_over_costs_nothing(
    bench: Bench, ask: Any, loop: Any
) -> None:
    model = bench.ready()
    model.die()
    asked = ask(body=b"a")
    bench.submit(asked)
    loop.look()
    loop.run(0.0)
    model = bench.ready()
    assert model.take() == [b"a"]
    model.answer()
    assert asked.answer.outcome == "ok"


def test_request_that_is_out_of_time_when_the_process_dies_is_not_tried_again(
    bench: Bench, ask: Any, loop: Any
) -> None:
    bench.ready()
    asked = ask(within_s=0.25)
    bench.submit(asked)
    loop.run(0.25 + SWEEP_S)
    assert isinstance(asked.answer, DeadlineExceeded)
    bench.die()
    assert not bench.ready().has_more
    assert len(asked.answers) == 1


def test_hung_process_is_ended_and_replaced(
    bench: Bench, ask: Any, loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    hung = bench.ready()
    asked = ask(body=b"a")
    bench.submit(asked)
    loop.run(MAX_PREDICT_S - SWEEP_S)
    assert hung.calls == []
    loop.run(3 * SWEEP_S)
    assert hung.calls == ["kill", "join"]
    assert "churn@3: no answer for 5 s; ending it" in caplog.text
    assert bench.deaths == 1
    model = bench.ready()
    assert model.take() == [b"a"]
    model.answer()
    assert asked.answer.outcome == "ok"


def test_what_lies_ready_is_given_its_time_from_when_it_is_begun(
    bench: Bench, ask: Any, loop: Any
) -> None:
    model = bench.ready()
    bench.submit(ask(), ask())
    model.take()
    loop.run(MAX_PREDICT_S - 2 * SWEEP_S)
    model.answer()
    loop.run(MAX_PREDICT_S - 2 * SWEEP_S)
    assert model.calls == []
    loop.run(4 * SWEEP_S)
    assert model.calls == ["kill", "join"]


def test_process_that_dies_again_and_again_is_not_started_again_and_again(
    make: Make, loop: Any
) -> None:
    bench = make(restarts_per_min=2)
    bench.ready()
    for _ in range(2):
        bench.die()
        bench.ready()
    bench.model.die()
    loop.look()
    loop.run(59.0)
    assert len(bench.models) == 3
    loop.run(1.0)
    assert len(bench.models) == 4


def test_nothing_of_a_dead_process_is_kept(bench: Bench, loop: Any) -> None:
    dead = bench.ready()
    bench.die()
    assert dead.sender.pipe.closed
    assert list(loop.readers) == [bench.model.sender.pipe.fileno()]
    with pytest.raises(ValueError, match="closed"):
        dead.mailbox.requests[0].get(1)


# Stopping.


def never_started(bench: Bench, ask: Any) -> None:
    pass


def loading(bench: Bench, ask: Any) -> None:
    bench.lane.start()
    bench.submit(ask())


def idle(bench: Bench, ask: Any) -> None:
    bench.ready()


def busy(bench: Bench, ask: Any) -> None:
    bench.ready()
    bench.submit(ask(), ask(), ask())


def dead(bench: Bench, ask: Any) -> None:
    busy(bench, ask)
    bench.model.die()


def about_to_be_replaced(bench: Bench, ask: Any) -> None:
    dead(bench, ask)
    bench.loop.look()


@pytest.mark.parametrize("state", [never_started, loading, idle, busy, dead, about_to_be_replaced])
def test_stopped_lane_has_no_process_and_no_reader_and_starts_none(
    bench: Bench, ask: Any, loop: Any, state: Callable[[Bench, Any], None]
) -> None:
    state(bench, ask)
    started = len(bench.models)
    bench.lane.stop()
    assert loop.readers == {}
    assert all(model.calls == ["kill", "join"] for model in bench.models)
    loop.run(120.0)
    assert len(bench.models) == started
    assert loop._timers == []
    bench.lane.stop()


# All of it together.


@settings(max_examples=40, stateful_step_count=20)
class Lives(RuleBasedStateMachine):
    """Any sequence of requests, answers, deaths and pauses."""

    @initialize()
    def begin(self) -> None:
        from twofold.serving.waiting import Task

        self.make_task = Task
        self.loop = LOOPS[0]()
        self.bench = Bench(self.loop)
        self.asked: list[tuple[Any, list[Any]]] = []
        self.bench.ready()

    @rule(count=st.integers(1, 5), within_s=st.floats(0.01, 1.0) | st.just(1e9))
    def ask(self, count: int, within_s: float) -> None:
        for _ in range(count):
            answers: list[Any] = []
            now_s = self.loop.now_s
            job = Job(0, {}, b"x", now_s + within_s)
            task = self.make_task(
                job, 1, now_s + within_s, Priority.NORMAL, answers.append, now_s, 0.1
            )
            self.asked.append((task, answers))
            self.bench.lane.submit(task)

    @rule(seconds=st.floats(0.0, 0.5))
    def wait(self, seconds: float) -> None:
        self.loop.run(seconds)

    @rule()
    def answer(self) -> None:
        model = self.bench.model
        if model.is_dead:
            return
        if not self.bench.lane.is_ready:
            model.say()
        elif model.has_more:
            model.take()
            model.answer()

    @rule(is_seen=st.booleans())
    def die(self, *, is_seen: bool) -> None:
        self.bench.model.die()
        if is_seen:
            self._see()

    def _see(self) -> None:
        self.loop.look()
        self.loop.run(0.0)

    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        if self.asked:
            data.draw(st.sampled_from(self.asked))[0].gone = True

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        lane = self.bench.lane
        for _ in range(1_000):
            if self.bench.model.is_dead:
                self._see()
            if not lane.in_hand and not len(lane.waiting):
                break
            self.answer()
            self.loop.run(SWEEP_S)
        assert not lane.in_hand
        for task, answers in self.asked:
            # Once and no more; one who has gone may have been answered before.
            assert len(answers) == 1 or (task.gone and not answers)
        lane.stop()


LOOPS: list[Any] = []
"""The loop of conftest.py, which a state machine can't ask for."""


class TestLives(Lives.TestCase):
    @pytest.fixture(autouse=True)
    def _loops(self, make_loop: Any) -> None:
        LOOPS[:] = [make_loop]


def test_large_bodies_wait_only_as_far_as_memory_is_bounded(loop: Any, ask: Any) -> None:
    bench = Bench(loop)
    bench.lane._max_batch_bytes = 100_000
    body = bytes(COUNTED_BYTES + 1)
    held = [ask(body=body) for _ in range(MAX_BATCHES_HELD * 100_000 // len(body))]
    bench.submit(*held)
    with pytest.raises(Overloaded, match="got too many"):
        bench.submit(ask(body=body))
    bench.submit(ask(body=b"small"))
    assert len(bench.lane.waiting) == len(held) + 1
