"""Schedules: keep them, look at them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from twofold.app.settings import FILE, Settings
from twofold.errors import ConfigError, LeaseHeld, problem
from twofold.lease import hold_lease, is_held
from twofold.schedule.agenda import next_due
from twofold.schedule.arguments import Places
from twofold.schedule.keep import load_state
from twofold.schedule.run import Event, Scheduler, Watch, signals
from twofold.schedule.settings import ScheduleSettings
from twofold.schedule.state import Run, Skip

__all__ = ["Event", "ScheduleStatus", "Schedules", "keep_schedules", "look_at_schedules"]


@dataclasses.dataclass(frozen=True)
class ScheduleStatus:
    """One schedule.

    Attributes:
        settings: As it stands in the settings.
        next_due: When it is due next (UTC).
        runs: Its runs that haven't ended, the first one due first.
        ended: The last of those that have, the last one last.
        skipped: How many instants no run was made of.
        last_skip: The last of them.
    """

    settings: ScheduleSettings
    next_due: datetime
    runs: tuple[Run, ...]
    ended: tuple[Run, ...]
    skipped: int
    last_skip: Skip | None


@dataclasses.dataclass(frozen=True)
class Schedules:
    """All schedules, and whether a scheduler keeps them just now."""

    is_kept: bool
    schedules: tuple[ScheduleStatus, ...]


def keep_schedules(settings: Settings, *, once: bool = False, tell: Callable[[Event], None]) -> int:
    """Start what is due when it is due, until SIGTERM or SIGINT.

    Args:
        settings: With the schedules.
        once: Do what is due now, and leave.
        tell: Told of every event.

    Returns:
        How many runs failed for good.

    Raises:
        ConfigError: There is no schedule; or what an earlier scheduler left is damaged.
        LeaseHeld: Another scheduler keeps this folder.
        TwofoldError: See `twofold.schedule.run.Scheduler.run`.
    """
    if not settings.schedules:
        fix = "Write one, with name, model, input, output and cron."
        raise ConfigError(problem(FILE, "a [[schedule]]", "none", fix))
    folder = Path(settings.scheduler.state)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(hold_lease(folder, str(folder)))
        except LeaseHeld as error:
            fix = "Stop the other one, or give this one another --state."
            got = "one at work"
            where = str(folder)
            raise LeaseHeld(problem(where, "no other scheduler", got, fix)) from error
        wait = held.enter_context(signals())
        watch = Watch(wait=wait, tell=tell)
        places = Places(str(settings.registry), settings.general.store)
        scheduler = Scheduler(settings.schedules, settings.scheduler, places, watch)
        scheduler.run(once=once)
    return scheduler.failed_runs


def look_at_schedules(settings: Settings, *, now: datetime | None = None) -> Schedules:
    """Look at all schedules, whether a scheduler runs or not.

    Args:
        settings: With the schedules.
        now: The time (aware); the system's by default.

    Raises:
        ConfigError: What the scheduler remembers is damaged.
    """
    now = now or datetime.now(UTC)
    folder = Path(settings.scheduler.state)
    timetables = load_state(folder).timetables
    found: list[ScheduleStatus] = []
    for schedule in settings.schedules:
        timetable = timetables.get(schedule.name)
        found.append(
            ScheduleStatus(
                settings=schedule,
                next_due=next_due(schedule, timetable, now),
                runs=timetable.runs if timetable else (),
                ended=timetable.ended if timetable else (),
                skipped=timetable.skipped if timetable else 0,
                last_skip=timetable.last_skip if timetable else None,
            )
        )
    return Schedules(is_held(folder), tuple(found))
