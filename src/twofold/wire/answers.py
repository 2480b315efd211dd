"""`/v1/models/{model}/answers`: by key, stored while it is fresh, else live.

What is stored is answered here. What is to be predicted is asked of the same handler that answers
`/predict`, as a request of its own: it is admitted, waits, and is predicted like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from twofold.errors import (
    DeadlineExceeded,
    QuotaExceeded,
    StoreUnavailable,
    TwofoldError,
    problem,
)
from twofold.hybrid.ask import Answer, Ask, Asking, Live
from twofold.hybrid.freshness import age_s_of
from twofold.hybrid.lookup import Lookup
from twofold.hybrid.settings import AnswerSettings
from twofold.serving.service import Served, Service
from twofold.serving.waiting import Task
from twofold.stores.snapshot import Snapshot
from twofold.stores.store import Found, LocalReader
from twofold.stores.values import EPOCH
from twofold.wire.access import PRIORITY, Access
from twofold.wire.answer_body import Relayed, answer_body, answered_as, encode, failed_body
from twofold.wire.asked import Asked, read_asked, read_query
from twofold.wire.connection import Caller
from twofold.wire.http import JSON, Request, Response, split_target
from twofold.wire.infer import DEADLINE, allowed_s_of
from twofold.wire.refusal import refusal
from twofold.wire.statuses import OK, STATUSES, code_of
from twofold.wire.stored_bodies import stored_bodies

ANSWERS = b"/answers/"
SLASHES_BEFORE_KEY = 5
TYPE = b"content-type"
OF_BODY = frozenset({TYPE, b"content-length", b"content-encoding"})
"""Headers about a body, which aren't true of another one."""
SERVER_FAULT = 500
OF_CALLER = frozenset({401, 403, 429})
"""Statuses of refusals that are about the caller, not about a row."""
LIVE_FAILED = {503: "overloaded", 504: "no time"}
"""Why a stored prediction answers in the place of a live one, by its status."""
RESERVE_RATIO = 0.5
"""Of the time there is, what a store may take: a live prediction needs the rest."""
MAX_KEEPING = 1_000
"""Live predictions on their way to a store on a server; further ones aren't kept."""

Infer = Callable[[Request, Caller], Response | None]
Done = Answer | Exception
Settled = Done | Live


_decode = msgspec.json.Decoder().decode


@dataclasses.dataclass(frozen=True)
class Hybrid:
    """What answers by key need of one model.

    Attributes:
        local: The store, if it is in memory.
        remote: The store, if it is on a server.
        asking: What settles what is asked.
        policy: When a stored prediction is an answer.
        clock_ns: The time, in nanoseconds since 1970.
    """

    local: LocalReader | None
    remote: Lookup | None
    asking: Asking
    policy: AnswerSettings
    clock_ns: Callable[[], int] = time.time_ns

    def snapshot(self) -> Snapshot | None:
        """What is answered from just now, as far as that is known here."""
        if self.local is None:
            return None if self.remote is None else self.remote.snapshot
        try:
            return self.local.find(()).snapshot
        except TwofoldError:
            return None


class Answers:
    """The handlers of one model."""

    def __init__(
        self,
        service: Service,
        served: Served,
        hybrid: Hybrid,
        *,
        infer: Infer,
        access: Access,
        deadline_s: float,
    ) -> None:
        """Answer for a model.

        Args:
            service: Where it is counted.
            served: The version that predicts.
            hybrid: The store, and what settles what is asked.
            infer: Answers `/predict` of that version.
            access: Who may ask.
            deadline_s: Seconds a request may take, unless it says otherwise.
        """
        self._service = service
        self._served = served
        self._local, self._remote = hybrid.local, hybrid.remote
        self.asking, self._policy = hybrid.asking, hybrid.policy
        self._infer = infer
        self._access = access
        self._deadline_s = deadline_s
        self._clock_ns = hybrid.clock_ns
        self._running: set[asyncio.Task[None]] = set()
        self._counts = served.answer_slots

    def get(self, request: Request, caller: Caller) -> Response | None:
        """Answer GET for the key that ends the path."""
        return self._answer(request, caller, _asked_by_path)

    def quick(self) -> Callable[[bytes], bytes | None] | None:
        """What finds the body of the answer for a key, if that is simply what is stored.

        Returns:
            None if there is no such way: the store is on a server, or not everybody may ask.
        """
        if self._local is None or not self._access.is_open:
            return None
        return stored_bodies(
            self._local,
            self._policy,
            service=self._service,
            served=self._served,
            clock_ns=self._clock_ns,
        )

    def post(self, request: Request, caller: Caller) -> Response | None:
        """Answer POST for the key, or the keys, of the body."""
        max_keys = self._policy.max_keys
        return self._answer(request, caller, lambda request: read_asked(request, max_keys=max_keys))

    def now(self) -> datetime:
        """The time (UTC)."""
        return EPOCH + timedelta(microseconds=self._clock_ns() // 1000)

    def _answer(
        self, request: Request, caller: Caller, read: Callable[[Request], Asked]
    ) -> Response | None:
        try:
            self._admit(request)
            asked = read(request)
        except TwofoldError as error:
            self.count(error)
            raise
        wants_features = any(map(self.asking.wants_features, asked.asks))
        if self._local is None:
            self._later(request, caller, asked, wants_features)
            return None
        try:
            found = self._local.find(asked.keys, with_features=wants_features)
        except StoreUnavailable as error:
            return self._settled(request, caller, asked, error)
        return self._settled(request, caller, asked, found)

    def _admit(self, request: Request) -> None:
        """Look at who asks, and how, before anything is told.

        Raises:
            TwofoldError: They can't be answered.
        """
        service, access, headers = self._service, self._access, request.headers
        service.check_draining(request.received_s)
        if PRIORITY in headers or not access.is_open:
            access.identify(headers, self._served.name, now_utc=self.now())
        if DEADLINE in headers:
            self._left_s(request)

    def refused(self, asked: Asked, error: Exception) -> Exception:
        """Count a refusal of all that was asked for, and give it back."""
        for _ in asked.asks:
            self.count(error)
        return error

    # ---- a store on a server ----------------------------------------------------------------

    def _later(
        self,
        request: Request,
        caller: Caller,
        asked: Asked,
        wants_features: bool,  # noqa: FBT001
    ) -> None:
        """Answer when the store has."""
        task = asyncio.get_running_loop().create_task(
            self._wait(request, caller, asked, wants_features)
        )
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _wait(
        self,
        request: Request,
        caller: Caller,
        asked: Asked,
        wants_features: bool,  # noqa: FBT001
    ) -> None:
        try:
            response = self._settled(
                request, caller, asked, await self._looked_up(request, asked, wants_features)
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            response = refusal(error, request)
        if response is not None:
            caller.reply(response)

    async def _looked_up(
        self,
        request: Request,
        asked: Asked,
        wants_features: bool,  # noqa: FBT001
    ) -> Found | StoreUnavailable:
        if self._remote is None:
            raise RuntimeError("there is no store")
        try:
            left_s = self._left_s(request)
        except DeadlineExceeded as error:
            raise self.refused(asked, error) from None
        try:
            return await self._remote.find(
                asked.keys, with_features=wants_features, within_s=left_s * RESERVE_RATIO
            )
        except StoreUnavailable as error:
            return error

    def _left_s(self, request: Request) -> float:
        """How long a request has still to be answered.

        Raises:
            DeadlineExceeded: No time at all.
        """
        allowed_s = allowed_s_of(request.headers, self._deadline_s)
        left_s = request.received_s + allowed_s - self._service.clock()
        if left_s <= 0.0:
            fix = "Send X-Twofold-Deadline-Ms with more time, or fewer requests at once."
            raise DeadlineExceeded(problem("deadline", "time to answer", "none left", fix))
        return left_s

    # ---- what is stored, and what is predicted ----------------------------------------------

    def _settled(
        self, request: Request, caller: Caller, asked: Asked, found: Found | StoreUnavailable
    ) -> Response | None:
        """Answer what can be; have the rest predicted."""
        now = self.now()
        settled = [self._settle(asked, at, found, now) for at in range(len(asked.asks))]
        done = [item for item in settled if not isinstance(item, Live)]
        if len(done) < len(settled):
            return _Predicting(self, request, caller, asked, found, settled).ask(self._infer)
        if not self._access.is_open:
            self._take(request, asked)
        return self.respond(asked, done)

    def _settle(
        self, asked: Asked, at: int, found: Found | StoreUnavailable, now: datetime
    ) -> Settled:
        ask = asked.asks[at]
        try:
            if isinstance(found, StoreUnavailable):
                key, remote = asked.keys[at], self._remote
                remembered = remote.remembered(key) if remote is not None else None
                return self.asking.settle_alone(ask, remembered, found, now)
            settled = self.asking.settle(ask, found.stored[at], found.snapshot, now)
            if isinstance(settled, Live) and asked.is_many:
                # One row that doesn't fit mustn't spoil the others.
                self._served.check(settled.row)
        except TwofoldError as error:
            return error
        return settled

    def _take(self, request: Request, asked: Asked) -> None:
        """Take from the quota of whoever asked; what is predicted is taken from it elsewhere."""
        now_utc = self.now()
        _, key = self._access.identify(request.headers, self._served.name, now_utc=now_utc)
        try:
            if key is not None:
                self._access.take(key, now_s=self._service.clock())
        except QuotaExceeded as error:
            raise self.refused(asked, error) from None

    def respond(self, asked: Asked, done: Sequence[Done]) -> Response:
        """Make the response.

        Raises:
            TwofoldError: The one key that was asked for has no answer.
        """
        for item in done:
            self.count(item)
        if not asked.is_many:
            only = done[0]
            if isinstance(only, Exception):
                raise only
            return Response(OK, answer_body(only))
        pairs = zip(asked.asks, done, strict=True)
        every = b",".join(
            failed_body(ask, item) if isinstance(item, Exception) else answer_body(item)
            for ask, item in pairs
        )
        return Response(OK, b'{"answers":[' + every + b"]}")

    def count(self, item: Done) -> None:
        """Count what a key was answered with."""
        self._service.metrics.add(self._counts[answered_as(item)])

    def instead(
        self, asked: Asked, at: int, found: Found | None, error: Relayed
    ) -> Answer | Exception:
        """What is stored for a key of which the live prediction failed; the failure, if nothing.

        A row that doesn't fit is its sender's to mend: that isn't hidden by something else.
        """
        stored = None if found is None else found.stored[at]
        if stored is None or error.status < SERVER_FAULT or self._policy.on_stale == "refuse":
            return error
        age_s = age_s_of(stored.origin.as_of, self.now())
        why = LIVE_FAILED.get(error.status, "live prediction failed")
        return self.asking.stored(asked.asks[at], stored, age_s, why=why, is_fresh=False)

    def keep(self, asked: Asked, at: int, answer: Answer, snapshot: Snapshot | None) -> None:
        """Keep a live prediction beside the snapshot, if there is one and that is asked for."""
        if snapshot is None or not asked.asks[at].keep:
            return
        stored, key = self.asking.kept(answer, self.now()), asked.keys[at]
        if self._local is not None:
            with contextlib.suppress(StoreUnavailable):  # the answer is right all the same
                self._local.keep(key, stored, snapshot)
        elif self._remote is not None and len(self._running) < MAX_KEEPING:
            keeping = self._remote.keep(key, stored, snapshot)
            task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(keeping)
            self._running.add(task)
            task.add_done_callback(self._running.discard)


def _asked_by_path(request: Request) -> Asked:
    path, query = split_target(request.target)
    # A key may have slashes, too: it is all that follows /v1/models/NAME/answers/.
    key = unquote_to_bytes(path.split(b"/", SLASHES_BEFORE_KEY)[-1])
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    max_age_s, features = read_query(pairs) if query else (None, False)
    ask = Ask(key.decode("utf-8", "replace"), max_age_s, features=features)
    return Asked([ask], [key], is_many=False)


class _Predicting:
    """The live part of what was asked, as a request of its own; waits for its answer."""

    def __init__(
        self,
        answers: Answers,
        request: Request,
        caller: Caller,
        asked: Asked,
        found: Found | StoreUnavailable,
        settled: list[Settled],
    ) -> None:
        self._answers = answers
        self._request = request
        self._caller = caller
        self._asked = asked
        self._found = None if isinstance(found, StoreUnavailable) else found
        self._settled = settled
        self._places = [at for at, item in enumerate(settled) if isinstance(item, Live)]

    def ask(self, infer: Infer) -> Response | None:
        """Have it predicted; None if its answer comes later.

        Raises:
            TwofoldError: The caller may ask for nothing now.
        """
        rows = [item.row for item in self._settled if isinstance(item, Live)]
        request = self._request
        headers = {name: value for name, value in request.headers.items() if name not in OF_BODY}
        headers[TYPE] = JSON
        body = encode({"rows": rows} if self._asked.is_many else {"row": rows[0]})
        inner = Request(
            b"POST", request.target, headers, body, request.connection, request.received_s
        )
        try:
            response = infer(inner, self)
        except Exception as error:  # noqa: BLE001 - a stored prediction may answer instead
            if STATUSES[code_of(error)] in OF_CALLER:
                raise self._answers.refused(self._asked, error) from None
            # Whatever answers in its place: what failed is told to the operator, not to the caller.
            response = refusal(error, request)
        return None if response is None else self._answered(response)

    def waits_for(self, task: Task) -> None:
        """Be the one for whom a task is done."""
        self._caller.waits_for(task)

    def reply(self, response: Response) -> None:
        """Answer what was predicted later."""
        try:
            answered = self._answered(response)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            answered = refusal(error, self._request)
        self._caller.reply(answered)

    def _answered(self, response: Response) -> Response:
        read: dict[str, Any] = _decode(response.body)
        if response.status != OK:
            return self._failed(Relayed(response.status, read), response)
        values = read["predictions"] if self._asked.is_many else [read["prediction"]]
        now = self._answers.now()
        for at, value in zip(self._places, values, strict=True):
            live: Any = self._settled[at]
            answer = self._answers.asking.predicted(live, value, now)
            self._settled[at] = answer
            if self._found is not None:
                self._answers.keep(self._asked, at, answer, self._found.snapshot)
        answered = self._answers.respond(self._asked, self._done())
        if not response.headers:
            return answered
        return Response(OK, answered.body, answered.content_type, response.headers)

    def _done(self) -> list[Done]:
        return [item for item in self._settled if not isinstance(item, Live)]

    def _failed(self, error: Relayed, response: Response) -> Response:
        """Answer with what is stored, though it isn't what was asked for; else say what failed."""
        for at in self._places:
            self._settled[at] = self._answers.instead(self._asked, at, self._found, error)
        if not self._asked.is_many and self._settled[0] is error:
            self._answers.count(error)
            return response
        return self._answers.respond(self._asked, self._done())
