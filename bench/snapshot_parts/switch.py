"""Reads of several processes while snapshots switch: whether all are right, and how late."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from snapshots import READER, SnapshotLab, publish_made
from targets import Report, at_least, at_most

from twofold.hybrid.publish import roll_back
from twofold.stores.embedded import EmbeddedStore

KEYS, READERS = 1_000_000, 2
SWITCHES, PAUSE_S, ROUNDS = 100, 0.03, 3
READS = at_least(1_000_000)
NONE = at_most(0)
P99 = at_most(1.2)


def run(lab: SnapshotLab, report: Report) -> None:
    """Measure and print."""
    keys = lab.keys(KEYS)
    report.begin("switch", f"{READERS} processes that read at full speed; {SWITCHES} switches")
    folder = lab.folder / "store-switch"
    store = EmbeddedStore(folder)
    for number in (0, 1):
        publish_made(store, keys, number)
    quiet, moved = [], []
    for _ in range(ROUNDS):
        quiet.append(_read(folder, keys, switches=0))
        moved.append(_read(folder, keys, switches=SWITCHES))
    reads = sum(one["reads"] for one in _all(moved))
    report.check("reads while they switch", reads, None if lab.quick else READS)
    for name in ("lost", "mixed", "back"):
        report.check(f"of them {name}", sum(one[name] for one in _all(moved)), NONE)
    report.check(
        "switches that a reader saw, least", min(one["moved"] for one in _all(moved)), None
    )
    for share in ("p50_us", "p99_us", "p99.9_us"):
        values = [
            min(max(one[share] for one in round_) for round_ in side) for side in (moved, quiet)
        ]
        note = f"  {values[0]:.2f} and {values[1]:.2f} µs"
        target = P99 if share == "p99_us" else None
        report.check(
            f"{share.removesuffix('_us')}, switching / not", values[0] / values[1], target, note
        )


def _all(rounds: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [one for round_ in rounds for one in round_]


def _worst(rounds: list[list[dict[str, Any]]], share: str) -> float:
    """Of the best round, what its worse reader saw."""
    return min(max(one[share] for one in round_) for round_ in rounds)


def _read(folder: Path, keys: int, *, switches: int) -> list[dict[str, Any]]:
    command = [sys.executable, str(READER), str(folder), "switch", str(keys)]
    with contextlib.ExitStack() as stack:
        readers = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(READERS)
        ]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"
        for _ in range(switches or SWITCHES):
            if switches:
                roll_back(EmbeddedStore(folder), "churn")
            time.sleep(PAUSE_S)
        said = [reader.communicate("\n", timeout=60)[0] for reader in readers]
    return [json.loads(text.splitlines()[-1]) for text in said]
