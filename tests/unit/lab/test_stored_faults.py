"""A store that is slow, a snapshot that is old and clocks that differ are named."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from looks import AT, look_of, model_of, said, seen, stage

from twofold.lab.diagnosis import diagnose
from twofold.lab.fault import Fault, Finding, Severity
from twofold.lab.look import Look, StoreLook

NOW = AT + timedelta(seconds=5)


def only(looks: list[Look]) -> Finding:
    [finding] = diagnose(looks)
    return finding


def store(**facts: Any) -> list[Look]:
    return seen(store=StoreLook(timeout_s=0.1, **facts))


def test_store_that_answers_in_time_is_well() -> None:
    assert diagnose(store(answered=100.0, failed=1.0, duration=stage(101, 0.0005))) == []


def test_store_without_an_answer_in_time_is_told() -> None:
    finding = only(store(answered=80.0, failed=20.0, duration=stage(100, 0.02)))
    assert (finding.fault, finding.severity) == (Fault.STORE_SLOW, Severity.FAULT)
    assert "doesn't answer in time" in finding.what
    assert said(finding)["look-ups without an answer in time"] == "20 of 100 within the last 5 s"
    assert "answers.store_timeout_s = 0.5" in finding.fix


def test_store_that_takes_most_of_its_time_is_slow_before_it_fails() -> None:
    finding = only(store(answered=100.0, duration=stage(100, 0.09)))
    assert "is slow" in finding.what
    assert "look-ups, p50 and p99" in said(finding)


def test_store_that_is_given_up_is_told_with_since_when_though_nobody_asks() -> None:
    finding = only(store(away_since=AT))
    assert (finding.fault, finding.since) == (Fault.STORE_SLOW, AT)


def test_stale_snapshot_is_told_with_since_when_and_who_was_answered_with_it() -> None:
    as_of = NOW - timedelta(days=3)
    stale = model_of(snapshot_as_of=as_of, answers={"stale": 30.0, "live": 10.0})
    finding = only(seen(models=(stale,)))
    assert (finding.fault, finding.severity) == (Fault.SNAPSHOT_STALE, Severity.FAULT)
    assert finding.what == "The snapshot of churn is 3.0 days old, and fresh for only 24.0 hours."
    assert finding.since == as_of + timedelta(days=1)
    evidence = said(finding)["keys answered with a stale prediction"]
    assert evidence == "30 of 40 within the last 5 s"


@pytest.mark.parametrize(
    "facts",
    [
        {"max_age_s": 0.0},
        {"models": (model_of(snapshot_as_of=None),)},
        {"max_age_s": 4 * 86_400.0},
    ],
)
def test_without_a_snapshot_or_a_limit_or_within_it_nothing_is_stale(facts: Any) -> None:
    old = {"models": (model_of(snapshot_as_of=NOW - timedelta(days=3)),)}
    assert diagnose(seen(**old | facts)) == []


def test_end_of_time_is_no_trouble() -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)
    looks = seen(models=(model_of(snapshot_as_of=first),), max_age_s=1e10)
    assert only(looks).since is not None
    late = datetime(9_999, 12, 31, tzinfo=UTC)
    looks = seen(
        models=(model_of(snapshot_as_of=late - timedelta(days=1)),),
        max_age_s=3_600.0,
        server_date=late,
    )
    assert Fault.SNAPSHOT_STALE in {item.fault for item in diagnose(looks)}


@pytest.mark.parametrize(("ahead_s", "side"), [(30.0, "ahead of"), (-30.0, "behind")])
def test_clock_of_the_server_that_differs_is_told(ahead_s: float, side: str) -> None:
    looks = [
        dataclasses.replace(
            look, server_date=look.asked_at.replace(microsecond=0) + timedelta(seconds=ahead_s)
        )
        for look in (look_of(at_s=0.0), look_of())
    ]
    finding = only(looks)
    assert (finding.fault, finding.severity) == (Fault.CLOCK_SKEW, Severity.FAULT)
    assert f"{side} this machine's" in finding.what


@pytest.mark.parametrize(
    ("ahead", "severity"),
    [
        (timedelta(seconds=4), None),
        (timedelta(seconds=20), Severity.WARNING),
        (timedelta(minutes=5), Severity.FAULT),
    ],
)
def test_snapshot_from_the_future_is_told_as_a_matter_of_clocks(
    ahead: timedelta, severity: Severity | None
) -> None:
    found = diagnose(seen(models=(model_of(snapshot_as_of=NOW + ahead),)))
    expected = [] if severity is None else [(Fault.CLOCK_SKEW, severity)]
    assert [(item.fault, item.severity) for item in found] == expected
