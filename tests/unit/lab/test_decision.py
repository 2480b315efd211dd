"""Which mode is recommended."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from lab_cases import CASES, FINDINGS, NEEDS, Case, needs
from lab_typical import TYPICAL

from twofold.lab.costs import Mode, is_published
from twofold.lab.decision import NEGLIGIBLE_CORE_S, WORTH, decide, is_worth_it, mode_for
from twofold.lab.findings import Findings
from twofold.lab.needs import DAY_S, Features, Needs
from twofold.lab.timetable import GRACE_RATIO


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_textbook_cases_come_out_right(case: Case) -> None:
    assert decide(case.needs, case.findings).mode is case.mode


def test_a_nightly_table_too_large_for_one_machine_is_made_by_several() -> None:
    (case,) = (case for case in CASES if case.name.startswith("a hundred million rows"))
    cost = decide(case.needs, case.findings).chosen.cost
    assert cost is not None
    assert cost.timetable is not None
    assert cost.timetable.words == "every night"
    assert cost.timetable.machines > 1


# The table of the module, a line each: who waits, features, all wanted, age, what to use.
TABLE = [
    (None, Features.KNOWN, False, 1.0, Mode.REAL_TIME),
    (None, Features.KNOWN, True, 1.0, Mode.REAL_TIME),
    (None, Features.WITH_REQUEST, True, DAY_S, Mode.BATCH),
    (None, Features.KNOWN, False, DAY_S, Mode.BATCH),
    (0.05, Features.WITH_REQUEST, False, DAY_S, Mode.REAL_TIME),
    (0.05, Features.WITH_REQUEST, False, 0.0, Mode.REAL_TIME),
    (0.05, Features.WITH_REQUEST, True, 0.0, Mode.REAL_TIME),
    (0.05, Features.WITH_REQUEST, True, DAY_S, Mode.HYBRID),
    (0.05, Features.KNOWN, True, 1.0, Mode.REAL_TIME),
    (0.05, Features.PARTLY, False, 1.0, Mode.REAL_TIME),
    (0.05, Features.PARTLY, True, DAY_S, Mode.HYBRID),
    (0.05, Features.KNOWN, False, DAY_S, Mode.HYBRID),
]


@pytest.mark.parametrize(("slo_s", "features", "wants_all", "age_s", "mode"), TABLE)
def test_the_table_holds(
    slo_s: float | None, features: Features, wants_all: bool, age_s: float, mode: Mode
) -> None:
    asked = needs(slo_s=slo_s, features=features, wants_all=wants_all, max_age_s=age_s)
    assert decide(asked, TYPICAL).mode is mode


def test_runs_that_take_more_than_a_server_make_way_for_it() -> None:
    asked = needs(slo_s=None, rows_per_day=1_000_000_000, asked_ratio=1e-6, peak_per_s=1.0)
    assert decide(asked, TYPICAL).mode is Mode.BATCH
    young = decide(dataclasses.replace(asked, max_age_s=900.0), TYPICAL)
    runs = young.options[Mode.BATCH].cost
    assert runs is not None, "possible, only dear"
    assert runs.kept_core_s > DAY_S
    assert young.mode is Mode.REAL_TIME
    # The whole table takes runs, whatever they cost.
    table = dataclasses.replace(asked, max_age_s=900.0, wants_all=True)
    assert decide(table, TYPICAL).mode is Mode.BATCH


def test_hybrid_is_worth_twice_the_work_or_little_more() -> None:
    assert is_worth_it(WORTH * 1_000.0, 1_000.0)
    assert not is_worth_it(WORTH * 1_000.0 + 1.0, 1_000.0)
    assert is_worth_it(NEGLIGIBLE_CORE_S, 0.0)
    assert not is_worth_it(NEGLIGIBLE_CORE_S + 1.0, 0.0)


def test_reasons_and_rejections_name_the_deciding_numbers() -> None:
    found = decide(needs(asked_ratio=0.01, features=Features.PARTLY), TYPICAL)
    assert "1,000,000 rows" in found.reasons[0]
    assert "every night" in found.reasons[0]
    assert set(found.rejected) == {Mode.BATCH, Mode.REAL_TIME}
    assert "50 ms" in found.rejected[Mode.BATCH]
    strict = decide(needs(max_age_s=30.0), TYPICAL)
    assert "30 s" in strict.reasons[0]
    assert "no less than 110 s" in strict.rejected[Mode.HYBRID]


@given(NEEDS, FINDINGS)
def test_what_is_recommended_is_possible_whatever_is_needed(
    found: Needs, findings: Findings
) -> None:
    decision = decide(found, findings)
    chosen = decision.chosen
    assert chosen.cost is not None
    assert decision.mode is mode_for(found, findings)
    assert decision.reasons
    assert all(decision.reasons)
    assert set(decision.rejected) == set(Mode) - {decision.mode}
    if decision.mode is Mode.BATCH:
        assert not found.is_waited_for
    if found.is_waited_for and found.features is Features.WITH_REQUEST:
        assert not is_published(decision.mode, found)
    if chosen.cost.timetable is not None:
        assert chosen.cost.timetable.max_age_s <= (1 + GRACE_RATIO) * found.max_age_s + 1.0


@given(NEEDS, FINDINGS)
def test_who_is_not_quick_enough_is_recommended_only_where_nothing_else_is(
    found: Needs, findings: Findings
) -> None:
    decision = decide(found, findings)
    if decision.chosen.meets_slo or found.wants_all or not found.is_waited_for:
        return
    others = [option for option in decision.options.values() if option.cost is not None]
    if found.features is Features.WITH_REQUEST:
        others = [option for option in others if option.mode is Mode.REAL_TIME]
    assert not any(option.meets_slo for option in others)
