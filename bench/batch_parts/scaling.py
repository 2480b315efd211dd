"""Runs of all sizes: what starting costs, and what each row does."""

from __future__ import annotations

import numpy as np
from batch import BatchLab
from processes import best_s, in_turn, show
from targets import Report

SIZES, ROUNDS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000), 3


def run(lab: BatchLab, report: Report) -> None:
    """Measure and print."""
    report.begin("scaling", "from a thousand rows to ten million")
    sources = {rows: lab.input(rows) for rows in map(lab.rows, SIZES)}
    sides = {f"{rows:,} rows": lambda at=source: lab.run(at) for rows, source in sources.items()}
    found = in_turn(sides, lab.rounds(ROUNDS))
    show(report, found, dict(zip(sides, sources, strict=True)))
    start_s, row_s = fitted(list(sources), [best_s(every) for every in found.values()])
    report.check("start-up, fitted, seconds", start_s, None)
    report.check("a row, fitted, nanoseconds", row_s * 1e9, None)
    report.check("rows/s beyond start-up", 1 / row_s if row_s > 0 else None, None)


def fitted(rows: list[int], seconds: list[float]) -> tuple[float, float]:
    """Seconds of starting and of each row, so that the errors are small in proportion."""
    row_s, start_s = np.polyfit(rows, seconds, 1, w=1 / np.array(seconds))
    return float(start_s), float(row_s)
