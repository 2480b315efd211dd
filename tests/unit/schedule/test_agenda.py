"""What is done about instants, overlaps, endings and clocks that jump."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.schedule import agenda
from twofold.schedule.agenda import Ending, Taken
from twofold.schedule.arguments import Places
from twofold.schedule.settings import ScheduleSettings
from twofold.schedule.state import Outcome, Run, Timetable

MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def hourly(**others: Any) -> ScheduleSettings:
    values: dict[str, Any] = {"max_retries": 2, "retry_delay_s": 60.0, **others}
    needed = {"name": "n", "model": "m", "input": "in/{date}", "output": "out", "cron": "0 * * * *"}
    return ScheduleSettings(**(needed | values))


def take(table: Timetable, schedule: ScheduleSettings, now: datetime) -> Taken:
    return agenda.take_up(table, schedule, now, Places("registry", "store"))


def after(hours: float, schedule: ScheduleSettings, table: Timetable | None = None) -> Taken:
    """A look at the clock so long after midnight."""
    table = table or agenda.begin(schedule, MIDNIGHT)
    return take(table, schedule, MIDNIGHT + hours * HOUR)


def dues(runs: Sequence[Run]) -> list[int]:
    return [(run.due_at - MIDNIGHT) // HOUR for run in runs]


def at_work(schedule: ScheduleSettings) -> Timetable:
    """A timetable whose run of one o'clock is at work."""
    table = after(1, schedule).timetable
    return agenda.with_first(table, agenda.begun(table.runs[0], MIDNIGHT + HOUR))


def test_a_schedule_begins_when_it_is_first_seen() -> None:
    schedule = hourly(catch_up="all")
    assert after(0.5, schedule).runs == ()
    assert agenda.next_due(schedule, None, MIDNIGHT) == MIDNIGHT + HOUR


def test_a_run_is_named_after_its_schedule_and_instant_alone() -> None:
    (one,) = after(1, hourly()).runs
    (other,) = after(1.01, hourly(model="other", jitter_s=60.0)).runs
    assert one.run_id == other.run_id == "n-20260131T010000Z"
    assert one.arguments[-1] == "in/{date}"


def test_an_instant_is_taken_up_once() -> None:
    taken = after(1, hourly())
    assert dues(taken.timetable.runs) == [1]
    assert take(taken.timetable, hourly(), MIDNIGHT + 1.5 * HOUR).timetable == taken.timetable


@pytest.mark.parametrize(
    ("catch_up", "looked_at", "runs", "skipped"),
    [
        ("none", 5.5, [], 5),
        ("latest", 5.5, [5], 4),
        ("all", 5.5, [1, 2, 3, 4, 5], 0),
        # The last one is in time: a late start of less than max_late_s is no miss.
        ("none", 5.01, [5], 4),
        ("latest", 5.01, [5], 4),
        ("all", 5.01, [1, 2, 3, 4, 5], 0),
    ],
)
def test_what_was_missed_is_made_up_for_as_catch_up_says(
    catch_up: str, looked_at: float, runs: list[int], skipped: int
) -> None:
    schedule = hourly(catch_up=catch_up, overlap="wait")
    taken = after(looked_at, schedule)
    assert (dues(taken.runs), taken.skipped) == (runs, skipped)
    assert taken.timetable.skipped == skipped


def test_those_made_up_for_wait_for_each_other_whatever_overlap_says() -> None:
    for overlap in ("skip", "wait", "cancel_running"):
        taken = after(3.5, hourly(catch_up="all", overlap=overlap))
        assert dues(taken.timetable.runs) == [1, 2, 3]


def test_only_so_many_wait_and_the_oldest_make_room() -> None:
    taken = after(9.5, hourly(catch_up="all", max_waiting_runs=3))
    assert (dues(taken.timetable.runs), taken.skipped) == ([7, 8, 9], 6)
    assert taken.skips[-1].reason == "more than max_waiting_runs = 3 were waiting"


def test_what_was_due_more_than_a_year_ago_is_not_made_up_for() -> None:
    schedule = hourly(cron="0 0 1 * *", catch_up="all")
    taken = take(agenda.begin(schedule, MIDNIGHT), schedule, MIDNIGHT + timedelta(days=3 * 366))
    assert len(taken.runs) == 12


def test_a_run_due_while_one_is_at_work_is_skipped() -> None:
    taken = after(2, hourly(overlap="skip"), at_work(hourly()))
    assert dues(taken.timetable.runs) == [1]
    (skip,) = taken.skips
    assert skip.reason == "n-20260131T010000Z had not ended, and overlap = skip"


def test_a_run_due_while_one_waits_for_its_retry_is_skipped_too() -> None:
    table = at_work(hourly())
    failed = agenda.ended(table.runs[0], Ending(1), hourly(), MIDNIGHT + HOUR)
    taken = after(2, hourly(overlap="skip"), agenda.with_first(table, failed))
    assert taken.skipped == 1


def test_a_run_due_while_one_is_at_work_waits_for_its_turn() -> None:
    schedule = hourly(overlap="wait")
    table = after(2, schedule, at_work(schedule)).timetable
    assert dues(table.runs) == [1, 2]
    assert agenda.ready_at(table, MIDNIGHT + 2 * HOUR) is None
    done = agenda.ended(table.runs[0], Ending(0), schedule, MIDNIGHT + 2 * HOUR)
    table = agenda.with_first(table, done)
    assert agenda.ready_at(table, MIDNIGHT + 3 * HOUR) == MIDNIGHT + 2 * HOUR


def test_a_run_at_work_is_cancelled_for_the_next_one() -> None:
    schedule = hourly(overlap="cancel_running")
    table = after(2, schedule, at_work(schedule)).timetable
    assert [run.is_cancelled for run in table.runs] == [True, False]
    gone = agenda.ended(table.runs[0], Ending(-15), schedule, MIDNIGHT + 2 * HOUR)
    assert (gone.outcome, gone.reason) == (Outcome.CANCELLED, "the next run was due")
    assert agenda.put_back(table.runs[0], MIDNIGHT).outcome is Outcome.CANCELLED
    # It may have ended just before it was to be stopped.
    assert agenda.ended(table.runs[0], Ending(0), schedule, MIDNIGHT).outcome is Outcome.DONE


def test_a_run_that_has_not_begun_is_cancelled_for_the_next_one_at_once() -> None:
    schedule = hourly(overlap="cancel_running")
    taken = after(2, schedule, after(1, schedule).timetable)
    assert dues(taken.timetable.runs) == [2]
    assert dues(taken.cancelled) == dues(taken.timetable.ended) == [1]


def test_a_new_expression_counts_from_now_on_and_the_old_one_until_now() -> None:
    taken = after(2.2, hourly(cron="*/30 * * * *", catch_up="all"), after(1, hourly()).timetable)
    assert dues(taken.timetable.runs) == [1, 2]
    again = take(taken.timetable, hourly(cron="*/30 * * * *"), MIDNIGHT + 2.4 * HOUR)
    assert again.runs == ()
    zone = take(again.timetable, hourly(time_zone="Asia/Kathmandu"), MIDNIGHT + 2.5 * HOUR)
    assert zone.timetable.dealt_until == MIDNIGHT + 2.5 * HOUR


def test_starts_are_spread_and_each_run_has_its_own_share() -> None:
    runs = after(8.5, hourly(jitter_s=600.0, catch_up="all")).runs
    late_s = [(run.start_at - run.due_at).total_seconds() for run in runs]
    assert all(0.0 <= wait_s < 600.0 for wait_s in late_s)
    assert len(set(late_s)) == len(runs)
    again = after(8.5, hourly(jitter_s=600.0, catch_up="all")).runs
    assert again == runs


# Clocks that jump.


def test_a_clock_set_back_runs_no_instant_twice() -> None:
    schedule = hourly(overlap="wait")
    table = after(5, schedule, after(4, schedule).timetable).timetable
    known = dues(table.runs)
    for hours in (3.5, 4, 4.9, 5, 5.5):
        taken = after(hours, schedule, table)
        assert (taken.runs, taken.skips) == ((), ())
        table = taken.timetable
    assert dues(after(6, schedule, table).timetable.runs) == [*known, 6]


def test_a_clock_set_forward_is_a_time_in_which_nobody_was_there() -> None:
    schedule = hourly(catch_up="latest", overlap="wait")
    taken = after(30.2, schedule, after(1, schedule).timetable)
    assert dues(taken.runs) == [30]
    assert taken.skipped == 28


def test_a_timetable_from_a_wrong_future_is_not_waited_for_and_what_ran_runs_not_again() -> None:
    schedule = hourly(overlap="wait", catch_up="all", max_waiting_runs=10_000)
    future = after(24 * 30, schedule).timetable
    assert agenda.next_due(schedule, future, MIDNIGHT) == MIDNIGHT + HOUR
    back = after(0, schedule, future)
    assert back.remark.startswith("expected a clock that goes on from 2026-03-02")
    again = after(3, schedule, back.timetable)
    assert again.runs == ()  # they are remembered, waiting
    assert again.timetable.dealt_until == MIDNIGHT + 3 * HOUR


def test_a_clock_set_back_holds_up_neither_a_start_nor_a_retry() -> None:
    table = after(1, hourly(jitter_s=600.0)).timetable
    assert agenda.ready_at(table, MIDNIGHT + HOUR) == table.runs[0].start_at
    assert agenda.ready_at(table, MIDNIGHT) == MIDNIGHT
    begun = agenda.begun(table.runs[0], MIDNIGHT + HOUR)
    failed = agenda.ended(begun, Ending(1), hourly(), MIDNIGHT + HOUR)
    table = agenda.with_first(table, failed)
    assert agenda.ready_at(table, MIDNIGHT + HOUR) == failed.retry_at
    assert agenda.ready_at(table, MIDNIGHT) == MIDNIGHT


# Endings.


def endings(*endings: Ending, **settings: Any) -> list[Run]:
    """What becomes of a run, attempt by attempt."""
    schedule = hourly(**settings)
    run, now = after(1, schedule).runs[0], MIDNIGHT + HOUR
    found: list[Run] = []
    for ending in endings:
        run = agenda.ended(agenda.begun(run, now), ending, schedule, now)
        found.append(run)
        now = run.retry_at or now
    return found


def test_a_failed_run_is_tried_again_and_given_up_after_so_many_times() -> None:
    first, second, third = endings(Ending(1, "no input"), Ending(-9), Ending(1), max_retries=2)
    assert first.retry_at is not None
    assert second.retry_at is not None
    assert first.ended_at is not None
    assert second.ended_at is not None
    assert 30 <= (first.retry_at - first.ended_at).total_seconds() <= 60
    assert 60 <= (second.retry_at - second.ended_at).total_seconds() <= 120
    assert (first.reason, second.reason) == ("exit code 1: no input", "ended by signal 9")
    assert (third.outcome, third.attempts) == (Outcome.FAILED, 3)


@pytest.mark.parametrize("exit_code", [2, 3])
def test_what_would_end_the_same_way_is_given_up_at_once(exit_code: int) -> None:
    (run,) = endings(Ending(exit_code, "why"))
    assert (run.outcome, run.reason) == (Outcome.FAILED, f"exit code {exit_code}: why")


def test_an_unknown_commit_is_settled_by_the_next_attempt() -> None:
    first, second = endings(Ending(4), Ending(0))
    assert first.outcome is None
    assert (second.outcome, second.reason) == (Outcome.DONE, "")


def test_a_run_at_work_elsewhere_is_looked_at_again_without_using_up_a_retry() -> None:
    runs = endings(*[Ending(5)] * 5, max_retries=0, timeout_s=3600.0, retry_delay_s=60.0)
    assert [run.outcome for run in runs] == [None] * 5
    assert runs[-1].failures == 0
    runs = endings(*[Ending(5)] * 5, max_retries=0, timeout_s=60.0, retry_delay_s=60.0)
    assert runs[-1].outcome is Outcome.FAILED


def test_looking_again_is_never_done_without_a_pause() -> None:
    (run,) = endings(Ending(5), retry_delay_s=0.0)
    assert run.ended_at is not None
    assert run.retry_at == run.ended_at + SECOND


def test_an_attempt_that_takes_too_long_counts_as_a_failure() -> None:
    for code in (-15, -9, None):
        first, second = endings(*[Ending(code, is_timed_out=True)] * 2, max_retries=1)
        assert first.reason == "took longer than timeout_s = 86400"
        assert (first.failures, second.outcome) == (1, Outcome.FAILED)
    (run,) = endings(Ending(0, is_timed_out=True))
    assert run.outcome is Outcome.DONE


def test_an_attempt_whose_end_nobody_saw_is_done_again_and_is_no_failure() -> None:
    runs = endings(*[Ending(None)] * (agenda.MAX_LOSSES + 1), max_retries=0)
    assert [run.outcome for run in runs] == [None] * agenda.MAX_LOSSES + [Outcome.FAILED]
    assert {run.failures for run in runs} == {0}
    assert all(run.retry_at == run.ended_at for run in runs)


def test_an_attempt_stopped_with_the_scheduler_goes_on_at_once_with_the_next() -> None:
    table = at_work(hourly(max_retries=0))
    back = agenda.put_back(table.runs[0], MIDNIGHT + 1.5 * HOUR)
    assert (back.outcome, back.failures, back.losses) == (None, 0, 0)
    table = agenda.with_first(table, back)
    assert agenda.ready_at(table, MIDNIGHT + 2 * HOUR) == MIDNIGHT + 1.5 * HOUR


def test_ended_runs_are_remembered_up_to_a_limit() -> None:
    table = agenda.begin(hourly(), MIDNIGHT)
    for hours in range(1, 31):
        table = after(hours, hourly(), table).timetable
        run = agenda.begun(table.runs[0], MIDNIGHT)
        table = agenda.with_first(table, agenda.ended(run, Ending(0), hourly(), MIDNIGHT))
    assert dues(table.ended) == list(range(11, 31))
    assert table.runs == ()


jumps_h = st.floats(-20.0, 48.0).filter(lambda hours: abs(hours) > 0.01)


@given(
    st.lists(st.tuples(jumps_h, st.sampled_from([0, 1, 2, 3, 4, 5, -9, None])), max_size=30),
    st.sampled_from(["skip", "wait", "cancel_running"]),
    st.sampled_from(["none", "latest", "all"]),
)
def test_whatever_clock_and_runs_do_no_instant_is_run_twice_and_none_is_lost(
    moves: list[tuple[float, int | None]], overlap: str, catch_up: str
) -> None:
    schedule = hourly(overlap=overlap, catch_up=catch_up)
    table, now = agenda.begin(schedule, MIDNIGHT), MIDNIGHT
    taken_up: list[str] = []
    for jump_h, code in moves:
        now = max(MIDNIGHT, now + jump_h * HOUR)
        taken = take(table, schedule, now)
        table = taken.timetable
        if taken.remark:
            return  # it is counted anew, see above
        taken_up += [run.run_id for run in taken.runs]
        # One may have been made and cancelled by the next one at the same look.
        taken_up += [run.run_id for run in taken.cancelled if run.run_id not in taken_up]
        ready_at = agenda.ready_at(table, now)
        if ready_at is not None and ready_at <= now:
            run = agenda.begun(table.runs[0], now)
            table = agenda.with_first(table, agenda.ended(run, Ending(code), schedule, now))
        assert len(table.runs) <= schedule.max_waiting_runs + 1
    assert len(set(taken_up)) == len(taken_up)
    # Each instant up to the last one dealt with became a run, or was skipped and counted. One
    # that waited too long for its turn was both.
    passed = (table.dealt_until - MIDNIGHT) // HOUR
    assert passed <= len(taken_up) + table.skipped
    if catch_up != "all" and overlap != "wait":
        assert passed == len(taken_up) + table.skipped


def test_settings_that_are_changed_hold_for_runs_that_wait_but_for_what_they_run() -> None:
    table = after(1, hourly()).timetable
    changed = dataclasses.replace(hourly(), input="elsewhere", max_retries=0)
    table = after(1.5, changed, table).timetable
    assert table.runs[0].arguments[-1] == "in/{date}"
    assert agenda.ended(table.runs[0], Ending(1), changed, MIDNIGHT).outcome is Outcome.FAILED
