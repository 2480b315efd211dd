"""The gates that a snapshot passes before it is switched to."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from published import AS_OF, snapshot_of

from twofold.hybrid.gates import Candidate, pass_gates
from twofold.hybrid.settings import SnapshotSettings
from twofold.stores.snapshot import GateResult, Pointer, rolled_back

LIMITS = SnapshotSettings(min_rows_ratio=0.9, max_quarantined_ratio=0.05, max_prediction_psi=0.25)
GOOD = Candidate(
    run="run-9",
    as_of=AS_OF,
    rows=1_000,
    rows_in=1_000,
    rows_quarantined=0,
    drifts=[("prediction", 0.1, 0.01)],
)
ONE_BEFORE = Pointer(switches=1, current=snapshot_of(1, rows=1_000))


def gates(
    pointer: Pointer = ONE_BEFORE, limits: SnapshotSettings = LIMITS, **changed: Any
) -> dict[str, GateResult]:
    found = pass_gates(dataclasses.replace(GOOD, **changed), pointer, limits)
    return {gate.gate: gate for gate in found}


def shut(pointer: Pointer = ONE_BEFORE, **changed: Any) -> list[str]:
    return [name for name, gate in gates(pointer, **changed).items() if not gate.passed]


def test_a_good_one_passes_all_and_each_says_what_it_expected_and_saw() -> None:
    found = gates()
    assert [(gate.gate, gate.limit, gate.got, gate.passed) for gate in found.values()] == [
        ("max_quarantined_ratio", "at most 5.00% of the rows in quarantine", "0.00%", True),
        ("min_rows_ratio", "at least 0.9 of the 1,000 keys before", "1,000", True),
        ("max_prediction_psi", "a drift of prediction of at most 0.25", "a PSI of 0.1", True),
        ("as_of", "an as_of not before 2026-01-31T02:00:00+00:00", AS_OF.isoformat(), True),
    ]


def test_the_first_snapshot_is_compared_with_none() -> None:
    bad = {"rows": 0, "as_of": AS_OF - timedelta(days=9), "drifts": [("prediction", 9.0, 0.0)]}
    assert [*gates(Pointer(), **bad)] == ["max_quarantined_ratio"]
    assert shut(Pointer(), **bad) == []
    assert shut(Pointer(), rows_quarantined=51) == ["max_quarantined_ratio"]


@pytest.mark.parametrize(
    ("gate", "good", "bad"),
    [
        ("max_quarantined_ratio", {"rows_quarantined": 50}, {"rows_quarantined": 51}),
        ("min_rows_ratio", {"rows": 900}, {"rows": 899}),
        ("min_rows_ratio", {"rows": 10**9}, {"rows": 0}),
        (
            "max_prediction_psi",
            {"drifts": [("prediction", 0.25, 0.0)]},
            {"drifts": [("prediction", 0.2501, 0.0)]},
        ),
        ("as_of", {"as_of": AS_OF}, {"as_of": AS_OF - timedelta(microseconds=1)}),
        ("as_of", {"as_of": AS_OF + timedelta(days=1)}, {"as_of": AS_OF - timedelta(days=1)}),
    ],
)
def test_each_gate_is_shut_just_beyond_its_limit_and_no_other_with_it(
    gate: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    assert shut(**good) == []
    assert shut(**bad) == [gate]


def test_a_run_without_rows_has_none_in_quarantine() -> None:
    assert gates(rows=0, rows_in=0)["max_quarantined_ratio"].passed


def test_a_drift_that_chance_explains_is_none() -> None:
    assert shut(drifts=[("prediction", 0.4, 0.5)]) == []
    assert shut(drifts=[("prediction", 0.6, 0.5)]) == ["max_prediction_psi"]


def test_of_several_outputs_each_is_looked_at() -> None:
    drifts = [("yes", 0.1, 0.0), ("no", 0.9, 0.0), ("perhaps", 0.8, 0.0)]
    found = pass_gates(dataclasses.replace(GOOD, drifts=drifts), ONE_BEFORE, LIMITS)
    assert [(gate.limit, gate.passed) for gate in found if gate.gate == "max_prediction_psi"] == [
        ("a drift of yes of at most 0.25", True),
        ("a drift of no of at most 0.25", False),
        ("a drift of perhaps of at most 0.25", False),
    ]


def test_the_run_that_was_rolled_back_does_not_come_again_by_itself() -> None:
    two = Pointer(
        switches=2, current=snapshot_of(2, run="run-9"), previous=snapshot_of(1, rows=1_000)
    )
    back = rolled_back(two, "churn")
    assert gates(back)["rolled_back"] == GateResult(
        gate="rolled_back",
        limit="another run than the one that was rolled back",
        got="that run",
        passed=False,
    )
    assert gates(back, run="run-10")["rolled_back"].passed
    assert "rolled_back" not in gates(two)


def test_every_limit_can_be_set_so_that_nothing_is_shut() -> None:
    wide = SnapshotSettings(
        min_rows_ratio=0.0, max_quarantined_ratio=1.0, max_prediction_psi=1_000.0
    )
    bad = {"rows": 0, "rows_quarantined": 1_000, "drifts": [("prediction", 99.0, 0.0)]}
    assert all(gate.passed for gate in gates(limits=wide, **bad).values())
