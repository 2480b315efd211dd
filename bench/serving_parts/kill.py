"""Workers killed under load: how many requests are answered all the same."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

from contestants import Lab
from load.closedloop import closed_loop
from load.openloop import LEAD_S, OpenLoop
from serving import Server, all_cores
from targets import Report, at_least, at_most

WORKERS = 2
SECONDS, QUICK_SECONDS = 10.0, 5.0
EVERY_S = 2.0
LOAD = 0.5
"""Of the peak."""
PEAK_CONNECTIONS, PEAK_SECONDS = 32, 2
TIMEOUT_S = 2.0
ANSWERED = at_least(0.99)
NONE_HANGS = at_most(0)


def run(lab: Lab, report: Report) -> None:
    """Measure and print."""
    seconds = QUICK_SECONDS if lab.quick else SECONDS
    report.begin("kill", f"{WORKERS} workers, half of peak, SIGKILL to one every {EVERY_S:g} s")
    request = lab.standard.as_list
    with lab.twofold("churn", f"--workers={WORKERS}", cores=all_cores()) as server:
        peak = closed_loop(
            request,
            server,
            connections=PEAK_CONNECTIONS,
            seconds=PEAK_SECONDS,
            folder=lab.folder,
        )
        load = OpenLoop(request, [(LOAD * peak.per_s, seconds)], timeout_s=TIMEOUT_S)
        with load.running(server.port, lab.folder) as running:
            killed = _kill(server, time.perf_counter() + LEAD_S, seconds)
            (summary,) = running.summaries()
    statuses, errors = Counter(summary["statuses"]), Counter(summary["errors"])
    # What was sent once more died with a worker, too, for a client that doesn't repeat requests.
    answered = (statuses["200"] - summary["resent"]) / summary["offered"]
    lost = {**{k: n for k, n in statuses.items() if k != "200"}, **errors}
    lost["sent once more"] = summary["resent"]
    note = f"  {killed} killed, {load.segments[0][0]:,.0f}/s; not: {lost}"
    report.check("answered of those offered", answered, ANSWERED, note)
    hung = errors["timeout"] + errors["unsent"]
    report.check("requests that hang", float(hung), NONE_HANGS)
    report.check("p99 of the answered", summary["p99_ms"], None, " ms")
    report.keep("summary", summary)


def _kill(server: Server, start_s: float, seconds: float) -> int:
    """Kill a worker now and then, the one alive the longest first; give how many."""
    killed = 0
    while (at_s := start_s + (killed + 0.5) * EVERY_S) < start_s + seconds:
        time.sleep(max(0.0, at_s - time.perf_counter()))
        workers = server.workers()
        if workers:
            os.kill(min(workers), signal.SIGKILL)
        killed += 1
    return killed
