"""When a schedule is due, above all where the clocks change."""

from __future__ import annotations

import itertools
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.schedule.cron import check_cron, due_after, zone_of

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
# The nights of 2026 in which the clocks change, as instants around them.
NIGHTS = {
    (BERLIN, "spring"): datetime(2026, 3, 28, 22, 30, tzinfo=UTC),
    (BERLIN, "autumn"): datetime(2026, 10, 24, 21, 30, tzinfo=UTC),
    (NEW_YORK, "spring"): datetime(2026, 3, 8, 4, 30, tzinfo=UTC),
    (NEW_YORK, "autumn"): datetime(2026, 11, 1, 3, 30, tzinfo=UTC),
}
# Zones with changes at odd hours, by half hours, at midnight, and of a whole day.
ZONES = (
    "UTC",
    BERLIN,
    NEW_YORK,
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Pacific/Apia",
    "Asia/Kathmandu",
)


def local_times(cron: str, zone: str, after: datetime, hours: int = 8) -> list[str]:
    """What the dial shows when it is due within so many hours; the second time round, with `'`."""
    until = after + timedelta(hours=hours)
    found = itertools.takewhile(lambda at: at <= until, due_after(cron, zone, after))
    local = [at.astimezone(zoneinfo.ZoneInfo(zone)) for at in found]
    return [f"{at:%H:%M}" + "'" * at.fold for at in local]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK])
@pytest.mark.parametrize(
    ("cron", "spring", "autumn"),
    [
        # Berlin leaves out and repeats the hour from 2, New York from 2 and from 1.
        ("30 2 * * *", ["03:00"], ["02:30"]),
        ("30 1 * * *", ["01:30"], ["01:30"]),
        ("0,15,30,45 2 * * *", ["03:00"], ["02:00", "02:15", "02:30", "02:45"]),
        (
            "30 1-4 * * *",
            ["01:30", "03:00", "03:30", "04:30"],
            ["01:30", "02:30", "03:30", "04:30"],
        ),
        ("0 3 * * *", ["03:00"], ["03:00"]),
    ],
)
def test_a_fixed_time_is_due_once_a_night_whatever_the_clocks_do(
    zone: str, cron: str, spring: list[str], autumn: list[str]
) -> None:
    assert local_times(cron, zone, NIGHTS[zone, "spring"]) == spring
    assert local_times(cron, zone, NIGHTS[zone, "autumn"]) == autumn


@pytest.mark.parametrize(
    ("cron", "zone", "season", "expected"),
    [
        ("0 * * * *", BERLIN, "spring", ["00:00", "01:00", "03:00", "04:00", "05:00"]),
        ("0 * * * *", BERLIN, "autumn", ["00:00", "01:00", "02:00", "02:00'", "03:00"]),
        ("0 * * * *", NEW_YORK, "spring", ["00:00", "01:00", "03:00", "04:00", "05:00"]),
        ("0 * * * *", NEW_YORK, "autumn", ["00:00", "01:00", "01:00'", "02:00", "03:00"]),
        ("*/30 2 * * *", BERLIN, "spring", []),
        ("*/30 2 * * *", BERLIN, "autumn", ["02:00", "02:30", "02:00'", "02:30'"]),
        ("*/30 2 * * *", NEW_YORK, "spring", []),
        ("*/30 1 * * *", NEW_YORK, "autumn", ["01:00", "01:30", "01:00'", "01:30'"]),
        ("0 */2 * * *", BERLIN, "spring", ["00:00", "04:00"]),
        ("0 */2 * * *", BERLIN, "autumn", ["00:00", "02:00", "02:00'"]),
    ],
)
def test_a_star_in_minute_or_hour_follows_the_hours_as_they_pass(
    cron: str, zone: str, season: str, expected: list[str]
) -> None:
    assert local_times(cron, zone, NIGHTS[zone, season], hours=5) == expected


def test_what_is_due_early_in_an_hour_after_a_change_by_half_an_hour_is_not_left_out() -> None:
    after = datetime(2026, 4, 4, 14, tzinfo=UTC)  # Lord Howe: an hour before
    found = due_after("5 */3 * * *", "Australia/Lord_Howe", after)
    assert next(found) == datetime(2026, 4, 4, 16, 35, tzinfo=UTC)


def test_every_minute_is_due_sixty_times_an_hour_in_every_night() -> None:
    for (zone, _), after in NIGHTS.items():
        assert len(local_times("* * * * *", zone, after)) == 8 * 60


def test_within_the_hour_that_comes_twice_nothing_of_the_first_time_is_due_again() -> None:
    second_time = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # 02:15 for the second time
    assert next(due_after("30 2 * * *", BERLIN, second_time)) == datetime(
        2026, 10, 26, 1, 30, tzinfo=UTC
    )


CRONS = ("* * * * *", "*/7 * * * *", "13 * * * *", "*/20 0-3 * * *", "5 */3 * * *", "*/30 0 * * *")
FIXED = ("30 2 * * *", "0 0 * * *", "15,45 0-2 * * *", "59 23 * * *", "30 1 1 * *", "0 2 * * SUN")


def brute(cron: str, zone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """Every minute that passes and whose dial fits, by trying all."""
    minutes, hours = cron.split()[:2]
    allowed = [_allowed(minutes, 60), _allowed(hours, 24)]
    at = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while at <= until:
        local = at.astimezone(zone_of(zone))
        if local.minute in allowed[0] and local.hour in allowed[1]:
            yield at
        at += timedelta(minutes=1)


def _allowed(field: str, end: int) -> set[int]:
    span, _, step = field.partition("/")
    first, _, last = span.partition("-")
    numbers = range(end) if span == "*" else range(int(first), int(last or first) + 1)
    return set(numbers[:: int(step or 1)])


def starts() -> st.SearchStrategy[datetime]:
    """Instants near changes of the clocks in some zone, and others."""
    near = [
        *NIGHTS.values(),
        datetime(2011, 12, 29, 20, tzinfo=UTC),  # Apia leaves out a day
        datetime(2018, 11, 3, 20, tzinfo=UTC),  # Sao Paulo leaves out midnight
        datetime(2018, 2, 17, 20, tzinfo=UTC),
        datetime(2026, 4, 4, 10, tzinfo=UTC),  # Lord Howe: half an hour
        datetime(2026, 10, 3, 10, tzinfo=UTC),
        datetime(2026, 3, 28, 18, tzinfo=UTC),  # Beirut leaves out midnight
    ]
    minutes = st.integers(0, 24 * 60).map(lambda count: timedelta(minutes=count))
    return st.builds(lambda begin, later: begin + later, st.sampled_from(near), minutes)


@given(st.sampled_from(CRONS), st.sampled_from(ZONES), starts())
def test_a_star_is_due_at_every_minute_that_passes_and_fits(
    cron: str, zone: str, after: datetime
) -> None:
    until = after + timedelta(hours=30)
    found = list(itertools.takewhile(lambda at: at <= until, due_after(cron, zone, after)))
    assert found == list(brute(cron, zone, after, until))


@given(st.sampled_from(CRONS + FIXED), st.sampled_from(ZONES), starts())
def test_instants_rise_and_it_does_not_matter_where_one_starts_looking(
    cron: str, zone: str, after: datetime
) -> None:
    found = list(itertools.islice(due_after(cron, zone, after), 12))
    assert after < found[0]
    assert all(one < next_one for one, next_one in itertools.pairwise(found))
    assert {at.tzinfo for at in found} == {UTC}
    for number, at in enumerate(found[:-1]):
        assert next(due_after(cron, zone, at)) == found[number + 1]


@given(st.sampled_from(FIXED[:4]), st.sampled_from(ZONES[:3]), starts())
def test_a_fixed_time_is_due_as_often_in_a_day_as_it_stands_there_at_most(
    cron: str, zone: str, after: datetime
) -> None:
    days = [
        at.astimezone(zone_of(zone)).date()
        for at in itertools.islice(due_after(cron, zone, after), 12)
    ]
    a_day = len(_list(cron.split(maxsplit=1)[0])) * len(_list(cron.split()[1]))
    assert all(days.count(day) <= a_day for day in days)


def _list(field: str) -> list[int]:
    return [n for part in field.split(",") for n in _allowed(part, 60)]


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * *", "6 fields"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 30 2 *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * MUN", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("@daily", "1 fields"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_field_at_fault(cron: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^expected minute, hour, day") as caught:
        check_cron(cron)
    assert f"({why})" in str(caught.value)


@pytest.mark.parametrize(
    "cron", ["30 2 * * *", "*/5 8-18 * * MON-FRI", "0 0 L * *", "0 0 29 2 MON#5"]
)
def test_what_debians_cron_knows_is_taken_and_the_last_day_of_a_month(cron: str) -> None:
    check_cron(cron)


@pytest.mark.parametrize("name", ["", "Europe/Berln", "../etc/passwd", "/etc", "Europe", "a\0b"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^expected the name of a time zone such as .* spelling"):
        zone_of(name)


def test_without_the_systems_data_the_way_to_get_it_is_said_and_utc_is_known() -> None:
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(())
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert zone_of("UTC") is UTC
        if zoneinfo.available_timezones():
            pytest.skip("the package tzdata is installed")
        with pytest.raises(ValueError, match=r"pip install tzdata"):
            zone_of(BERLIN)
    finally:
        zoneinfo.reset_tzpath(before)
