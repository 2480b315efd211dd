"""Keeping schedules, and looking at them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from workplace import work_in

from twofold.app.schedule import Event, keep_schedules, look_at_schedules
from twofold.app.settings import Settings, read
from twofold.errors import ConfigError, LeaseHeld
from twofold.lease import hold_lease
from twofold.schedule import agenda, launch
from twofold.schedule.keep import save_state
from twofold.schedule.state import Outcome, State

MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)
FILE = """
[[schedule]]
name = "nightly"
model = "churn"
input = "in"
output = "out"
cron = "30 2 * * *"
time_zone = "Europe/Berlin"
max_retries = 0
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    work_in(tmp_path, monkeypatch)
    Path("twofold.toml").write_text(FILE, encoding="utf-8")
    Path("schedules").mkdir()
    return read()


def since(settings: Settings, instant: datetime) -> None:
    """Let the schedule be dealt with until an instant."""
    table = agenda.begin(settings.schedules[0], instant)
    save_state(Path("schedules"), State(timetables={"nightly": table}))


@pytest.mark.parametrize(("exit_code", "outcome"), [(0, Outcome.DONE), (3, Outcome.FAILED)])
def test_what_is_due_is_run_and_then_seen(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, exit_code: int, outcome: Outcome
) -> None:
    since(settings, datetime.now(UTC) - timedelta(days=1, minutes=1))
    monkeypatch.setattr(launch, "COMMAND", ("/bin/sh", "-c", f"exit {exit_code}"))
    events: list[Event] = []
    failed = keep_schedules(settings, once=True, tell=events.append)
    assert failed == (outcome is Outcome.FAILED)
    assert [event.event for event in events if event.event != "skipped"] == [
        "due",
        "started",
        "ended",
    ]
    found = look_at_schedules(settings)
    assert not found.is_kept
    (schedule,) = found.schedules
    assert [run.outcome for run in schedule.ended] == [outcome]
    assert schedule.next_due > datetime.now(UTC)


def test_a_schedule_that_nobody_has_kept_yet_is_seen_with_its_next_instant(
    settings: Settings,
) -> None:
    (schedule,) = look_at_schedules(settings, now=MIDNIGHT).schedules
    assert schedule.next_due == MIDNIGHT + timedelta(hours=1, minutes=30)
    assert (schedule.runs, schedule.ended, schedule.skipped) == ((), (), 0)


def test_while_somebody_keeps_them_they_are_seen_and_kept_by_nobody_else(
    settings: Settings,
) -> None:
    with hold_lease(Path("schedules"), "other"):
        assert look_at_schedules(settings).is_kept
        with pytest.raises(LeaseHeld, match=r"^schedules: expected no other scheduler, .* --state"):
            keep_schedules(settings, once=True, tell=print)


def test_without_a_schedule_there_is_nothing_to_keep(settings: Settings) -> None:
    Path("twofold.toml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^twofold.toml: expected a \[\[schedule\]\], got none"):
        keep_schedules(read(), tell=print)
    assert look_at_schedules(read()).schedules == ()
