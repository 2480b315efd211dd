"""The outcomes of all points, as a table and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from crash_matrix.trial import Outcome

TITLES = (
    "fault",
    "operation",
    "points",
    "wrong outcomes",
    "resumed whole",
    "commit unknown",
    "failed after commit",
    "files left over",
)


@dataclasses.dataclass
class Row:
    """The points of one fault and one operation, counted.

    Attributes:
        fault: What happened.
        operation: During what.
        points: How many of them were tried.
        wrong: Those with an outcome that must not be.
        resumed: Those where the same command then gave an undisturbed run's output.
        commit_unknown: Those where the run said that its commit may not be on disk.
        failed_late: Those where the run ended with an error once it was visible and on disk.
        left_over: Those after which the staging folder has files that no one needs.
    """

    fault: str
    operation: str
    points: int = 0
    wrong: int = 0
    resumed: int = 0
    commit_unknown: int = 0
    failed_late: int = 0
    left_over: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.points += 1
        self.wrong += bool(outcome.wrong) or not outcome.reached
        self.resumed += outcome.resumed
        self.commit_unknown += outcome.commit_unknown
        self.failed_late += outcome.failed_late
        self.left_over += bool(outcome.left_over)


def rows_of(outcomes: Iterable[Outcome]) -> list[Row]:
    """Count outcomes by fault and operation, in order of appearance, and all of them last."""
    rows: dict[tuple[str, str], Row] = {}
    total = Row("all", "")
    for outcome in outcomes:
        fault, operation = str(outcome.point.fault), outcome.point.operation
        rows.setdefault((fault, operation), Row(fault, operation)).add(outcome)
        total.add(outcome)
    return [*rows.values(), total]


def as_markdown(rows: Sequence[Row]) -> str:
    """Write the table as Markdown."""
    lines = ["| " + " | ".join(TITLES) + " |", "| --- | --- |" + " ---: |" * (len(TITLES) - 2)]
    for row in rows:
        cells = [row.fault, f"`{row.operation}`" if row.operation else ""]
        counts = [row.points, row.wrong, row.resumed, row.commit_unknown, row.failed_late]
        lines.append("| " + " | ".join([*cells, *map(str, [*counts, row.left_over])]) + " |")
    return "\n".join(lines)


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Give the rows, and each point, for machines."""
    return {
        "rows": [dataclasses.asdict(row) for row in rows_of(outcomes)],
        "points": [
            dataclasses.asdict(outcome)
            | {"commit_unknown": outcome.commit_unknown, "failed_late": outcome.failed_late}
            for outcome in outcomes
        ],
    }
