"""The settings that go with advice are read by twofold itself."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from lab_cases import CASES, FINDINGS, NEEDS, Case, needs
from lab_typical import TYPICAL

from twofold.app.settings import Settings, read
from twofold.lab.advice import advise
from twofold.lab.costs import Mode
from twofold.lab.findings import Findings
from twofold.lab.needs import Features, Needs
from twofold.lab.settings_file import INPUT, KEY, STORE, settings_text

LONG = "a-name.that-is_as-long-as-a-name-may-be-and-then-some"


def written(found: Needs, findings: Findings = TYPICAL, model: str = "churn") -> Settings:
    """The settings as a command in that folder has them."""
    text = settings_text(advise(found, findings), found, model)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "twofold.toml").write_text(text, encoding="utf-8")
        return read(folder=Path(folder), environment={})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_has_a_server_where_one_is_kept_and_a_schedule_where_runs_are(case: Case) -> None:
    found = written(case.needs, case.findings)
    cost = advise(case.needs, case.findings).cost
    assert len(found.schedules) == (case.mode is not Mode.REAL_TIME)
    if cost.servers is not None:
        assert found.serve.workers == min(cost.servers.workers_per_machine, 256)
        assert found.serve.deadline_s == (case.needs.slo_s or 1.0)
    if cost.timetable is not None:
        assert found.schedules[0].cron == cost.timetable.cron
        assert found.schedules[0].model == "churn"
        assert found.batch.engine == ("ray" if cost.timetable.machines > 1 else "local")


def test_hybrid_publishes_and_answers_within_the_age_it_keeps() -> None:
    found = written(needs(features=Features.PARTLY))
    (schedule,) = found.schedules
    assert schedule.publish
    assert schedule.with_features
    assert schedule.key == KEY
    assert found.answers.max_age_s == 86_462
    assert found.answers.on_other_version == "live"


def test_features_are_published_only_where_some_change() -> None:
    (schedule,) = written(needs()).schedules
    assert schedule.publish
    assert not schedule.with_features


def test_a_table_of_what_came_with_requests_is_not_published() -> None:
    (schedule,) = written(needs(features=Features.WITH_REQUEST, wants_all=True)).schedules
    assert not schedule.publish
    assert schedule.key == ""


def test_several_machines_read_from_a_store_they_share() -> None:
    assert written(needs(machines_at_least=2)).general.store == STORE
    assert written(needs()).general.store == "store"


def test_what_is_to_be_filled_in_stands_out() -> None:
    text = settings_text(advise(needs(), TYPICAL), needs(), "churn")
    for place in (INPUT, KEY):
        (line,) = (line for line in text.splitlines() if place in line)
        assert "replace it" in line


def test_the_longest_name_of_a_model_still_names_a_schedule() -> None:
    for age_s in (150.0, 800.0, 86_400.0):
        (schedule,) = written(needs(slo_s=None, max_age_s=age_s), model=LONG).schedules
        assert schedule.name.startswith(LONG[:20])


@pytest.mark.parametrize("slo_s", [0.001, 0.0025, 1.0, 1.999999999999993, 1 / 3, 60.0])
def test_a_latency_is_the_deadline_to_the_last_digit(slo_s: float) -> None:
    assert written(needs(slo_s=slo_s)).serve.deadline_s == slo_s


def test_a_latency_below_the_least_deadline_is_rounded_up_to_it() -> None:
    assert written(needs(slo_s=0.0002)).serve.deadline_s == 0.001


@settings(max_examples=25, deadline=None)
@given(NEEDS, FINDINGS)
def test_it_is_read_without_an_error_whatever_was_advised(found: Needs, findings: Findings) -> None:
    assert written(found, findings) is not None
    assert tomllib.loads(settings_text(advise(found, findings), found, "churn")) is not None
