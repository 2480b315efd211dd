"""More load than the server can take: what it still answers in time, and how soon all is well."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from contestants import Lab, row_request
from load.closedloop import Closed, closed_loop
from load.openloop import LEAD_S, OpenLoop, Running, Sent, Summary
from load.request import Request
from serving import Server, all_cores, busiest, connections_of, cpu_s
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from targets import Report, at_least, at_most, median
from threadpoolctl import threadpool_limits

import twofold

DEADLINE_S = 0.1
MODELS = (("slow1", 0.001), ("slow20", 0.020))
"""Names, and seconds that each row of a batch is to cost."""
FLAGS = ("north", "east")
"""The models' fields. Flags, because packing looks for the decision boundaries of numbers, which
takes 100,000 predictions."""
SAMPLE_ROWS = 8
TRIED_NEIGHBOURS, TRIED_ROWS, TIMES_TRIED = 20_000, 9, 15

PEAK_CONNECTIONS = (4, 8, 16, 32)
PATIENT = ("X-Twofold-Deadline-Ms", "5000")
PEAK_SECONDS, QUICK_PEAK_SECONDS = 3, 2
BASE = (20.0, 2.0)
"""Requests a second before the load, and how long: what is normal."""
PROBES = (20.0, 3.0)
"""The same after it: how soon all is normal again."""
LOAD_SECONDS, QUICK_LOAD_SECONDS = 20.0, 3.0
TIMES = (3, 10)
CLIENT_CONNECTIONS = 1024
CLIENT_TIMEOUT_S = 1.0
RETRIES = 3
MAX_ATTEMPTS_PER_S = 8_000.0 * len(all_cores())
"""What client and server can do on this machine while a core predicts."""
STALL_S, BEFORE_STALL_S, WATCH_S = 2.0, 1.0, 0.6

NORMAL_TIMES, NORMAL_MIN_S = 3.0, 0.025
"""A probe is normal within so many times the usual, and within so long in any case."""
IN_A_ROW = 5
"""So many normal probes say that all is well."""

REFUSED_CONNECTIONS, REFUSED_PER_S = 64, 3_000.0
REFUSED_SECONDS, QUICK_REFUSED_SECONDS = 6, 2
SLOWEST = MODELS[-1][0]
"""Of its requests nearly all are refused."""
REFUSALS = ("503", "504", "429")

GOODPUT = {3: at_least(0.97), 10: at_least(0.90)}
P99 = at_most(DEADLINE_S * 1e3, "ms")
REFUSAL_P99 = at_most(20, "ms")
RECOVERY = at_most(1.0, "s")
REFUSAL_CPU = at_most(25, "µs")


@dataclass
class Case:
    """A model under load.

    Attributes:
        lab: Where everything is.
        report: Where figures go.
        server: The server, with this model.
        request: What is asked.
        connections: With so many it does its best by closed loop.
    """

    lab: Lab
    report: Report
    server: Server
    request: Request
    connections: int = 0

    @property
    def seconds(self) -> float:
        """How long a load lasts."""
        return QUICK_LOAD_SECONDS if self.lab.quick else LOAD_SECONDS


def run(lab: Lab, report: Report) -> None:
    """Measure and print."""
    about = f"--workers 1 --deadline-s {DEADLINE_S:g}, all cores; open loop"
    report.begin("overload", about)
    for name, row_s in MODELS:
        loads = [one for one in _loads(name) if lab.only in one.name]
        if not loads:
            continue
        request = _packed(lab, report, name, row_s)
        flags = ("--workers=1", f"--deadline-s={DEADLINE_S:g}")
        with lab.twofold(name, *flags, cores=all_cores()) as server:
            server.wait_ready(request.is_answered)
            case = Case(lab, report, server, request)
            _find_peak(case)
            for load in loads:
                if load.times:
                    _overload(case, load)
                else:
                    _refusals(case, load.name)


@dataclass(frozen=True)
class Load:
    """What a model has to stand.

    Attributes:
        name: What the report calls it.
        times: So many times its peak is offered; 0: so much that nearly all is refused.
        retries: How often a client repeats what was refused.
        stall: The model stands still for a while beforehand.
    """

    name: str
    times: int
    retries: int = 0
    stall: bool = False


def _loads(model: str) -> list[Load]:
    loads = [Load(f"{model}, {times}x", times) for times in TIMES]
    loads += [Load(f"{model}, {times}x, retrying", times, retries=RETRIES) for times in TIMES]
    loads += [Load(f"{model}, {times}x, after a stall", times, stall=True) for times in TIMES]
    return [*loads, Load(f"{model}, refusals", 0)] if model == SLOWEST else loads


# ---- the models


def _packed(lab: Lab, report: Report, name: str, row_s: float) -> Request:
    """Pack a model whose rows cost about that much each, in a batch as well; give a request."""
    random = np.random.default_rng(11)
    count = TRIED_NEIGHBOURS
    for _ in range(2):  # caches make it less than proportional: once more, nearer to the goal
        count = max(1_000, round(count * row_s / _each_s(_model(random, count), random)))
    rows = random.random(size=(SAMPLE_ROWS, len(FLAGS))) < 0.5  # noqa: PLR2004 - evenly
    table = pa.table({field: rows[:, at] for at, field in enumerate(FLAGS)})
    predictor = twofold.pack(
        _model(random, count), name=name, sample=table, registry=lab.registry, runtime="original"
    )
    assert predictor.record.runtimes.real_time == "original"
    row = rows[0].tolist()
    with threadpool_limits(1):
        one_s = _best_s(lambda: predictor.predict_one(row))
        many_s = _best_s(lambda: predictor.predict(table)) / SAMPLE_ROWS
    about = f"T(1) {one_s * 1e3:.2f} ms, of {SAMPLE_ROWS} rows {many_s * 1e3:.2f} ms each"
    print(f"\n  {name}: brute-force neighbours of {count:,} rows; {about}", flush=True)
    report.keep(f"{name}: model", {"one_s": one_s, "of_many_s": many_s, "neighbours": count})
    return row_request(f"/v1/models/{name}/predict", row)


def _model(random: np.random.Generator, count: int) -> Any:
    """Neighbours by a distance that costs each row the same again, in a batch as well.

    No matrix product gives it, and no converter to ONNX has it: the original is what serves.
    """
    rows = random.random(size=(count, len(FLAGS))) < 0.5  # noqa: PLR2004 - evenly
    neighbours = KNeighborsClassifier(15, algorithm="brute", metric="haversine", n_jobs=1)
    return make_pipeline(StandardScaler(), neighbours).fit(rows, rows[:, 0] ^ rows[:, 1])


def _each_s(model: Any, random: np.random.Generator) -> float:
    """What one more row costs in a batch."""
    rows = random.random(size=(TRIED_ROWS, len(FLAGS))) < 0.5  # noqa: PLR2004 - evenly
    with threadpool_limits(1):
        many_s = _best_s(lambda: model.predict_proba(rows))
        return (many_s - _best_s(lambda: model.predict_proba(rows[:1]))) / (TRIED_ROWS - 1)


def _best_s(call: Callable[[], Any]) -> float:
    """The least of some times: what the machine does beside only adds to it."""
    times: list[float] = []
    for _ in range(TIMES_TRIED):
        start_s = time.perf_counter()
        call()
        times.append(time.perf_counter() - start_s)
    return min(times)


# ---- the peak


def _find_peak(case: Case) -> None:
    """Find out with how many connections the server does most with all answers in time."""
    found = [_closed(case, connections) for connections in PEAK_CONNECTIONS]
    in_time = [one for one in found if one.p99_ms <= DEADLINE_S * 1e3]
    best = max(in_time or found, key=lambda one: one.per_s)
    case.connections = best.connections
    tried = [f"{one.connections}: {one.per_s:,.0f}/s p99 {one.p99_ms:.0f} ms" for one in found]
    note = f"/s  {'' if in_time else 'none in time! '}{', '.join(tried)}"
    case.report.check(f"peak at {best.connections} connections", best.per_s, None, note)


def _closed(case: Case, connections: int) -> Closed:
    # Whoever is refused in a closed loop asks again at once: that would measure refusing. These
    # clients have time.
    patient = dataclasses.replace(case.request, headers=(PATIENT,))
    return closed_loop(
        patient,
        case.server,
        connections=connections,
        seconds=QUICK_PEAK_SECONDS if case.lab.quick else PEAK_SECONDS,
        folder=case.lab.folder,
    )


# ---- the load


def _overload(case: Case, load: Load) -> None:
    """Load the server with many times its peak; then probe it."""
    before = _closed(case, case.connections)
    if before.per_s == 0:
        case.report.check(f"{load.name}: goodput / peak", None, GOODPUT[load.times], "  no peak")
        return
    rate = load.times * before.per_s
    attempts_per_s = rate * (1 + load.retries)
    if attempts_per_s > MAX_ATTEMPTS_PER_S:
        why = f"  {attempts_per_s:,.0f} attempts a second are too many for the client beside it"
        case.report.check(f"{load.name}: goodput / peak", None, GOODPUT[load.times], why)
        return
    segments = [BASE, (rate, case.seconds), PROBES]
    if load.stall:
        segments.insert(1, (rate, BEFORE_STALL_S + STALL_S))
    clients = OpenLoop(
        case.request,
        segments,
        connections=CLIENT_CONNECTIONS,
        timeout_s=CLIENT_TIMEOUT_S,
        retries=load.retries,
    )
    with clients.running(case.server.port, case.lab.folder) as running:
        if load.stall:
            _stall(case.server, BASE[1] + LEAD_S)
        summaries = running.summaries()
        recovery_s = _recovery_s(running, len(segments))
    # The machine has its ups and downs: what the server could do is measured before and after.
    peak = (before.per_s + _closed(case, case.connections).per_s) / 2
    _show(case.report, load, summaries, peak, recovery_s)


def _stall(server: Server, load_starts_s: float) -> None:
    """Stop the process that predicts, for a while."""
    time.sleep(load_starts_s + BEFORE_STALL_S - WATCH_S)
    predicting = busiest(server.workers() or [server.process.pid], WATCH_S)
    with contextlib.suppress(ProcessLookupError):
        os.kill(predicting, signal.SIGSTOP)
        try:
            time.sleep(STALL_S)
        finally:
            os.kill(predicting, signal.SIGCONT)


def _recovery_s(running: Running, n_segments: int) -> float:
    """Seconds from the end of the load to the first of some normal answers in a row."""
    usual = [sent.took_s for sent in running.requests(0) if sent.result == "200"]
    normal_s = max(NORMAL_TIMES * (median(usual) or 0.0), NORMAL_MIN_S)
    probes = running.requests(n_segments - 1)
    return first_normal_s(probes, normal_s)


def first_normal_s(probes: Sequence[Sent], normal_s: float) -> float:
    """Seconds from the first probe to the answer of the first of some normal ones in a row."""
    in_a_row = 0
    for at, probe in enumerate(probes):
        in_a_row = in_a_row + 1 if probe.result == "200" and probe.took_s <= normal_s else 0
        if in_a_row == IN_A_ROW:
            first = probes[at + 1 - IN_A_ROW]
            return first.done_s - probes[0].due_s
    return math.inf


def _show(
    report: Report, load: Load, summaries: Sequence[Summary], peak: float, recovery_s: float
) -> None:
    """Print a load's figures: the last segment but one is the load, the last the probes."""
    found = summaries[-2]
    goodput = found["within_slo"] / found["seconds"] / peak
    ends = {**found["statuses"], **found["errors"]}
    shares = ", ".join(f"{end} {count / found['offered']:.1%}" for end, count in ends.items())
    note = f"  {found['rate']:,.0f}/s offered: {shares}"
    report.check(f"{load.name}: goodput / peak", goodput, GOODPUT[load.times], note)
    if load.retries:
        # The server knows nothing of a client's former attempts, and of the time they took.
        goodput = found["attempts_within_slo"] / found["seconds"] / peak
        note = f"  {found['attempts'] / found['offered']:.2f} attempts for each request"
        name = f"{load.name}: the same, by attempt"
        report.check(name, goodput, GOODPUT[load.times], note)
    report.check(f"{load.name}: p99 of the 200s, by attempt", found["attempt_p99_ms"], P99)
    lag = f"  the client's own delay: p99 {found['lag_p99_ms']:.1f} ms"
    report.check(f"{load.name}: p99 of the refusals", found["refusal_p99_ms"], REFUSAL_P99, lag)
    report.check(f"{load.name}: seconds until all is normal", recovery_s, RECOVERY)
    report.keep(f"{load.name}: summaries", {"peak": peak, "segments": list(summaries)})


# ---- the cost of a refusal


def _refusals(case: Case, name: str) -> None:
    """CPU time of the process that refuses, for each refusal, when nearly all is refused.

    At the highest rate that a closed loop gets to, since that is where it matters; and at a lower
    one, at which most of it is waking up.
    """
    port, report = case.server.port, case.report
    workers = case.server.workers() or [case.server.process.pid]
    with socket.create_connection(("127.0.0.1", port)):
        time.sleep(LEAD_S)
        refusing = max(workers, key=lambda pid: connections_of(pid, port))
    seconds = QUICK_REFUSED_SECONDS if case.lab.quick else REFUSED_SECONDS
    before_s = cpu_s(refusing)
    closed = closed_loop(
        case.request,
        case.server,
        connections=REFUSED_CONNECTIONS,
        seconds=seconds,
        folder=case.lab.folder,
    )
    answers = closed.bad + closed.per_s * seconds
    each_us = (cpu_s(refusing) - before_s) * 1e6 / answers
    about = f"  {closed.bad / answers:.1%} of {answers / seconds:,.0f}/s refused"
    report.check(f"{name}: CPU of the refusing process for each", each_us, REFUSAL_CPU, about)
    report.check(f"{name}: p99 of the answers, in ms", closed.p99_ms, None)
    report.keep(f"{name}: closed loop", dataclasses.asdict(closed))
    load = OpenLoop(
        case.request,
        [(REFUSED_PER_S, float(seconds))],
        connections=CLIENT_CONNECTIONS,
        timeout_s=CLIENT_TIMEOUT_S,
    )
    before_s = cpu_s(refusing)
    with load.running(port, case.lab.folder) as running:
        (summary,) = running.summaries()
    used_s = cpu_s(refusing) - before_s
    refused = sum(summary["statuses"].get(status, 0) for status in REFUSALS)
    about = f"  {refused / summary['offered']:.1%} refused"
    each_us = used_s * 1e6 / summary["offered"]
    report.check(f"{name}: the same at {REFUSED_PER_S:,.0f}/s", each_us, None, about)
    report.keep(f"{name}: open loop", {"used_s": used_s, "summary": summary})
