"""Whether a server that does nothing for 2 s shows so in full, also with few connections."""

from __future__ import annotations

import os
import signal
import threading

from lab_parts.setting import LoadLab
from targets import Report, at_least

RATE_PER_S, SECONDS, STALL_S, BEFORE_S = 1_000.0, 10.0, 2.0, 3.0
CONNECTIONS = 8
IN_FULL = at_least(0.95)


def run(lab: LoadLab, report: Report) -> None:
    """Measure and print."""
    report.begin("stall", f"stopped for {STALL_S:g} s of {SECONDS:g}, {CONNECTIONS} connections")
    with lab.server(0) as server:
        pid = server.process.pid
        stop = threading.Timer(BEFORE_S, os.kill, [pid, signal.SIGSTOP])
        go_on = threading.Timer(BEFORE_S + STALL_S, os.kill, [pid, signal.SIGCONT])
        stop.start()
        go_on.start()
        found = lab.offered(server.port, RATE_PER_S, SECONDS, connections=CONNECTIONS)
        go_on.join()
    took_s = found.latency.percentiles_s
    # What was due during the stall waited for the rest of it: from 2 s down to nothing, evenly.
    for share in ("90", "99"):
        beyond_s = SECONDS * (1 - float(share) / 100)
        true_s = STALL_S - beyond_s
        note = f"  {took_s[share]:.3f} s; {true_s:.3f} s of those due while it stalled"
        report.check(f"p{share}, of what is true", took_s[share] / true_s, IN_FULL, note)
    report.check("answered, of what was due", found.latency.count / found.count, at_least(1.0))
