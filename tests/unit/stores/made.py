"""Snapshots and rows for tests of stores."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from twofold.stores.snapshot import Origin, Snapshot, Stored
from twofold.stores.store import Rows

AT = datetime(2026, 1, 31, 6, 0, tzinfo=UTC)


def snapshot_of(number: int, rows: int, **more: Any) -> Snapshot:
    given: dict[str, Any] = {
        "name": f"{number:06}-abcd",
        "number": number,
        "model": "churn",
        "version": "3",
        "digest": "sha256:0",
        "run_id": f"run-{number}",
        "run": "r",
        "as_of": AT,
        "predicted_at": AT,
        "published_at": AT,
        "rows": rows,
        "outputs": ("prediction",),
        "type": "float64",
    }
    return Snapshot(**given | more)


def rows_of(keys: Sequence[bytes], predictions: Sequence[float]) -> Rows:
    return Rows(
        pa.array(keys, pa.binary()),
        (pa.array(predictions, pa.float64()),),
        pa.array([AT] * len(keys), pa.timestamp("us", "UTC")),
    )


def live_of(value: float) -> Stored:
    origin = Origin(source="live", model="churn", version="4", run_id="", as_of=AT, predicted_at=AT)
    return Stored((value,), origin)
