"""A process that reads a snapshot in a folder at full speed, and says what it saw, as JSON.

    python snapshot_reader.py STORE latency KEYS READS   the time of each read of one key
    python snapshot_reader.py STORE memory KEYS READS    its memory afterwards
    python snapshot_reader.py STORE switch KEYS          reads until told to end on stdin

Keys are chosen by chance, beforehand.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from snapshots import MODEL, key_of, prediction_of

from twofold.stores.embedded import EmbeddedStore

CHOSEN = 200_000
SHARES = (50.0, 99.0, 99.9)


def main() -> None:
    """Read, and say."""
    store, mode, keys = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    reader = EmbeddedStore(store).reader(MODEL)
    places = np.random.default_rng(3).integers(0, keys, CHOSEN).tolist()
    chosen = [key_of(place) for place in places]
    if mode == "switch":
        found = _switch(reader, places, chosen)
    else:
        reads = int(sys.argv[4])
        found = _latency(reader, chosen, reads)
        if mode == "memory":
            found = _memory()
    print(json.dumps(found))


def _latency(reader: Any, chosen: list[bytes], reads: int) -> dict[str, Any]:
    for key in chosen[: CHOSEN // 2]:
        reader.find([key])
    times = np.empty(reads)
    for at in range(reads):
        key = chosen[at % CHOSEN]
        start_ns = time.perf_counter_ns()
        _, (stored,) = reader.find([key])
        times[at] = time.perf_counter_ns() - start_ns
        assert stored is not None
    return _shares(times)


def _shares(times: Any) -> dict[str, Any]:
    found = np.percentile(times, SHARES) / 1e3
    return {f"p{share:g}_us": value for share, value in zip(SHARES, found.tolist(), strict=True)}


def _memory() -> dict[str, Any]:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    sizes = {line.split()[0]: float(line.split()[1]) / 1e3 for line in lines if "kB" in line}
    return {"own_mb": sizes["Anonymous:"], "all_mb": sizes["Rss:"]}


def _switch(reader: Any, places: list[int], chosen: list[bytes]) -> dict[str, Any]:
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
    print("reading", flush=True)
    times: list[int] = []
    lost = mixed = back = 0
    reader.find([chosen[0]])
    switches = first = reader.switches
    while not ended.is_set():
        for place, key in zip(places, chosen, strict=True):
            start_ns = time.perf_counter_ns()
            snapshot, (stored,) = reader.find([key])
            times.append(time.perf_counter_ns() - start_ns)
            if stored is None:
                lost += 1
                continue
            run = int(snapshot.run_id.removeprefix("run-"))
            mixed += stored.predictions != (prediction_of(float(place), run),)
            mixed += stored.origin.run_id != snapshot.run_id
            back += reader.switches < switches
            switches = reader.switches
            if ended.is_set():
                break
    return {
        "reads": len(times),
        "lost": lost,
        "mixed": mixed,
        "back": back,
        "moved": switches - first,
        **_shares(np.array(times)),
    }


if __name__ == "__main__":
    main()
