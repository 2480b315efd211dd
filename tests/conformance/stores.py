"""Stores under test: how each is opened, by the tests and by processes that tests start.

As a script: `stores.py SPEC MODEL publish FIRST LAST MOMENT` publishes snapshots, and waits to be
killed at a moment; `stores.py SPEC MODEL read NUMBER` reads all the time until it sees the
snapshot of that number, and says what it saw.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from twofold.stores.embedded import EmbeddedStore
from twofold.stores.redis import RedisStore
from twofold.stores.snapshot import Snapshot, next_number, switched
from twofold.stores.store import Found, Rows

TIMEOUT_S = 2.0
LEASE_S = 1.0
AT = datetime(2026, 1, 31, 6, 0, tzinfo=UTC)
ROWS = 2_000
MAX_READ_S = 60.0
KEYS = [b"customer-%d" % n for n in range(ROWS)]
MOMENTS = ("taken", "writing", "written", "verified", "pointed")


def open_store(spec: str) -> Any:
    """Open a store by its kind and place, as `redis redis://127.0.0.1:6379`."""
    kind, place = spec.split(" ", 1)
    if kind == "embedded":
        return EmbeddedStore(Path(place))
    if kind == "postgresql":
        # What the others don't need makes their processes start later.
        from twofold.stores.postgresql import PostgresqlStore

        return PostgresqlStore(place, timeout_s=TIMEOUT_S)
    return RedisStore(place, timeout_s=TIMEOUT_S, lease_s=LEASE_S)


def snapshot_of(model: str, number: int, rows: int, **more: Any) -> Snapshot:
    """A snapshot that has not been written yet."""
    given: dict[str, Any] = {
        "name": f"{number:06}-{secrets.token_hex(4)}",
        "number": number,
        "model": model,
        "version": "3",
        "digest": "sha256:0",
        "run_id": f"run-{number}",
        "run": secrets.token_hex(4),
        "as_of": AT,
        "predicted_at": AT,
        "published_at": AT,
        "rows": rows,
        "outputs": ("prediction",),
        "type": "float64",
    }
    return Snapshot(**given | more)


def rows_of(keys: Sequence[bytes], *predictions: Any, **more: Any) -> Rows:
    """Rows; of each output its predictions."""
    instants = more.pop("instants", [AT] * len(keys))
    return Rows(
        pa.array(keys, pa.binary()),
        tuple(
            item if isinstance(item, pa.Array) else pa.array(item, pa.float64())
            for item in predictions
        ),
        pa.array(instants, pa.timestamp("us", "UTC")),
        more.pop("features", None),
    )


def numbered(snapshot: Snapshot, keys: Sequence[bytes] = KEYS) -> Iterator[Rows]:
    """Rows that all predict the number of their snapshot."""
    for first in range(0, len(keys), 700):
        some = keys[first : first + 700]
        yield rows_of(some, [float(snapshot.number)] * len(some))


class Reading:
    """A reader, whether its calls are to be awaited or not."""

    def __init__(self, store: Any, model: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._reader = store.reader(model)

    def run(self, made: Any) -> Any:
        async def wait() -> Any:
            return await made if inspect.isawaitable(made) else made

        return self.loop.run_until_complete(wait())

    def find(self, keys: Sequence[bytes], *, with_features: bool = False) -> Found:
        return self.run(self._reader.find(keys, with_features=with_features))

    def together(self, several: Sequence[Sequence[bytes]]) -> list[Found]:
        async def wait() -> list[Found]:
            made = [self._reader.find(keys) for keys in several]
            if not inspect.isawaitable(made[0]):
                return made
            return await asyncio.gather(*made)

        return self.loop.run_until_complete(wait())

    def keep(self, key: bytes, stored: Any, snapshot: Snapshot) -> bool:
        return self.run(self._reader.keep(key, stored, snapshot))

    def close(self) -> None:
        self.run(self._reader.close())
        self.loop.close()


def publish(store: Any, model: str, keys: Sequence[bytes] = KEYS) -> Snapshot:
    """Publish the next snapshot."""
    with store.publishing(model) as publication:
        snapshot = snapshot_of(model, next_number(publication.pointer), len(keys))
        publication.write(snapshot, numbered(snapshot, keys))
        assert publication.verify(snapshot) == len(keys)
        publication.point(switched(publication.pointer, snapshot))
    return snapshot


def _publish(store: Any, model: str, first: int, last: int, moment: str) -> None:
    def at(step: str) -> None:
        if step == moment:
            sys.stdout.write(f"{step}\n")
            sys.stdout.flush()
            time.sleep(60)

    def writing(snapshot: Snapshot) -> Iterator[Rows]:
        for number, rows in enumerate(numbered(snapshot)):
            if number == 1:
                at("writing")
            yield rows

    for number in range(first, last + 1):
        with store.publishing(model) as publication:
            at("taken")
            snapshot = snapshot_of(model, number, ROWS)
            publication.write(snapshot, writing(snapshot))
            at("written")
            assert publication.verify(snapshot) == ROWS
            at("verified")
            publication.point(switched(publication.pointer, snapshot))
            at("pointed")


def _read(store: Any, model: str, last: int) -> dict[str, Any]:
    reading, until_s = Reading(store, model), time.monotonic() + MAX_READ_S
    reading.find(KEYS[:1])
    sys.stdout.write("reading\n")
    sys.stdout.flush()
    seen: list[int] = []
    reads = missing = mixed = back = 0
    while time.monotonic() < until_s and (not seen or seen[-1] < last):
        keys = [KEYS[(reads * 7 + n * 131) % ROWS] for n in range(20)]
        found = reading.find(keys)
        reads += 1
        missing += found.stored.count(None)
        assert found.snapshot is not None
        number = found.snapshot.number
        there = [item for item in found.stored if item is not None]
        mixed += any(item.predictions != (float(number),) for item in there)
        mixed += any(item.origin.run_id != found.snapshot.run_id for item in there)
        back += bool(seen) and number < seen[-1]
        if not seen or seen[-1] != number:
            seen.append(number)
    reading.close()
    return {"reads": reads, "missing": missing, "mixed": mixed, "back": back, "seen": seen}


def _main(spec: str, model: str, act: str, *more: str) -> None:
    store = open_store(spec)
    if act == "publish":
        _publish(store, model, int(more[0]), int(more[1]), more[2])
    else:
        sys.stdout.write(json.dumps(_read(store, model, int(more[0]))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
