"""What is wrong is named, what brings it about first, and nothing where nothing is wrong."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looks import AT, FIRST, look_of, model_of, seen, stage

from twofold.lab.diagnosis import diagnose
from twofold.lab.fault import CAUSES_FIRST, Fault, Severity
from twofold.lab.look import Look, ModelLook, Stage, StoreLook

SLOW = {
    "row_cost_s": 0.05,
    "packed_row_cost_s": 0.0004,
    "predict": stage(500, 0.05),
}
OVERLOADED = {
    "requests": {"ok": 250.0, "refused": 500.0},
    "overloaded_since": AT,
    "capacity_per_s": 50.0,
}
REFUSED = {"200": 250.0, "503": 500.0}


def faults(looks: list[Look]) -> list[Fault]:
    return [finding.fault for finding in diagnose(looks)]


def test_of_a_server_that_is_well_nothing_is_said() -> None:
    assert diagnose(seen()) == []
    assert diagnose([FIRST]) == []
    assert diagnose([]) == []
    assert diagnose([look_of(at_s=float(at)) for at in range(6)]) == []


def test_server_that_nobody_asks_is_well() -> None:
    idle = dataclasses.replace(FIRST, at_s=5.0)
    assert diagnose([FIRST, idle]) == []


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        # A slow model fills its queue: it is the cause, the load is not.
        (
            {"models": (model_of(**SLOW | OVERLOADED),), "responses": REFUSED},
            [Fault.SLOW_MODEL, Fault.OVERLOADED],
        ),
        # A loop that stands still makes requests too late.
        (
            {
                "models": (model_of(**OVERLOADED),),
                "responses": REFUSED,
                "blocks": 3.0,
                "longest_block_s": 0.8,
            },
            [Fault.LOOP_BLOCKED, Fault.OVERLOADED],
        ),
        # A slow model in the event loop blocks it.
        (
            {
                "models": (model_of(**SLOW | {"predict": stage(500, 0.3), "row_cost_s": 0.3}),),
                "blocks": 3.0,
                "longest_block_s": 0.3,
            },
            [Fault.SLOW_MODEL, Fault.LOOP_BLOCKED],
        ),
        # The others have the work of workers that die.
        (
            {
                "models": (model_of(**OVERLOADED),),
                "responses": REFUSED,
                "restarts": 2.0,
                "restarted_at": AT,
                "blocks": 1.0,
                "longest_block_s": 0.4,
            },
            [Fault.WORKER_RESTARTS, Fault.LOOP_BLOCKED, Fault.OVERLOADED],
        ),
        # While a model's process is started anew, the server isn't ready.
        (
            {"deaths": 1.0, "died_at": AT, "is_ready": False},
            [Fault.MODEL_RESTARTS, Fault.NOT_READY],
        ),
        # What isn't found in the store is predicted live.
        (
            {
                "models": (model_of(**OVERLOADED),),
                "responses": REFUSED,
                "store": StoreLook(failed=50.0, timeout_s=0.1, away_since=AT),
            },
            [Fault.STORE_SLOW, Fault.OVERLOADED],
        ),
        # By a clock that is ahead everything is old.
        (
            {
                "models": (model_of(snapshot_as_of=AT - timedelta(hours=20)),),
                "server_date": AT + timedelta(hours=9),
            },
            [Fault.CLOCK_SKEW, Fault.SNAPSHOT_STALE],
        ),
        # What does no harm yet comes last, whatever it is.
        (
            {
                "models": (model_of(**OVERLOADED),),
                "responses": REFUSED,
                "restarts": 1.0,
                "restarted_at": AT - timedelta(minutes=5),
                "connections": 8_000.0,
            },
            [Fault.OVERLOADED, Fault.WORKER_RESTARTS, Fault.TOO_MANY_CONNECTIONS],
        ),
    ],
)
def test_causes_come_before_what_they_bring_about(
    facts: dict[str, Any], expected: list[Fault]
) -> None:
    first = dataclasses.replace(
        FIRST,
        restarts=facts.get("restarts", 0.0) if "connections" in facts else 0.0,
        server_date=None if "server_date" in facts else FIRST.server_date,
    )
    assert faults([first, look_of(**facts)]) == expected


def test_order_is_that_of_harm_then_of_causes_whatever_comes_together() -> None:
    parts: list[dict[str, Any]] = [
        {"restarts": 1.0, "restarted_at": AT},
        {"is_ready": False},
        {"blocks": 2.0, "longest_block_s": 0.6},
        {"store": StoreLook(failed=9.0, timeout_s=0.1)},
        {"responses": {"429": 5.0}},
        {"connections": 8_192.0},
        {"refused_at": AT, "reloads_refused": 1.0},
    ]
    for several in combinations(parts, 3):
        found = diagnose(seen(**{name: value for part in several for name, value in part.items()}))
        keys = [
            (item.severity is Severity.WARNING, CAUSES_FIRST.index(item.fault)) for item in found
        ]
        assert len(found) == 3
        assert keys == sorted(keys)


def test_every_fault_has_its_place_in_the_order() -> None:
    assert sorted(CAUSES_FIRST) == sorted(Fault)


NUMBERS = st.floats(0.0, 1e15) | st.sampled_from([0.0, 1.0, 0.25, 1e-9])
INSTANTS = st.none() | st.datetimes(timezones=st.just(UTC))
BUCKETS = st.dictionaries(st.floats(0.0, 10.0) | st.just(float("inf")), NUMBERS, max_size=4)
STAGES = st.builds(Stage, buckets=BUCKETS, sum_s=NUMBERS)


def counts(*names: str) -> st.SearchStrategy[dict[str, float]]:
    return st.dictionaries(st.sampled_from(names), NUMBERS)


MODELS = st.builds(
    ModelLook,
    model=st.sampled_from(["churn", "fraud"]),
    version=st.sampled_from(["1", "2"]),
    requests=counts("ok", "invalid", "refused", "late", "failed", "gone"),
    rows=NUMBERS,
    duration=STAGES,
    queue=STAGES,
    predict=STAGES,
    waiting_requests=NUMBERS,
    capacity_per_s=NUMBERS,
    overloaded_since=INSTANTS,
    row_cost_s=NUMBERS,
    packed_row_cost_s=NUMBERS,
    is_apart=st.booleans(),
    answers=counts("stored", "stale", "live"),
    snapshot_as_of=INSTANTS,
)
STORES = st.builds(
    StoreLook,
    answered=NUMBERS,
    failed=NUMBERS,
    duration=STAGES,
    timeout_s=NUMBERS,
    away_since=INSTANTS,
)
RATES = counts("admitted", "shed", "late", "over_quota", "invalid", "failed")
LOOKS = st.builds(
    Look,
    at_s=NUMBERS,
    asked_at=st.datetimes(timezones=st.just(UTC)),
    answered_at=st.datetimes(timezones=st.just(UTC)),
    server_date=INSTANTS,
    is_ready=st.booleans(),
    models=st.lists(MODELS, max_size=2).map(tuple),
    responses=counts("200", "429", "503"),
    workers=NUMBERS,
    connections=NUMBERS,
    max_connections=NUMBERS,
    blocks=NUMBERS,
    longest_block_s=NUMBERS,
    blocked_at=INSTANTS,
    restarts=NUMBERS,
    restarted_at=INSTANTS,
    deaths=NUMBERS,
    died_at=INSTANTS,
    reloads_refused=NUMBERS,
    refused_at=INSTANTS,
    switched_at=INSTANTS,
    max_age_s=NUMBERS,
    store=STORES,
    clients=st.dictionaries(st.text(max_size=5), RATES, max_size=3),
)


@settings(max_examples=150)
@given(st.lists(LOOKS, max_size=3))
def test_whatever_the_metrics_say_there_is_a_diagnosis_in_words(looks: list[Look]) -> None:
    for finding in diagnose(looks):
        assert finding.what.endswith(".")
        assert finding.fix.endswith(".")
        assert finding.evidence
        assert all(": " in item for item in finding.evidence)
        assert finding.since is None or isinstance(finding.since, datetime)
