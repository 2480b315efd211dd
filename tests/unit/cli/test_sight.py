"""What the command line shows of a run's statistics: warnings to people, all of it to machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

RUN = ("batch", "run", "price", "rows.parquet", "--output", "out", "--run-id", "night")
MOVED = ("batch", "run", "price", "moved.parquet", "--output", "out", "--run-id", "moved")


@pytest.fixture
def moved(cli: Any) -> None:
    """Rows with numbers far from those of the sample, in `moved.parquet`."""
    count = 2000
    table = pa.table(
        {
            "id": pa.array(range(count)),
            "x": pa.array([500.0 + at for at in range(count)]),
            "s": pa.array(["new"] * count),
        }
    )
    pq.write_table(table, "moved.parquet")


def test_a_run_like_its_sample_ends_quietly(cli: Any) -> None:
    assert "warning" not in cli(*RUN).stderr


def test_drift_is_warned_of_without_failing_the_run_and_is_in_the_json(
    cli: Any, moved: None
) -> None:
    result = cli(*MOVED)
    assert "warning: x: expected a drift of at most 0.2" in result.stderr
    assert "max_unseen_ratio" in result.stderr
    assert "PSI" in result.stderr
    assert result.stdout == "out/moved\n"
    statistics = cli.json(*MOVED)["manifest"]["statistics"]
    assert any(warning.startswith("x: ") for warning in statistics["warnings"])
    assert {item["name"] for item in statistics["fields"]} == {"x", "s"}


def test_limits_and_the_switch_are_flags(cli: Any, moved: None) -> None:
    limits = ("--max-psi", "1000", "--max-unseen-ratio", "1")
    assert "warning" not in cli(*MOVED, *limits).stderr
    off = cli.json(*RUN, "--statistics", "false")
    assert off["manifest"]["statistics"] is None


def test_status_shows_the_columns_of_a_committed_run(cli: Any, moved: None) -> None:
    cli(*MOVED)
    shown = cli("batch", "status", "moved", "--output", "out").stdout
    assert "by chance" in shown
    assert "prediction" in shown
    assert "warning: x: " in shown


def test_a_report_is_written_after_a_run_and_later_from_the_manifest_alone(cli: Any) -> None:
    cli(*RUN, "--html", "page.html")
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    Path("rows.parquet").unlink()
    said = cli.said("batch", "report", "night", "--output", "out", "--html", "later.html")
    assert said == "report: later.html"
    assert Path("later.html").read_text(encoding="utf-8") == page
    assert sorted(path.name for path in Path().glob("*page*")) == ["page.html"]


def test_a_place_that_cannot_be_is_refused_before_the_run(cli: Any) -> None:
    said = cli.said(*RUN, "--html", "nowhere/page.html", code=2)
    assert "nowhere is no folder" in said
    assert not Path("out").exists()


def test_a_run_that_is_not_committed_has_no_report(cli: Any) -> None:
    cli(*RUN)
    said = cli.said("batch", "report", "day", "--output", "out", "--html", "x.html", code=1)
    assert "expected a run day" in said
