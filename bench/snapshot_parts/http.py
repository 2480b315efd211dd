"""Stored answers over HTTP, against an answer that never changes: one core, closed loop."""

from __future__ import annotations

import numpy as np
from load.closedloop import closed_loop
from load.request import Request
from serving import client_core, server_core
from snapshots import MODEL, SnapshotLab, key_of, publish_made
from targets import Report, at_least, median

from twofold.stores.embedded import EmbeddedStore

KEYS, ROUNDS, SECONDS = 1_000_000, 7, 2
CONNECTIONS = (32, 64)
CHOSEN = 1_000
SHARE = at_least(0.8)
CONSTANT, STORED = "constant", "stored"


def run(lab: SnapshotLab, report: Report) -> None:
    """Measure and print."""
    keys = lab.keys(KEYS)
    report.begin("http", f"GET for a key of {keys:,}, and a constant answer; the client apart")
    store = lab.folder / "store-http"
    publish_made(EmbeddedStore(store), keys)
    serving = lab.serving
    serving.standard  # noqa: B018 - packed when it is first asked for
    places = np.random.default_rng(5).integers(0, keys, CHOSEN).tolist()
    before = f"/v1/models/{MODEL}/answers/"
    paths = tuple(before + key_of(place).decode() for place in places)
    asked = {
        CONSTANT: Request(serving.constant_path, paths=(serving.constant_path,) * CHOSEN),
        STORED: Request(paths[0], paths=paths, expect='"source":"batch"'),
    }
    flags = ("--workers=1", f"--store={store}")
    with serving.twofold(MODEL, *flags, cores=server_core()) as server:
        for connections in CONNECTIONS:
            found: dict[str, list[float]] = {name: [] for name in asked}
            cpu: dict[str, list[float]] = {name: [] for name in asked}
            for _ in range((serving.quick and 2) or ROUNDS):
                for name, request in asked.items():
                    one = closed_loop(
                        request,
                        server,
                        connections=connections,
                        seconds=SECONDS,
                        folder=lab.folder,
                        cores=client_core(),
                    )
                    assert not one.bad, one
                    found[name].append(one.per_s)
                    cpu[name].append(one.cpu_us)
            best = {name: max(values) for name, values in found.items()}
            note = f"  {best[STORED]:,.0f} and {best[CONSTANT]:,.0f} requests/s"
            ratio = best[STORED] / best[CONSTANT]
            report.check(f"stored / constant, {connections} connections", ratio, SHARE, note)
            least = {name: median(values) or 0.0 for name, values in cpu.items()}
            note = f"  {least[STORED]:.1f} and {least[CONSTANT]:.1f} µs"
            ratio = least[CONSTANT] / least[STORED]
            report.check("  the same by CPU of the server", ratio, None, note)
