"""Whether memory stays what it is when the input grows.

The largest input is a folder with the same file four times, as hard links: it is read four times,
and has as many rows as is said, but takes the room of one.
"""

from __future__ import annotations

from batch import BatchLab, link_times
from processes import in_turn, show
from targets import Report, at_most

LARGE, TIMES, ROUNDS = 10_000_000, 4, 2
SIZES = (LARGE // 10, LARGE)
PEAK = at_most(400, "MB")
ALIKE = at_most(1.10)


def run(lab: BatchLab, report: Report) -> None:
    """Measure and print."""
    report.begin("memory", "the most a run has in memory, by the size of its input")
    sources = {rows: lab.input(rows) for rows in map(lab.rows, SIZES)}
    once = lab.rows(LARGE)
    file = sources[once]
    sources[once * TIMES] = lab.made(
        f"times-{TIMES}", once * TIMES, lambda path: link_times(file, TIMES, path)
    )
    sides = {f"{rows:,} rows": lambda at=source: lab.run(at) for rows, source in sources.items()}
    found = in_turn(sides, lab.rounds(ROUNDS))
    show(report, found, dict(zip(sides, sources, strict=True)))
    peaks = {name: max(one.memory_mb for one in every) for name, every in found.items()}
    for name, peak_mb in peaks.items():
        report.check(f"{name}: peak memory, worst", peak_mb, PEAK)
    report.check("largest / smallest peak", max(peaks.values()) / min(peaks.values()), ALIKE)
