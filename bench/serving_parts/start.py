"""How soon a compiled model is served, and what a worker weighs."""

from __future__ import annotations

import subprocess
import sys
import time

from contestants import Lab
from load.openloop import OpenLoop
from serving import all_cores, free_port, memory_mb
from targets import Report, at_most, median

STARTS, QUICK_STARTS = 7, 3
WARM = (1000.0, 1.0)
"""Requests that a worker has answered before it is weighed: a second, for how long."""
FIRST_ANSWER = at_most(1.0, "s")
WORKER_MB = at_most(80, "MB")


def run(lab: Lab, report: Report) -> None:
    """Measure and print."""
    report.begin("start", "from spawn to the first 200 of a compiled model; --workers 1, all cores")
    request = lab.standard.as_list
    starts: list[float] = []
    bare: list[float] = []
    sizes: dict[str, list[float]] = {"first": [], "later": [], "peak": []}
    with lab.twofold("churn", "--workers=1", cores=all_cores()) as server:
        server.wait_ready(request.is_answered)  # once, for its bytecode
    for _ in range(QUICK_STARTS if lab.quick else STARTS):
        start_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import numpy"], check=True)
        bare.append(time.perf_counter() - start_s)
        start_s = time.perf_counter()
        port = free_port()
        with lab.twofold("churn", "--workers=1", cores=all_cores(), port=port) as server:
            server.wait_ready(request.is_answered)
            starts.append(time.perf_counter() - start_s)
            (worker, *_) = sorted(server.workers(), key=memory_mb, reverse=True)
            sizes["first"].append(memory_mb(worker))
            OpenLoop(request, [WARM]).run(port, lab.folder)
            sizes["later"].append(memory_mb(worker))
            sizes["peak"].append(memory_mb(worker, "VmHWM"))
    note = f"  {min(starts):.2f} to {max(starts):.2f} s"
    report.check("seconds to the first 200", median(starts), FIRST_ANSWER, note)
    report.check("seconds of `python -c 'import numpy'`", median(bare), None)
    report.check("memory of a worker after its first answer", median(sizes["first"]), WORKER_MB)
    report.check(
        f"memory of a worker after {WARM[0] * WARM[1]:,.0f} more", median(sizes["later"]), WORKER_MB
    )
    report.check("memory of a worker at most", median(sizes["peak"]), None)
    report.keep("rounds", {"starts_s": starts, "numpy_s": bare, "memory_mb": sizes})
