"""Models that are slow, fail, or are asked too much are named, with the client that does it."""

from __future__ import annotations

from typing import Any

import pytest
from looks import AT, model_of, said, seen, stage

from twofold.lab.diagnosis import diagnose
from twofold.lab.fault import Fault, Finding, Severity

CLIENTS = {
    "desk": {"admitted": 5.0, "shed": 2.0, "late": 1.0, "invalid": 1.0, "failed": 1.0},
    "loader": {"admitted": 40.0, "shed": 98.0, "over_quota": 9.0, "invalid": 3.0},
}
OVERLOADED: dict[str, Any] = {
    "requests": {"ok": 250.0, "refused": 500.0},
    "overloaded_since": AT,
    "capacity_per_s": 50.0,
}
REFUSED = {"503": 500.0}


def found(*, clients: Any = CLIENTS, responses: Any = REFUSED, **facts: Any) -> list[Finding]:
    return diagnose(seen(models=(model_of(**facts),), responses=responses, clients=clients))


def only(**facts: Any) -> Finding:
    [finding] = found(**facts)
    return finding


def test_overload_is_told_with_what_is_offered_what_could_be_answered_and_who_offers() -> None:
    finding = only(**OVERLOADED)
    assert (finding.fault, finding.severity) == (Fault.OVERLOADED, Severity.FAULT)
    assert (finding.since, finding.who) == (AT, "loader")
    assert finding.what == (
        "churn@3 is overloaded: 150/s are offered, 3.0 times what it can answer; "
        "67 % of them are refused."
    )
    evidence = said(finding)
    assert evidence["offered"] == "150/s"
    assert evidence["answered"] == "50/s"
    assert evidence["capacity"] == "50/s (workers: 2)"
    assert evidence["client loader"] == "98 % of what was refused, in the last seconds"
    # Nine tenths of 50/s, less the 10/s of the others.
    assert "max_requests_per_s = 35" in finding.fix


def test_overload_of_which_little_is_known_is_told_all_the_same() -> None:
    finding = only(**OVERLOADED | {"capacity_per_s": 0.0}, clients={})
    assert finding.who is None
    assert said(finding)["capacity"] == "not known yet"


@pytest.mark.parametrize(
    "facts",
    [
        # Over since a while; or so few that it hardly matters.
        {**OVERLOADED, "overloaded_since": None},
        {**OVERLOADED, "requests": {"ok": 5_000.0, "refused": 3.0}},
    ],
)
def test_refusals_that_are_past_or_few_are_no_overload(facts: dict[str, Any]) -> None:
    assert found(**facts) == []


def test_who_is_over_a_quota_is_refused_but_does_not_overload() -> None:
    finding = only(
        requests={"ok": 250.0, "refused": 500.0}, overloaded_since=AT, responses={"429": 500.0}
    )
    assert (finding.fault, finding.severity) == (Fault.OVER_QUOTA, Severity.WARNING)
    assert finding.who == "loader"


def test_client_with_too_short_a_deadline_is_not_taken_for_load() -> None:
    facts: dict[str, Any] = {
        "requests": {"late": 40.0, "refused": 10.0},
        "overloaded_since": AT,
        "capacity_per_s": 50.0,
    }
    finding = only(**facts, responses={"503": 10.0, "504": 40.0})
    assert (finding.fault, finding.who) == (Fault.DEADLINE_SHORT, "desk")
    busy = only(**facts | {"capacity_per_s": 5.0}, responses={"503": 10.0, "504": 40.0})
    assert busy.fault is Fault.OVERLOADED


def test_late_answers_are_told_where_nobody_is_refused() -> None:
    finding = only(requests={"ok": 90.0, "late": 10.0}, responses={})
    assert (finding.fault, finding.severity) == (Fault.DEADLINE_SHORT, Severity.WARNING)
    assert "X-Twofold-Deadline-Ms" in finding.fix
    assert found(requests={"ok": 400.0, "late": 10.0}, responses={}) == []


SLOW: dict[str, Any] = {
    "row_cost_s": 0.048,
    "packed_row_cost_s": 0.0004,
    "predict": stage(500, 0.048),
    "duration": stage(500, 0.05),
}


def test_slow_model_is_told_with_its_stage_and_what_it_took_when_packed() -> None:
    finding = only(**SLOW)
    assert (finding.fault, finding.severity) == (Fault.SLOW_MODEL, Severity.FAULT)
    assert finding.what == (
        "churn@3 is slow in its stage predict: a row takes 48 ms, 120 times what it took when it "
        "was packed."
    )
    assert said(finding)["the same when it was packed"] == "400 µs"
    assert said(finding)["stage predict, mean"] == "48 ms"


@pytest.mark.parametrize(
    "facts",
    [
        # It was as slow when it was packed; nobody knows; it is quick either way.
        {"packed_row_cost_s": 0.04},
        {"packed_row_cost_s": 0.0},
        {
            "packed_row_cost_s": 0.000002,
            "row_cost_s": 0.0002,
            "predict": stage(500, 0.0002),
            "duration": stage(500, 0.001),
        },
        # One row among many was slow, and moved the mean.
        {"predict": stage(500, 0.0004), "duration": stage(500, 0.001)},
        # Requests have many rows.
        {"row_cost_s": 0.0004},
        # Hardly anybody asked.
        {"requests": {"ok": 2.0}},
    ],
)
def test_model_is_not_slow_without_a_reason(facts: dict[str, Any]) -> None:
    assert found(**SLOW | facts) == []


def test_reading_and_writing_that_takes_longest_is_the_slow_stage() -> None:
    finding = only(
        requests={"ok": 50.0},
        rows=500_000.0,
        duration=stage(50, 0.2),
        queue=stage(50, 0.01),
        predict=stage(50, 0.03),
        responses={},
    )
    assert finding.fault is Fault.SLOW_MODEL
    assert "in the stage parse and encode: 160 ms of 200 ms" in finding.what
    assert said(finding)["rows of a request, mean"] == "10,000.0"


def test_model_that_fails_is_told_from_one_in_a_hundred_on() -> None:
    finding = only(requests={"ok": 480.0, "failed": 20.0})
    assert (finding.fault, finding.severity) == (Fault.MODEL_FAILS, Severity.FAULT)
    assert "fails for 4 % of its requests" in finding.what
    assert found(requests={"ok": 1_000.0, "failed": 1.0}) == []


def test_requests_that_do_not_fit_are_told_with_who_sends_most_of_them() -> None:
    finding = only(requests={"ok": 80.0, "invalid": 20.0})
    assert (finding.fault, finding.severity) == (Fault.INVALID_REQUESTS, Severity.WARNING)
    assert finding.who == "loader"
    assert found(requests={"ok": 80.0, "invalid": 4.0}) == []
