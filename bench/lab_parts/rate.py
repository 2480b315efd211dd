"""How many requests a second one process sends in time."""

from __future__ import annotations

from lab_parts.setting import REQUEST, LoadLab
from load.openloop import OpenLoop
from serving import client_core
from targets import Report, at_least, at_most

from twofold.lab.loaded import Loaded

RATE_PER_S, SECONDS, ROUNDS = 10_000.0, 2.0, 8
LATE = at_most(1.0, "ms")
CONNECTIONS = 32


def run(lab: LoadLab, report: Report) -> None:
    """Measure and print: the best of several rounds, as the machine has other things to do."""
    report.begin("rate", f"{RATE_PER_S:,.0f} requests/s from one process")
    rounds, seconds = (2 if lab.quick else ROUNDS), SECONDS
    load = OpenLoop(REQUEST, [(RATE_PER_S, seconds)], cores=client_core())
    found: list[Loaded] = []
    others_ms: list[float] = []
    with lab.server(0) as server:
        for _ in range(rounds):
            found.append(lab.offered(server.port, RATE_PER_S, seconds))
            # On a machine with other things to do, it is late in the same way.
            others_ms.append(load.run(server.port, lab.folder)[0]["lag_p99_ms"])
        best = min(found, key=lambda item: item.level.lateness_p99_s)
        every = ", ".join(f"{item.level.lateness_p99_s * 1e3:.3g}" for item in found)
        note = f"  rounds: {every} ms; {best.busy_ratio:.0%} of a core"
        late_ms = best.level.lateness_p99_s * 1e3
        report.check("late by, at p99", late_ms, LATE, note)
        every = ", ".join(f"{ms:.3g}" for ms in others_ms)
        report.check("  openloop.c, taking turns", min(others_ms), None, f"  rounds: {every} ms")
        report.check("sent, of what was due", best.count / (RATE_PER_S * seconds), at_least(1.0))
        closed = lab.asked(server.port, CONNECTIONS, seconds)
        note = f"  {closed.busy_ratio:.0%} of a core; the server is the limit"
        report.check("closed loop, requests/s", closed.level.answered_per_s, None, note)
