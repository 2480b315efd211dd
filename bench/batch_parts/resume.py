"""What a kill costs: a run killed at 90 % of its rows and resumed, against an undisturbed one."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from batch import RUN_ID, BatchLab
from batch_parts.durability import digests
from processes import Failed, Measured, Running, check_ratio, in_turn, measured, show
from targets import Report, at_most

from twofold.batch.settings import BatchSettings
from twofold.batch.stage import read_ledger, staging_folder

ROWS, ROUNDS = 10_000_000, 3
KILLED_AT = 0.9
COST = at_most(1.2)
POLL_S = 0.005


def run(lab: BatchLab, report: Report) -> None:
    """Measure and print."""
    rows = lab.rows(ROWS)
    report.begin("resume", f"{rows:,} rows: killed at {KILLED_AT:.0%} and resumed / undisturbed")
    source = lab.input(rows)
    # As many partitions as of the standard rows.
    partition_rows = lab.rows(BatchSettings().partition_rows)
    out = lab.folder / "killed"
    command = lab.pipeline("durable", source, out, partition_rows=partition_rows)
    log = lab.folder / "resume.log"
    resumed: list[int] = []
    undisturbed: dict[str, str] = {}

    def whole() -> Measured:
        shutil.rmtree(out, ignore_errors=True)
        took = measured(command, log, lab.environment)
        undisturbed.update(digests(out / RUN_ID))
        return took

    def killed() -> Measured:
        shutil.rmtree(out, ignore_errors=True)
        with Running(command, log, lab.environment) as running:
            _wait_for(out, int(rows * KILLED_AT), running)
            running.kill()
            first = running.end()
        if first.code >= 0:
            raise Failed(f"expected a run to kill, got one that ended: {running.tail()}")
        second = measured(command, log, lab.environment)
        said = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
        resumed.append(said["rows_resumed"])
        if digests(out / RUN_ID) != undisturbed:
            raise Failed("expected the bytes of the undisturbed run, got others")
        return Measured(
            first.wall_s + second.wall_s,
            # Of the killed attempt, too: the system counts for the dead as well.
            first.cpu_s + second.cpu_s,
            max(first.memory_mb, second.memory_mb),
        )

    found = in_turn({"undisturbed": whole, "killed, resumed": killed}, lab.rounds(ROUNDS))
    shutil.rmtree(out)
    show(report, found, dict.fromkeys(found, rows))
    both = (found["killed, resumed"], found["undisturbed"])
    check_ratio(report, "killed and resumed / undisturbed, equal bytes", both, COST)
    report.check("share of the rows that weren't done again, least", min(resumed) / rows, None)


def _wait_for(out: Path, rows: int, running: Running) -> None:
    """Wait until so many rows are finished by the ledger."""
    folder = staging_folder(out, RUN_ID)
    while sum(entry.rows_in for entry in read_ledger(folder).finished) < rows:
        if running.is_over:
            return
        time.sleep(POLL_S)
