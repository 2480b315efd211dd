"""The models a process serves: which there are, whether requests are taken, and what is counted."""

from __future__ import annotations

import enum
import math
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
from twofold.serving.apart import Apart
from twofold.serving.lane import Lane
from twofold.serving.metrics import (
    ANSWERS,
    DURATION,
    IN_HAND,
    LAG,
    PREDICT,
    QUEUE,
    REQUESTS,
    ROWS,
    SNAPSHOT_AS_OF,
    SNAPSHOT_KEYS,
    WAITING,
    Answered,
    Metrics,
    Outcome,
)
from twofold.serving.together import Columns, Rows
from twofold.serving.turn import Turn
from twofold.serving.waiting import CallerGone


class Model(Protocol):
    """What is served in this process: `twofold.predictor.door.Predictor`, the one door, has it."""

    @property
    def quick(self) -> Callable[[Any], float | None] | None: ...  # noqa: D102 - as the door says
    def predict_checked(self, rows: Rows, *, one_by_one: int = ...) -> Columns: ...  # noqa: D102


class Health(enum.Enum):
    """Where a process is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Contract:
    """What a version takes and gives: all that a protocol needs to know of it."""

    def __init__(self, record: ModelVersion) -> None:
        """Read it from the record."""
        self.record = record
        self.name, self.version = record.name, record.version
        self.signature, self.output = record.signature, record.output
        self.check = RowCheck(record.signature)


class Served(Contract):
    """One version of a model, with everything a request needs looked up beforehand.

    Attributes:
        model: The door; None if it is in another process only.
        turn: The lane of a model that is predicted turn by turn.
        apart: The lane of a process of its own: for all requests if `model` is None, else for
            those whose rows would block the event loop.
        one_by_one: So many rows at most are predicted sooner one by one than together.
        rows_here: So many rows at most of one request are predicted in the event loop.
        example: A row of the sample as JSON values, for the documentation; None if unknown.
        shed_s: When a request that needs no lane was last refused because of load, monotonic
            seconds.
    """

    def __init__(  # noqa: PLR0913 - what is known of a version, named
        self,
        record: ModelVersion,
        metrics: Metrics,
        *,
        model: Model | None = None,
        turn: Turn | None = None,
        apart: Apart | None = None,
        one_by_one: int = 1,
        rows_here: int = 1_000_000,
        example: Mapping[str, Any] | None = None,
    ) -> None:
        """Look up the slots of the model's metrics."""
        super().__init__(record)
        self.model = model
        self.turn = turn
        self.apart = apart
        self.one_by_one = one_by_one
        self.rows_here = rows_here
        self.example = example
        self.shed_s = -math.inf
        layout = metrics.layout
        labels = (record.name, record.version)
        self.rows_slot = layout.slot(ROWS, *labels)
        self.duration_slots = {
            outcome: layout.slot(DURATION, *labels, outcome) for outcome in Outcome
        }
        self.queue_slots = {outcome: layout.slot(QUEUE, *labels, outcome) for outcome in Outcome}
        self.duration_slot = self.duration_slots[Outcome.OK]
        self.queue_slot = self.queue_slots[Outcome.OK]
        self.predict_slot = layout.slot(PREDICT, *labels, Outcome.OK)
        self.waiting_slot = layout.slot(WAITING, *labels)
        self.in_hand_slot = layout.slot(IN_HAND, *labels)
        self.outcome_slots = {
            outcome: layout.slot(REQUESTS, *labels, outcome) for outcome in Outcome
        }
        self.ok_slot = self.outcome_slots[Outcome.OK]
        self.answer_slots = {answer: layout.slot(ANSWERS, *labels, answer) for answer in Answered}
        self.as_of_slot = layout.slot(SNAPSHOT_AS_OF, *labels)
        self.keys_slot = layout.slot(SNAPSHOT_KEYS, *labels)

    @property
    def lane(self) -> Lane | None:
        """The way that most requests take; None if they are predicted as they are read."""
        return self.apart if self.model is None else self.turn

    @property
    def last_shed_s(self) -> float:
        """When a request was last refused because of load, monotonic seconds."""
        lanes = [lane.shed_s for lane in (self.turn, self.apart) if lane is not None]
        return max([self.shed_s, *lanes])

    @property
    def is_ready(self) -> bool:
        """Whether it can predict now."""
        return self.model is not None or (self.apart is not None and self.apart.is_ready)

    def predict(self, rows: Rows) -> Columns:
        """Predict rows in this process.

        Raises:
            PredictionFailed: The model failed for at least one of them.
        """
        if self.model is None:
            raise RuntimeError(f"{self.name}@{self.version} is in another process")
        return self.model.predict_checked(rows, one_by_one=self.one_by_one)


def outcome_of(error: Exception) -> Outcome:
    """How a request that ended with `error` is counted."""
    if isinstance(error, InvalidInput):
        return Outcome.INVALID
    if isinstance(error, Refused):
        return Outcome.REFUSED
    if isinstance(error, DeadlineExceeded):
        return Outcome.LATE
    if isinstance(error, CallerGone):
        return Outcome.GONE
    return Outcome.FAILED


class Service:
    """All models of one process, and whether it takes requests.

    The first version given of a model answers requests that name no version; the first model
    answers those that name no model.
    """

    def __init__(
        self,
        served: Sequence[Served],
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        lag_s: Callable[[float], float] = lambda _: 0.0,
    ) -> None:
        """Serve models.

        Args:
            served: The models.
            metrics: What is counted.
            clock: Monotonic seconds.
            lag_s: How late the event loop is at an instant.
        """
        self.metrics = metrics
        self.clock = clock
        self.lag_s = lag_s
        self.health = Health.STARTING
        self._draining_since_s = float("inf")
        self.versions: dict[str, dict[str, Served]] = {}
        for item in served:
            self.versions.setdefault(item.name, {})[item.version] = item

    @property
    def is_ready(self) -> bool:
        """Whether every model can predict, and requests are taken."""
        return self.health is Health.READY and all(
            item.is_ready for versions in self.versions.values() for item in versions.values()
        )

    def ready(self) -> None:
        """Say that the models are loaded and warm."""
        self.health = Health.READY

    def drain(self) -> None:
        """Take no more requests; those whose first byte is here are still answered."""
        if self.health is not Health.DRAINING:
            self.health = Health.DRAINING
            self._draining_since_s = self.clock()

    def check_draining(self, received_s: float) -> None:
        """Refuse what came too late.

        Raises:
            Draining: The request came after the server began to stop.
        """
        if received_s >= self._draining_since_s:
            raise Draining("server: expected to stay, got told to stop. Send the request again.")

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

    def count(
        self, served: Served, outcome: Outcome, received_s: float, waited_s: float | None = None
    ) -> None:
        """Count a request that wasn't answered with predictions.

        Args:
            served: The model.
            outcome: How it ended.
            received_s: When its first byte came.
            waited_s: How long it waited for the model, if it did.
        """
        metrics = self.metrics
        metrics.add(served.outcome_slots[outcome])
        metrics.observe(served.duration_slots[outcome], self.clock() - received_s)
        if waited_s is not None:
            metrics.observe(served.queue_slots[outcome], waited_s)

    def sample(self) -> None:
        """Note how much waits right now; to be called several times a second."""
        metrics = self.metrics
        metrics.set(metrics.layout.slot(LAG), self.lag_s(self.clock()))
        for versions in self.versions.values():
            for item in versions.values():
                waiting = in_hand = 0
                if item.turn is not None:
                    waiting += len(item.turn.waiting)
                if item.apart is not None:
                    waiting += len(item.apart.waiting)
                    in_hand += item.apart.in_hand
                metrics.set(item.waiting_slot, waiting)
                metrics.set(item.in_hand_slot, in_hand)
