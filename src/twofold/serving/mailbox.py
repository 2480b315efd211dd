"""Micro-batches between two processes: their bytes in shared memory, word of them over a pipe.

Two slots in each direction: while one micro-batch is predicted the next one lies ready. A slot
belongs to its writer until word of it is sent, and to its reader until word comes back; so
neither needs a lock. The pipe also tells each side when the other is gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from multiprocessing.connection import Connection

import msgspec

from twofold.serving.shared import SharedArray, SharedBytes

SLOTS = 2
MAX_TASKS = 1_024
"""Tasks of one micro-batch; each has a byte that says whether its caller has gone."""


class Job(msgspec.Struct, array_like=True, frozen=True):
    """One request, as it goes to the model's process.

    Attributes:
        kind: Which protocol reads it.
        headers: Those that its protocol looks at.
        body: As it came.
        deadline_s: When its caller stops waiting, on the clock that all processes share.
    """

    kind: int
    headers: dict[bytes, bytes]
    body: bytes
    deadline_s: float


class Result(msgspec.Struct, array_like=True, frozen=True):
    """How one request ended, as it comes back.

    Attributes:
        outcome: One of `twofold.serving.metrics.Outcome`.
        rows: How many it had.
        answer: What the protocol made of it, for the other side's protocol.
    """

    outcome: str
    rows: int
    answer: bytes


class Word(msgspec.Struct, array_like=True, frozen=True):
    """What is said over the pipe about a slot.

    Attributes:
        slot: Which.
        size_bytes: How many of its bytes count.
        predict_s: Seconds spent inside the model.
        took_s: Seconds from taking the micro-batch to having its results.
    """

    slot: int
    size_bytes: int
    predict_s: float = 0.0
    took_s: float = 0.0


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """The first word of a model's process: what its model costs, or why it can't be loaded."""

    fixed_s: float = 0.0
    per_row_s: float = 0.0
    failure: str | None = None


class Mailbox:
    """The memory of one pair of processes; passed to the new process when it is started."""

    def __init__(self) -> None:
        """Make it."""
        self.requests = [SharedBytes.new() for _ in range(SLOTS)]
        self.results = [SharedBytes.new() for _ in range(SLOTS)]
        self.gone = SharedArray.of_size(SLOTS * MAX_TASKS)

    def close(self) -> None:
        """Give the memory back."""
        for item in (*self.requests, *self.results, self.gone):
            item.close()


_pack = msgspec.msgpack.Encoder().encode
_jobs = msgspec.msgpack.Decoder(list[Job]).decode
_results = msgspec.msgpack.Decoder(list[Result]).decode
_word = msgspec.msgpack.Decoder(Word).decode
_hello = msgspec.msgpack.Decoder(Hello).decode


class Sender:
    """The side that has requests."""

    def __init__(self, pipe: Connection, mailbox: Mailbox) -> None:
        """Talk over one end of a duplex pipe."""
        self.pipe = pipe
        self._mailbox = mailbox

    def send(self, slot: int, jobs: list[Job]) -> None:
        """Hand a micro-batch over in a free slot.

        Raises:
            OSError: The other side is gone.
        """
        start = slot * MAX_TASKS
        self._mailbox.gone.view[start : start + len(jobs)] = bytes(len(jobs))
        size = self._mailbox.requests[slot].put(_pack(jobs))
        self.pipe.send_bytes(_pack(Word(slot, size)))

    def mark_gone(self, slot: int, index: int) -> None:
        """Say that nobody waits for a job any more."""
        self._mailbox.gone.view[slot * MAX_TASKS + index] = 1

    def hello(self) -> Hello:
        """Take the first word; the pipe must be readable.

        Raises:
            EOFError: The other side is gone.
        """
        return _hello(self._read())

    def receive(self) -> tuple[Word, list[Result]]:
        """Take the results of a micro-batch; the pipe must be readable.

        Raises:
            EOFError: The other side is gone.
        """
        word = _word(self._read())
        return word, _results(self._mailbox.results[word.slot].get(word.size_bytes))

    def _read(self) -> bytes:
        try:
            return self.pipe.recv_bytes()
        except OSError as error:
            raise EOFError from error


Batch = list[Job | None]
"""Jobs; None for one whose caller has gone."""


def answer_batches(
    pipe: Connection,
    mailbox: Mailbox,
    predict: Callable[[Batch], tuple[list[Result], float]],
    *,
    clock: Callable[[], float],
) -> None:
    """Be the side that predicts, until the other one is gone.

    Args:
        pipe: The other end of the sender's; the first word was said on it.
        mailbox: The sender's.
        predict: Gives the results of a micro-batch and the seconds spent inside the model.
        clock: Monotonic seconds.
    """
    try:
        while True:
            word = _word(pipe.recv_bytes())
            began_s = clock()
            jobs = _jobs(mailbox.requests[word.slot].get(word.size_bytes))
            start = word.slot * MAX_TASKS
            gone = bytes(mailbox.gone.view[start : start + len(jobs)])
            wanted: Batch = [None if flag else job for job, flag in zip(jobs, gone, strict=True)]
            results, predict_s = predict(wanted)
            size = mailbox.results[word.slot].put(_pack(results))
            pipe.send_bytes(_pack(Word(word.slot, size, predict_s, clock() - began_s)))
    except (EOFError, OSError):
        return  # The other side is gone, and whoever waited with it.


def say_hello(pipe: Connection, hello: Hello) -> None:
    """Say the first word of a model's process, if the other side is still there."""
    with contextlib.suppress(OSError):
        pipe.send_bytes(_pack(hello))
