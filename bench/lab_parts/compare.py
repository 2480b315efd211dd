"""Whether `twofold lab compare` is done in time, and finds what others find on the Telco model.

Batch: the same runs, measured by `processes.measured`. Real time: a lone client by wrk, and the
highest rate of a few around the capacity it found that openloop.c finds kept. The machine has to
do nothing else meanwhile: the two measure one after the other.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyarrow.parquet as pq
from common import telco
from load.closedloop import closed_loop
from load.openloop import OpenLoop, Summary
from load.request import Request
from processes import Failed, in_turn, measured
from serving import Server, all_cores
from targets import Report, at_most, median

from twofold.demo import customers
from twofold.lab.findings import Findings, read_findings

if TYPE_CHECKING:
    from lab_parts.setting import LoadLab

LIMIT = at_most(180.0, "s")
QUICK_LIMIT = at_most(30.0, "s")
AGREES = at_most(1.1)
SLO_MS = 50.0
SHARES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
MIN_OK_RATIO = 0.99
ROUNDS = 3
WRK_ROUNDS, WRK_S = 3, 3
STEP_S = 3.0


def run(lab: LoadLab, report: Report) -> None:
    """Measure and print."""
    report.begin("compare", "`twofold lab compare` on the Telco model, against the bench's own")
    folder = lab.folder / "compare"
    folder.mkdir(exist_ok=True)
    people = customers.real_customers()
    telco(folder)
    pq.write_table(people, folder / "telco.parquet")
    quick = _compare(folder, report, quick=True)
    found = quick if lab.quick else _compare(folder, report, quick=False)
    _check_batch(folder, report, found)
    rows = people.select(customers.features(people)).slice(0, 1).to_pylist()
    body = msgspec.json.encode({"row": rows[0]})
    request = Request("/v1/models/churn/predict", body, expect="prediction")
    words = ["serve", "churn", "--port=0", "--json", f"--registry={folder / 'registry'}"]
    command = [sys.executable, "-m", "twofold", *words]
    log = folder / "serve.log"
    with Server("churn", command, log, all_cores(), announced=True, cwd=folder) as server:
        _check_alone(folder, report, (request, server), found)
        _check_capacity(folder, report, (request, server), found)


def _compare(folder: Path, report: Report, *, quick: bool) -> Findings:
    path = folder / "found.json"
    words = ["lab", "compare", "churn", "telco.parquet", "--key", customers.KEY, "--json"]
    words += ["--registry", "registry", "--html", "report.html", *(["--quick"] if quick else [])]
    script = f"exec {sys.executable} -m twofold {' '.join(words)} > {path}"
    start_s = time.perf_counter()
    measured(["sh", "-c", script], folder / "compare.log", {}, tree=True)
    took_s = time.perf_counter() - start_s
    name = "seconds of a quick look" if quick else "seconds in full"
    report.check(name, took_s, QUICK_LIMIT if quick else LIMIT)
    found = read_findings(path)
    report.keep("quick" if quick else "full", msgspec.to_builtins(found, str_keys=True))
    return found


def _check_batch(folder: Path, report: Report, found: Findings) -> None:
    number = iter(range(10 * ROUNDS))

    def once() -> list[str]:
        words = ["batch", "run", "churn", "telco.parquet", "--output", "out", "--registry"]
        words += ["registry", "--key", customers.KEY, "--run-id", f"bench-{next(number)}"]
        return [sys.executable, "-m", "twofold", *words]

    sides = {"run": lambda: measured(once(), folder / "run.log", {})}
    runs = in_turn(sides, ROUNDS)["run"]
    for name, ours, theirs in (
        ("wall", found.batch.wall_s, median([one.wall_s for one in runs])),
        ("CPU", found.batch.cpu_s, median([one.cpu_s for one in runs])),
        ("memory", found.batch.peak_memory_bytes / 1e6, median([one.memory_mb for one in runs])),
    ):
        _agree(report, f"batch, {name}: times apart", ours, theirs or 0.0)


def _check_alone(
    folder: Path, report: Report, where: tuple[Request, Server], found: Findings
) -> None:
    request, server = where
    rounds = [
        closed_loop(request, server, connections=1, seconds=WRK_S, folder=folder)
        for _ in range(WRK_ROUNDS)
    ]
    # Both wait for the answer before they ask again: so many a second tell what one takes.
    theirs_s = median([1 / one.per_s for one in rounds]) or 0.0
    _agree(report, "a lone client, wrk: times apart", found.real_time.alone.mean_s, theirs_s)


def _check_capacity(
    folder: Path, report: Report, where: tuple[Request, Server], found: Findings
) -> None:
    request, server = where
    capacity = found.real_time.capacity_per_s
    if not capacity:
        fix = "nothing to compare with"
        raise Failed(f"capacity: expected one, got {capacity}: {fix}")
    kept = 0.0
    for share in SHARES:
        load = OpenLoop(request, [(share * capacity, STEP_S)], connections=256, timeout_s=10.0)
        if any(_is_kept(load.run(server.port, folder)[0]) for _ in range(2)):
            kept = share
    note = f"  {capacity:,.0f} requests/s"
    apart = max(kept, 1 / kept) if kept else float("inf")
    report.check("capacity, openloop.c: times apart", apart, AGREES, note)


def _is_kept(found: Summary) -> bool:
    """As `twofold.lab.capacity` has it."""
    answered = found["statuses"].get("200", 0) >= MIN_OK_RATIO * found["offered"]
    return bool(answered and (found["p99_ms"] or float("inf")) <= SLO_MS)


def _agree(report: Report, name: str, ours: float, theirs: float) -> None:
    note = f"  {ours:.4g} and {theirs:.4g}"
    report.check(name, max(ours / theirs, theirs / ours), AGREES, note)
