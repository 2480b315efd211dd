"""Numbers are said as one reads them, with their units."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from twofold.lab.fault import age, count, instant, most, of_all, percent, rate, time, whose


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (time(0.0000123), "12.3 µs"),
        (time(0.048), "48 ms"),
        (time(1.5), "1.5 s"),
        (time(86_400.0), "86,400 s"),
        (time(None), "unknown"),
        (age(30.0), "30 s"),
        (age(7_200.0), "2.0 hours"),
        (age(3 * 86_400.0), "3.0 days"),
        (age(600.0), "10.0 minutes"),
        (rate(0.0), "0/s"),
        (rate(1_234.5), "1,234/s"),
        (rate(0.256), "0.26/s"),
        (percent(0.934), "93 %"),
        (percent(0.0), "0 %"),
        (percent(0.004), "less than 1 %"),
        (count(12_345.0), "12,345"),
        (of_all(3.0, 10.0, 5.0), "3 of 10 within the last 5 s"),
    ],
)
def test_number_is_said_with_its_unit(said: str, expected: str) -> None:
    assert said == expected


def test_instant_is_said_in_utc() -> None:
    at = datetime(2026, 7, 1, 14, 5, 6, tzinfo=timezone(timedelta(hours=2)))
    assert instant(at) == instant(at.astimezone(UTC)) == "2026-07-01 12:05:06 UTC"


def test_client_with_most_of_something_is_found_with_its_share() -> None:
    clients = {"a": {"shed": 1.0, "late": 9.0}, "b": {"shed": 3.0}}
    assert most(clients, "shed") == ("b", 0.75)
    assert most(clients, "late") == ("a", 1.0)
    assert most(clients, "failed") == (None, 0.0)
    assert most({}, "shed") == (None, 0.0)
    assert whose("b", 0.75, "of it") == ["client b: 75 % of it, in the last seconds"]
    assert whose(None, 0.0, "of it") == []
