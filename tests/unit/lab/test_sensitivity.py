"""What would change a decision."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from lab_cases import CASES, FINDINGS, NEEDS, Case, needs
from lab_typical import TYPICAL

from twofold.lab.costs import Mode
from twofold.lab.decision import mode_for
from twofold.lab.findings import Findings
from twofold.lab.needs import Features, Needs
from twofold.lab.sensitivity import RANGES, changes_of


def old_or_young(found: Needs) -> Mode:
    return Mode.BATCH if found.max_age_s >= 1_234.5 else Mode.REAL_TIME


@pytest.mark.parametrize(("age_s", "value"), [(86_400.0, 1_200.0), (10.0, 1_300.0)])
def test_the_nearest_change_is_found_and_rounded_away(age_s: float, value: float) -> None:
    (change,) = changes_of(needs(max_age_s=age_s), old_or_young)
    assert change.needs == {"max_age_s": value}
    assert change.mode is old_or_young(needs(max_age_s=value))


def test_a_change_may_lie_in_both_directions() -> None:
    def by_peak(found: Needs) -> Mode:
        return Mode.HYBRID if 10.0 <= found.peak_per_s < 100.0 else Mode.REAL_TIME

    changes = changes_of(needs(peak_per_s=20.0), by_peak)
    assert [change.needs["peak_per_s"] for change in changes] == [9.9, 100.0]
    assert "or fewer" in changes[0].words
    assert "or more" in changes[1].words


def test_what_no_need_changes_alone_may_change_in_a_pair() -> None:
    def by_both(found: Needs) -> Mode:
        is_calm = found.slo_s is None and found.max_age_s >= 3_600.0
        return Mode.BATCH if is_calm else Mode.REAL_TIME

    (change,) = changes_of(needs(max_age_s=0.0), by_both)
    assert change.needs == {"slo_s": None, "max_age_s": 3_600.0}
    assert change.words == "if nobody waited for an answer and predictions may be 1 h old"


def test_nothing_is_said_where_nothing_changes() -> None:
    assert changes_of(needs(), lambda _: Mode.BATCH) == []


def test_every_flag_is_turned() -> None:
    def by_flags(found: Needs) -> Mode:
        is_same = found.features is Features.KNOWN and found.slo_s and not found.wants_all
        return Mode.HYBRID if is_same else Mode.BATCH

    changes = changes_of(needs(), by_flags)
    assert [change.needs for change in changes] == [
        {"slo_s": None},
        {"features": Features.PARTLY},
        {"features": Features.WITH_REQUEST},
        {"wants_all": True},
    ]


def check(found: Needs, findings: Findings) -> None:
    """Each claim: what it says leads to the mode it says, and one step back doesn't."""
    now = mode_for(found, findings)
    for change in changes_of(found, lambda other: mode_for(other, findings)):
        changed = dataclasses.replace(found, **change.needs)
        assert mode_for(changed, findings) is change.mode
        assert change.mode is not now
        assert 1 <= len(change.needs) <= 2
        for name, value in change.needs.items():
            if name in RANGES and isinstance(value, float):
                assert RANGES[name][0] <= value <= RANGES[name][1] or name == "slo_s"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_claims_about_textbook_cases_are_true(case: Case) -> None:
    check(case.needs, case.findings)


@settings(max_examples=25, deadline=None)
@given(NEEDS, FINDINGS)
def test_claims_are_true_whatever_is_needed_and_was_found(found: Needs, findings: Findings) -> None:
    check(found, findings)


def test_fraud_has_no_single_change_but_some_in_pairs() -> None:
    case = CASES[0]
    changes = changes_of(case.needs, lambda other: mode_for(other, TYPICAL))
    assert {change.mode for change in changes} == {Mode.BATCH, Mode.HYBRID}
    assert all(len(change.needs) == 2 for change in changes)
