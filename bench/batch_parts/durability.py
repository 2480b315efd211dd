"""What it costs that a run outlives crashes, against the same run that doesn't.

Both sides are `pipeline.py`: the same process, reader, checks, threads and writer, and the same
parts, byte for byte. The one stages them with fsync, reading back, ledger, fingerprint of the
input, manifest and commit; the other writes them to their place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from pathlib import Path

from batch import RUN_ID, BatchLab
from processes import Failed, Measured, check_ratio, in_turn, measured, show
from targets import Report, at_most

from twofold.batch.settings import BatchSettings

ROUNDS = {1_000_000: 15, 10_000_000: 5}
"""By rows: a short run is disturbed as a whole more often."""
COST = at_most(1.15)
STATISTICS = "statistics"


def run(lab: BatchLab, report: Report) -> None:
    """Measure and print."""
    report.begin("durability", "runs that outlive crashes / the same without")
    found: dict[str, list[Measured]] = {}
    counts: dict[str, int] = {}
    for size, rounds in ROUNDS.items():
        rows = lab.rows(size)
        of_size = _of_size(lab, lab.input(rows), lab.rounds(rounds))
        found |= {f"{rows:,} rows: {name}": every for name, every in of_size.items()}
        counts |= {f"{rows:,} rows: {name}": rows for name in of_size}
    show(report, found, counts)
    for size in ROUNDS:
        start = f"{lab.rows(size):,} rows"
        without = found[f"{start}: plain"]
        check_ratio(
            report, f"{start}: durable / plain", (found[f"{start}: durable"], without), COST
        )
        if bare := found.get(f"{start}: without statistics"):
            check_ratio(report, f"{start}: without statistics / plain", (bare, without), None)


def _of_size(lab: BatchLab, source: Path, rounds: int) -> dict[str, list[Measured]]:
    made: dict[str, dict[str, str]] = {}

    def run_as(mode: str, name: str, **settings: bool) -> Measured:
        with tempfile.TemporaryDirectory(dir=lab.folder) as text:
            out = Path(text) / "out"
            command = lab.pipeline(mode, source, out, **settings)
            took = measured(command, lab.folder / "pipeline.log", lab.environment)
            parts = out / RUN_ID if mode == "durable" else out
            made[name] = digests(parts)
        first = next(iter(made.values()))
        if made[name] != first:
            raise Failed(f"{name}: expected the bytes that a run commits, got other parts")
        return took

    sides = {
        "durable": lambda: run_as("durable", "durable"),
        "plain": lambda: run_as("plain", "plain"),
    }
    kinds = {field.name: field.default for field in dataclasses.fields(BatchSettings)}
    if kinds.get(STATISTICS) is True:
        bare = {STATISTICS: False}
        sides["without statistics"] = lambda: run_as("durable", "without statistics", **bare)
    return in_turn(sides, rounds)


def digests(folder: Path) -> dict[str, str]:
    """The part files of a folder, and what binds their bytes."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("part-*.parquet")):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
