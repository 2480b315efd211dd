"""The server of a store hangs, comes back, and dies, under load: who is answered, with what."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from serving import Server, all_cores
from snapshots import MODEL, SnapshotLab, key_of, publish_made
from store_servers import redis_server
from targets import Report, at_least, at_most

from twofold.stores.open import open_store

KEYS, CLIENTS = 20_000, 8
ASKED = 500
"""Keys that are asked for: few enough to be remembered."""
HANG_S, BACK_S, DIE_S, END_S = 2.0, 4.0, 6.0, 8.0
DEADLINE_S = 1.0
ALL = at_least(1.0)
LATEST = at_most(DEADLINE_S, "s")


@dataclass
class Seen:
    """What the clients saw.

    Attributes:
        answers: Phase, status, source, and why, of each answer.
        late_s: The slowest of all.
        wrong: Requests that weren't answered with a prediction.
    """

    answers: Counter[tuple[str, int, str, str]] = field(default_factory=Counter)
    late_s: float = 0.0
    wrong: int = 0


def run(lab: SnapshotLab, report: Report) -> None:
    """Measure and print."""
    about = f"Redis hangs after {HANG_S:g} s, goes on, and is killed; {CLIENTS} clients"
    report.begin("away", about)
    serving, keys = lab.serving, lab.keys(KEYS)
    serving.standard  # noqa: B018 - packed when it is first asked for
    with redis_server(lab.folder) as (url, redis):
        publish_made(open_store(url, timeout_s=1.0), keys)
        flags = ("--workers=1", f"--store={url}")
        with serving.twofold(MODEL, *flags, cores=all_cores()) as server:
            seen = _loaded(server, redis, keys)
    total = sum(seen.answers.values())
    report.check("answered with a prediction, share", 1 - seen.wrong / total, ALL)
    report.check("the slowest", seen.late_s, LATEST)
    rows = [
        [phase, str(status), source, why or "-", f"{count:,}"]
        for (phase, status, source, why), count in sorted(seen.answers.items())
    ]
    report.table(["the store", "status", "source", "why", "answers"], rows)


def _loaded(server: Server, redis: subprocess.Popen[bytes], keys: int) -> Seen:
    seen, lock, began_s = Seen(), threading.Lock(), time.monotonic()
    threads = [
        threading.Thread(target=_client, args=(server.port, number, keys, seen, lock, began_s))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for at_s, what in ((HANG_S, signal.SIGSTOP), (BACK_S, signal.SIGCONT), (DIE_S, signal.SIGKILL)):
        time.sleep(max(0.0, began_s + at_s - time.monotonic()))
        redis.send_signal(what)
    for thread in threads:
        thread.join()
    return seen


def _phase(at_s: float) -> str:
    if at_s < HANG_S:
        return "1 up"
    if at_s < BACK_S:
        return "2 hangs"
    return "3 back" if at_s < DIE_S else "4 dead"


def _client(
    port: int, number: int, keys: int, seen: Seen, lock: threading.Lock, began_s: float
) -> None:
    """Ask by key alone, and with a row, in turn."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5 * DEADLINE_S)
    places = np.random.default_rng(number).integers(0, min(keys, ASKED), 100_000).tolist()
    row = np.random.default_rng(number).normal(size=20).round(3).tolist()
    for place in range(ASKED):  # each key once, while the store is there
        _ask(connection, {"key": key_of(place).decode()})
    count = 0
    while (at_s := time.monotonic() - began_s) < END_S:
        body: dict[str, Any] = {"key": key_of(places[count]).decode()}
        if count % 2:
            body["row"] = row
        count += 1
        start_s = time.monotonic()
        status, said = _ask(connection, body)
        took_s = time.monotonic() - start_s
        with lock:
            seen.late_s = max(seen.late_s, took_s)
            seen.wrong += "prediction" not in said
            about = (said.get("source", said.get("code", "")), said.get("why", ""))
            seen.answers[(_phase(at_s), status, *about)] += 1
        time.sleep(0.002)


def _ask(
    connection: http.client.HTTPConnection, body: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json"}
    connection.request("POST", f"/v1/models/{MODEL}/answers", json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())
