"""Processes that die, stand still or are full are named, with what shows it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from looks import AT, FIRST, look_of, model_of, said, seen, stage

from twofold.lab.diagnosis import diagnose
from twofold.lab.fault import Fault, Finding, Severity
from twofold.lab.look import Look

NOW = AT + timedelta(seconds=5)


def only(looks: list[Look]) -> Finding:
    [finding] = diagnose(looks)
    return finding


@pytest.mark.parametrize(
    ("ago", "severity"),
    [
        (timedelta(seconds=30), Severity.FAULT),
        (timedelta(minutes=5), Severity.WARNING),
        (timedelta(minutes=11), None),
    ],
)
@pytest.mark.parametrize(
    ("fault", "total", "at"),
    [
        (Fault.WORKER_RESTARTS, "restarts", "restarted_at"),
        (Fault.MODEL_RESTARTS, "deaths", "died_at"),
    ],
)
def test_process_that_died_is_a_fault_at_first_then_a_warning_then_history(
    ago: timedelta, severity: Severity | None, fault: Fault, total: str, at: str
) -> None:
    facts: dict[str, Any] = {total: 2.0, at: NOW - ago}
    looks = [look_of(at_s=1.0, **facts), look_of(**facts)]
    found = [(item.fault, item.severity, item.since) for item in diagnose(looks)]
    assert found == ([] if severity is None else [(fault, severity, NOW - ago)])


def test_process_that_dies_while_one_looks_is_counted() -> None:
    finding = only(seen(restarts=3.0, restarted_at=NOW))
    assert finding.severity is Severity.FAULT
    assert said(finding)["within the last 5 s"] == "3"
    assert "--workers" in finding.fix


def test_server_that_is_not_ready_is_named() -> None:
    finding = only(seen(is_ready=False))
    assert (finding.fault, finding.severity) == (Fault.NOT_READY, Severity.FAULT)


def test_short_pause_of_a_loop_counts_only_if_it_is_new() -> None:
    old = {"blocks": 2.0, "longest_block_s": 0.3}
    assert diagnose([look_of(at_s=1.0, **old), look_of(**old)]) == []
    finding = only(seen(**old, blocked_at=NOW))
    assert (finding.fault, finding.since) == (Fault.LOOP_BLOCKED, NOW)
    assert "stood still for 300 ms" in finding.what


def test_long_pause_counts_for_a_minute() -> None:
    old = {"blocks": 1.0, "longest_block_s": 1.5}
    assert only([look_of(at_s=1.0, **old), look_of(**old)]).fault is Fault.LOOP_BLOCKED


def test_model_in_the_loop_that_took_as_long_is_the_cause_of_a_block() -> None:
    block = {"blocks": 1.0, "longest_block_s": 0.9}
    both = dict(model_of().predict.buckets)
    for bound, count in stage(1, 0.9).buckets.items():
        both[bound] += count
    predict = dataclasses.replace(model_of().predict, buckets=both)
    here = only(seen(**block, models=(model_of(predict=predict),)))
    assert said(here)["predictions of churn@3 in the event loop"] == (
        "some took more than 500 ms, since the server started"
    )
    assert "churn@3 was quick when it was loaded" in here.fix
    apart = only(seen(**block, models=(model_of(predict=predict, is_apart=True),)))
    assert "none took as long" in said(apart)["predictions in the event loop"]
    quick = only(seen(**block))
    assert "machine without a free core" in quick.fix


@pytest.mark.parametrize(("taken", "is_told"), [(7_300.0, False), (7_400.0, True)])
def test_connections_are_named_when_nine_tenths_are_taken(taken: float, is_told: bool) -> None:
    found = diagnose(seen(connections=taken))
    assert [item.fault for item in found] == [Fault.TOO_MANY_CONNECTIONS] * is_told
    if is_told:
        assert "--max-connections 8,192 for each worker" in found[0].fix


def test_server_that_does_not_say_its_limit_has_none() -> None:
    assert diagnose(seen(max_connections=0.0, connections=5.0)) == []


def test_version_that_could_not_be_loaded_is_told_until_another_one_serves() -> None:
    facts: dict[str, Any] = {"reloads_refused": 1.0, "refused_at": NOW}
    assert only(seen(**facts)).fault is Fault.RELOAD_REFUSED
    assert only(seen(**facts, switched_at=NOW - timedelta(hours=1))).since == NOW
    assert diagnose(seen(**facts, switched_at=NOW + timedelta(seconds=1))) == []


def test_server_that_was_started_anew_has_no_restarts_before_its_own() -> None:
    first = dataclasses.replace(FIRST, restarts=7.0, blocks=9.0)
    assert diagnose([first, look_of()]) == []
