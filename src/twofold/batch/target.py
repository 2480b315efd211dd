"""What a target is: a place beside the run's folder to which the committed run is delivered."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Protocol

import pyarrow as pa

from twofold.batch.committed import Committed
from twofold.batch.watch import Step


class DeliveryState(enum.StrEnum):
    """What a delivery found or did."""

    DELIVERED = "delivered"
    ALREADY_DELIVERED = "already delivered"


@dataclasses.dataclass(frozen=True)
class Delivery:
    """A run that is in a target.

    Attributes:
        target: Where, without a password.
        state: Whether this call brought it there.
        rows: Rows of it there.
    """

    target: str
    state: DeliveryState
    rows: int


@dataclasses.dataclass(frozen=True)
class Look:
    """What looks on while a run is delivered.

    Attributes:
        rows: Told the number of rows that are on their way.
        step: Told before every durable step.
        now: The time of the record (UTC), ISO 8601.
    """

    rows: Callable[[int], None]
    step: Callable[[Step], None]
    now: str


class NotDelivered(Exception):
    """A target can't take a run, or didn't.

    Attributes:
        expected: Of the target.
        got: Instead.
        fix: What to do about it.
        is_unknown: Whether the run may be there all the same.
    """

    def __init__(self, expected: str, got: str, fix: str, *, is_unknown: bool = False) -> None:
        """Keep the words, to which the name of the target and of the run are added."""
        super().__init__(f"expected {expected}, got {got}. {fix}")
        self.expected = expected
        self.got = got
        self.fix = fix
        self.is_unknown = is_unknown


class Target(Protocol):
    """A place to deliver runs to, as often as one likes: one run is there once."""

    @property
    def name(self) -> str:
        """What is recorded and shown: where it is, without a password."""
        ...

    @property
    def has_types(self) -> bool:
        """Whether it takes rows, whose types must be known, and not files."""
        ...

    def check(self, run_id: str, schema: pa.Schema | None) -> None:
        """See, before anything is predicted, that it can take a run that isn't committed yet.

        Args:
            run_id: The run.
            schema: Of its rows; None while that isn't known.

        Raises:
            NotDelivered: It can't be reached, has another shape, or a run of that name.
            ConfigError: The extra isn't installed.
        """
        ...

    def deliver(self, run: Committed, look: Look) -> DeliveryState:
        """Bring a committed run there, all at once, or find that it is there.

        Raises:
            NotDelivered: That failed.
            ConfigError: The extra isn't installed.
        """
        ...


def another_run(run_id: str, fix: str) -> NotDelivered:
    """Say that a run of the same name is there which isn't the same."""
    return NotDelivered(f"no other run {run_id} there", "one of that name", fix)


def differing(wanted: dict[str, str], there: dict[str, str]) -> NotDelivered | None:
    """Compare the columns of a run and of a table, by name; None if they are the same.

    Args:
        wanted: Names and types of the run's.
        there: Names and types of the table's.
    """
    if wanted == there:
        return None
    found = [f"no {name} ({kind})" for name, kind in wanted.items() if name not in there]
    found += [f"{name} besides" for name in there if name not in wanted]
    found += [
        f"{name} as {there[name]} instead of {kind}"
        for name, kind in wanted.items()
        if name in there and there[name] != kind
    ]
    fix = "Name another table, or change this one."
    return NotDelivered("a table with the columns of the run", ", ".join(found), fix)
