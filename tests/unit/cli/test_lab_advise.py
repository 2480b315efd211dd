"""`twofold lab advise`: flags in, advice out."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from lab_typical import TYPICAL

from twofold.cli.lab_advise import QUESTIONS, machines_of
from twofold.cli.root import main
from twofold.lab.costs import Mode, cost_a_day
from twofold.lab.needs import Features, Needs

FLAGS = {
    "--rows-per-day": "1000000",
    "--asked-ratio": "0.01",
    "--max-age": "24h",
    "--slo-ms": "50",
    "--peak-per-s": "20",
    "--features": "partly",
}


def called(*more: str, without: tuple[str, ...] = (), **changed: str) -> Result:
    flags = FLAGS | {"--" + name.replace("_", "-"): value for name, value in changed.items()}
    words = [word for name, value in flags.items() if name not in without for word in (name, value)]
    return CliRunner().invoke(main, ["lab", "advise", *words, *more], prog_name="twofold")


def test_the_recommendation_comes_first_then_all_that_goes_with_it() -> None:
    result = called()
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    assert lines[0] == "HYBRID"
    titles = ["Side by side", "What it takes", "What would change this", "To see to", "Assumed"]
    assert [line for line in lines if line in titles] == titles
    text = result.stdout.partition("(--toml FILE writes it)\n")[2]
    assert tomllib.loads(text)["schedule"][0]["publish"] is True


def test_all_three_modes_stand_side_by_side() -> None:
    table = called().stdout.partition("Side by side\n")[2].partition("\n\n")[0].splitlines()
    assert table[0].split() == ["batch", "real-time", "hybrid"]
    assert [line.partition("  ")[0] for line in table[1:]] == [
        "latency, p50 and p99",
        "age at most",
        "work a day, core-seconds",
        "kept a day, core-hours",
        "cost a day, at 0.04 a core-hour",
        "cost a million that are used",
        "cores that serve",
    ]


def test_as_json_it_has_everything() -> None:
    found = json.loads(called("--json").stdout)
    assert found["mode"] == "hybrid"
    assert found["schedule"] == "30 2 * * *"
    assert (found["workers"], found["machines"]) == (1, 1)
    assert found["max_age_s"] == found["answers_max_age_s"] == 86_462
    assert set(found["options"]) == {"batch", "real-time", "hybrid"}
    assert {change["mode"] for change in found["changes"]} == {"real-time", "batch"}
    assert found["needs"]["slo_s"] == 0.05
    assert not found["is_measured"]
    assert tomllib.loads(found["toml"])["answers"]["max_age_s"] == 86_462


def test_nobody_waits_needs_no_peak() -> None:
    result = called("--wants-all", "--json", without=("--peak-per-s",), slo_ms="none")
    assert json.loads(result.stdout)["mode"] == "batch"


def test_every_flag_that_is_missing_is_named_at_once() -> None:
    result = CliRunner().invoke(main, ["lab", "advise"], prog_name="twofold")
    assert result.exit_code == 2
    for flag in FLAGS:
        assert flag in result.stderr
    assert "--wants-all" not in result.stderr.replace("--no-wants-all", "")


def test_every_flag_that_is_wrong_is_named_at_once() -> None:
    result = called(rows_per_day="0", asked_ratio="7")
    assert result.exit_code == 2
    assert "rows_per_day: expected 1 to" in result.stderr
    assert "asked_ratio: expected 0 to 1, got 7" in result.stderr


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("max_age", "a day", "expected a number and its unit, got 'a day'"),
        ("slo_ms", "fast", "expected milliseconds, or none if nobody waits, got 'fast'"),
        ("slo_ms", "-5", "expected milliseconds"),
        ("slo_ms", "nan", "expected milliseconds"),
        ("features", "some", "'some' is not one of"),
        ("model", "no/name", "expected the name of a model, got 'no/name'"),
    ],
)
def test_a_value_that_is_none_is_told_with_what_is(flag: str, value: str, words: str) -> None:
    result = called(**{flag: value})
    assert result.exit_code == 2
    assert words in result.stderr


def test_findings_are_taken_and_name_the_model(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(TYPICAL, model="churn")))
    found = json.loads(called(str(path), "--json").stdout)
    assert (found["model"], found["is_measured"]) == ("churn", True)
    assert found["warnings"] == []
    assert tomllib.loads(found["toml"])["schedule"][0]["model"] == "churn"
    other = json.loads(called(str(path), "--json", model="canary").stdout)
    assert tomllib.loads(other["toml"])["schedule"][0]["model"] == "canary"


def test_what_is_no_comparison_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    path.write_text("{}", encoding="utf-8")
    result = called(str(path))
    assert result.exit_code == 1
    assert "expected findings of a comparison" in result.stderr


def test_settings_are_written_and_never_over_others(tmp_path: Path) -> None:
    path = tmp_path / "twofold.toml"
    first = called("--toml", str(path), "--json")
    assert first.exit_code == 0
    assert path.read_text(encoding="utf-8") == json.loads(first.stdout)["toml"]
    path.write_text("mine", encoding="utf-8")
    second = called("--toml", str(path))
    assert second.exit_code == 1
    assert "expected no such file yet, got one" in second.stderr
    assert path.read_text(encoding="utf-8") == "mine"


def test_the_machines_are_those_that_serve_or_share_a_run_whichever_are_more() -> None:
    needs = Needs(
        rows_per_day=1_000,
        asked_ratio=0.1,
        max_age_s=86_400.0,
        slo_s=0.05,
        peak_per_s=1.0,
        features=Features.KNOWN,
        machines_at_least=3,
    )
    costs = {mode: cost_a_day(mode, needs, TYPICAL) for mode in Mode}
    found = {mode: machines_of(cost) for mode, cost in costs.items() if cost}
    assert found == {Mode.BATCH: 1, Mode.REAL_TIME: 3, Mode.HYBRID: 3}


def test_every_need_is_asked_for_but_those_with_a_default_for_all() -> None:
    asked = {name for name, *_ in QUESTIONS}
    needs = {field.name for field in dataclasses.fields(Needs)}
    spelled = {"max_age": "max_age_s", "slo_ms": "slo_s"}
    assert {spelled.get(name, name) for name in asked} == needs - {
        "cost_per_core_hour",
        "machines_at_least",
    }
