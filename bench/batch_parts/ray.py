"""The same runs on Ray against this process's own threads, start-up apart."""

from __future__ import annotations

import subprocess
import sys

from batch import BatchLab
from processes import best_s, in_turn, show
from targets import Report, at_least

SIZES, ROUNDS = (100_000, 10_000_000), 2
HALF = at_least(0.5)
NAME = "rows/s beyond start-up, ray / local"


def run(lab: BatchLab, report: Report) -> None:
    """Measure and print."""
    report.begin("ray", "--engine ray against --engine local")
    command = [sys.executable, "-m", "twofold", "batch", "run", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "--engine" not in said or "ray" not in said:
        report.check(NAME, None, HALF, "  `twofold batch run` has no --engine ray")
        return
    few, many = map(lab.rows, SIZES)
    sources = {few: lab.input(few), many: lab.input(many)}
    sides = {
        f"{engine}, {rows:,} rows": lambda at=source, engine=engine: lab.run(
            at, "--engine", engine, tree=True
        )
        for engine in ("local", "ray")
        for rows, source in sources.items()
    }
    found = in_turn(sides, lab.rounds(ROUNDS))
    show(report, found, dict(zip(sides, (few, many) * 2, strict=True)))
    rates = {
        engine: (many - few)
        / (best_s(found[f"{engine}, {many:,} rows"]) - best_s(found[f"{engine}, {few:,} rows"]))
        for engine in ("local", "ray")
    }
    note = f"  {rates['ray']:,.0f} and {rates['local']:,.0f}"
    report.check(NAME, rates["ray"] / rates["local"], HALF, note)
