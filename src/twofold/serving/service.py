"""The models a process serves: predicts for requests that keep their deadline, and counts."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from twofold.errors import (
    DeadlineExceeded,
    Draining,
    InvalidInput,
    Refused,
    UnknownModel,
    problem,
)
from twofold.model.record import ModelVersion
from twofold.model.rows import RowCheck
from twofold.model.signature import Output, Signature, Value
from twofold.serving.metrics import DURATION, PREDICT, REQUESTS, ROWS, Metrics, Outcome


class Model(Protocol):
    """What is served: `twofold.predictor.door.Predictor`, the one door, has it all."""

    @property
    def name(self) -> str: ...  # noqa: D102 - as the predictor says
    @property
    def version(self) -> str: ...  # noqa: D102
    @property
    def record(self) -> ModelVersion: ...  # noqa: D102
    @property
    def signature(self) -> Signature: ...  # noqa: D102
    @property
    def output(self) -> Output: ...  # noqa: D102
    def predict_values(self, values: Sequence[Value]) -> Any: ...  # noqa: D102
    def predict_rows(self, rows: Sequence[Any], *, where: str = ...) -> list[Any]: ...  # noqa: D102


class Health(enum.Enum):
    """Where a process is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Served:
    """One version of a model, with everything a request needs looked up beforehand.

    Attributes:
        model: The door.
        example: A row of the sample as JSON values, for the documentation; None if unknown.
    """

    def __init__(
        self, model: Model, metrics: Metrics, *, example: Mapping[str, Any] | None = None
    ) -> None:
        """Look up the slots of the model's metrics."""
        self.model = model
        self.name = model.name
        self.version = model.version
        self.example = example
        self.check = RowCheck(model.signature)
        layout = metrics.layout
        labels = (model.name, model.version)
        self.rows_slot = layout.slot(ROWS, *labels)
        self.duration_slot = layout.slot(DURATION, *labels)
        self.predict_slot = layout.slot(PREDICT, *labels)
        self.outcome_slots = {
            outcome: layout.slot(REQUESTS, *labels, outcome) for outcome in Outcome
        }


def outcome_of(error: Exception) -> Outcome:
    """How a request that ended with `error` is counted."""
    if isinstance(error, InvalidInput):
        return Outcome.INVALID
    if isinstance(error, Refused):
        return Outcome.REFUSED
    if isinstance(error, DeadlineExceeded):
        return Outcome.LATE
    return Outcome.FAILED


class Service:
    """All models of one process, and whether it takes requests.

    The first version given of a model answers requests that name no version.
    """

    def __init__(
        self, served: Sequence[Served], metrics: Metrics, *, clock: Callable[[], float]
    ) -> None:
        """Serve models; `clock` gives monotonic seconds."""
        self.metrics = metrics
        self.clock = clock
        self.health = Health.STARTING
        self._draining_since_s = float("inf")
        self.versions: dict[str, dict[str, Served]] = {}
        for item in served:
            self.versions.setdefault(item.name, {})[item.version] = item

    def ready(self) -> None:
        """Say that the models are loaded and warm."""
        self.health = Health.READY

    def drain(self) -> None:
        """Take no more requests; those whose first byte is here are still answered."""
        if self.health is not Health.DRAINING:
            self.health = Health.DRAINING
            self._draining_since_s = self.clock()

    def default(self, name: str) -> Served:
        """The version of a served model that answers when none is named."""
        return next(iter(self.versions[name].values()))

    def find(self, name: str, version: str | None = None) -> Served:
        """The served version asked for.

        Raises:
            UnknownModel: It isn't served here.
        """
        versions = self.versions.get(name)
        if versions is None:
            known = ", ".join(repr(item) for item in self.versions)
            fix = "Ask for a served model, or start the server with this one, too."
            raise UnknownModel(problem("model", f"one of {known}", repr(name[:80]), fix))
        if version is None:
            return self.default(name)
        if version not in versions:
            known = ", ".join(repr(item) for item in versions)
            fix = f"Ask for a served version, or start the server with {name}@VERSION, too."
            raise UnknownModel(
                problem(f"{name}.version", f"one of {known}", repr(version[:80]), fix)
            )
        return versions[version]

    def predict_one(self, served: Served, row: Any, *, received_s: float, deadline_s: float) -> Any:
        """Predict one row.

        Args:
            served: The model.
            row: A mapping by field name, or a list in the signature's order.
            received_s: When the request's first byte came.
            deadline_s: When its caller stops waiting.

        Returns:
            The prediction; a dict by output name if the model has several outputs.

        Raises:
            InvalidInput: The row doesn't fit the signature.
            Draining: The request came after the server began to stop.
            DeadlineExceeded: It is too late already; the model wasn't touched.
            PredictionFailed: The model failed.
        """
        try:
            values = served.check(row)
            started_s = self._start(received_s, deadline_s)
            prediction = served.model.predict_values(values)
        except Exception as error:
            self._count(served, outcome_of(error))
            raise
        self._finish(served, 1, received_s, started_s)
        return prediction

    def predict_many(
        self, served: Served, rows: Sequence[Any], *, received_s: float, deadline_s: float
    ) -> list[Any]:
        """Predict many rows: one prediction per row, in order; see `predict_one`."""
        try:
            started_s = self._start(received_s, deadline_s)
            predictions = served.model.predict_rows(rows, where="rows")
        except Exception as error:
            self._count(served, outcome_of(error))
            raise
        self._finish(served, len(rows), received_s, started_s)
        return predictions

    def count_invalid(self, served: Served) -> None:
        """Count a request whose rows couldn't even be read."""
        self._count(served, Outcome.INVALID)

    def _count(self, served: Served, outcome: Outcome) -> None:
        self.metrics.add(served.outcome_slots[outcome])

    def _start(self, received_s: float, deadline_s: float) -> float:
        now_s = self.clock()
        if received_s >= self._draining_since_s:
            raise Draining("server: expected to stay, got told to stop. Send the request again.")
        if now_s > deadline_s:
            late_ms = (now_s - deadline_s) * 1000
            raise DeadlineExceeded(
                problem(
                    "deadline",
                    f"{(deadline_s - received_s) * 1000:.3f} ms to be enough",
                    f"{late_ms:.3f} ms more before the model was asked",
                    "Send X-Twofold-Deadline-Ms with more time, or fewer requests at once.",
                )
            )
        return now_s

    def _finish(self, served: Served, rows: int, received_s: float, started_s: float) -> None:
        now_s = self.clock()
        metrics = self.metrics
        metrics.add(served.outcome_slots[Outcome.OK])
        metrics.add(served.rows_slot, rows)
        metrics.observe(served.duration_slot, now_s - received_s)
        metrics.observe(served.predict_slot, now_s - started_s)
