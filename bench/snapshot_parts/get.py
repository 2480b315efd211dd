"""A stored answer in process: how long one key takes, and what memory many keys take."""

from __future__ import annotations

import shutil

from snapshots import SnapshotLab, publish_made
from targets import Report, at_most

from twofold.stores.embedded import EmbeddedStore

SIZES = (1_000_000, 20_000_000)
READS, ROUNDS = 200_000, 3
P50 = at_most(5.0, "µs")
GROWTH = at_most(1.05)


def run(lab: SnapshotLab, report: Report) -> None:
    """Measure and print."""
    report.begin("get", "one key of a snapshot in a folder, from Python, keys by chance")
    own_mb: list[float] = []
    for size in SIZES:
        keys = lab.keys(size)
        store = lab.folder / f"store-{keys}"
        publish_made(EmbeddedStore(store), keys)
        rounds = [lab.reader(store, "latency", keys, READS) for _ in range(ROUNDS)]
        found = min(rounds, key=lambda one: one["p50_us"])
        note = f"  p99 {found['p99_us']:.1f}, p99.9 {found['p99.9_us']:.1f} µs"
        report.check(f"p50 of {keys:,} keys", found["p50_us"], P50, note)
        memory = lab.reader(store, "memory", keys, READS)
        own_mb.append(memory["own_mb"])
        note = f"  {memory['all_mb']:.0f} MB with what all share"
        report.check(f"a reader's own memory, {keys:,} keys, MB", memory["own_mb"], None, note)
        shutil.rmtree(store)
    report.check("a reader's own memory, most / fewest keys", own_mb[-1] / own_mb[0], GROWTH)
