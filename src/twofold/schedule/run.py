"""The scheduler: looks at the clock, starts what is due, sees how it ends, remembers it.

What it is about to do is on disk before it does it, and what came of it before it does anything
else. It may be killed at any instant; the next one goes on from there. It waits in short slices
of a clock that nobody sets, and asks the wall clock after each: a machine that slept, or a clock
that was set, is noticed within one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import os
import select
import signal
import time
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from twofold.errors import TwofoldError, problem
from twofold.schedule import agenda
from twofold.schedule.agenda import Ending
from twofold.schedule.arguments import Places
from twofold.schedule.keep import load_state, save_state
from twofold.schedule.launch import SUFFIX, Attempt, attempt_path, find, launch
from twofold.schedule.settings import SchedulerSettings, ScheduleSettings
from twofold.schedule.state import Outcome, Run, State
from twofold.signals import caught

SLICE_S = 5.0
"""The longest wait between two looks at the clock."""
FOUND_SLICE_S = 0.5
"""The same while a process is at work that tells us nothing when it ends: another started it."""


class Step(enum.StrEnum):
    """The steps that change something outside, each reported just before it is taken."""

    SAVE = "save the state"
    LAUNCH = "start a process"
    FORGET = "remove the file of an attempt"


@dataclasses.dataclass(frozen=True)
class Event:
    """What an operator may want to know.

    Attributes:
        at: When (UTC).
        event: What kind: due, skipped, started, found, ended, retry, stopped, clock, gone.
        schedule: Of which schedule.
        run_id: Of which run; "" if of none.
        message: In words.
    """

    at: datetime
    event: str
    schedule: str
    run_id: str
    message: str


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _ignore(_: object) -> None:
    return


@dataclasses.dataclass(frozen=True)
class Watch:
    """What a scheduler sees of the world, and who looks on.

    Attributes:
        wait: Waits for so many seconds or until something happened; True once it is to stop.
        clock: Asked for the wall clock (aware UTC).
        tell: Told of every event.
        step: Told before every step.
    """

    wait: Callable[[float], bool]
    clock: Callable[[], datetime] = _utc_now
    tell: Callable[[Event], None] = _ignore
    step: Callable[[Step], None] = _ignore


class Scheduler:
    """Keeps schedules. Its caller holds the lease of the folder."""

    def __init__(
        self,
        schedules: Sequence[ScheduleSettings],
        settings: SchedulerSettings,
        places: Places,
        watch: Watch,
    ) -> None:
        """Read what an earlier one left.

        Args:
            schedules: What is to be kept.
            settings: How.
            places: Where models and snapshots are.
            watch: The world.

        Raises:
            ConfigError: What it left is damaged.
        """
        self._schedules = {schedule.name: schedule for schedule in schedules}
        self._settings = settings
        self._places = places
        self._watch = watch
        self._folder = Path(settings.state)
        self._timetables = load_state(self._folder).timetables
        self._attempts: dict[str, Attempt] = {}  # by schedule: each has one run at work at most
        self.failed_runs = 0

    def run(self, *, once: bool = False) -> None:
        """Keep the schedules until told to stop; then stop what is at work, to go on later.

        Args:
            once: Do what is due now, and leave.

        Raises:
            TwofoldError: The state can't be saved. What is at work goes on; the next scheduler
                finds it.
        """
        self._recover()
        while True:
            wait_s = self._turn()
            if once and self._is_idle():
                return
            if self._watch.wait(wait_s):
                break
        self._stop()

    def _recover(self) -> None:
        """Find what a crashed scheduler left at work, and let go of schedules that are gone."""
        for name in [name for name in self._timetables if name not in self._schedules]:
            del self._timetables[name]
            self._tell("gone", name, "", "no longer in the settings; forgotten")
        kept: set[Path] = set()
        for name, timetable in self._timetables.items():
            run = timetable.runs[0] if timetable.runs else None
            if run is None or not run.is_at_work:
                continue
            attempt = find(self._folder, run.run_id)
            if attempt is None:
                self._end(name, run, Ending(None))
                continue
            kept.add(attempt_path(self._folder, run.run_id))
            self._attempts[name] = attempt
            self._tell("found", name, run.run_id, "begun by an earlier scheduler")
        for path in set(self._folder.glob(f"*{SUFFIX}")) - kept:
            path.unlink()
        self._save()

    def _turn(self) -> float:
        """Do all there is to do now; gives the seconds until there may be more."""
        self._reap()
        now = self._watch.clock()
        self._take_up(now)
        self._enforce()
        self._start(now)
        return self._wait_s(now)

    def _reap(self) -> None:
        """See which attempts have ended, and how."""
        for name, attempt in list(self._attempts.items()):
            ending = attempt.poll()
            if ending is None:
                continue
            self._end(name, self._timetables[name].runs[0], ending)
            self._save()
            self._step(Step.FORGET)
            attempt.forget()
            del self._attempts[name]

    def _end(self, name: str, run: Run, ending: Ending) -> None:
        run = agenda.ended(run, ending, self._schedules[name], self._watch.clock())
        self._timetables[name] = agenda.with_first(self._timetables[name], run)
        if run.outcome is None:
            when = (
                "now" if run.retry_at == run.ended_at else f"at {run.retry_at:%Y-%m-%dT%H:%M:%SZ}"
            )
            self._tell("retry", name, run.run_id, f"{run.reason}; again {when}")
            return
        self.failed_runs += run.outcome is Outcome.FAILED
        said = f"{run.outcome}: {run.reason}" if run.reason else str(run.outcome)
        self._tell("ended", name, run.run_id, said)

    def _take_up(self, now: datetime) -> None:
        """Make runs of the instants that have come."""
        before = dict(self._timetables)
        for name, schedule in self._schedules.items():
            timetable = self._timetables.get(name)
            if timetable is None:
                self._timetables[name] = agenda.begin(schedule, now)
                continue
            taken = agenda.take_up(timetable, schedule, now, self._places)
            self._timetables[name] = taken.timetable
            if taken.remark:
                self._tell("clock", name, "", taken.remark)
            if taken.skipped:
                last = taken.skips[-1]
                more = f" and {taken.skipped - 1} before it" if taken.skipped > 1 else ""
                due = f"{last.due_at:%Y-%m-%dT%H:%M:%SZ}{more}"
                self._tell("skipped", name, "", f"due {due}: {last.reason}")
            for run in taken.cancelled:
                self._tell("ended", name, run.run_id, f"{run.outcome}: {run.reason}")
            for run in taken.runs:
                self._tell("due", name, run.run_id, f"may start at {run.start_at:%H:%M:%SZ}")
        if self._timetables != before:
            self._save()

    def _enforce(self) -> None:
        """Stop the attempts that take too long, or whose run is cancelled."""
        now_s = time.monotonic()
        for name, attempt in self._attempts.items():
            run = self._timetables[name].runs[0]
            is_late = now_s >= attempt.began_s + self._schedules[name].timeout_s
            if attempt.told_to_stop_s is None and (is_late or run.is_cancelled):
                attempt.told_to_stop_s = now_s
                attempt.is_timed_out = is_late
                attempt.stop(signal.SIGTERM)
            elif attempt.told_to_stop_s is not None and (
                now_s >= attempt.told_to_stop_s + self._settings.stop_s
            ):
                attempt.stop(signal.SIGKILL)

    def _start(self, now: datetime) -> None:
        """Start what is ready, as far as there is room: what is ready longest first."""
        for at, name in sorted(self._ready()):
            if at > now or len(self._attempts) >= self._settings.max_running_runs:
                return
            run = agenda.begun(self._timetables[name].runs[0], now)
            attempt_path(self._folder, run.run_id).unlink(missing_ok=True)
            self._timetables[name] = agenda.with_first(self._timetables[name], run)
            self._save()
            self._step(Step.LAUNCH)
            try:
                self._attempts[name] = launch(self._folder, run.run_id, run.arguments)
            except OSError as error:
                self._end(name, run, Ending(1, str(error)))
                self._save()
                continue
            self._tell("started", name, run.run_id, f"attempt {run.attempts}")

    def _ready(self) -> list[tuple[datetime, str]]:
        """When each schedule that has a run waiting may start it."""
        now = self._watch.clock()
        found = [(agenda.ready_at(table, now), name) for name, table in self._timetables.items()]
        return [(at, name) for at, name in found if at is not None]

    def _is_idle(self) -> bool:
        now = self._watch.clock()
        return not self._attempts and all(at > now for at, _ in self._ready())

    def _wait_s(self, now: datetime) -> float:
        """Seconds until there may be something to do."""
        waits_s = [SLICE_S]
        for name, schedule in self._schedules.items():
            due_at = agenda.next_due(schedule, self._timetables[name], now)
            waits_s.append((due_at - now).total_seconds())
        if len(self._attempts) < self._settings.max_running_runs:
            waits_s += [(at - now).total_seconds() for at, _ in self._ready()]
        for name, attempt in self._attempts.items():
            if attempt.is_found or attempt.told_to_stop_s is not None:
                waits_s.append(FOUND_SLICE_S)
            if attempt.told_to_stop_s is None:
                end_s = attempt.began_s + self._schedules[name].timeout_s
                waits_s.append(end_s - time.monotonic())
        return max(0.0, min(waits_s))

    def _stop(self) -> None:
        """Stop what is at work; the next scheduler goes on with it."""
        for attempt in self._attempts.values():
            attempt.stop(signal.SIGTERM)
        kill_s = time.monotonic() + self._settings.stop_s
        is_killed = False
        while self._attempts:
            for name, attempt in list(self._attempts.items()):
                ending = attempt.poll()
                if ending is None:
                    if is_killed:
                        attempt.stop(signal.SIGKILL)
                    continue
                self._put_back(name, ending)
                attempt.forget()
                del self._attempts[name]
            if self._attempts:
                left_s = max(0.0, min(FOUND_SLICE_S, kill_s - time.monotonic()))
                is_told = self._watch.wait(FOUND_SLICE_S if is_killed else left_s)
                is_killed = is_killed or is_told or time.monotonic() >= kill_s
        self._save()

    def _put_back(self, name: str, ending: Ending) -> None:
        timetable = self._timetables[name]
        run = timetable.runs[0]
        if ending.exit_code == 0:
            self._end(name, run, ending)
        else:
            run = agenda.put_back(run, self._watch.clock())
            self._timetables[name] = agenda.with_first(timetable, run)
            self._tell("stopped", name, run.run_id, "the next scheduler goes on with it")
        self._save()

    def _save(self) -> None:
        self._step(Step.SAVE)
        try:
            save_state(self._folder, State(timetables=self._timetables))
        except OSError as error:
            fix = "Make room; then start the scheduler again, it goes on from here."
            where = str(self._folder)
            raise TwofoldError(problem(where, "a disk to write to", str(error), fix)) from error

    def _step(self, step: Step) -> None:
        self._watch.step(step)

    def _tell(self, event: str, schedule: str, run_id: str, message: str) -> None:
        self._watch.tell(Event(self._watch.clock(), event, schedule, run_id, message))


@contextlib.contextmanager
def signals() -> Generator[Callable[[float], bool]]:
    """Give a way to wait that ends early when a child ends, and at SIGTERM or SIGINT.

    It says whether one of the latter came since it was asked last. Must be called from the main
    thread.
    """
    stops = (signal.SIGTERM, signal.SIGINT)
    with caught(*stops, signal.SIGCHLD) as reader:

        def wait(timeout_s: float) -> bool:
            select.select([reader], [], [], timeout_s)
            heard = b""
            with contextlib.suppress(BlockingIOError):
                heard = os.read(reader, 65_536)
            return any(kind in stops for kind in heard)

        yield wait
