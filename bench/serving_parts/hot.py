"""Requests a second on one core: twofold's protocols, C, and what people use today."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contestants import Lab, prediction_in
from load.build import NoCompiler
from load.closedloop import Closed, closed_loop
from load.request import Request
from peers.install import NotInstalled
from serving import NotStarted, Server, client_core, server_core
from targets import Report, Target, at_least, at_most, median

CONNECTIONS = (32, 64)
MANY = 512
ROUNDS, SECONDS = 5, 2
QUICK_ROUNDS, QUICK_SECONDS = 2, 1
SAME = 1e-9
"""How far an answer may be from the model's own prediction."""

CONSTANT, V1, V1_DICT = "twofold: constant", "twofold: v1, list", "twofold: v1, dict"
V2_JSON, V2_BINARY = "twofold: V2 JSON", "twofold: V2 binary"
EPOLL, FASTAPI, MOSEC = "C epoll + LightGBM", "FastAPI, by hand", "mosec, batching"

RATIOS: tuple[tuple[str, str, Target | None], ...] = (
    (V1, CONSTANT, at_least(0.65)),
    (V1, FASTAPI, at_least(25)),
    (V1, MOSEC, at_least(2)),
    (V1, EPOLL, at_least(0.9)),  # about as much
    (V1_DICT, V1, None),
    (V2_JSON, V1, at_least(0.70)),
    (V2_BINARY, V1, at_least(0.90)),
)
LONE_P50 = at_most(1.5)
MANY_SHARE = at_least(0.85)
NO_ERRORS = at_most(0)

Found = dict[tuple[str, int], list[Closed]]
"""What was found in each round, by contestant and number of connections."""


@dataclass(frozen=True)
class Contestant:
    """A server and what it is asked."""

    name: str
    server: Server
    request: Request


def run(lab: Lab, report: Report) -> None:
    """Measure and print."""
    report.begin("hot", "one server on one core, the client on another; closed loop")
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if lab.quick else (ROUNDS, SECONDS)
    found: Found = defaultdict(list)
    with contextlib.ExitStack() as stack:
        contestants, absent = _started(lab, stack)

        def ask(one: Contestant, connections: int, seconds: int = seconds) -> Closed:
            return closed_loop(
                one.request,
                one.server,
                connections=connections,
                seconds=seconds,
                folder=lab.folder,
                cores=client_core(),
            )

        for one in contestants:
            ask(one, CONNECTIONS[0], QUICK_SECONDS)  # to warm up
        # All in turn, round by round: what the machine does meanwhile befalls all of them.
        for _ in range(rounds):
            for connections in CONNECTIONS:
                for one in contestants:
                    found[one.name, connections].append(ask(one, connections))
            for one in contestants:
                if one.name in (CONSTANT, V1):
                    found[one.name, 1].append(ask(one, 1))
                if one.name in (V1, EPOLL):
                    found[one.name, MANY].append(ask(one, MANY))
    _show(report, found, absent)


def _started(lab: Lab, stack: contextlib.ExitStack) -> tuple[list[Contestant], dict[str, str]]:
    """The contestants that answer as they should, and why the others don't."""
    standard, core = lab.standard, server_core()
    ours = stack.enter_context(lab.twofold("churn", "--workers=1", cores=core))
    asked = [
        Contestant(CONSTANT, ours, Request(lab.constant_path)),
        Contestant(V1, ours, standard.as_list),
        Contestant(V1_DICT, ours, standard.as_dict),
        Contestant(V2_JSON, ours, standard.v2_json),
        Contestant(V2_BINARY, ours, standard.v2_binary),
    ]
    absent: dict[str, str] = {}
    others: Sequence[tuple[str, Callable[[], Server], str]] = (
        (EPOLL, lambda: lab.epoll(core), "/predict"),
        (FASTAPI, lambda: lab.fastapi(core), "/predict"),
        (MOSEC, lambda: lab.mosec(core), "/inference"),
    )
    for name, make, path in others:
        request = dataclasses.replace(standard.as_list, path=path)
        try:
            server = stack.enter_context(make())
            server.wait_ready(request.is_answered)
        except (NotInstalled, NotStarted, NoCompiler) as error:
            absent[name] = f"not installed: {error}"
            continue
        asked.append(Contestant(name, server, request))
    present: list[Contestant] = []
    for one in asked:
        why = _wrong(one, standard.prediction)
        if why:
            absent[one.name] = why
        else:
            present.append(one)
    return present, absent


def _wrong(one: Contestant, prediction: float) -> str:
    """Why a contestant can't be measured; empty if it answers right."""
    try:
        response = one.request.ask(one.server.port)
    except (OSError, http.client.HTTPException) as error:
        return f"not served: {error!r}"
    status = response[0]
    if status != http.HTTPStatus.OK:
        return f"not served: {status} {response[2][:160].decode('utf-8', 'replace')}"
    if one.name == CONSTANT:
        return ""
    try:
        got = prediction_in(response)
    except (KeyError, ValueError, IndexError) as error:
        return f"not served: its answer can't be read: {error!r}"
    return "" if abs(got - prediction) <= SAME else f"wrong: {got!r}, not {prediction!r}"


def _show(report: Report, found: Found, absent: dict[str, str]) -> None:
    names = list(dict.fromkeys(name for name, _ in found))
    low, high = CONNECTIONS
    rows = [
        [
            name,
            f"{_median(found[name, low], 'per_s'):,.0f}",
            f"{_median(found[name, high], 'per_s'):,.0f}",
            f"{_median(found[name, low], 'p50_ms'):.2f}",
            f"{_median(found[name, low], 'p99_ms'):.2f}",
            f"{_median(found[name, low], 'cpu_us'):.1f}",
            str(sum(one.bad + one.errors for at in CONNECTIONS for one in found[name, at])),
            f"{_median(found[name, low], 'elsewhere_cores'):.2f}",
        ]
        for name in names
    ]
    heads = ["", f"{low} conn./s", f"{high} conn./s", "p50 ms", "p99 ms", "CPU µs", "bad", "others"]
    report.table(heads, rows)
    for name, why in absent.items():
        print(f"  {name:<22}  {why}")
    report.keep("absent", absent)
    kept = {f"{name} @ {at}": [dataclasses.asdict(one) for one in every]
            for (name, at), every in found.items()}  # fmt: skip
    report.keep("rounds", kept)
    print()
    for one, base, target in RATIOS:
        at = {n: _ratios(found, one, base, n) for n in CONNECTIONS}
        each = ", ".join(f"{median(at[n]):.2f} at {n}" for n in CONNECTIONS if at[n])
        both = [ratio for n in CONNECTIONS for ratio in at[n]]
        used = [ratio for n in CONNECTIONS for ratio in _ratios(found, base, one, n, "cpu_us")]
        why = absent.get(one) or absent.get(base, "")
        note = f"  {each}; by CPU time {median(used):.2f}" if used else f"  {why.partition(':')[0]}"
        report.check(f"{one} / {base}", median(both), target, note)
    lone = _ratios(found, V1, CONSTANT, 1, "p50_ms")
    p50_ms = _median(found[V1, 1], "p50_ms") if found.get((V1, 1)) else 0.0
    report.check(
        "p50 of a lone client, v1 / constant", median(lone), LONE_P50, f"  {p50_ms:.3f} ms"
    )
    _show_many(report, found)


def _show_many(report: Report, found: Found) -> None:
    many = found.get((V1, MANY), [])
    share = _share_of_peak(found, V1)
    # C has next to nothing to remember of a connection: what it loses, the system does.
    of_c = _share_of_peak(found, EPOLL)
    note = "" if of_c is None else f"  {EPOLL}: {of_c:.2f} of its peak"
    report.check(f"v1 at {MANY} connections / its peak", share, MANY_SHARE, note)
    errors = float(sum(one.bad + one.errors for one in many)) if many else None
    report.check(f"errors at {MANY} connections", errors, NO_ERRORS)


def _share_of_peak(found: Found, name: str) -> float | None:
    many = found.get((name, MANY), [])
    peaks = zip(*(found[name, at] for at in CONNECTIONS), strict=True) if many else ()
    return median(
        [
            one.per_s / max(peak.per_s for peak in both)
            for one, both in zip(many, peaks, strict=True)
        ]
    )


def _ratios(
    found: Found, one: str, base: str, connections: int, what: str = "per_s"
) -> list[float]:
    """The ratios within each round."""
    pairs = zip(found.get((one, connections), []), found.get((base, connections), []), strict=False)
    return [getattr(a, what) / getattr(b, what) for a, b in pairs if getattr(b, what)]


def _median(every: Sequence[Closed], what: str) -> float:
    return median([getattr(one, what) for one in every]) or 0.0
