"""Rows set aside, and how many may be."""

from __future__ import annotations

import pytest

from twofold.batch.quarantine import Budget, SetAside, table_of


@pytest.mark.parametrize(
    ("quarantined", "rows_total", "overdrawn"),
    [
        (0, 0, False),
        (5, 10, False),
        (6, 10, True),
        (6, None, False),
        (100, 1000, False),
        (101, 1000, True),
        (101, None, True),
    ],
)
def test_budget_is_overdrawn_beyond_the_ratio_or_the_rows(
    quarantined: int, rows_total: int | None, overdrawn: bool
) -> None:
    found = Budget(max_ratio=0.5, max_rows=100).overdrawn(quarantined, rows_total)
    assert (found is not None) == overdrawn


def test_ratio_of_zero_admits_none_and_of_one_admits_all() -> None:
    assert Budget(0.0, 100).overdrawn(1, 1_000) is not None
    assert Budget(1.0, 100).overdrawn(10, 10) is None


def test_table_holds_a_row_for_each_row_set_aside() -> None:
    rows = [SetAside(3, None, "", "the model raised"), SetAside(7, "\u00e9", "plan", "expected")]
    table = table_of(rows)
    assert table.to_pylist() == [
        {"row": 3, "key": None, "field": "", "reason": "the model raised"},
        {"row": 7, "key": "\u00e9", "field": "plan", "reason": "expected"},
    ]
    assert table_of([]).schema.equals(table.schema)
