"""Writing the report of a comparison to files."""

from __future__ import annotations

from pathlib import Path

import pytest
from found import FOUND

from twofold.app.compare.report import write_reports
from twofold.lab.compare_costs import Assumed, derive


def test_what_is_asked_for_is_written_and_nothing_else(tmp_path: Path) -> None:
    derived = derive(FOUND, Assumed())
    write_reports(FOUND, derived, html=None, markdown=tmp_path / "report.md")
    write_reports(FOUND, derived, html=tmp_path / "report.html", markdown=None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write_reports(FOUND, derive(FOUND, Assumed()), html=tmp_path / "report.html", markdown=None)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
