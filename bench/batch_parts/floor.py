"""How near a run is to the least that reading, predicting and writing could take.

The floor: one process reads all rows, predicts them and writes them, one thing after the other,
with the reader, the kernel and the writer of a run and nothing else. The CPU seconds of the three,
spread over all cores without a gap, are the least time; but reading is one thread's work, and so
is writing, so it can't be less than the longer of these takes alone. The run it is held against is
a whole process, so it has start-up, checks of every value and all of durability on top.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from batch import BatchLab
from processes import Failed, Measured, best_s, in_turn, measured, show
from serving import all_cores
from targets import Report, at_most

ROWS, ROUNDS = 10_000_000, 3
NEAR = at_most(1.3)

Stages = dict[str, dict[str, float]]
"""Wall and CPU seconds of reading, predicting and writing."""


def run(lab: BatchLab, report: Report) -> None:
    """Measure and print."""
    rows = lab.rows(ROWS)
    report.begin("floor", f"{rows:,} rows, against read, predict and write, ideally overlapped")
    source = lab.input(rows)
    stages: list[Stages] = []

    def apart() -> Measured:
        log = lab.folder / "apart.log"
        with tempfile.TemporaryDirectory(dir=lab.folder) as out:
            command = lab.pipeline("apart", source, Path(out) / "parts")
            found = measured(command, log, lab.environment)
        stages.append(_said(log))
        return found

    found = in_turn({"twofold": lambda: lab.run(source), "apart": apart}, lab.rounds(ROUNDS))
    show(report, found, dict.fromkeys(found, rows))
    cores = len(all_cores())
    best = min(stages, key=lambda one: floor_s(one, cores))
    cells = [[name, f"{one['wall_s']:.2f}", f"{one['cpu_s']:.2f}"] for name, one in best.items()]
    report.table(["apart", "s", "CPU s"], cells)
    report.keep("stages", stages)
    least_s = floor_s(best, cores)
    note = f"  floor {least_s:.2f} s on {cores} cores"
    report.check(
        "twofold / floor, quickest of each", best_s(found["twofold"]) / least_s, NEAR, note
    )


def floor_s(stages: Stages, cores: int) -> float:
    """The least seconds in which these stages can be done at once."""
    spread_s = sum(one["cpu_s"] for one in stages.values()) / cores
    return max(spread_s, stages["read"]["wall_s"], stages["write"]["wall_s"])


def _said(log: Path) -> Any:
    text = log.read_text(encoding="utf-8")
    try:
        return json.loads(text.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise Failed(f"expected what each stage took, got {text[-500:]!r}") from error
