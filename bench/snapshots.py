"""What the benchmarks of snapshots share: a large one that is made, and processes that read it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from batch import BatchLab
from contestants import Lab, bytecode_in

from twofold.stores.snapshot import Snapshot, switched
from twofold.stores.store import Rows, Store

MODEL = "churn"
BATCH_ROWS = 131_072
KEY_STEP = 7_919
"""Between keys, so that they have several lengths."""
READER = Path(__file__).with_name("snapshot_reader.py")


@dataclass(frozen=True)
class SnapshotLab:
    """One run of the benchmarks.

    Attributes:
        folder: Where everything is.
        quick: Whether a tenth of the keys will do.
    """

    folder: Path
    quick: bool = False

    @cached_property
    def batch(self) -> BatchLab:
        """Runs to be published."""
        return BatchLab(self.folder, self.quick)

    @cached_property
    def serving(self) -> Lab:
        """Servers that answer."""
        return Lab(self.folder, self.quick)

    @property
    def environment(self) -> dict[str, str]:
        """Of every process: its bytecode is kept."""
        return bytecode_in(self.folder)

    def keys(self, count: int) -> int:
        """How many keys to take where `count` are standard."""
        return count // 10 if self.quick else count

    def reader(self, store: Path, *words: object) -> dict[str, Any]:
        """What a process that reads a store found; see `snapshot_reader.py`."""
        command = [sys.executable, str(READER), str(store), *map(str, words)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
        return json.loads(done.stdout.splitlines()[-1])


def key_of(row: int) -> bytes:
    """The key of a row of a made snapshot."""
    return b"%d" % (row * KEY_STEP)


def prediction_of(row: Any, run: int) -> Any:
    """The prediction of a row, or of rows, in a run."""
    return row * 0.5 + run


def publish_made(store: Store, keys: int, run: int = 0) -> None:
    """Publish a made snapshot, of whose run each prediction tells."""
    now = datetime.now(UTC)
    with store.publishing(MODEL) as publication:
        number = publication.pointer.switches + 1
        snapshot = Snapshot(
            name=f"{number:06}-made",
            number=number,
            model=MODEL,
            version="1",
            digest="made",
            run_id=f"run-{run}",
            run=f"run-{run}",
            as_of=now,
            predicted_at=now,
            published_at=now,
            rows=keys,
            outputs=("prediction",),
            type="float64",
        )
        publication.write(snapshot, _rows(keys, run, now))
        publication.point(switched(publication.pointer, snapshot))


def _rows(keys: int, run: int, now: datetime) -> Iterator[Rows]:
    for start in range(0, keys, BATCH_ROWS):
        rows = np.arange(start, min(start + BATCH_ROWS, keys))
        instant = pa.array([now], pa.timestamp("us", "UTC"))
        yield Rows(
            pa.array(rows * KEY_STEP).cast(pa.string()).cast(pa.large_binary()),
            (pa.array(prediction_of(rows.astype(np.float64), run)),),
            instant.take(pa.array(np.zeros(len(rows), np.int64))),
        )
