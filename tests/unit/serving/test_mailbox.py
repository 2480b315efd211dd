"""Micro-batches go to another process and come back as they were; each side sees the other end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.serving.mailbox import (
    MAX_TASKS,
    SLOTS,
    Batch,
    Hello,
    Job,
    Mailbox,
    Result,
    Sender,
    answer_batches,
    say_hello,
)

LIMIT_S = 30
JOBS = st.lists(
    st.builds(
        Job,
        st.integers(0, 9),
        st.dictionaries(st.binary(max_size=9), st.binary(max_size=9), max_size=3),
        st.binary(max_size=200) | st.integers(0, 200_000).map(bytes),
        st.floats(allow_nan=False),
    ),
    max_size=6,
)
RESULTS = st.lists(
    st.builds(
        Result,
        st.text(max_size=9),
        st.integers(0, 1_000_000),
        st.binary(max_size=200) | st.integers(0, 200_000).map(bytes),
    ),
    max_size=6,
)

Predict = Callable[[Batch], tuple[list[Result], float]]


def echo(batch: Batch) -> tuple[list[Result], float]:
    """Answer each job with its body."""
    return [
        Result("gone", 0, b"") if job is None else Result("ok", 1, job.body) for job in batch
    ], 0.25


class Held:
    """Predicts as `echo` does, each micro-batch when the test lets it."""

    def __init__(self) -> None:
        self._begun, self._released = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, batch: Batch) -> tuple[list[Result], float]:
        self._begun.release()
        assert self._released.acquire(timeout=LIMIT_S)
        return echo(batch)

    def has_begun(self) -> bool:
        """Wait until one more is in hand."""
        return self._begun.acquire(timeout=LIMIT_S)

    def release(self, batches: int = 1) -> None:
        self._released.release(batches)


@contextmanager
def talking(predict: Predict = echo) -> Iterator[Sender]:
    """A sender, and a thread that predicts until the sender's end is closed."""
    ours, theirs = multiprocessing.Pipe()
    mailbox = Mailbox()

    def answer() -> None:
        answer_batches(theirs, mailbox, predict, clock=lambda: 0.0)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield Sender(ours, mailbox)
    finally:
        ours.close()
        thread.join(LIMIT_S)
        assert not thread.is_alive(), "it ends when the other side is gone"
        theirs.close()
        mailbox.close()


def job(body: bytes) -> Job:
    return Job(0, {}, body, 1e9)


def received(sender: Sender) -> list[Result]:
    assert sender.pipe.poll(LIMIT_S)
    return sender.receive()[1]


@given(st.lists(st.tuples(JOBS, RESULTS), min_size=1, max_size=4))
def test_jobs_and_results_come_over_as_they_were(
    batches: list[tuple[list[Job], list[Result]]],
) -> None:
    came: list[Batch] = []

    def predict(batch: Batch) -> tuple[list[Result], float]:
        came.append(batch)
        return batches[len(came) - 1][1], 0.5

    with talking(predict) as sender:
        for number, (jobs, results) in enumerate(batches):
            slot = number % SLOTS
            sender.send(slot, jobs)
            assert sender.pipe.poll(LIMIT_S)
            word, found = sender.receive()
            assert (word.slot, word.predict_s) == (slot, 0.5)
            assert found == results
    assert came == [jobs for jobs, _ in batches]


def test_next_micro_batch_lies_ready_while_one_is_predicted() -> None:
    held = Held()
    with talking(held) as sender:
        sender.send(0, [job(b"first")])
        assert held.has_begun()
        sender.send(1, [job(b"second"), job(b"third")])
        held.release()
        assert [item.answer for item in received(sender)] == [b"first"]
        # The slot is free again, and used while the other one is predicted.
        assert held.has_begun()
        sender.send(0, [job(b"fourth")])
        held.release(2)
        assert [item.answer for item in received(sender)] == [b"second", b"third"]
        assert [item.answer for item in received(sender)] == [b"fourth"]


def test_what_nobody_waits_for_any_more_is_not_predicted() -> None:
    held = Held()
    with talking(held) as sender:
        sender.send(0, [job(b"")])
        assert held.has_begun()
        sender.send(1, [job(b"a"), job(b"b"), job(b"c")])
        sender.mark_gone(1, 1)
        held.release(2)
        received(sender)
        assert [item.outcome for item in received(sender)] == ["ok", "gone", "ok"]
        # The mark is for those jobs only, not for the next ones in their place.
        sender.send(1, [job(b"d"), job(b"e")])
        held.release()
        assert [item.outcome for item in received(sender)] == ["ok", "ok"]


def test_there_is_a_mark_for_every_task_of_every_slot() -> None:
    with talking() as sender:
        for slot in range(SLOTS):
            sender.send(slot, [job(b"%d" % number) for number in range(MAX_TASKS)])
            sender.mark_gone(1 - slot, MAX_TASKS - 1)  # of the other one: it means nothing here
            found = received(sender)
            assert {item.outcome for item in found} == {"ok"}
            assert [item.answer for item in found] == [b"%d" % n for n in range(MAX_TASKS)]


def test_time_is_told_from_taking_a_micro_batch_to_having_its_results() -> None:
    now_s = iter([10.0, 12.5])
    ours, theirs = multiprocessing.Pipe()
    mailbox = Mailbox()
    sender = Sender(ours, mailbox)
    sender.send(0, [job(b"x")])

    def last(batch: Batch) -> tuple[list[Result], float]:
        return [Result("ok", 7, b"y")], 2.0

    def clock() -> float:
        return next(now_s)

    thread = threading.Thread(
        target=answer_batches, args=(theirs, mailbox, last), kwargs={"clock": clock}
    )
    thread.start()
    assert ours.poll(LIMIT_S)
    word, results = sender.receive()
    assert (word.predict_s, word.took_s) == (2.0, 2.5)
    assert results == [Result("ok", 7, b"y")]
    ours.close()
    thread.join(LIMIT_S)


@pytest.mark.parametrize(
    "hello",
    [Hello(0.25, 0.5), Hello(failure="churn@3: expected 3 files, got 2. Pack it again.")],
)
def test_first_word_says_what_the_model_costs_or_why_it_isn_t_there(hello: Hello) -> None:
    ours, theirs = multiprocessing.Pipe()
    say_hello(theirs, hello)
    mailbox = Mailbox()
    assert Sender(ours, mailbox).hello() == hello
    mailbox.close()


def test_sender_is_told_that_the_other_side_is_gone() -> None:
    ours, theirs = multiprocessing.Pipe()
    mailbox = Mailbox()
    sender = Sender(ours, mailbox)
    # As a process that dies with a micro-batch unread: the system says reset, not end.
    sender.send(0, [job(b"x")])
    theirs.close()
    for read in (sender.hello, sender.receive, sender.receive):
        with pytest.raises(EOFError):
            read()
    with pytest.raises(OSError, match="pipe"):
        sender.send(1, [job(b"x")])
    mailbox.close()


def answer_apart(pipe: Connection, mailbox: Mailbox) -> None:
    """Be the other process: say hello, answer, and be killed by a job that says so."""

    def predict(batch: Batch) -> tuple[list[Result], float]:
        if any(item is not None and item.body == b"die" for item in batch):
            os.kill(os.getpid(), signal.SIGKILL)
        return echo(batch)

    say_hello(pipe, Hello(1.0, 2.0))
    answer_batches(pipe, mailbox, predict, clock=lambda: 0.0)


@contextmanager
def apart() -> Iterator[tuple[Sender, BaseProcess]]:
    """A sender, and another process at the other end, which has said hello."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    mailbox = Mailbox()
    process = context.Process(target=answer_apart, args=(theirs, mailbox), daemon=True)
    process.start()
    theirs.close()
    assert ours.poll(LIMIT_S)
    try:
        yield Sender(ours, mailbox), process
    finally:
        mailbox.close()


def test_real_process_answers_until_it_dies_and_the_memory_stays_readable() -> None:
    with apart() as (sender, process):
        assert sender.hello() == Hello(1.0, 2.0)
        # Longer than the memory is at first, and shorter again: in both directions.
        for size_bytes in (10, 1_000_000, 20, 3_000_000):
            sender.send(0, [job(bytes(size_bytes)), job(b"x")])
            assert [len(item.answer) for item in received(sender)] == [size_bytes, 1]
        sender.send(0, [job(b"die")])
        with suppress(BrokenPipeError):  # it may have died already
            sender.send(1, [job(b"x")])
        assert sender.pipe.poll(LIMIT_S)
        with pytest.raises(EOFError):
            sender.receive()
        process.join(LIMIT_S)
        assert process.exitcode == -signal.SIGKILL


def test_real_process_ends_when_its_worker_is_gone() -> None:
    with apart() as (sender, process):
        sender.pipe.close()
        process.join(LIMIT_S)
        assert process.exitcode == 0
