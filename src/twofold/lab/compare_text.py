"""A comparison as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from twofold.lab.compare_costs import Derived
from twofold.lab.compare_tables import (
    CAVEATS,
    Table,
    batch_sizes,
    batch_split,
    break_evens,
    facts,
    freshness,
    latencies,
    loads,
    overhead,
    side_by_side,
    summary,
)
from twofold.lab.findings import Findings


def render_text(found: Findings, derived: Derived) -> str:
    """Write the report of a comparison as Markdown."""
    parts = [f"# {_escaped(found.model)}@{found.version}: batch, real-time, hybrid"]
    parts.append(" ".join(summary(found, derived)))
    tables = [
        side_by_side(found, derived),
        latencies(found),
        batch_split(found),
        batch_sizes(found),
        overhead(found),
        loads(found),
        freshness(derived),
        break_evens(derived),
        facts(found),
    ]
    parts += [markdown_of(table) for table in tables if table.rows]
    listed = "\n".join(f"- {line}" for line in (*found.notes, *CAVEATS))
    parts.append(f"## What to keep in mind\n\n{listed}")
    return "\n\n".join(parts) + "\n"


def markdown_of(table: Table) -> str:
    """Write one table, with its title and its note."""
    lines = [
        _line(table.heads),
        _line(["---", *(["---:"] * (len(table.heads) - 1))]),
        *(_line(row) for row in table.rows),
    ]
    note = f"\n\n{table.note}" if table.note else ""
    return f"## {table.title}\n\n" + "\n".join(lines) + note


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _escaped(text: str) -> str:
    """Text that may have anything in it, within a cell of a table."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())
