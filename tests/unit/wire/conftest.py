"""Routes over a fake model, and a request made in one line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from records import VALUE, record_of

from twofold.errors import PredictionFailed
from twofold.model.signature import Field, Output, Signature, Value
from twofold.serving.metrics import REQUESTS, RESPONSES, Metrics, layout_for
from twofold.serving.service import Served, Service
from twofold.serving.settings import ServeSettings
from twofold.serving.waiting import Task
from twofold.wire.access import Access
from twofold.wire.http import DEFAULT, Request, Response
from twofold.wire.routes import Routes
from twofold.wire.statuses import REASONS
from twofold.wire.watched import Exchange, WatchedRoutes

sys.path.insert(0, str(Path(__file__).parent))
from callers import Lane, Waiter

SIGNATURE = Signature(
    fields=(
        Field(name="amount", type="float64"),
        Field(name="plan", type="string", nullable=True, categories=("<basic>", "pro")),
    ),
    ignored=("note",),
)
POISON = 666.0
MAX_TURNS = 9
"""Turns of the loop in which an answer that comes later has come."""


class Doubler:
    """Predicts twice `amount`; raises what a broken library would on a poisonous one."""

    quick = None

    def __init__(self, outputs: int) -> None:
        self._outputs = outputs

    def predict_checked(
        self, rows: Sequence[Sequence[Value]], *, one_by_one: int = 1
    ) -> list[list[Any]]:
        if not rows:
            return []  # as `Predictor.predict_checked` does
        return [[self._doubled(row) for row in rows]] * self._outputs

    def _doubled(self, values: Sequence[Value]) -> Any:
        if values[0] == POISON:
            raise PredictionFailed("the model raised ValueError: secret of the model")
        if values[0] == -POISON:
            raise RuntimeError("secret of the server")
        return values[0] * 2  # type: ignore[operator]


class Bench:
    """Routes to `churn` versions 3 (the default) and 2, `risk` with two outputs, and `image`."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.lag_s = 0.0
        classes = Output(kind="probability", type="float64", names=("low", "high"))
        tensor = Signature(
            fields=(
                Field(name="x", type="tensor", length=2),
                Field(name="at", type="timestamp", zoned=True),
            )
        )
        records = [
            record_of("churn", "3", SIGNATURE, VALUE),
            record_of("churn", "2", SIGNATURE, VALUE),
            record_of("risk", "1", SIGNATURE, classes),
            record_of("image", "1", tensor, VALUE),
        ]
        known = [*((record.name, record.version) for record in records), ("other", "1")]
        layout = layout_for(known, sorted(REASONS))
        self.metrics = Metrics(layout, memoryview(bytearray(layout.size_bytes(1))), region=0)
        served = [
            Served(record, self.metrics, model=Doubler(len(record.output.names)))
            for record in records
        ]
        self.service = Service(
            served, self.metrics, clock=lambda: self.now_s, lag_s=lambda _: self.lag_s
        )
        self.service.ready()
        self.settings = ServeSettings(max_rows=3, deadline_s=1.0)
        self.routes = Routes(self.service, self.settings, access=Access(), version="9.9")
        self.loop = asyncio.new_event_loop()

    def ask(
        self,
        method: str,
        target: str,
        body: Any = b"",
        headers: Mapping[bytes, bytes] | None = None,
        *,
        received_s: float | None = None,
    ) -> Response:
        request = Request(
            method.encode(),
            target.encode(),
            {b"host": b"x", **(headers or {})},
            body if isinstance(body, bytes) else msgspec.json.encode(body),
            DEFAULT,
            self.now_s if received_s is None else received_s,
        )
        return self.loop.run_until_complete(self._answer(request))

    async def _answer(self, request: Request) -> Response:
        waiter = Waiter()
        answered = self.routes.answer(request, waiter)
        if answered is not None:
            assert waiter.answers == []
            return answered
        for _ in range(MAX_TURNS):
            if waiter.answers:
                break
            await asyncio.sleep(0)
        [answered] = waiter.answers
        return answered

    def wait_in_lane(self, waiter: Waiter) -> Task:
        """Ask `churn` about a row that waits in a lane; give the task that a test is to end."""
        churn: Any = self.service.find("churn")
        churn.turn = lane = Lane()
        body = b'{"row": [1.0, null]}'
        target = b"/v1/models/churn/predict"
        request = Request(b"POST", target, {}, body, DEFAULT, self.now_s)
        assert self.routes.answer(request, waiter) is None
        assert waiter.task is lane.task
        return lane.task

    def watch(self, *watches: Callable[[Exchange], None]) -> None:
        """Let the routes tell of each answer from now on."""
        self.routes = WatchedRoutes(
            self.service, self.settings, access=Access(), version="9.9", watches=watches
        )

    def slow_down(self, by_s: float) -> None:
        """Let `churn` take so long for each prediction from now on."""
        model: Any = self.service.find("churn").model
        predict = model.predict_checked

        def slow(rows: Any, **how: Any) -> Any:
            self.now_s += by_s
            return predict(rows, **how)

        model.predict_checked = slow

    def other(
        self,
        signature: Signature,
        output: Output = VALUE,
        *,
        example: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> Served:
        """A version of another model, with facts of its own."""
        record = msgspec.structs.replace(record_of("other", "1", signature, output), **facts)
        return Served(record, self.metrics, example=example)

    def outcomes(self, name: str = "churn", version: str = "3") -> dict[str, float]:
        """How many requests of a version ended how."""
        return {
            labels[2]: values[0]
            for family, labels, values in self.metrics.totals()
            if family.name == REQUESTS and labels[:2] == (name, version) and values[0]
        }

    def responses(self) -> dict[str, float]:
        """How many responses had which status."""
        return {
            labels[0]: values[0]
            for family, labels, values in self.metrics.totals()
            if family.name == RESPONSES and values[0]
        }

    def post(self, body: Any, **more: Any) -> tuple[int, Any]:
        response = self.ask("POST", "/v1/models/churn/predict", body, **more)
        return response.status, msgspec.json.decode(response.body)

    def get(self, target: str) -> tuple[int, Any]:
        response = self.ask("GET", target)
        return response.status, msgspec.json.decode(response.body)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.loop.close()


@pytest.fixture
def make_bench() -> Iterator[Callable[[], Bench]]:
    """Make as many benches as are asked for."""
    made: list[Bench] = []

    def make() -> Bench:
        made.append(Bench())
        return made[-1]

    yield make
    for bench in made:
        bench.loop.close()
