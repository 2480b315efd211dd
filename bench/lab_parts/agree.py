"""Whether others find the same: wrk in a closed loop, openloop.c in an open one.

The server works for 0.2 ms for a request, one after another, and ten times as long for a few, so
that what is measured is it, up to its tail, and not how each generator waits. Of many short rounds,
in which both take turns, each figure is the least: what else the machine does only ever adds to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab_parts.setting import REQUEST, LoadLab
from load.closedloop import closed_loop
from load.openloop import OpenLoop
from serving import client_core
from targets import Report, at_most

WORK_US, EVERY, SLOW_US = 200.0, 43, 2_000.0
"""Of 43 requests one is slow, and each of the next nine waits for less: p99 is well among the slow
ones, and p90 within a step of those that wait, not between two of them."""
RATE_PER_S, CONNECTIONS = 2_500.0, 16
SECONDS, ROUNDS = 1, 15
AGREES = at_most(1.05)
Found = dict[str, list[float]]


def run(lab: LoadLab, report: Report) -> None:
    """Measure and print."""
    what = f"a server that works {WORK_US:g} µs, {SLOW_US:,g} for one in {EVERY}; the calmest round"
    report.begin("agree", what)
    rounds, seconds = (3 if lab.quick else ROUNDS), SECONDS
    ours: Found = {"50": [], "90": [], "99": []}
    theirs: Found = {"50": [], "90": [], "99": []}
    closed: Found = {"50": [], "99": [], "per_s": []}
    wrk: Found = {"50": [], "99": [], "per_s": []}
    load = OpenLoop(REQUEST, [(RATE_PER_S, seconds)], connections=256, timeout_s=10.0,
                    cores=client_core())  # fmt: skip
    with lab.server(WORK_US, EVERY, SLOW_US) as server:
        for _ in range(rounds):
            one = lab.offered(server.port, RATE_PER_S, seconds).latency.percentiles_s
            (other,) = load.run(server.port, lab.folder)
            for share in ours:
                ours[share].append(one[share] * 1e3)
                theirs[share].append(other[f"p{share}_ms"])
            asked = lab.asked(server.port, CONNECTIONS, seconds)
            found = closed_loop(REQUEST, server, connections=CONNECTIONS, seconds=seconds,
                                folder=lab.folder, cores=client_core())  # fmt: skip
            for share, ms in (("50", found.p50_ms), ("99", found.p99_ms)):
                closed[share].append(asked.latency.percentiles_s[share] * 1e3)
                wrk[share].append(ms)
            closed["per_s"].append(asked.level.answered_per_s)
            wrk["per_s"].append(found.per_s)
    _compare(report, f"open loop, {RATE_PER_S:,.0f}/s, openloop.c", ours, theirs)
    _compare(report, f"closed loop, {CONNECTIONS} connections, wrk", closed, wrk)


def _compare(
    report: Report, what: str, ours: Mapping[str, list[float]], theirs: Mapping[str, list[float]]
) -> None:
    for name in ours:
        is_rate = name == "per_s"
        calmest = max if is_rate else min
        one, other = calmest(ours[name]), calmest(theirs[name])
        unit = "requests/s" if is_rate else "ms"
        note = f"  {one:.4g} and {other:.4g} {unit}"
        shown = "requests/s" if is_rate else f"p{name}"
        report.check(f"{what}: {shown}", max(one / other, other / one), AGREES, note)
