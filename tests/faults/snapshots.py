"""Two committed runs of one model, whose predictions tell them apart, for tests of snapshots."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from twofold.app.batch import BatchSettings, RunRequest, run_batch

sys.path.insert(0, str(Path(__file__).parents[1]))
from doubler import pack_doubler

ROWS = 4_000
RUNS = {"first": 0.0, "second": 1_000_000.0}
"""What each run adds to the amounts, which the model doubles."""


def expected(run_id: str, row: int) -> float:
    """The prediction of a row in a run."""
    return 2.0 * (row + RUNS[run_id])


def commit_runs(folder: Path, module: str, rows: int = ROWS) -> Path:
    """Commit both runs of a doubler; give the folder of the runs.

    Args:
        folder: Where everything lies; the registry is its `registry`.
        module: See `pack_doubler`.
        rows: Of each run; the key of row 17 is `c17`.
    """
    registry = pack_doubler(folder, module)
    keys = pa.array([f"c{number}" for number in range(rows)])
    for run_id, more in RUNS.items():
        path = folder / f"{run_id}.parquet"
        amounts = pa.array([number + more for number in range(rows)], pa.float64())
        pq.write_table(pa.table({"id": keys, "amount": amounts}), path)
        request = RunRequest(
            model="doubler",
            input=str(path),
            output=folder / "runs",
            registry=registry,
            key="id",
            run_id=run_id,
        )
        run_batch(request, settings=BatchSettings(workers=1, partition_rows=1_024, batch_rows=512))
    return folder / "runs"
