"""How soon a committed run of a million keys is what is read: verified, and switched to."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from batch import KEY, RUN_ID
from processes import Measured, best_s, in_turn, measured
from snapshots import SnapshotLab
from targets import Report, at_most

KEYS, ROUNDS = 1_000_000, 5
EMBEDDED = at_most(2.0, "s")


def run(lab: SnapshotLab, report: Report) -> None:
    """Measure and print."""
    keys = lab.keys(KEYS)
    report.begin("publish", f"`twofold snapshot publish` of {keys:,} keys, as a whole process")
    batch = lab.batch
    with tempfile.TemporaryDirectory(dir=lab.folder) as runs:
        command = [sys.executable, "-m", "twofold", "batch", "run", "churn", str(batch.input(keys))]
        command += ["--output", runs, "--key", KEY, "--run-id", RUN_ID, "--json"]
        batch.prepare()
        command += ["--registry", str(batch.registry)]
        measured(command, lab.folder / "run.log", batch.environment)
        found = in_turn({"embedded": lambda: _published(lab, runs)}, batch.rounds(ROUNDS))
    every = found["embedded"]
    note = f"  {max(one.wall_s for one in every):.2f} s at worst; CPU {every[0].cpu_s:.2f} s"
    report.check("seconds into a folder, best", best_s(every), EMBEDDED, note)
    report.check("peak memory, MB", max(one.memory_mb for one in every), None)


def _published(lab: SnapshotLab, runs: str) -> Measured:
    with tempfile.TemporaryDirectory(dir=lab.folder) as store:
        command = [sys.executable, "-m", "twofold", "snapshot", "publish", str(Path(runs) / RUN_ID)]
        command += ["--store", store, "--json"]
        return measured(command, lab.folder / "publish.log", lab.environment)
