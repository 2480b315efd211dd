"""The settings of schedules, as they stand in twofold.toml."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from twofold.app.settings import Settings, read
from twofold.errors import ConfigError
from twofold.schedule.dates import stamp
from twofold.schedule.settings import MAX_NAME

GOOD = """
[[schedule]]
name = "nightly"
model = "churn:canary"
input = "in/{date}"
output = "out"
cron = "30 2 * * *"
"""


def settings_of(folder: Path, text: str) -> Settings:
    (folder / "twofold.toml").write_text(text, encoding="utf-8")
    return read(folder=folder, environment={})


def problems_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_of(folder, text)
    return list(caught.value.problems)


def test_every_table_is_a_schedule_in_the_order_of_the_file(tmp_path: Path) -> None:
    other = GOOD.replace("nightly", "other") + 'keep = ["a", "b"]\ntime_zone = "Asia/Tokyo"\n'
    first, second = settings_of(tmp_path, GOOD + other).schedules
    assert (first.name, first.overlap, first.catch_up) == ("nightly", "skip", "latest")
    assert (second.name, second.keep, second.time_zone) == ("other", ("a", "b"), "Asia/Tokyo")
    assert settings_of(tmp_path, "").schedules == ()


def test_the_longest_name_still_makes_the_id_of_a_run() -> None:
    assert MAX_NAME + len("-") + len(stamp(datetime(2026, 1, 31, tzinfo=UTC))) <= 64


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ('name = "a/b"', "expected 1 to 40 letters, digits"),
        ('model = "churn@x"', "version: expected a number"),
        ('input = "in/{day}"', "expected no placeholder but {date}, got {day}."),
        ('output = ""', "expected a path, got ''."),
        ('query = "SELECT {day}"', "expected no placeholder but {date}, got {day}."),
        ('into = "delta:lake"', "expected a list of texts, got 'delta:lake'."),
        ('into = ["delta:lake/{day}"]', "expected no placeholder but {date}, got {day}."),
        ('into = ["postgresql://me:hush@db/x?table=p"]', "expected an address without a password"),
        ('input = "postgresql://db/x?password=hush"', "expected an address without a password"),
        ('cron = "30 25 * * *"', "expected minute, hour, day of the month"),
        ('time_zone = "Mars"', "expected the name of a time zone"),
        ("keep = [1]", "expected a list of texts, got [1]."),
        ('keep = "a"', "expected a list of texts, got 'a'."),
        ('overlap = "never"', "expected skip or wait or cancel_running, got 'never'."),
        ("max_retries = -1", "expected 0 to 1000, got -1."),
        ("cron = 5", "expected text, got 5."),
        ("hour = 5", "expected one of name, model, input,"),
    ],
)
def test_a_wrong_setting_is_named_with_its_schedule(
    tmp_path: Path, change: str, expected: str
) -> None:
    name = change.partition(" ")[0]
    kept = [line for line in GOOD.splitlines() if not line.startswith(f"{name} ")]
    (problem,) = problems_of(tmp_path, "\n".join([*kept, change]))
    called = "'a/b'" if name == "name" else "'nightly'"
    assert problem.startswith(f"twofold.toml: schedule {called}.{name}: {expected}")


def test_all_problems_of_all_schedules_and_sections_are_reported_at_once(tmp_path: Path) -> None:
    text = "[batch]\nworkers = -1\n" + GOOD + "key = 1\n[[schedule]]\n" + GOOD
    found = problems_of(tmp_path, text)
    assert [problem.partition(": expected")[0] for problem in found] == [
        "twofold.toml: schedule 'nightly'.key",
        *[f"twofold.toml: schedule 2.{name}" for name in ("name", "model", "input", "output")],
        "twofold.toml: schedule 2.cron",
        "twofold.toml: schedule 'nightly'.name",
        "twofold.toml: batch.workers",
    ]


@pytest.mark.parametrize("text", ["[schedule]\nname = 'a'", "schedule = 1", "schedule = [1]"])
def test_what_is_no_array_of_tables_is_refused(tmp_path: Path, text: str) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith("twofold.toml: schedule: expected tables that each begin with [[sch")
