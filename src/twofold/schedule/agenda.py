"""What is to be done, and what becomes of it: a timetable and the time in, a timetable out.

Runs of one schedule are worked on one after the other, the first one due first.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from twofold.schedule.arguments import Places, arguments_for
from twofold.schedule.cron import due_after
from twofold.schedule.dates import stamp
from twofold.schedule.retries import Verdict, delay_s, share, verdict_on
from twofold.schedule.settings import ScheduleSettings
from twofold.schedule.state import Outcome, Run, Skip, Timetable

KEPT_RUNS = 20
"""Ended runs of a schedule that are remembered."""
MAX_LOSSES = 20
"""Attempts at one run whose end nobody saw: it may be what takes the machine down."""
MIN_LOOK_S = 1.0
"""Between two looks whether another process still has a run."""
LOOK_BACK = timedelta(days=366)
"""What was due longer ago is not made up for."""
WRONG_CLOCK = timedelta(days=1)
"""Further ahead than this a timetable must have been written by a clock that was wrong."""


@dataclasses.dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Attributes:
        exit_code: Of its process; negative for a signal; None if nobody saw the end.
        reason: Its error message, if it left one.
        is_timed_out: Whether it was stopped for taking too long.
    """

    exit_code: int | None
    reason: str = ""
    is_timed_out: bool = False


@dataclasses.dataclass(frozen=True)
class Taken:
    """A timetable after a look at the clock.

    Attributes:
        timetable: As it is now.
        runs: Those made of instants.
        cancelled: Those that had not begun and now never will.
        skips: The instants no run was made of, the last ones only, and why.
        skipped: How many there were.
        remark: What an operator should know of the clock.
    """

    timetable: Timetable
    runs: tuple[Run, ...] = ()
    cancelled: tuple[Run, ...] = ()
    skips: tuple[Skip, ...] = ()
    skipped: int = 0
    remark: str = ""


def begin(schedule: ScheduleSettings, now: datetime) -> Timetable:
    """Make the timetable of a schedule seen for the first time; what was due before is no run."""
    return Timetable(
        name=schedule.name,
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        dealt_until=now,
    )


def take_up(
    timetable: Timetable, schedule: ScheduleSettings, now: datetime, places: Places
) -> Taken:
    """Deal with all instants that have come: make runs of them, or not.

    Instants up to now are those of the expression that the timetable was made by; a new one
    counts from now on.

    Args:
        timetable: As it was.
        schedule: The schedule as it stands in the settings now.
        now: The wall clock (UTC). If it was set back, no instant comes twice.
        places: Where models and snapshots are.
    """
    remark = ""
    if timetable.dealt_until > now + WRONG_CLOCK:
        remark = (
            f"expected a clock that goes on from {timetable.dealt_until}, got {now}. Counting from "
            "now on; instants of remembered runs don't come again"
        )
        timetable = replace(timetable, dealt_until=now)
    come = _come(timetable, now)
    known = {run.due_at for run in (*timetable.runs, *timetable.ended)}
    skips = _Skips()
    hand = _Hand(schedule, places, list(timetable.runs), [], skips, now)
    for due_at, is_missed in _chosen(come, schedule, now, skips):
        if due_at not in known:
            hand.take(due_at, is_missed=is_missed)
    hand.bound()
    is_changed = (timetable.cron, timetable.time_zone) != (schedule.cron, schedule.time_zone)
    last = come[-1] if come else timetable.dealt_until
    after = replace(
        timetable,
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        dealt_until=max(last, now) if is_changed else last,
        runs=tuple(hand.runs),
        ended=(*timetable.ended, *hand.cancelled)[-KEPT_RUNS:],
        skipped=timetable.skipped + skips.count,
        last_skip=skips.last[-1] if skips.last else timetable.last_skip,
    )
    before = {run.run_id for run in timetable.runs}
    made = tuple(run for run in after.runs if run.run_id not in before)
    return Taken(after, made, tuple(hand.cancelled), tuple(skips.last), skips.count, remark)


def next_due(schedule: ScheduleSettings, timetable: Timetable | None, now: datetime) -> datetime:
    """When the next instant comes (UTC)."""
    after = now
    if timetable is not None and timetable.dealt_until <= now + WRONG_CLOCK:
        after = max(now, timetable.dealt_until)
    return next(due_after(schedule.cron, schedule.time_zone, after))


def ready_at(timetable: Timetable, now: datetime) -> datetime | None:
    """When the first run in the row may start; None if there is none, or it is at work.

    A clock that was set back to before what it is to wait from holds nothing up.
    """
    if not timetable.runs or timetable.runs[0].is_at_work:
        return None
    run = timetable.runs[0]
    if run.retry_at is not None and run.ended_at is not None:
        return now if now < run.ended_at else run.retry_at
    return now if now < run.due_at else run.start_at


def begun(run: Run, now: datetime) -> Run:
    """Note that an attempt begins."""
    return replace(
        run, attempts=run.attempts + 1, is_at_work=True, begun_at=now, ended_at=None, retry_at=None
    )


def put_back(run: Run, now: datetime) -> Run:
    """Note that an attempt was stopped with the scheduler: it goes on with the next one."""
    if run.is_cancelled:
        return _cancelled(run, now)
    return replace(run, is_at_work=False, ended_at=now, retry_at=now)


def ended(run: Run, ending: Ending, schedule: ScheduleSettings, now: datetime) -> Run:
    """Note how an attempt ended, and decide whether there is to be another one."""
    run = replace(run, is_at_work=False, ended_at=now, reason=_reason(ending, schedule))
    verdict = _verdict(ending)
    if verdict is Verdict.DONE:
        return replace(run, outcome=Outcome.DONE, reason="")
    if run.is_cancelled:
        return _cancelled(run, now)
    if verdict is None:
        lost = replace(run, losses=run.losses + 1, retry_at=now)
        return lost if lost.losses <= MAX_LOSSES else replace(lost, outcome=Outcome.FAILED)
    if verdict is Verdict.LOOK_AGAIN:
        return _held(run, schedule, now)
    return _failed(run, schedule, now, may_retry=verdict is Verdict.RETRY)


def with_first(timetable: Timetable, run: Run) -> Timetable:
    """Put what has become of the first run in the row in its place."""
    rest = timetable.runs[1:]
    if run.outcome is None:
        return replace(timetable, runs=(run, *rest))
    return replace(timetable, runs=rest, ended=(*timetable.ended, run)[-KEPT_RUNS:])


def _verdict(ending: Ending) -> Verdict | None:
    """What an ending says; None if nobody saw it."""
    if ending.exit_code is None:
        return Verdict.RETRY if ending.is_timed_out else None
    if ending.is_timed_out and ending.exit_code != 0:
        return Verdict.RETRY
    return verdict_on(ending.exit_code)


def _held(run: Run, schedule: ScheduleSettings, now: datetime) -> Run:
    """Another process has the run: look again, as long as an attempt of ours might take."""
    held_since = run.held_since or now
    if now >= held_since + timedelta(seconds=schedule.timeout_s):
        return replace(run, outcome=Outcome.FAILED)
    wait_s = max(MIN_LOOK_S, delay_s(run.run_id, 1, schedule.retry_delay_s))
    return replace(run, held_since=held_since, retry_at=now + timedelta(seconds=wait_s))


def _failed(run: Run, schedule: ScheduleSettings, now: datetime, *, may_retry: bool) -> Run:
    run = replace(run, failures=run.failures + 1, held_since=None)
    if not may_retry or run.failures > schedule.max_retries:
        return replace(run, outcome=Outcome.FAILED)
    wait_s = delay_s(run.run_id, run.failures, schedule.retry_delay_s)
    return replace(run, retry_at=now + timedelta(seconds=wait_s))


def _cancelled(run: Run, now: datetime) -> Run:
    reason = "the next run was due"
    return replace(run, is_at_work=False, ended_at=now, outcome=Outcome.CANCELLED, reason=reason)


def _come(timetable: Timetable, now: datetime) -> list[datetime]:
    """The instants that have come since the timetable was last dealt with."""
    after = max(timetable.dealt_until, now - LOOK_BACK)
    found: list[datetime] = []
    for instant in due_after(timetable.cron, timetable.time_zone, after):
        if instant > now:
            break
        found.append(instant)
    return found


def _chosen(
    come: list[datetime], schedule: ScheduleSettings, now: datetime, skips: _Skips
) -> Iterator[tuple[datetime, bool]]:
    """The instants that runs may be made of, and whether each was missed."""
    in_time = now - timedelta(seconds=schedule.max_late_s)
    missed = [instant for instant in come if instant < in_time]
    rest = [instant for instant in come if instant >= in_time]
    made_up: list[datetime] = missed if schedule.catch_up == "all" else []
    if schedule.catch_up == "latest" and not rest:
        made_up = missed[-1:]
    for instant in missed[: len(missed) - len(made_up)]:
        skips.add(instant, f"missed, and catch_up = {schedule.catch_up}")
    yield from ((instant, True) for instant in made_up)
    yield from ((instant, False) for instant in rest)


class _Skips:
    """The instants no run is made of: all of them counted, the last ones kept."""

    def __init__(self) -> None:
        self.count = 0
        self.last: deque[Skip] = deque(maxlen=KEPT_RUNS)

    def add(self, due_at: datetime, reason: str) -> None:
        self.count += 1
        self.last.append(Skip(due_at=due_at, reason=reason))


@dataclasses.dataclass
class _Hand:
    """Makes runs of instants, where the runs before them allow it."""

    schedule: ScheduleSettings
    places: Places
    runs: list[Run]
    cancelled: list[Run]
    skips: _Skips
    now: datetime

    def take(self, due_at: datetime, *, is_missed: bool) -> None:
        overlap = self.schedule.overlap
        if is_missed and self.schedule.catch_up == "all":
            overlap = "wait"  # those made up for do not push each other out
        if self.runs and overlap == "skip":
            reason = f"{self.runs[0].run_id} had not ended, and overlap = skip"
            self.skips.add(due_at, reason)
            return
        if overlap == "cancel_running":
            self._cancel()
        self.runs.append(self._run(due_at))

    def bound(self) -> None:
        """Let at most so many wait."""
        waiting = [run for run in self.runs if not run.attempts]
        for run in waiting[: max(0, len(waiting) - self.schedule.max_waiting_runs)]:
            self.runs.remove(run)
            limit = self.schedule.max_waiting_runs
            self.skips.add(run.due_at, f"more than max_waiting_runs = {limit} were waiting")

    def _cancel(self) -> None:
        at_work = [run for run in self.runs if run.is_at_work]
        self.cancelled += [_cancelled(run, self.now) for run in self.runs if not run.is_at_work]
        self.runs = [replace(run, is_cancelled=True) for run in at_work]

    def _run(self, due_at: datetime) -> Run:
        run_id = f"{self.schedule.name}-{stamp(due_at)}"
        jitter = timedelta(seconds=self.schedule.jitter_s * share(run_id))
        return Run(
            run_id=run_id,
            due_at=due_at,
            start_at=due_at + jitter,
            arguments=arguments_for(self.schedule, due_at, run_id, self.places),
        )


def _reason(ending: Ending, schedule: ScheduleSettings) -> str:
    if ending.is_timed_out and ending.exit_code != 0:
        return f"took longer than timeout_s = {schedule.timeout_s:g}"
    if ending.exit_code is None:
        return "ended unseen"
    how = f"exit code {ending.exit_code}"
    if ending.exit_code < 0:
        how = f"ended by signal {-ending.exit_code}"
    return f"{how}: {ending.reason}" if ending.reason else how
