"""How soon a run of one row is done: what every run pays, however few its rows are."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from batch import KEY, BatchLab
from processes import Measured, best_s, in_turn, measured
from targets import Report, at_most, median

ROUNDS = 9
SHOWN = 12
DONE = at_most(0.8, "s")
MARK = "import time:"


def run(lab: BatchLab, report: Report) -> None:
    """Measure and print."""
    report.begin("start", "a run of one row, from spawn to the committed run")
    one = lab.input(1)
    log = lab.folder / "bare.log"
    sides = {
        "run": lambda: lab.run(one),
        "python": lambda: measured([sys.executable, "-c", "pass"], log, lab.environment),
        "pyarrow": lambda: measured(
            [sys.executable, "-c", "import pyarrow.parquet"], log, lab.environment
        ),
    }
    found = in_turn(sides, lab.rounds(ROUNDS))
    times = [each.wall_s for each in found["run"]]
    note = f"  {min(times):.2f} to {max(times):.2f} s; CPU {_cpu_s(found['run']):.2f} s"
    value = median(times)
    report.check("seconds of a run of one row, median", value, DONE, note)
    report.check("seconds of `python -c pass`, best", best_s(found["python"]), None)
    report.check("seconds of `import pyarrow.parquet`, best", best_s(found["pyarrow"]), None)
    imports = _imports(lab, one)
    total_s = sum(own for own, _, _ in imports) / 1e6
    report.check("seconds of its imports, slowed by -X importtime", total_s, None)
    if value is not None and not DONE.is_met(value):
        largest = sorted(imports, reverse=True)[:SHOWN]
        rows = [[name, f"{own / 1e3:.1f}", f"{every / 1e3:.1f}"] for own, every, name in largest]
        report.table(["import", "own ms", "with its own ms"], rows)


def _cpu_s(every: list[Measured]) -> float:
    return min(one.cpu_s for one in every)


def _imports(lab: BatchLab, source: Path) -> list[tuple[int, int, str]]:
    """The imports of a run: own and cumulative microseconds, and the module's name."""
    log = lab.folder / "imports.log"
    with tempfile.TemporaryDirectory(dir=lab.folder) as out:
        command = [sys.executable, "-X", "importtime", "-m", "twofold", "batch", "run", "churn"]
        command += [str(source), "--output", out, "--key", KEY, "--registry", str(lab.registry)]
        measured([*command, *lab.flags], log, lab.environment)
    lines = log.read_text(encoding="utf-8").splitlines()
    cells = [line.removeprefix(MARK).split("|") for line in lines if line.startswith(MARK)]
    return [
        (int(own), int(every), name.strip()) for own, every, name in cells if own.strip().isdigit()
    ]
