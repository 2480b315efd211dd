"""A comparison as Markdown."""

from __future__ import annotations

import msgspec
from found import FOUND

from twofold.lab.compare_costs import Assumed, derive
from twofold.lab.compare_tables import Table
from twofold.lab.compare_text import markdown_of, render_text

DERIVED = derive(FOUND, Assumed())


def test_every_table_has_its_heading_and_what_to_keep_in_mind_comes_last() -> None:
    found = msgspec.structs.replace(FOUND, notes=("No native load generator here.",))
    text = render_text(found, DERIVED)
    assert text.startswith("# churn@3: batch, real-time, hybrid\n\nIn batch, 7,043 rows")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[0] == "## Side by side"
    assert headings[-1] == "## What to keep in mind"
    assert "- No native load generator here.\n" in text


def test_signs_of_tables_in_names_stay_within_their_cell() -> None:
    text = markdown_of(Table("title", ("a", "b"), [("x | y", "line\nend\\")]))
    assert text.splitlines()[-1] == "| x \\| y | line end\\\\ |"
