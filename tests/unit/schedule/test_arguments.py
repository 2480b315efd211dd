"""The command of a run."""

from __future__ import annotations

from datetime import UTC, datetime

from twofold.schedule.arguments import Places, arguments_for
from twofold.schedule.settings import ScheduleSettings

# 02:30 in Berlin, on the second day of summer time.
DUE = datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def arguments(**others: object) -> list[str]:
    schedule = ScheduleSettings(
        name="nightly",
        model="churn",
        input="-in/{date}",
        output="out",
        cron="30 2 * * *",
        time_zone="Europe/Berlin",
        **others,  # type: ignore[arg-type]
    )
    return list(arguments_for(schedule, DUE, "nightly-1", Places("shelf", "memory")))


def value_of(flag: str, given: list[str]) -> str:
    return given[given.index(flag) + 1]


def test_a_run_is_a_command_that_anybody_can_repeat() -> None:
    given = arguments(key="id", keep=("a", "b"))
    assert given[:2] == ["batch", "run"]
    assert (value_of("--output", given), value_of("--run-id", given)) == ("out", "nightly-1")
    assert (value_of("--registry", given), value_of("--key", given)) == ("shelf", "id")
    assert given.count("--keep") == 2
    # What looks like a flag is none there.
    assert given[-3:] == ["--", "churn", "-in/{date}"]
    assert "--key" not in arguments()


def test_the_query_and_the_targets_are_given_with_the_date_still_in_them() -> None:
    query = "SELECT * FROM t WHERE day = '{date}'"
    given = arguments(query=query, into=("delta:lake/{date}", "sqlite:crm.db?table=p"))
    assert value_of("--query", given) == query
    into = [given[at + 1] for at, flag in enumerate(given) if flag == "--into"]
    assert into == ["delta:lake/{date}", "sqlite:crm.db?table=p"]
    assert "--query" not in arguments()
    assert "--into" not in arguments()


def test_the_day_is_that_of_the_schedules_zone_and_may_be_another_one() -> None:
    assert value_of("--as-of", arguments()) == "2026-03-30T02:30:00+02:00"
    assert value_of("--as-of", arguments(date_offset_days=-1)).startswith("2026-03-29T")
    # Two days before it is still winter, and still half past two.
    assert value_of("--as-of", arguments(date_offset_days=-2)) == "2026-03-28T02:30:00+01:00"


def test_a_schedule_that_publishes_says_where_to() -> None:
    assert "--publish" not in arguments()
    given = arguments(publish=True)
    assert value_of("--store", given) == "memory"
    assert "--publish" in given
    assert "--with-features" not in given
    assert {"--publish", "--with-features"} < set(arguments(with_features=True))
