"""What bad rows cost: many that don't fit the signature, and one on which a model fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from batch import RUN_ID, BatchLab
from batch_parts import fragile
from contestants import SAMPLE_ROWS, field_names
from processes import Failed, best_s, check_ratio, in_turn, show
from targets import Report, at_most

import twofold
from twofold.batch.manifest import read_manifest

ROWS, ROUNDS = 1_000_000, 5
EVERY = 100
FIRST_BAD = 57
POISONED_ROW = 0.512345
"""Where the poisonous row stands, as a share of all."""
FIELD = field_names()[0]
SLOWED = at_most(1.2)
ONE_COSTS = at_most(1.0, "s")


def run(lab: BatchLab, report: Report) -> None:
    """Measure and print."""
    rows = lab.rows(ROWS)
    report.begin("bad", f"{rows:,} rows: every {EVERY}th one null; one that a model fails on")
    sample = pq.ParquetFile(lab.input(SAMPLE_ROWS)).read(columns=field_names())
    twofold.pack(
        fragile.predict, name="fragile", sample=sample, registry=lab.registry, call="batch"
    )
    good = lab.input(rows)
    dirty = lab.made("dirty.parquet", rows, lambda path: _spoil(good, path, _nulls))
    at = int(rows * POISONED_ROW)
    poisoned = lab.made(
        "poisoned.parquet", rows, lambda path: _spoil(good, path, lambda *x: _poison(at, *x))
    )
    bad_rows = len(range(FIRST_BAD, rows, EVERY))
    sides = {
        "clean": lambda: lab.run(good, look=_sets_aside(0)),
        "1 % bad": lambda: lab.run(dirty, look=_sets_aside(bad_rows)),
        "Python model, clean": lambda: lab.run(good, model="fragile", look=_sets_aside(0)),
        "Python model, poisoned": lambda: lab.run(poisoned, model="fragile", look=_sets_aside(1)),
    }
    found = in_turn(sides, lab.rounds(ROUNDS))
    show(report, found, dict.fromkeys(found, rows))
    check_ratio(report, "1 % bad rows / clean", (found["1 % bad"], found["clean"]), SLOWED)
    clean, one = found["Python model, clean"], found["Python model, poisoned"]
    each = [b.wall_s - a.wall_s for a, b in zip(clean, one, strict=True)]
    note = f"  rounds {min(each):.2f} to {max(each):.2f} s"
    report.check("one poisonous row costs", best_s(one) - best_s(clean), ONE_COSTS, note)


def _spoil(source: Path, target: Path, change: Callable[[np.ndarray, int], pa.Array]) -> None:
    """Copy a file, its first feature changed."""
    with pq.ParquetFile(source) as file, pq.ParquetWriter(target, file.schema_arrow) as writer:
        start = 0
        for group in range(file.metadata.num_row_groups):
            table = file.read_row_group(group)
            place = table.schema.get_field_index(FIELD)
            values = change(table[FIELD].to_numpy().copy(), start)
            writer.write_table(table.set_column(place, table.schema.field(place), values))
            start += table.num_rows


def _nulls(values: np.ndarray, start: int) -> pa.Array:
    return pa.array(values, mask=np.arange(start, start + len(values)) % EVERY == FIRST_BAD)


def _poison(at: int, values: np.ndarray, start: int) -> pa.Array:
    if 0 <= at - start < len(values):
        values[at - start] = fragile.POISON
    return pa.array(values)


def _sets_aside(rows: int) -> Callable[[Path], None]:
    """Check how many rows a run has set aside."""

    def look(folder: Path) -> None:
        manifest = read_manifest(folder)
        got = None if manifest is None else manifest.rows_quarantined
        if got != rows:
            raise Failed(f"{RUN_ID}: expected {rows} rows set aside, got {got}")

    return look
