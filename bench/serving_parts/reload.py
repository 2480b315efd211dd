"""Versions switched under load, again and again: no request may fail or wait."""

from __future__ import annotations

import time
from collections import Counter

import pyarrow as pa
from contestants import Lab, field_names, row_request
from load.openloop import LEAD_S, OpenLoop
from load.request import Request
from serving import all_cores
from sklearn.linear_model import LogisticRegression
from targets import Report, at_most

import twofold
from twofold.model.registry import Registry

WORKERS = 2
NAME = "switched"
RELOADS, QUICK_RELOADS = 50, 5
REQUESTS_PER_S = 500
EVERY_S = 2.0
"""So long two generations take, one to load and one to leave, on a machine of two cores."""
TIMEOUT_S = 2.0
NONE_FAILS = at_most(0)
SWITCHED = '\ntwofold_reloads_total{result="switched"}'


def run(lab: Lab, report: Report) -> None:
    """Measure and print."""
    reloads = QUICK_RELOADS if lab.quick else RELOADS
    seconds = (reloads + 1) * EVERY_S
    rows = int(REQUESTS_PER_S * seconds)
    report.begin("reload", f"{WORKERS} workers, {rows:,} requests, {reloads} changes of version")
    _pack(lab)
    registry = Registry(lab.registry)
    registry.set_alias(NAME, "champion", "1")
    request = row_request(f"/v1/models/{NAME}/predict", lab.standard.row)
    with lab.twofold(NAME, f"--workers={WORKERS}", cores=all_cores()) as server:
        load = OpenLoop(request, [(REQUESTS_PER_S, seconds)], timeout_s=TIMEOUT_S)
        with load.running(server.port, lab.folder) as running:
            start_s = time.perf_counter() + LEAD_S
            for number in range(reloads):
                time.sleep(max(0.0, start_s + (number + 0.5) * EVERY_S - time.perf_counter()))
                registry.set_alias(NAME, "champion", str(2 - number % 2))
            (summary,) = running.summaries()
        metrics = Request("/metrics").ask(server.port)[2].decode()
        switched = metrics.partition(SWITCHED)[2].partition("\n")[0].strip()
    statuses, errors = Counter(summary["statuses"]), Counter(summary["errors"])
    failed = summary["offered"] - statuses["200"]
    lost = {**{k: n for k, n in statuses.items() if k != "200"}, **errors}
    note = f"  of {summary['offered']:,}; {switched} switched; not: {lost}"
    report.check("requests that failed", float(failed), NONE_FAILS, note)
    report.check("p99 of all", summary["p99_ms"], None, " ms")
    report.check("the slowest", summary["max_ms"], None, " ms")
    report.keep("summary", summary)


def _pack(lab: Lab) -> None:
    """Pack two versions of a model that takes the standard row."""
    sample = pa.table({name: pa.array([0.5, -0.5] * 50, pa.float32()) for name in field_names()})
    matrix = [list(row.values()) for row in sample.to_pylist()]
    for target in ([0, 1] * 50, [1, 0] * 50):
        model = LogisticRegression().fit(matrix, target)
        twofold.pack(model, name=NAME, sample=sample, registry=lab.registry)
