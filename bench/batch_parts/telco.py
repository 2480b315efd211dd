"""A whole scikit-learn pipeline over mixed columns: the nightly script against a run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from batch import PREDICTION, BatchLab
from common import telco
from processes import Failed, Measured, check_ratio, in_turn, measured, show
from targets import Report, at_least

from twofold.demo import customers

ROWS, ROUNDS = 1_000_000, 3
QUICKER = at_least(8)
SCRIPT = Path(__file__).parents[1] / "plain_script.py"


def run(lab: BatchLab, report: Report) -> None:
    """Measure and print."""
    rows = lab.rows(ROWS)
    report.begin("telco", f"{rows:,} customers, Parquet to Parquet: the scikit-learn script")
    folder = lab.folder / "telco"
    folder.mkdir(exist_ok=True)
    _, _, model, packed = telco(folder)
    people = lab.made(
        "customers.parquet",
        rows,
        lambda path: customers.write_customers(
            path, customers.real_customers(), rows, lambda _: None
        ),
    )
    out = folder / "out.parquet"
    command = [sys.executable, str(SCRIPT), str(people), str(model), str(out)]

    def script() -> Measured:
        return measured(command, folder / "script.log", lab.environment)

    def compare(run: Path) -> None:
        theirs = pq.read_table(out, columns=[PREDICTION])[PREDICTION].to_numpy()
        parts = sorted(run.glob("part-*.parquet"))
        ours = pq.read_table(parts, columns=[PREDICTION])[PREDICTION].to_numpy()
        if len(ours) != len(theirs) or not np.array_equal(
            ours.view(np.int64), theirs.view(np.int64)
        ):
            raise Failed(f"{packed.name}: expected the script's predictions, got others")

    # The last one counts: here, too, the model is called churn.
    registry = f"--registry={folder / 'registry'}"
    sides = {
        "script": script,
        "twofold": lambda: lab.run(people, registry, key=customers.KEY, look=compare),
    }
    found = in_turn(sides, lab.rounds(ROUNDS))
    show(report, found, dict.fromkeys(found, rows))
    check_ratio(report, "script / twofold", (found["script"], found["twofold"]), QUICKER)
