"""`{date}` in paths, days and instants, and the ids made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.model.names import is_name
from twofold.schedule.dates import check_path, expand, parse_as_of, run_id_for, stamp

DAY = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("in/{date}.parquet", "in/2026-01-31.parquet"),
        ("in/{date:%Y/%m/%d}/*.parquet", "in/2026/01/31/*.parquet"),
        ("day={date}/{date:%H}", "day=2026-01-31/00"),
        ("{date:%G-W%V-%u}", "2026-W05-6"),
        ("plain", "plain"),
        ("{{date}}", "{date}"),
        ("100%", "100%"),
        ("{date:%d%%}", "31%"),
    ],
)
def test_the_day_is_written_as_the_path_says(path: str, expected: str) -> None:
    check_path(path)
    assert expand(path, DAY) == expected


def test_the_day_is_that_of_the_instants_own_zone() -> None:
    late = parse_as_of("2026-01-31T23:30:00-05:00")
    assert expand("{date}", late) == "2026-01-31"
    assert expand("{date}", late.astimezone(UTC)) == "2026-02-01"


@pytest.mark.parametrize(
    "path",
    ["", "{}", "{day}", "{date!r}", "{date.year}", "{date[0]}", "{0}", "{date", "date}",
     "{date:%A}", "{date:%x}", "{date:%}", "{date:{date}}", "{run_id}"],
)  # fmt: skip
def test_another_placeholder_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"^expected .*, got .*\. "):
        check_path(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", DAY),
        ("2026-01-31T02:00:00Z", DAY + timedelta(hours=2)),
        ("2026-01-31T02:00+01:00", DAY + timedelta(hours=1)),
    ],
)
def test_a_day_begins_in_utc_and_an_instant_has_its_offset(text: str, expected: datetime) -> None:
    assert parse_as_of(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-02-30", "2026-01-31T02:00:00", "2026-1-31", "20260131", "31.1.2026",
     "0001-01-01T00:00:00+14:00"],
)  # fmt: skip
def test_what_is_no_day_and_no_instant_with_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a day such as 2026-01-31, or an instant"):
        parse_as_of(text)


@pytest.mark.parametrize(
    ("model", "as_of", "expected"),
    [
        ("churn", "2026-01-31", "churn-20260131"),
        ("churn@3", "2026-01-31", "churn-3-20260131"),
        ("churn:canary", "2026-01-31", "churn-canary-20260131"),
        ("churn", "2026-01-31T02:00:00+01:00", "churn-20260131T010000Z"),
    ],
)
def test_a_run_is_named_after_its_model_and_day(model: str, as_of: str, expected: str) -> None:
    assert run_id_for(model, as_of) == expected
    assert is_name(expected)


@given(
    st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(timezone(timedelta(hours=5))))
)
def test_equal_instants_have_equal_stamps_and_others_have_others(instant: datetime) -> None:
    instant = instant.replace(microsecond=0)
    assert stamp(instant) == stamp(instant.astimezone(UTC))
    assert stamp(instant - timedelta(seconds=1)) < stamp(instant)
