"""Routes over a fake model, and a request made in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from twofold.errors import PredictionFailed
from twofold.model.record import Artifact, ModelVersion, Modes, Parity
from twofold.model.rows import check_row
from twofold.model.signature import Field, Output, Signature, Value
from twofold.serving.metrics import Metrics, layout_for
from twofold.serving.service import Served, Service
from twofold.serving.settings import ServeSettings
from twofold.wire.http import DEFAULT, Request, Response
from twofold.wire.routes import Routes
from twofold.wire.statuses import REASONS

SIGNATURE = Signature(
    fields=(
        Field(name="amount", type="float64"),
        Field(name="plan", type="string", nullable=True, categories=("<basic>", "pro")),
    ),
    ignored=("note",),
)
POISON = 666.0


class Doubler:
    """Predicts twice `amount`; raises what a broken library would on a poisonous one."""

    def __init__(
        self, name: str, version: str, signature: Signature, output: Output, *, outputs: int
    ) -> None:
        self.name, self.version = name, version
        self.signature, self.output = signature, output
        self._outputs = outputs
        file = Artifact(file="model.py", format="python-source", sha256="0", size_bytes=1)
        self.record = ModelVersion(
            name=name,
            version=version,
            digest="d1g3st",
            framework="python",
            libraries={},
            signature=signature,
            output=output,
            runtimes=Modes(batch="original", real_time="original"),
            artifacts={"original": file},
            sample=file,
            parity=Parity(sample_rows=1, edge_rows=0, tolerance=0.0, same_bits=True, candidates=()),
            created_at="2026-01-31T12:00:00+00:00",
        )

    def predict_values(self, values: Sequence[Value]) -> Any:
        if values[0] == POISON:
            raise PredictionFailed("the model raised ValueError: secret of the model")
        if values[0] == -POISON:
            raise RuntimeError("secret of the server")
        doubled = values[0] * 2  # type: ignore[operator]
        return doubled if self._outputs == 1 else dict.fromkeys(self.output.names, doubled)

    def predict_rows(self, rows: Sequence[Any], *, where: str = "rows") -> list[Any]:
        return [
            self.predict_values(check_row(self.signature, row, where=f"{where}[{index}]"))
            for index, row in enumerate(rows)
        ]


class Bench:
    """Routes to `churn` versions 3 (the default) and 2, and to `risk` with two outputs."""

    def __init__(self) -> None:
        self.now_s = 100.0
        value = Output(kind="value", type="float64")
        classes = Output(kind="probability", type="float64", names=("low", "high"))
        tensor = Signature(
            fields=(
                Field(name="x", type="tensor", length=2),
                Field(name="at", type="timestamp", zoned=True),
            )
        )
        models = [
            Doubler("churn", "3", SIGNATURE, value, outputs=1),
            Doubler("churn", "2", SIGNATURE, value, outputs=1),
            Doubler("risk", "1", SIGNATURE, classes, outputs=2),
            Doubler("image", "1", tensor, value, outputs=1),
        ]
        layout = layout_for([(m.name, m.version) for m in models], sorted(REASONS))
        self.metrics = Metrics(layout, memoryview(bytearray(layout.size_bytes(1))), region=0)
        served = [Served(model, self.metrics) for model in models]
        self.service = Service(served, self.metrics, clock=lambda: self.now_s)
        self.service.ready()
        self.settings = ServeSettings(max_rows=3, deadline_s=1.0)
        self.routes = Routes(self.service, self.settings, version="9.9")

    def ask(
        self,
        method: str,
        target: str,
        body: Any = b"",
        headers: Mapping[bytes, bytes] | None = None,
        *,
        received_s: float | None = None,
    ) -> Response:
        return self.routes.answer(
            Request(
                method.encode(),
                target.encode(),
                {b"host": b"x", **(headers or {})},
                body if isinstance(body, bytes) else msgspec.json.encode(body),
                DEFAULT,
                self.now_s if received_s is None else received_s,
            )
        )

    def post(self, body: Any, **more: Any) -> tuple[int, Any]:
        response = self.ask("POST", "/v1/models/churn/predict", body, **more)
        return response.status, msgspec.json.decode(response.body)

    def get(self, target: str) -> tuple[int, Any]:
        response = self.ask("GET", target)
        return response.status, msgspec.json.decode(response.body)


@pytest.fixture
def bench() -> Bench:
    return Bench()
