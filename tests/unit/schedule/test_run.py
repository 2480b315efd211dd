"""The scheduler, with a clock and processes that do as they are told."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from twofold.errors import TwofoldError
from twofold.schedule import run as module
from twofold.schedule.agenda import Ending
from twofold.schedule.arguments import Places
from twofold.schedule.keep import load_state
from twofold.schedule.run import SLICE_S, Event, Scheduler, Step, Watch, signals
from twofold.schedule.settings import SchedulerSettings, ScheduleSettings
from twofold.schedule.state import Outcome, Timetable

MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)


@dataclasses.dataclass
class FakeAttempt:
    """A process that ends when the test says so, or at the signals it heeds."""

    run_id: str
    began_s: float = float("inf")  # never takes too long
    ending: Ending | None = None
    heeds: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL)
    got: list[signal.Signals] = dataclasses.field(default_factory=list)
    told_to_stop_s: float | None = None
    is_timed_out: bool = False
    is_found: bool = False
    is_forgotten: bool = False

    def poll(self) -> Ending | None:
        if self.ending is None:
            return None
        return dataclasses.replace(self.ending, is_timed_out=self.is_timed_out)

    def stop(self, kind: signal.Signals) -> None:
        self.got.append(kind)
        if kind in self.heeds:
            self.ending = Ending(-kind)

    def forget(self) -> None:
        self.is_forgotten = True


class World:
    """A wall clock that passes while the scheduler waits, and processes."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.now = MIDNIGHT
        self.until = MIDNIGHT
        self.events: list[Event] = []
        self.steps: list[Step] = []
        self.started: list[FakeAttempt] = []
        self.waits_s: list[float] = []
        self.next: list[Ending | None] = []  # how those started next end; at once if given
        patch.setattr(module, "launch", self.launch)

    def launch(self, folder: Path, run_id: str, arguments: Sequence[str]) -> FakeAttempt:
        ending = self.next.pop(0) if self.next else Ending(0)
        self.started.append(FakeAttempt(run_id, ending=ending))
        return self.started[-1]

    def wait(self, timeout_s: float) -> bool:
        self.waits_s.append(timeout_s)
        # A process that ends wakes the scheduler up.
        at_once = any(attempt.ending and not attempt.is_forgotten for attempt in self.started)
        self.now += timedelta(seconds=0.01 if at_once else max(timeout_s, 0.001))
        return self.now > self.until

    def scheduler(self, *schedules: ScheduleSettings, **settings: Any) -> Scheduler:
        watch = Watch(self.wait, lambda: self.now, self.events.append, self.steps.append)
        given = SchedulerSettings(state=str(self.folder), **settings)
        return Scheduler(schedules, given, Places("registry", "store"), watch)

    def pass_by(self, minutes: float, *schedules: ScheduleSettings, **settings: Any) -> None:
        """Let a scheduler work for so long, then stop it."""
        self.until = self.now + timedelta(minutes=minutes)
        self.scheduler(*schedules, **settings).run()

    def table(self, name: str = "n") -> Timetable:
        return load_state(self.folder).timetables[name]

    def said(self) -> list[str]:
        return [event.event for event in self.events]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def every(minutes: int, **others: Any) -> ScheduleSettings:
    values: dict[str, Any] = {"name": "n", "model": "m", "input": "in", "output": "out"}
    return ScheduleSettings(**(values | {"cron": f"*/{minutes} * * * *"} | others))


def test_runs_are_started_when_they_are_due_and_their_end_is_remembered(world: World) -> None:
    world.pass_by(31, every(10))
    assert [attempt.run_id for attempt in world.started] == [
        f"n-20260131T00{minute}00Z" for minute in (10, 20, 30)
    ]
    ended = world.table().ended
    assert [run.outcome for run in ended] == [Outcome.DONE] * 3
    assert all(run.begun_at and run.begun_at - run.due_at < timedelta(seconds=5) for run in ended)
    assert world.said() == ["due", "started", "ended"] * 3


def test_no_wait_is_longer_than_a_slice_so_that_a_clock_that_was_set_is_noticed(
    world: World,
) -> None:
    world.pass_by(5, every(10))
    assert max(world.waits_s) <= SLICE_S
    assert len(world.waits_s) >= 60


def test_what_it_does_is_on_disk_before_it_does_it(world: World) -> None:
    world.pass_by(11, every(10))
    # Seen for the first time; due; about to start; ended; and once when it stops.
    assert world.steps == [
        Step.SAVE,
        Step.SAVE,
        Step.SAVE,
        Step.SAVE,
        Step.LAUNCH,
        Step.SAVE,
        Step.FORGET,
        Step.SAVE,
    ]


def test_a_failed_run_is_tried_again(world: World) -> None:
    world.next = [Ending(1, "no input"), Ending(0)]
    world.pass_by(13, every(10, retry_delay_s=60.0))
    (run,) = world.table().ended
    assert (run.outcome, run.attempts, run.failures) == (Outcome.DONE, 2, 1)
    (retry,) = [event for event in world.events if event.event == "retry"]
    assert retry.message.startswith("exit code 1: no input; again at 2026-01-31T00:1")


def test_a_process_that_cannot_be_started_is_a_failed_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> FakeAttempt:
        raise OSError("no more processes")

    monkeypatch.setattr(module, "launch", refuse)
    world.pass_by(11, every(10, max_retries=0))
    (run,) = world.table().ended
    assert (run.outcome, run.reason) == (Outcome.FAILED, "exit code 1: no more processes")


def test_only_so_many_runs_are_at_work_at_once(world: World) -> None:
    world.next = [None, None]
    names = ("a", "b", "c")
    world.pass_by(12, *[every(10, name=name) for name in names], max_running_runs=2)
    assert [attempt.run_id[0] for attempt in world.started] == ["a", "b"]
    assert [world.table(name).runs[0].attempts for name in names] == [1, 1, 0]


def test_an_attempt_that_takes_too_long_is_stopped_then_killed(world: World) -> None:
    world.next = [None]
    scheduler = world.scheduler(every(10, max_retries=0), stop_s=0.0)
    scheduler._turn()
    world.now += timedelta(minutes=10)
    scheduler._turn()
    (attempt,) = world.started
    attempt.began_s, attempt.heeds = -1e9, (signal.SIGKILL,)
    for _ in range(3):
        scheduler._turn()
    assert attempt.got == [signal.SIGTERM, signal.SIGKILL]
    (run,) = world.table().ended
    assert (run.outcome, run.reason) == (Outcome.FAILED, "took longer than timeout_s = 86400")
    assert scheduler.failed_runs == 1


def test_a_cancelled_run_makes_room_for_the_next_one(world: World) -> None:
    world.next = [None, Ending(0)]
    world.pass_by(21, every(10, overlap="cancel_running"))
    first, second = world.started
    assert (first.got, second.got) == ([signal.SIGTERM], [])
    assert [run.outcome for run in world.table().ended] == [Outcome.CANCELLED, Outcome.DONE]


def test_when_it_is_stopped_what_is_at_work_is_stopped_and_goes_on_with_the_next(
    world: World,
) -> None:
    world.next = [None]
    world.pass_by(11, every(10, max_retries=0))
    assert world.started[0].got == [signal.SIGTERM]
    (run,) = world.table().runs
    assert (run.is_at_work, run.attempts, run.failures) == (False, 1, 0)
    world.pass_by(1, every(10, max_retries=0))
    assert world.started[1].run_id == run.run_id
    assert world.table().ended[0].outcome is Outcome.DONE


def test_what_does_not_heed_is_killed_when_the_scheduler_is_told_to_stop_again(
    world: World,
) -> None:
    world.next = [None]
    world.until = MIDNIGHT + timedelta(minutes=11)
    scheduler = world.scheduler(every(10), stop_s=3600.0)
    launched = world.launch

    def stubborn(folder: Path, run_id: str, arguments: Sequence[str]) -> FakeAttempt:
        attempt = launched(folder, run_id, arguments)
        attempt.heeds = (signal.SIGKILL,)
        return attempt

    module.launch = stubborn  # type: ignore[assignment] - as the fixture did
    scheduler.run()
    assert world.started[0].got[:2] == [signal.SIGTERM, signal.SIGKILL]


def test_what_ended_while_it_was_being_stopped_is_done(world: World) -> None:
    world.next = [None]
    scheduler = world.scheduler(every(10))
    scheduler._turn()
    world.now += timedelta(minutes=10)
    scheduler._turn()
    world.started[0].ending = Ending(0)
    world.started[0].heeds = ()
    scheduler._stop()
    assert world.table().ended[0].outcome is Outcome.DONE


def test_once_does_what_is_due_and_leaves(world: World) -> None:
    world.until = MIDNIGHT + timedelta(days=1)
    world.scheduler(every(10)).run(once=True)
    world.now += timedelta(minutes=10)
    world.next = [Ending(1)]
    world.scheduler(every(10)).run(once=True)
    assert len(world.started) == 1
    assert world.table().runs[0].retry_at is not None
    world.now += timedelta(minutes=2)
    world.scheduler(every(10)).run(once=True)
    assert world.table().ended[0].outcome is Outcome.DONE


def test_a_schedule_that_is_gone_is_forgotten_and_begins_anew_when_it_is_back(
    world: World,
) -> None:
    world.next = [Ending(1)]
    world.pass_by(11, every(10), every(10, name="other"))
    world.pass_by(1, every(10, name="other"))
    assert "n" not in load_state(world.folder).timetables
    world.now += timedelta(days=1)
    world.pass_by(1, every(10, catch_up="all"))
    assert world.table().runs == ()


def test_an_attempt_begun_by_a_crashed_scheduler_that_left_nothing_is_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        """Stands for the end of the process."""

    def crash(*_: object) -> FakeAttempt:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(module, "launch", crash)
        with pytest.raises(Crash):
            world.pass_by(11, every(10))
    assert world.table().runs[0].is_at_work
    (world.folder / "old.attempt").touch()
    world.pass_by(1, every(10, max_retries=0))
    (run,) = world.table().ended
    assert (run.outcome, run.attempts, run.losses) == (Outcome.DONE, 2, 1)
    assert not (world.folder / "old.attempt").exists()


def test_a_clock_set_back_or_forward_is_told_and_dealt_with(world: World) -> None:
    world.pass_by(11, every(10))
    world.now -= timedelta(minutes=5)
    world.pass_by(6, every(10))
    assert len(world.started) == 1
    world.now += timedelta(hours=5)
    world.pass_by(1, every(10))
    assert len(world.started) == 2
    assert "skipped" in world.said()
    world.now -= timedelta(days=30)
    world.pass_by(1, every(10))
    assert "clock" in world.said()


def test_a_disk_that_takes_nothing_is_said_and_what_is_at_work_is_let_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_state", full)
    with pytest.raises(TwofoldError, match=r"expected a disk to write to, .* goes on from here\."):
        world.pass_by(11, every(10))


def test_waiting_ends_at_a_signal_and_says_whether_it_is_one_to_stop() -> None:
    with signals() as wait:
        assert not wait(0.0)
        for kind, expected in [(signal.SIGCHLD, False), (signal.SIGTERM, True)]:
            os.kill(os.getpid(), kind)
            assert wait(60.0) is expected
        os.kill(os.getpid(), signal.SIGINT)
        assert wait(60.0)
        assert not wait(0.0)
