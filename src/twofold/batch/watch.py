"""What may look on while a run works: progress, the clock, and the steps of staging."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from datetime import UTC, datetime


class Step(enum.StrEnum):
    """The durable steps of a run, each reported just before it is taken.

    Tests raise at a step to play a crash there.
    """

    TAKE_OVER = "shut out earlier attempts"
    START = "append the start to the ledger"
    ANSWER = "append the answer of a database to the ledger"
    WRITE = "write a file of a partition"
    RENAME = "give a file its name"
    FINISH = "append the partition to the ledger"
    QUARANTINE = "write the quarantine of the run"
    MANIFEST = "write the manifest"
    COMMIT = "rename the run to its place"
    EXCHANGE = "exchange the repaired run for what it was"
    SYNC = "make the rename durable"
    DELIVER = "begin a delivery of the committed run"
    DELIVER_COMMIT = "make a delivery visible in its target"
    DELIVERED = "tell of a delivery"


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        rows_done: Rows predicted or set aside, those of earlier attempts included.
        rows_total: Rows of the input; None while that isn't known.
        rows_quarantined: Of `rows_done`, those set aside.
        rows_per_s: Speed of this attempt.
        elapsed_s: Time since this attempt began.
        target: What the rows of the committed run are delivered to; empty while it predicts.
    """

    rows_done: int
    rows_total: int | None
    rows_quarantined: int
    rows_per_s: float
    elapsed_s: float
    target: str = ""


def utc_now() -> datetime:
    """The time of a record, where nobody gives another."""
    return datetime.now(UTC)


def _ignore(_: object) -> None:
    return


@dataclasses.dataclass(frozen=True)
class Watch:
    """Callbacks, in the thread of the run; what they raise ends the run, resumable.

    Attributes:
        progress: Told after every batch; of a delivery, maybe in a thread of its library.
        clock: Asked for the time (aware UTC) of the record.
        step: Told before every durable step.
    """

    progress: Callable[[Progress], None] = _ignore
    clock: Callable[[], datetime] = utc_now
    step: Callable[[Step], None] = _ignore
