"""`twofold lab compare` without its processes: flags in, tables, JSON and files out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from found import FOUND

from twofold.app.compare import run
from twofold.lab.findings import Findings, read_findings

COMPARE = ("lab", "compare", "price", "rows.parquet")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked for; what is found is always the same."""
    requests: list[Any] = []

    def compare(request: Any, say: Callable[[str, float], None]) -> Findings:
        requests.append(request)
        say("one thing", 0.1)
        say("one thing", 0.2)
        say("another", 0.9)
        return msgspec.structs.replace(FOUND, notes=("Something wasn't measured.",))

    monkeypatch.setattr(run, "compare", compare)
    return requests


def test_flags_become_the_request(cli: Any, asked: list[Any]) -> None:
    flags = ("--slo-ms", "20", "--workers", "3", "--key", "id", "--quick", "--keep", "kept")
    cli(*COMPARE, *flags, "--registry", "elsewhere")
    [request] = asked
    assert (request.model, request.input) == ("price", "rows.parquet")
    assert (request.slo_s, request.workers, request.key) == (0.02, 3, "id")
    assert (request.is_quick, request.keep) == (True, Path("kept"))
    assert request.registry == Path("elsewhere")


def test_by_default_it_is_measured_in_full_and_nothing_is_kept(cli: Any, asked: list[Any]) -> None:
    cli(*COMPARE)
    [request] = asked
    assert (request.slo_s, request.workers, request.key) == (0.05, 0, None)
    assert (request.is_quick, request.keep) == (False, None)


def test_the_modes_are_shown_side_by_side_and_steps_are_told_once(
    cli: Any, asked: list[Any]
) -> None:
    result = cli(*COMPARE)
    for words in ("Side by side", "waiting for its partition", "network", "Break-even"):
        assert words in result.stdout
    assert result.stderr.splitlines() == [
        "one thing",
        "another",
        "note: Something wasn't measured.",
    ]


def test_the_json_is_what_advise_reads(cli: Any, asked: list[Any]) -> None:
    (cli.folder / "found.json").write_text(cli(*COMPARE, "--json").stdout, encoding="utf-8")
    assert read_findings(cli.folder / "found.json").batch == FOUND.batch


def test_reports_are_written_with_the_costs_that_were_given(cli: Any, asked: list[Any]) -> None:
    reports = ("--html", "r.html", "--markdown", "r.md")
    costs = ("--cost-per-core-hour", "0.5", "--rows-per-day", "5000", "--asked-ratio", "1")
    said = cli.said(*COMPARE, *reports, *costs)
    assert "report: r.html report: r.md" in said
    for name in ("r.html", "r.md"):
        text = (cli.folder / name).read_text(encoding="utf-8")
        assert "0.5 a core-hour" in text
        assert "5,000 rows, 100% of them asked for" in text


def test_a_place_for_a_report_that_is_none_is_refused_before_measuring(
    cli: Any, asked: list[Any]
) -> None:
    assert "none is no folder. Make it first." in cli.said(*COMPARE, "--html", "none/r", code=2)
    assert asked == []
