"""Routes of which each answer is told: to the log of requests, and to tracing.

They take the place of the plain ones only where somebody listens, so that nobody else pays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from twofold.errors import TwofoldError
from twofold.serving.metrics import Outcome
from twofold.serving.service import Served
from twofold.serving.waiting import Task
from twofold.wire.connection import Caller
from twofold.wire.http import NOTHING_READ, Request, Response
from twofold.wire.infer import Infer
from twofold.wire.protocols import Protocol, readers
from twofold.wire.refusal import outcome_of
from twofold.wire.routes import Route, Routes

log = logging.getLogger("twofold.wire")


class Ended(msgspec.Struct, frozen=True):
    """How an infer request ended.

    Attributes:
        served: The version it was for.
        route: The path of its kind, with the names of what varies in braces.
        outcome: As it is counted.
        rows: How many were predicted.
        waited: Whether it waited in a lane.
        started_s: When its model was asked, monotonic seconds; None if it wasn't, or if the
            answer was no longer waited for.
        predict_s: How long the model took.
    """

    served: Served
    route: str
    outcome: Outcome
    rows: int = 0
    waited: bool = False
    started_s: float | None = None
    predict_s: float = 0.0


class Exchange(msgspec.Struct, frozen=True):
    """One request and its answer.

    Attributes:
        request: As much of it as was read.
        response: What it is answered with.
        ended: How it ended, if it was an infer request.
        done_s: When it was answered, monotonic seconds.
    """

    request: Request
    response: Response
    ended: Ended | None
    done_s: float

    @property
    def duration_s(self) -> float:
        """Seconds from the first byte to the answer."""
        return self.done_s - self.request.received_s


Watch = Callable[[Exchange], None]


class WatchedRoutes(Routes):
    """Answers as `Routes` does, and tells every watch of it."""

    def __init__(self, *what: Any, watches: Sequence[Watch], **how: Any) -> None:
        """Prepare the routes.

        Args:
            what: See `Routes`.
            watches: Told of each exchange, in order.
            how: See `Routes`.
        """
        self._watches = watches
        # Said by an infer handler just before its answer is given: nothing comes between.
        self._ended: Ended | None = None
        super().__init__(*what, **how)
        for path, route in self._routes.items():
            handler = route.get(b"POST")
            if isinstance(handler, _WatchedInfer):
                handler.route = route_of(path.decode())

    def answer(self, request: Request, caller: Caller) -> Response | None:
        """Answer a request, a failed one too; None if its answer comes later."""
        response = super().answer(request, _Told(self, request, caller))
        if response is not None:
            self.tell(request, response)
        return response

    def refuse(self, error: Exception, request: Request = NOTHING_READ) -> Response:
        """Answer what never became a whole request."""
        response = super().refuse(error, request)
        try:
            handler = self._handler(request.method, request.target)
        except TwofoldError:
            handler = None
        if isinstance(handler, _WatchedInfer):
            handler.note_refused(error)
        self.tell(request, response)
        return response

    def tell(self, request: Request, response: Response) -> None:
        """Tell of an answer that is about to be given."""
        ended, self._ended = self._ended, None
        exchange = Exchange(request, response, ended, self._service.clock())
        for watch in self._watches:
            try:
                watch(exchange)
            except Exception:
                # Whatever is wrong with a watch, the caller gets the answer.
                log.exception("an answer couldn't be told of")

    def _infer(self, served: Served, protocol: Protocol) -> Route:
        reader = readers(served, max_rows=self._settings.max_rows)[protocol]
        infer = _WatchedInfer(
            self._service, served, reader, protocol, self._access, self._settings
        )  # fmt: skip
        infer.note = self._note
        return {b"POST": infer}

    def _note(self, ended: Ended) -> None:
        self._ended = ended


def route_of(path: str) -> str:
    """The kind of an infer path, as templates of OpenAPI have it: `/v1/models/{model}/predict`."""
    parts = path.split("/")
    if "models" in parts[:3]:
        parts[3] = "{model}"
        if parts[4] == "versions":
            parts[5] = "{version}"
    return "/".join(parts)


class _WatchedInfer(Infer):
    """Notes how each request ended, just before it is answered."""

    route = ""
    note: Callable[[Ended], None]

    def __call__(self, request: Request, caller: Caller) -> Response | None:
        try:
            return super().__call__(request, caller)
        except Exception as error:
            self.note_refused(error)
            raise

    def note_refused(self, error: Exception) -> None:
        """Note a request that was refused at once."""
        self.note(Ended(self._served, self.route, outcome_of(error)))

    def _answered(
        self, request: Request, response: Response, rows: int, started_s: float, task: Task | None
    ) -> Response:
        response = super()._answered(request, response, rows, started_s, task)
        self.note(
            Ended(
                self._served,
                self.route,
                Outcome.OK,
                rows,
                waited=task is not None,
                started_s=started_s,
                predict_s=task.predict_s if task else self._service.clock() - started_s,
            )
        )
        return response

    def _count(self, outcome: Outcome, task: Task, request: Request) -> None:
        super()._count(outcome, task, request)
        self.note(
            Ended(
                self._served,
                self.route,
                outcome,
                waited=True,
                started_s=task.started_s if task.predict_s > 0.0 else None,
                predict_s=task.predict_s,
            )
        )


class _Told:
    """A caller whose answer, if it comes later, is told of first."""

    __slots__ = ("_caller", "_request", "_routes")

    def __init__(self, routes: WatchedRoutes, request: Request, caller: Caller) -> None:
        self._routes = routes
        self._request = request
        self._caller = caller

    def waits_for(self, task: Task) -> None:
        """Be the one for whom a task is done."""
        self._caller.waits_for(task)

    def reply(self, response: Response) -> None:
        """Answer later."""
        self._routes.tell(self._request, response)
        self._caller.reply(response)
