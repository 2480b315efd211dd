"""Answers micro-batches of requests in a model's own process: read, predict together, encode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from twofold.errors import DeadlineExceeded, problem
from twofold.serving.mailbox import Batch, Job, Result
from twofold.serving.metrics import Outcome
from twofold.serving.together import Columns, Rows, predict_together
from twofold.wire.call import Call, Reader
from twofold.wire.http import DEFAULT, Request
from twofold.wire.refusal import outcome_of, refusal

_pack = msgspec.msgpack.Encoder().encode
TOO_LATE = DeadlineExceeded(
    problem(
        "deadline",
        "the model to be free in time",
        "a longer queue; the model wasn't asked",
        "Try again later, or send X-Twofold-Deadline-Ms with more time.",
    )
)
NOTHING = Result(Outcome.LATE, 0, _pack(refusal(TOO_LATE)))
"""The result of what nobody waits for any more, or of what its caller is about to give up."""


class Answerer:
    """Answers what `twofold.serving.mailbox.answer_batches` hands over."""

    def __init__(
        self,
        readers: Sequence[Reader],
        predict: Callable[[Rows], Columns],
        *,
        clock: Callable[[], float],
    ) -> None:
        """Answer for one version.

        Args:
            readers: Its protocols, in the order of `twofold.wire.protocols.Protocol`.
            predict: The door.
            clock: Monotonic seconds, on the clock that all processes share.
        """
        self._readers = readers
        self._predict = predict
        self._clock = clock

    def __call__(self, batch: Batch) -> tuple[list[Result], float]:
        """Answer a micro-batch: a result for each job, and the seconds inside the model."""
        now_s = self._clock()
        # The deadline is looked at once more: the model isn't touched for nobody.
        calls = [
            None if job is None or job.deadline_s <= now_s else self._read(job) for job in batch
        ]
        groups = [call.rows for call in calls if isinstance(call, Call)]
        began_s = self._clock()
        answers = iter(predict_together(groups, self._predict))
        predict_s = self._clock() - began_s
        results = [
            self._respond(job, call, next(answers)) if isinstance(call, Call) else call or NOTHING
            for job, call in zip(batch, calls, strict=True)
        ]
        return results, predict_s

    def _read(self, job: Job) -> Call | Result:
        try:
            return self._readers[job.kind].read(_request(job))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            return _refused(error, job)

    def _respond(self, job: Job | None, call: Call, answer: Columns | Exception) -> Result:
        if isinstance(answer, Exception):
            return _refused(answer, job)
        try:
            response = call.respond(answer)
        except Exception as error:  # noqa: BLE001 - as above
            return _refused(error, job)
        return Result(Outcome.OK, len(call.rows), _pack(response))


def _request(job: Job) -> Request:
    return Request(b"POST", b"", job.headers, job.body, DEFAULT, 0.0)


def _refused(error: Exception, job: Job | None) -> Result:
    response = refusal(error, None if job is None else _request(job))
    return Result(outcome_of(error), 0, _pack(response))
