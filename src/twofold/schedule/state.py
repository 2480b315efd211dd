"""What a scheduler remembers: which instants it has dealt with, and the runs it made of them.

It is one file, `{"crc32": N, "state": {...}}`, which is replaced as a whole.
"""

from __future__ import annotations

import enum
import zlib
from datetime import datetime

import msgspec


class Outcome(enum.StrEnum):
    """How a run ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a schedule, from when it was due until it has ended.

    Attributes:
        run_id: Its name, made of the schedule's and `due_at`.
        due_at: When it was due (UTC).
        start_at: When it may start: `due_at` and its share of the jitter.
        arguments: What `twofold` is called with, at every attempt the same.
        attempts: Attempts that were begun.
        failures: Of these, those that failed.
        losses: Of these, those of which nobody saw the end.
        is_at_work: Whether an attempt was begun whose end isn't known yet.
        begun_at: When the last attempt began.
        ended_at: When it ended.
        retry_at: When there may be another one.
        held_since: Since when another process has had it.
        is_cancelled: Whether it is to be stopped for good.
        outcome: How it ended; None as long as it hasn't.
        reason: Why its last attempt failed.
    """

    run_id: str
    due_at: datetime
    start_at: datetime
    arguments: tuple[str, ...]
    attempts: int = 0
    failures: int = 0
    losses: int = 0
    is_at_work: bool = False
    begun_at: datetime | None = None
    ended_at: datetime | None = None
    retry_at: datetime | None = None
    held_since: datetime | None = None
    is_cancelled: bool = False
    outcome: Outcome | None = None
    reason: str = ""

    @property
    def elapsed_s(self) -> float | None:
        """What the last attempt took, by the wall clock; None if it hasn't ended."""
        if self.begun_at is None or self.ended_at is None:
            return None
        return max(0.0, (self.ended_at - self.begun_at).total_seconds())


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """An instant that no run was made of, and why."""

    due_at: datetime
    reason: str


class Timetable(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule, as far as it is dealt with.

    Attributes:
        name: The schedule.
        cron: Its expression when it was last looked at.
        time_zone: Its zone then.
        dealt_until: All instants up to this one are dealt with (UTC).
        runs: Those that haven't ended, the first one due first.
        ended: The last of those that have, the last one last.
        skipped: How many instants no run was made of.
        last_skip: The last of them.
    """

    name: str
    cron: str
    time_zone: str
    dealt_until: datetime
    runs: tuple[Run, ...] = ()
    ended: tuple[Run, ...] = ()
    skipped: int = 0
    last_skip: Skip | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All schedules, by name."""

    format: int = 1
    timetables: dict[str, Timetable] = {}


class _File(msgspec.Struct, frozen=True):
    crc32: int
    state: msgspec.Raw


def render_state(state: State) -> bytes:
    """Write a state as a file."""
    body = msgspec.json.encode(state)
    return msgspec.json.encode(_File(zlib.crc32(body), msgspec.Raw(body)))


def parse_state(data: bytes) -> State:
    """Read a file.

    Raises:
        ValueError: It is damaged, or of another version.
    """
    try:
        sealed = msgspec.json.decode(data, type=_File)
        if zlib.crc32(bytes(sealed.state)) != sealed.crc32:
            raise ValueError("a wrong checksum")
        return msgspec.json.decode(sealed.state, type=State)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
