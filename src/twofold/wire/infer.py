"""Answers infer requests: who may ask, whether it comes in time, where it is predicted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from random import random
from typing import Any

import msgspec

from twofold.errors import DeadlineExceeded, Overloaded, problem
from twofold.model.rows import describe
from twofold.serving.admission import GUARD_S, SHARES, refused_ratio, retry_after_s
from twofold.serving.apart import Apart
from twofold.serving.lane import Lane, in_ms
from twofold.serving.mailbox import Job, Result
from twofold.serving.metrics import Outcome
from twofold.serving.native import new_gate
from twofold.serving.priority import Priority
from twofold.serving.service import Served, Service
from twofold.serving.settings import ServeSettings
from twofold.serving.turn import Turn
from twofold.serving.waiting import Task
from twofold.wire.access import PRIORITY, Access
from twofold.wire.call import Call, Reader
from twofold.wire.connection import Caller
from twofold.wire.desk import Common, Deadline
from twofold.wire.http import JSON, Request, Response, around_connection
from twofold.wire.refusal import outcome_of, refusal
from twofold.wire.request_id import REQUEST_ID
from twofold.wire.stages import TIMING, Stages
from twofold.wire.statuses import WireError

DEADLINE = b"x-twofold-deadline-ms"
MILLISECONDS = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,32})?(e-[0-9]{1,3})?")
"""As programs print a number they have computed: 0.30000000000000004, 1e-05."""
JSON_LENGTH = b"inference-header-content-length"
FORWARDED = (
    b"content-type", b"content-encoding", b"accept", JSON_LENGTH,
    REQUEST_ID,
)  # fmt: skip
"""The headers that protocols look at, and the id of the request in the other process's log."""
MAX_DEADLINE_S = 3_600.0
"""As of the setting: nobody waits longer, whatever a header says."""
WORDS_S = 0.02
"""How long others are refused in the words of one who came too late."""
LARGE_BYTES = 65_536
"""A body of which decoding and checking would keep the event loop from everybody else."""

Terms = tuple[float, Priority, float, float]
"""An admitted request's deadline, its class, when it was admitted, and in how many seconds from
then its answer is expected."""

response_of = msgspec.msgpack.Decoder(Response).decode


class Infer:
    """The handler of one protocol for one served version."""

    def __init__(
        self,
        service: Service,
        served: Served,
        reader: Reader,
        kind: int,
        access: Access,
        settings: ServeSettings,
    ) -> None:
        """Answer for a version.

        Args:
            service: Where it is counted.
            served: The version.
            reader: The protocol, as this process reads it.
            kind: The protocol, as the model's own process knows it.
            access: Who may ask, and with which priority.
            settings: The limits.
        """
        self._service = service
        self._served = served
        self._reader = reader
        self._kind = kind
        self._access = access
        self._deadline_s = settings.deadline_s
        is_direct = served.model is not None and served.turn is None
        self._quick = served.model.quick if is_direct and served.model is not None else None
        # The lane that common requests take, if they don't go to the model directly.
        self._gated = served.apart if served.model is None else served.turn
        self._late = None if self._quick is None else new_gate()

    def __call__(self, request: Request, caller: Caller) -> Response | None:
        """Answer one request, or see that it is answered.

        Raises:
            TwofoldError: It can't be; nothing was predicted, or it failed.
        """
        served, service = self._served, self._service
        began_s = service.clock()
        try:
            terms = self._admit(request, began_s, len(request.body))
            plainly = self._plainly(request)
            if plainly is not None:
                response, read_s, predicted_s = plainly
                response = self._answered(request, response, 1, began_s, None)
                return self._timed(request, response, read_s, read_s, predicted_s)
            return self._read(request, caller, terms)
        except Exception as error:
            service.count(served, outcome_of(error), request.received_s)
            if self._gated is not None:
                self._close(self._gated, request, error)
            raise

    def _close(self, lane: Lane, request: Request, error: Exception) -> None:
        """Have requests refused natively that are refused for the same reason."""
        until_s = lane.shut_until_s(error)
        if until_s is None or lane.gate is None or not self._access.is_open:
            return
        if PRIORITY not in request.headers:
            allowed_s = allowed_s_of(request.headers, self._deadline_s)
            before, after = around_connection(refusal(error))
            lane.gate.close(until_s, len(request.body), allowed_s, before, after)

    def _plainly(self, request: Request) -> tuple[Response, float, float] | None:
        """Answer a common request the quick way: all that the desk does, where it wasn't built.

        Beside the response stand when the row was read, and when it was predicted.
        """
        quick, headers = self._quick, request.headers
        if (
            quick is None
            or len(request.body) > LARGE_BYTES
            or headers.get(b"content-type", JSON) != JSON
            or b"content-encoding" in headers
        ):
            return None
        plain = self._reader.plain(request.body, headers.get(JSON_LENGTH))
        read_s = self._service.clock()
        prediction = None if plain is None else quick(plain[0])
        if plain is None or prediction is None:
            return None
        predicted_s = self._service.clock()
        return plain[1](((prediction,),)), read_s, predicted_s

    def common(self, target: bytes, ok_slot: int, refused_slot: int) -> Common | None:
        """What the desk needs for common requests to a target; None if it can do nothing.

        Args:
            target: The target.
            ok_slot: Where responses that have a prediction are counted.
            refused_slot: The same for those that refuse one.
        """
        served, access = self._served, self._access
        quick = self._quick
        gate = self._late if self._gated is None else self._gated.gate
        if not access.is_open or type(self) is not Infer or (quick is None and gate is None):
            return None
        refused = Outcome.REFUSED
        return Common(
            target,
            None if quick is None else self._reader.form,
            quick,
            gate,
            Deadline(self._service.lag_s, self._deadline_s, SHARES[Priority.NORMAL], GUARD_S),
            (
                ok_slot,
                served.ok_slot,
                served.rows_slot,
                served.duration_slot,
                served.queue_slot,
                served.predict_slot,
            ),
            (refused_slot, served.outcome_slots[refused], served.duration_slots[refused]),
            LARGE_BYTES,
        )

    def _read(self, request: Request, caller: Caller, terms: Terms) -> Response | None:
        """Answer a request that was admitted, or see that it is answered."""
        served = self._served
        lane = served.apart
        if lane is not None and (served.model is None or len(request.body) > LARGE_BYTES):
            return self._send_apart(lane, request, caller, terms)
        call = self._reader.read(request)
        if lane is not None and len(call.rows) > served.rows_here:
            deadline_s, priority, admitted_s, _ = terms
            expected_s = lane.admit(len(call.rows), priority, deadline_s, self._service.clock())
            terms = deadline_s, priority, admitted_s, expected_s
            return self._send_apart(lane, request, caller, terms)
        if served.turn is not None:
            return self._send_turn(served.turn, call, request, caller, terms)
        read_s = self._service.clock()
        predictions = served.predict(call.rows)
        predicted_s = self._service.clock()
        response = call.respond(predictions)
        response = self._answered(request, response, len(call.rows), read_s, None)
        return self._timed(request, response, read_s, read_s, predicted_s)

    def gate(self, headers: dict[bytes, bytes], received_s: float) -> None:
        """Refuse a request whose body isn't here yet.

        Raises:
            TwofoldError: There is no need to send it.
        """
        now_s = self._service.clock()
        request = Request(b"POST", b"", headers, b"", b"", received_s)
        size = int(headers.get(b"content-length", b"0"))
        try:
            self._admit(request, now_s, size, takes_quota=False)
        except Exception as error:
            self._service.count(self._served, outcome_of(error), received_s)
            raise

    def _admit(
        self, request: Request, now_s: float, size_bytes: int, *, takes_quota: bool = True
    ) -> Terms:
        """Admit a request by its headers, before its body is looked at."""
        served, access, headers = self._served, self._access, request.headers
        received_s = request.received_s
        self._service.check_draining(received_s)
        key, priority = None, Priority.NORMAL
        if PRIORITY in headers or not access.is_open:
            priority, key = access.identify(headers, served.name, now_utc=datetime.now(UTC))
        allowed_s = allowed_s_of(headers, self._deadline_s)
        deadline_s = received_s + allowed_s
        expected_s = 0.0
        if now_s > deadline_s:
            raise _passed(received_s, deadline_s, now_s)
        lane = served.apart
        if lane is not None and (served.model is None or size_bytes > LARGE_BYTES):
            rows = lane.rows_of(size_bytes)
            expected_s = lane.admit(rows, priority, deadline_s, now_s)
        elif served.turn is not None:
            expected_s = served.turn.admit(1, priority, deadline_s, now_s)
        else:
            self._admit_direct(priority, allowed_s, now_s)
        # Last, so that nothing else that is refused uses a quota up.
        if key is not None and takes_quota:
            access.take(key, now_s=now_s)
        return deadline_s, priority, now_s, expected_s

    def _admit_direct(self, priority: Priority, allowed_s: float, now_s: float) -> None:
        """Let a request in that is predicted as it is read, unless the event loop is too late."""
        lag_s = self._service.lag_s(now_s)
        ratio = refused_ratio(lag_s, priority, allowed_s)
        if ratio < 1.0 and random() >= ratio:  # noqa: S311 - no secret
            return
        self._served.shed_s = now_s
        error = Overloaded(
            f"server: expected an answer within {in_ms(allowed_s)}, got {in_ms(lag_s)} behind. Try "
            "again later.",
            retry_after_s=retry_after_s(lag_s, random()),  # noqa: S311 - no secret
        )
        if self._late is not None and self._access.is_open:
            # Whoever else comes too late is refused in these words: to refuse must cost less than
            # to predict, or a server that is behind stays behind.
            before, after = around_connection(refusal(error))
            self._late.close(now_s + WORDS_S, 0, math.inf, before, after)
        raise error

    def _send_turn(
        self,
        lane: Turn,
        call: Call,
        request: Request,
        caller: Caller,
        terms: Terms,
    ) -> None:
        rows = len(call.rows)
        read_s = self._service.clock()

        def done(answer: Any) -> None:
            try:
                response = None if isinstance(answer, Exception) else call.respond(answer)
            except Exception as error:  # noqa: BLE001 - the lane has others to answer
                answer, response = error, None
            if response is None:
                response = self._failed(answer, task, request)
            else:
                response = self._answered(request, response, rows, task.started_s, task)
                response = self._timed_later(request, response, read_s, task)
            caller.reply(response)

        deadline_s, priority, admitted_s, expected_s = terms
        task = Task(call.rows, rows, deadline_s, priority, done, admitted_s, expected_s)
        self._submit(lane, task, caller)

    def _send_apart(
        self,
        lane: Apart,
        request: Request,
        caller: Caller,
        terms: Terms,
    ) -> None:
        read_s = self._service.clock()

        def done(answer: Any) -> None:
            if isinstance(answer, Exception):
                caller.reply(self._failed(answer, task, request))
                return
            result: Result = answer
            response = response_of(result.answer)
            if result.outcome == Outcome.OK:
                response = self._answered(request, response, result.rows, task.started_s, task)
                response = self._timed_later(request, response, read_s, task)
            else:
                self._count(Outcome(result.outcome), task, request)
            caller.reply(response)

        deadline_s, priority, admitted_s, expected_s = terms
        headers = request.headers
        forwarded = {name: headers[name] for name in FORWARDED if name in headers}
        job = Job(self._kind, forwarded, request.body, deadline_s)
        rows = lane.rows_of(len(request.body))
        task = Task(job, rows, deadline_s, priority, done, admitted_s, expected_s)
        self._submit(lane, task, caller)

    def _submit(self, lane: Lane, task: Task, caller: Caller) -> None:
        caller.waits_for(task)
        try:
            lane.submit(task)
        except Exception:
            # The caller learns of it at once, and of nothing later.
            task.ended = True
            raise

    def _failed(self, error: Exception, task: Task, request: Request) -> Response:
        self._count(outcome_of(error), task, request)
        return refusal(error, request)

    def _count(self, outcome: Outcome, task: Task, request: Request) -> None:
        waited_s = task.started_s - request.received_s
        self._service.count(self._served, outcome, request.received_s, waited_s)

    def _answered(
        self, request: Request, response: Response, rows: int, started_s: float, task: Task | None
    ) -> Response:
        """Count an answer."""
        served = self._served
        now_s = self._service.clock()
        received_s = request.received_s
        predict_s = now_s - started_s if task is None else task.predict_s
        self._service.metrics.answered(
            served.ok_slot,
            served.rows_slot,
            rows,
            served.duration_slot,
            now_s - received_s,
            served.queue_slot,
            started_s - received_s,
            served.predict_slot,
            predict_s,
        )
        return response

    def _timed_later(
        self, request: Request, response: Response, read_s: float, task: Task
    ) -> Response:
        """The same as `_timed`, of a request that had to wait."""
        predicted_s = task.started_s + task.predict_s
        return self._timed(request, response, read_s, task.started_s, predicted_s)

    def _timed(
        self,
        request: Request,
        response: Response,
        read_s: float,
        started_s: float,
        predicted_s: float,
    ) -> Response:
        """Say how long a request's stages took, if its caller wants to know."""
        if TIMING not in request.headers:
            return response
        now_s = self._service.clock()
        stages = Stages(request.received_s, read_s, started_s, predicted_s, now_s)
        headers = response.headers + stages.header()
        return Response(response.status, response.body, response.content_type, headers)


def _passed(received_s: float, deadline_s: float, now_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        problem(
            "deadline",
            f"{in_ms(deadline_s - received_s)} to be enough",
            f"{in_ms(now_s - deadline_s)} more before the model was asked",
            "Send X-Twofold-Deadline-Ms with more time, or fewer requests at once.",
        )
    )


def allowed_s_of(headers: Mapping[bytes, bytes], default_s: float) -> float:
    """How long a request may take: as its header says, or by default.

    Raises:
        WireError: The header says no number.
    """
    return _seconds(headers[DEADLINE]) if DEADLINE in headers else default_s


def _seconds(text: bytes) -> float:
    if not MILLISECONDS.fullmatch(text) or float(text) == 0.0:
        shown = describe(text.decode("latin-1"))
        fix = "Send a number such as 250."
        raise WireError(
            "bad_request",
            problem("X-Twofold-Deadline-Ms", "a positive number of milliseconds", shown, fix),
        )
    return min(float(text) / 1000, MAX_DEADLINE_S)
