"""Snapshots as values, and how one is published, for tests of stores and of what reads them."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa

from twofold.stores.snapshot import Origin, Snapshot, Stored, next_number, switched
from twofold.stores.store import Rows, Store

AS_OF = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
PREDICTED_AT = datetime(2026, 1, 31, 3, 0, 0, 123457, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")


def snapshot_of(number: int = 1, rows: int = 3, **facts: Any) -> Snapshot:
    """Make what is known of a snapshot; `facts` are what differs."""
    made = Snapshot(
        name=f"{number:06}-0123abcd",
        number=number,
        model="churn",
        version="3",
        digest="d1g3st",
        run_id=f"night-{number}",
        run=f"run-{number}",
        as_of=AS_OF,
        predicted_at=PREDICTED_AT,
        published_at=PREDICTED_AT + timedelta(minutes=1),
        rows=rows,
        outputs=("prediction",),
        type="float64",
    )
    return msgspec.structs.replace(made, **facts)


def rows_of(
    keys: Sequence[str | bytes],
    *predictions: Sequence[Any],
    predicted_at: Sequence[datetime] | None = None,
    features: pa.RecordBatch | None = None,
) -> Rows:
    """Make rows to publish; a row's prediction is 0.5 more than its place, unless it is given."""
    encoded = [key.encode() if isinstance(key, str) else key for key in keys]
    every = predictions or ([place + 0.5 for place in range(len(keys))],)
    return Rows(
        pa.array(encoded, pa.large_binary()),
        tuple(pa.array(column, None if len(keys) else pa.float64()) for column in every),
        pa.array(predicted_at or [PREDICTED_AT] * len(keys), INSTANT),
        features,
    )


def publish_rows(store: Store, rows: Iterable[Rows], **facts: Any) -> Snapshot:
    """Write rows as the next snapshot, and switch to it."""
    every = list(rows)
    count = sum(len(some.keys) for some in every)
    with store.publishing("churn") as publication:
        number = next_number(publication.pointer)
        snapshot = snapshot_of(number, count, **facts)
        publication.write(snapshot, every)
        publication.point(switched(publication.pointer, snapshot))
    return snapshot


def live_of(prediction: float = 9.5, version: str = "4") -> Stored:
    """Make a live prediction, as it is kept."""
    at = PREDICTED_AT + timedelta(hours=5)
    origin = Origin(
        source="live", model="churn", version=version, run_id="", as_of=at, predicted_at=at
    )
    return Stored((prediction,), origin)


@contextlib.contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let no file grow beyond some bytes, as if the disk were full; also not what pytest writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
