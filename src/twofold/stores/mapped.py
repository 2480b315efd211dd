"""A snapshot whose files are mapped: found by key without a lock, a copy, or a system call.

All processes that read it share the memory of its files; what they don't read isn't in memory.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from twofold.stores.files import (
    ENDS,
    FEATURES,
    INDEX,
    INSTANTS,
    KEYS,
    LATER,
    map_file,
    values_name,
)
from twofold.stores.index import native, open_index
from twofold.stores.snapshot import Snapshot, Stored
from twofold.stores.values import Origins, to_micros

MAX_ENTER_NS = 2_000_000
"""At opening, for pages that are in memory anyway: about 80 MB of them. See `src/store/enter.h`."""
FORMATS: dict[str, Any] = {"float64": "d", "float32": "d", "int64": "q", "bool": "?"}


class MappedSnapshot:
    """A snapshot, open.

    Attributes:
        snapshot: What is known of it.
        find_row: Gives the row of a key; -1 if there is none.
        quick: Looks one key up, the quickest way.
    """

    def __init__(self, folder: Path, snapshot: Snapshot) -> None:
        """Map its files.

        Raises:
            FileNotFoundError: It was deleted meanwhile.
            OSError: It can't be read.
            ValueError: It isn't as it was written.
        """
        self.snapshot = snapshot
        self._origins = Origins(snapshot)
        self._origin = self._origins.at(to_micros(snapshot.predicted_at))
        names = (INDEX, KEYS + ENDS, KEYS)
        index, ends, data = keys = [map_file(folder / name) for name in names]
        self.find_row = open_index(index, ends, data).find
        if len(ends) != 8 * (snapshot.rows + 1):
            raise ValueError("another number of keys than was written")
        outputs = range(len(snapshot.outputs))
        self._values = [_values(folder / values_name(at), snapshot) for at in outputs]
        _enter_pages([*keys, *self._values])
        self._only = self._values[0] if len(self._values) == 1 else None
        self._later = _numbers(folder / LATER, "Q")
        self._later_at = _numbers(folder / (LATER + INSTANTS), "q", len(self._later))
        has_features = bool(snapshot.features and snapshot.rows)
        self._features = _Features(folder / FEATURES) if has_features else None
        self.quick = self.find if self._only is None or len(self._later) else self._quick()

    def _quick(self) -> Callable[[bytes], Stored | None]:
        """What `find` does where there is but one prediction, and one origin."""
        find_row, origin = self.find_row, self._origin
        values: Any = self._only

        def find(key: bytes) -> Stored | None:
            row = find_row(key)
            return None if row < 0 else Stored((values[row],), origin)

        return find

    def find(self, key: bytes, *, with_features: bool = False) -> Stored | None:
        """Look a key up."""
        row = self.find_row(key)
        if row < 0:
            return None
        only = self._only
        predictions = (
            tuple(values[row] for values in self._values) if only is None else (only[row],)
        )
        origin = self._later_origin(row) if self._later else self._origin
        if with_features and self._features is not None:
            return Stored(predictions, origin, self._features.row(row))
        return Stored(predictions, origin)

    def _later_origin(self, row: int) -> Any:
        at = bisect_left(self._later, row)
        if at == len(self._later) or self._later[at] != row:
            return self._origin
        return self._origins.at(self._later_at[at])


def _enter_pages(memories: Iterable[Any]) -> None:
    """Spare the first look-ups what they would wait for, while that takes no time to speak of."""
    built, left_ns = native(), MAX_ENTER_NS
    if built is None:
        return
    for memory in memories:
        if not isinstance(memory, _Texts):
            left_ns = built.enter_pages(memory, left_ns)


def _values(path: Path, snapshot: Snapshot) -> Any:
    if snapshot.type == "string":
        return _Texts(path, snapshot.rows)
    return _numbers(path, FORMATS[snapshot.type], snapshot.rows)


def _numbers(path: Path, format: Any, count: int | None = None) -> Any:  # noqa: A002 - as `cast`
    """The numbers of a file, of which there are so many."""
    found = memoryview(map_file(path))
    width = struct.calcsize(format)
    if len(found) % width or count not in {None, len(found) // width}:
        raise ValueError(f"another number of {path.name} than was written")
    return found.cast(format)


class _Texts:
    """Texts by row number."""

    def __init__(self, path: Path, count: int) -> None:
        self._ends = _numbers(path.with_name(path.name + ENDS), "Q", count + 1)
        self._data = map_file(path)

    def __getitem__(self, row: int) -> str:
        return self._data[self._ends[row] : self._ends[row + 1]].decode()


class _Features:
    """The features of each row, which lie in batches.

    The file is opened with the others, as it may be deleted; it is looked into when needed.
    """

    def __init__(self, path: Path) -> None:
        self._file = pa.ipc.open_file(pa.memory_map(str(path)))
        self._ends: list[int] = []

    def row(self, row: int) -> dict[str, Any]:
        if not self._ends:
            batches = (self._file.get_batch(at) for at in range(self._file.num_record_batches))
            self._ends = [*accumulate(batch.num_rows for batch in batches)]
        at = bisect_right(self._ends, row)
        start = self._ends[at - 1] if at else 0
        return self._file.get_batch(at).slice(row - start, 1).to_pylist()[0]
