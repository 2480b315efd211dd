"""A service over fake models, with a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from twofold.errors import PredictionFailed
from twofold.model.rows import check_row
from twofold.model.signature import Field, Output, Signature, Value
from twofold.serving.metrics import Metrics, layout_for
from twofold.serving.service import Served, Service

POISON = 666.0


class Doubler:
    """Predicts twice `amount`; fails on a poisonous one; each call may take (manual) time."""

    name = "doubler"
    output = Output(kind="value", type="float64")
    signature = Signature(fields=(Field(name="amount", type="float64"),))
    record: Any = None

    def __init__(self, version: str, clock: Clock) -> None:
        self.version = version
        self.calls = 0
        self.takes_s = 0.0
        self._clock = clock

    def predict_values(self, values: Sequence[Value]) -> Any:
        self.calls += 1
        self._clock.now_s += self.takes_s
        if values[0] == POISON:
            raise PredictionFailed("the model raised ValueError: secret of the model")
        return values[0] * 2  # type: ignore[operator]

    def predict_rows(self, rows: Sequence[Any], *, where: str = "rows") -> list[Any]:
        checked = [
            check_row(self.signature, row, where=f"{where}[{i}]") for i, row in enumerate(rows)
        ]
        return [self.predict_values(values) for values in checked]


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Bench:
    """A service of two versions of one model."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.models = [Doubler("2", self.clock), Doubler("1", self.clock)]
        layout = layout_for([("doubler", "2"), ("doubler", "1")], [200])
        self.metrics = Metrics(layout, memoryview(bytearray(layout.size_bytes(1))), region=0)
        served = [Served(model, self.metrics) for model in self.models]
        self.service = Service(served, self.metrics, clock=self.clock)
        self.service.ready()

    def one(self, row: Any, *, received_s: float | None = None, deadline_s: float = 1e9) -> Any:
        received_s = self.clock.now_s if received_s is None else received_s
        return self.service.predict_one(
            self.service.find("doubler"), row, received_s=received_s, deadline_s=deadline_s
        )

    def many(self, rows: Any) -> Any:
        return self.service.predict_many(
            self.service.find("doubler"), rows, received_s=self.clock.now_s, deadline_s=1e9
        )

    def total(self, family: str, *labels: str) -> float:
        return next(
            v[0] for f, at, v in self.metrics.totals() if (f.name, *at) == (family, *labels)
        )


@pytest.fixture
def bench() -> Bench:
    return Bench()
