"""Whether `twofold lab compare` is done in time, and finds what others find on the Telco model.

Batch: runs as the comparison measures them, and as `processes.measured` does. Real time: the
comparison's lone client and wrk's, and the highest rate around the capacity that either generator
finds kept. A machine may change its pace by a third within seconds, so what is compared takes
turns, and each is compared with that beside it.
"""

from __future__ import annotations

import itertools
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
from processes import Failed, Measured, measured
from serving import Server, all_cores
from targets import Report, at_most, median

from twofold.app.compare.batch import Batches
from twofold.app.compare.loads import Loads
from twofold.app.compare.plan import FULL
from twofold.app.compare.processes import Ended, Serving
from twofold.demo import customers
from twofold.lab import arrivals
from twofold.lab.capacity import is_kept
from twofold.lab.findings import Findings, read_findings
from twofold.lab.generator import Target, run_open

if TYPE_CHECKING:
    from lab_parts.setting import LoadLab

LIMIT = at_most(180.0, "s")
QUICK_LIMIT = at_most(30.0, "s")
AGREES = at_most(1.1)
SLO_MS = 50.0
SHARES = (0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
TRIES = 4
MIN_OK_RATIO = 0.99
BATCH_ROUNDS = 9
ALONE_ROUNDS, WRK_S = 5, 3
STEP_S = 2.0


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
    _check_batch(folder, report)
    rows = people.select(customers.features(people)).slice(0, 1).to_pylist()
    body = msgspec.json.encode({"row": rows[0]})
    request = Request("/v1/models/churn/predict", body, expect="prediction")
    words = ["serve", "churn", "--port=0", "--json", f"--registry={folder / 'registry'}"]
    command = [sys.executable, "-m", "twofold", *words]
    log = folder / "serve.log"
    with Server("churn", command, log, all_cores(), announced=True, cwd=folder) as server:
        _check_alone(folder, report, (request, server))
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


def _check_batch(folder: Path, report: Report) -> None:
    """Runs as the comparison measures them, and as the benchmarks do, in turn."""
    batches = Batches("churn@1", folder / "registry", folder, FULL)
    source = str(folder / "telco.parquet")
    ours: list[Ended] = []
    theirs: list[Measured] = []
    for at in range(BATCH_ROUNDS):
        ours.append(batches.run(source, f"ours-{at}", customers.KEY).ended)
        words = ["batch", "run", "churn", source, "--output", "out", "--registry", "registry"]
        words += ["--key", customers.KEY, "--run-id", f"theirs-{at}"]
        command = [sys.executable, "-m", "twofold", *words]
        theirs.append(measured(command, folder / "run.log", {}))
    for name, mine, other in (
        ("wall", [one.wall_s for one in ours], [one.wall_s for one in theirs]),
        ("CPU", [one.cpu_s for one in ours], [one.cpu_s for one in theirs]),
        (
            "memory",
            [one.peak_memory_bytes / 1e6 for one in ours],
            [one.memory_mb for one in theirs],
        ),
    ):
        _agree_in_turn(report, f"batch, {name}: times apart", mine, other)


def _check_alone(folder: Path, report: Report, where: tuple[Request, Server]) -> None:
    """The lone client as the comparison has it, and that of wrk, in turn."""
    request, server = where
    serving = Serving(server.process.pid, f"http://127.0.0.1:{server.port}", 0.0)
    loads = Loads(serving, [_whole(request)], FULL, SLO_MS / 1e3, is_quick=False)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ALONE_ROUNDS):
        ours.append(loads.alone().latency.mean_s)
        round_ = closed_loop(request, server, connections=1, seconds=WRK_S, folder=folder)
        # Both wait for the answer before they ask again: so many a second tell what one takes.
        theirs.append(1 / round_.per_s)
    _agree_in_turn(report, "a lone client, wrk: times apart", ours, theirs)


def _whole(request: Request) -> bytes:
    assert request.body is not None
    head = f"POST {request.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {request.type}\r\n"
    return f"{head}Content-Length: {len(request.body)}\r\n\r\n".encode() + request.body


def _check_capacity(
    folder: Path, report: Report, where: tuple[Request, Server], found: Findings
) -> None:
    """Rates around the capacity, offered by both generators in turn."""
    request, server = where
    capacity = found.real_time.capacity_per_s
    if not capacity:
        fix = "nothing to compare with"
        raise Failed(f"capacity: expected one, got {capacity}: {fix}")
    target = Target(("127.0.0.1", server.port), [_whole(request)], request.expect.encode())
    kept = {"ours": 0.0, "theirs": 0.0}
    for share, _ in itertools.product(SHARES, range(TRIES)):
        if kept["theirs"] < share:
            load = OpenLoop(request, [(share * capacity, STEP_S)], connections=256, timeout_s=2.0)
            if _is_kept(load.run(server.port, folder)[0]):
                kept["theirs"] = share
        if kept["ours"] < share:
            level = run_open(
                target,
                arrivals.level(share * capacity, STEP_S),
                deadline_s=SLO_MS / 1e3,
                timeout_s=2.0,
                warm_up_s=0.5,
            ).level
            if is_kept(msgspec.structs.replace(level, is_valid=True), SLO_MS / 1e3):
                kept["ours"] = share
    report.check("capacity of lab compare, requests/s", capacity, None)
    if not all(kept.values()):
        raise Failed(f"capacity: expected both to keep some rate, got {kept}")
    rates = [share * capacity for share in kept.values()]
    _agree(report, "capacity in turn, openloop.c: times apart", *rates)


def _is_kept(found: Summary) -> bool:
    """As `twofold.lab.capacity` has it."""
    answered = found["statuses"].get("200", 0) >= MIN_OK_RATIO * found["offered"]
    return bool(answered and (found["p99_ms"] or float("inf")) <= SLO_MS)


def _agree_in_turn(report: Report, name: str, ours: list[float], theirs: list[float]) -> None:
    apart = median([one / its for one, its in zip(ours, theirs, strict=True)]) or 0.0
    note = f"  {median(ours):.4g} and {median(theirs):.4g}"
    report.check(name, max(apart, 1 / apart), AGREES, note)


def _agree(report: Report, name: str, ours: float, theirs: float) -> None:
    note = f"  {ours:.4g} and {theirs:.4g}"
    report.check(name, max(ours / theirs, theirs / ours), AGREES, note)
