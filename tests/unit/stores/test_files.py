"""The files of a snapshot: what was written is what is read back."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pyarrow as pa

from twofold.stores.files import SnapshotWriter, verify_files

sys.path.insert(0, str(Path(__file__).parent))
from made import rows_of, snapshot_of


def test_features_are_read_back_as_they_were_when_their_digest_was_taken(tmp_path: Path) -> None:
    # Several batches: closing their file a second time would write its footer again.
    snapshot = snapshot_of(1, 4, features=("tenure",))
    features = pa.RecordBatch.from_pylist([{"tenure": 1}, {"tenure": 2}])
    rows = [
        dataclasses.replace(rows_of(keys, [0.1, 0.2]), features=features)
        for keys in ([b"a", b"b"], [b"c", b"d"])
    ]
    with SnapshotWriter(tmp_path, snapshot) as writer:
        writer.write_all(rows)
    assert verify_files(tmp_path) == 4
