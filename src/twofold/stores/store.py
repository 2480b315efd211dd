"""What a store is: a place that snapshots are published to, and read from by key.

Three things are promised by every store, whatever happens to the publisher: readers see one whole
snapshot or another, never a mixture; the pointer moves in one step; and nothing that is current or
previous is deleted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import pyarrow as pa

from twofold.stores.snapshot import Pointer, Snapshot, Stored


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of a run, to be published.

    Attributes:
        keys: Binary: see `key_of`. No nulls, no key twice in a run.
        predictions: A column per output: float64, int64, bool or string. No nulls.
        predicted_at: timestamp[us, UTC].
        features: The input's fields, if they are published too.
    """

    keys: pa.Array
    predictions: tuple[pa.Array, ...]
    predicted_at: pa.Array
    features: pa.RecordBatch | None = None


class Found(NamedTuple):
    """What a store has for some keys, all of it of one snapshot.

    Attributes:
        snapshot: The snapshot that was read; None if there is none yet.
        stored: For each key, what there is.
    """

    snapshot: Snapshot | None
    stored: list[Stored | None]


class Publication(Protocol):
    """The right to change what a store has of one model; nobody else has it meanwhile."""

    @property
    def pointer(self) -> Pointer:
        """Where the pointer stands."""
        ...

    def write(self, snapshot: Snapshot, rows: Iterable[Rows]) -> None:
        """Write a snapshot beside what is there; nobody reads it yet.

        Raises:
            InvalidInput: A key stands twice in it.
            StoreUnavailable: The store doesn't answer.
        """
        ...

    def verify(self, snapshot: Snapshot) -> int:
        """Read a written snapshot back: how many keys it has, as the store itself says.

        Raises:
            StoreUnavailable: The store doesn't answer.
            TwofoldError: It isn't as it was written.
        """
        ...

    def find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> list[Stored | None]:
        """Look keys up in a written snapshot, with their features if it has them."""
        ...

    def discard(self, snapshot: Snapshot) -> None:
        """Delete a snapshot that was written, whole or in part, and isn't switched to.

        What the pointer leads to is left alone.

        Raises:
            StoreUnavailable: The store doesn't answer; the next publisher deletes it.
        """
        ...

    def point(self, pointer: Pointer) -> None:
        """Move the pointer, in one step; then delete what it doesn't lead to.

        Raises:
            LeaseHeld: Somebody else has moved it meanwhile; nothing was changed.
            CommitUnknown: Whether it was moved can't be told.
            StoreUnavailable: The store doesn't answer; nothing was changed.
        """
        ...


class LocalReader(Protocol):
    """Reads the current snapshot of one model from memory: at once, and without a lock."""

    def find(self, keys: Sequence[bytes], *, with_features: bool = False) -> Found:
        """Look keys up.

        Raises:
            StoreUnavailable: The files can't be read.
        """
        ...

    def find_one(self, key: bytes, /) -> Stored | None:
        """Look one key up, the quickest way.

        Raises:
            StoreUnavailable: The files can't be read.
        """
        ...

    def keep(self, key: bytes, stored: Stored, snapshot: Snapshot) -> bool:
        """Keep a live prediction for a key, for all readers, until the next switch.

        Returns:
            Whether it was kept: not if there is another snapshot by now, or no room.
        """
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


class RemoteReader(Protocol):
    """Reads the current snapshot of one model from a server, for many machines."""

    async def find(self, keys: Sequence[bytes], *, with_features: bool = False) -> Found:
        """Look keys up, as `LocalReader` does.

        Raises:
            StoreUnavailable: The store doesn't answer.
        """
        ...

    async def keep(self, key: bytes, stored: Stored, snapshot: Snapshot) -> bool:
        """See `LocalReader.keep`.

        Raises:
            StoreUnavailable: The store doesn't answer.
        """
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class Store(Protocol):
    """A place for the snapshots of models."""

    def publishing(self, model: str) -> AbstractContextManager[Publication]:
        """Take the right to publish snapshots of a model.

        Raises:
            LeaseHeld: Another process has it.
            StoreUnavailable: The store doesn't answer.
        """
        ...

    def pointer(self, model: str) -> Pointer:
        """Where the pointer of a model stands; to no snapshot if none was published.

        Raises:
            StoreUnavailable: The store doesn't answer.
        """
        ...

    def reader(self, model: str) -> LocalReader | RemoteReader:
        """Open the snapshots of a model for reading, whether there is one yet or not."""
        ...
