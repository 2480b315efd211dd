"""The figures that stand in for a measurement."""

from __future__ import annotations

import msgspec

from twofold.lab.findings import Findings
from twofold.lab.sizing import live_capacity, stored_capacity
from twofold.lab.typical import TYPICAL
from twofold.model.names import is_name


def test_they_are_findings_like_those_that_a_comparison_writes() -> None:
    assert msgspec.json.decode(msgspec.json.encode(TYPICAL), type=Findings) == TYPICAL


def test_they_fit_together() -> None:
    levels = TYPICAL.real_time.levels
    assert [level.offered_per_s for level in levels] == sorted(
        level.offered_per_s for level in levels
    )
    assert live_capacity(TYPICAL.real_time, None).meets_slo
    assert stored_capacity(TYPICAL, None).meets_slo
    assert TYPICAL.batch.start_s < TYPICAL.batch.wall_s
    assert is_name(TYPICAL.model)
