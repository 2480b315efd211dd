"""The figures that stand in for a measurement."""

from __future__ import annotations

import pytest
from lab_cases import CASES, Case
from lab_typical import TYPICAL

from twofold.lab.decision import decide
from twofold.lab.sizing import live_capacity, stored_capacity
from twofold.lab.typical import typical
from twofold.model.names import is_name


def test_they_were_measured_in_full_and_nothing_is_missing() -> None:
    found = typical()
    assert not found.is_quick
    assert found.notes == ()
    assert found.batch.rows == 1_000_000
    assert found.batch.scaling is not None
    assert found.real_time.levels
    assert found.hybrid.level is not None
    assert is_name(found.model)


def test_the_model_keeps_the_objective() -> None:
    assert live_capacity(typical().real_time, None).meets_slo
    assert stored_capacity(typical(), None).meets_slo


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.findings is TYPICAL], ids=lambda case: case.name
)
def test_textbook_cases_come_out_right_before_anything_was_measured(case: Case) -> None:
    assert decide(case.needs, typical()).mode is case.mode
