"""Advice: the decision and what goes with it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from lab_cases import CASES, FINDINGS, NEEDS, Case, needs, slower
from lab_typical import TYPICAL

from twofold.lab.advice import advise
from twofold.lab.costs import Mode
from twofold.lab.findings import Findings
from twofold.lab.needs import DAY_S, Features, Needs
from twofold.lab.settings_file import settings_text

MEASURED = msgspec.structs.replace(TYPICAL, model="churn")


def warned(found: Needs, findings: Findings = MEASURED) -> str:
    return " ".join(advise(found, findings).warnings)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_has_all_that_the_mode_needs(case: Case) -> None:
    found = advise(case.needs, case.findings)
    assert found.mode is case.mode
    assert (found.cost.servers is None) == (found.mode is Mode.BATCH)
    assert (found.cost.timetable is None) == (found.mode is Mode.REAL_TIME)
    if found.cost.timetable is not None:
        when = found.cost.timetable
        assert when.period_s + when.run_s < found.max_age_s <= when.period_s + when.run_s + 61


def test_stored_answers_are_fresh_for_a_period_a_late_start_and_a_run() -> None:
    found = advise(needs(), MEASURED)
    assert found.answers_max_age_s == found.max_age_s == DAY_S + 62
    other = needs(features=Features.WITH_REQUEST, wants_all=True)
    assert advise(other, MEASURED).answers_max_age_s is None


def test_without_a_measurement_it_says_whose_figures_they_are() -> None:
    found = advise(needs(), TYPICAL, is_measured=False)
    assert not found.is_measured
    assert "200 trees" in found.warnings[0]
    assert "twofold lab compare" in found.warnings[0]
    assert advise(needs(), MEASURED).is_measured
    assert advise(needs(), MEASURED).warnings == ()


@pytest.mark.parametrize(
    ("found", "findings", "words"),
    [
        (needs(), msgspec.structs.replace(MEASURED, is_quick=True), "--quick"),
        (needs(rows_per_day=50_000_000), MEASURED, "far more"),
        (needs(peak_per_s=1e6), MEASURED, "beyond the 40,000"),
        (needs(asked_ratio=1.0, peak_per_s=1.0), MEASURED, "below the mean"),
        (needs(asked_ratio=0.0, peak_per_s=0.0), MEASURED, "Nothing is ever asked for"),
        (needs(slo_s=0.000_2, features=Features.WITH_REQUEST), MEASURED, "is a guess"),
        (
            needs(slo_s=0.01, features=Features.WITH_REQUEST),
            slower(MEASURED, 1e4),
            "No rate was measured",
        ),
        (needs(slo_s=None, max_age_s=1.0, wants_all=True), MEASURED, "The whole table is wanted"),
        (
            needs(slo_s=None, rows_per_day=100_000_000, wants_all=True),
            slower(MEASURED, 200.0),
            "by Ray",
        ),
    ],
)
def test_what_is_to_be_doubted_is_said(found: Needs, findings: Findings, words: str) -> None:
    assert words in warned(found, findings)


def test_a_load_that_was_not_measured_is_not_called_beyond_it() -> None:
    alone = msgspec.structs.replace(MEASURED.real_time, levels=[], capacity_per_s=0.0)
    said = warned(
        needs(features=Features.WITH_REQUEST), msgspec.structs.replace(MEASURED, real_time=alone)
    )
    assert "the number of workers is a guess" in said
    assert "beyond" not in said


def test_whole_numbers_are_numbers_like_others() -> None:
    whole = needs(asked_ratio=1, max_age_s=300, slo_s=1, peak_per_s=1, rows_per_day=10)
    parts = needs(asked_ratio=1.0, max_age_s=300.0, slo_s=1.0, peak_per_s=1.0, rows_per_day=10)
    assert advise(whole, TYPICAL) == advise(parts, TYPICAL)
    assert settings_text(advise(whole, TYPICAL), whole, "churn") == settings_text(
        advise(parts, TYPICAL), parts, "churn"
    )


def test_too_little_memory_is_said() -> None:
    machine = msgspec.structs.replace(MEASURED.machine, memory_bytes=1_000_000)
    assert "more than the measured machine has" in warned(
        needs(), msgspec.structs.replace(MEASURED, machine=machine)
    )


@settings(max_examples=25, deadline=None)
@given(NEEDS, FINDINGS)
def test_it_advises_whatever_is_needed_and_was_found(found: Needs, findings: Findings) -> None:
    advice = advise(found, findings)
    assert msgspec.json.decode(msgspec.json.encode(advice))["mode"] == advice.mode
    assert advice == advise(found, findings)
