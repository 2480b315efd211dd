"""`twofold schedule run`, `list`: what is shown, and exit codes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from twofold.schedule import agenda, launch
from twofold.schedule.agenda import Ending
from twofold.schedule.arguments import Places
from twofold.schedule.keep import save_state
from twofold.schedule.settings import ScheduleSettings
from twofold.schedule.state import Skip, State

FILE = """
[[schedule]]
name = "n"
model = "price"
input = "rows.parquet"
output = "out"
cron = "0 * * * *"
max_retries = 0
"""
SCHEDULE = ScheduleSettings("n", "price", "rows.parquet", "out", "0 * * * *")
LAST = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)


@pytest.fixture
def state(cli: Any) -> None:
    """A schedule with runs that are done, given up, waiting for a retry, waiting."""
    Path("twofold.toml").write_text(FILE, encoding="utf-8")
    Path("schedules").mkdir()
    table = agenda.begin(SCHEDULE, LAST - timedelta(hours=4, minutes=1))
    schedule = ScheduleSettings("n", "price", "in", "out", "0 * * * *", catch_up="all")
    table = agenda.take_up(table, schedule, LAST, Places("registry", "store")).timetable
    for code in (0, 3, 1):
        run = agenda.begun(table.runs[0], LAST)
        later = LAST + timedelta(seconds=7)
        ended = agenda.ended(run, Ending(code, "why"), SCHEDULE, later)
        table = agenda.with_first(table, ended)
    table = replace(table, skipped=2, last_skip=Skip(due_at=LAST, reason="missed"))
    save_state(Path("schedules"), State(timetables={"n": table}))


@pytest.mark.usefixtures("state")
def test_the_list_has_next_and_last_runs_for_people_and_machines(cli: Any) -> None:
    shown = cli("schedule", "list")
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert lines[0] == ["schedule", "next", "run", "state", "began", "took", "why"]
    assert lines[1][0] == "n", shown.stdout
    assert lines[2][-1] == "waiting", shown.stdout
    assert "waiting for a retry" in shown.stdout
    assert "7.0 s  exit code 3: why" in shown.stdout
    assert shown.stderr == "no scheduler is running; start one with `twofold schedule run`\n"
    found = cli.json("schedule", "list")
    assert not found["is_running"]
    (schedule,) = found["schedules"]
    assert (schedule["name"], schedule["skipped"]) == ("n", 2)
    assert schedule["last_skip"]["reason"] == "missed"
    states = [run["state"] for run in schedule["runs"]]
    assert states == ["waiting for a retry", "waiting", "failed", "done"]
    assert schedule["runs"][-1]["command"][:3] == ["twofold", "batch", "run"]


def test_without_schedules_the_list_says_so(cli: Any) -> None:
    assert cli.said("schedule", "list") == "no [[schedule]] in twofold.toml"
    assert cli.json("schedule", "list") == {"is_running": False, "schedules": []}


@pytest.mark.parametrize(("script", "code"), [("true", 0), ("exit 3", 1)])
def test_once_ends_with_1_if_a_run_failed_for_good(
    cli: Any, monkeypatch: pytest.MonkeyPatch, script: str, code: int
) -> None:
    Path("twofold.toml").write_text(FILE, encoding="utf-8")
    Path("state").mkdir()
    save_state(Path("state"), State(timetables={"n": agenda.begin(SCHEDULE, LAST)}))
    monkeypatch.setattr(launch, "COMMAND", ("/bin/sh", "-c", script))
    said = cli("schedule", "run", "--once", "--state", "state", code=code).stderr
    assert " started n-" in said
    assert " ended n-" in said
    assert cli.json("schedule", "list", "--state", "state")["schedules"][0]["runs"]


def test_events_are_lines_of_json_for_machines(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("twofold.toml").write_text(FILE, encoding="utf-8")
    Path("schedules").mkdir()
    save_state(Path("schedules"), State(timetables={"n": agenda.begin(SCHEDULE, LAST)}))
    monkeypatch.setattr(launch, "COMMAND", ("/bin/sh", "-c", "true"))
    lines = cli("schedule", "run", "--once", "--json").stdout.splitlines()
    assert all(line.startswith('{"at":"') for line in lines)
    assert ['"event":"ended"' in line for line in lines].count(True) == 1


def test_wrong_settings_are_wrong_usage(cli: Any) -> None:
    Path("twofold.toml").write_text(FILE.replace("0 *", "0 25"), encoding="utf-8")
    assert "schedule 'n'.cron: expected minute, hour" in cli.said("schedule", "run", code=2)
