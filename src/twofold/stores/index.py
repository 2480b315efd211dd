"""From a key to the number of its row, over mapped files; natively where that was built.

`src/store/index.h` says how it works. Keys of all rows lie one behind the other in `data`, that of
row i from `offsets[i]` to `offsets[i + 1]`.
"""

from __future__ import annotations

import functools
import importlib
import struct
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

HEADER = struct.Struct("<8sIIQQ")
MAGIC, LAYOUT = b"twofold\1", 1
ROWS_PER_BUCKET = 4
MAX_ROWS = 2**32 - 2
MAX_BITS = 30
PRIME, MIX = 0x880355F21E6D1965, 0x2127599BF4325C37
MASK = 2**64 - 1
ENTRY = np.dtype([("tag", "<u4"), ("row", "<u4")])
NUMBER = struct.Struct("<I")
OFFSETS = struct.Struct("<QQ")
PAIR = struct.Struct("<II")


class Index(Protocol):
    """An open index."""

    def find(self, key: bytes, /) -> int:
        """The row of a key; -1 if there is none."""
        ...


@functools.cache
def native() -> Any:
    """The extension module `twofold._store`; None where no compiler was there to build it."""
    try:
        return importlib.import_module("twofold._store")
    except ImportError:
        return None


def bits_for(rows: int) -> int:
    """How many buckets there are for so many rows, as a power of two."""
    return min(max((rows - 1) // ROWS_PER_BUCKET, 0).bit_length(), MAX_BITS)


def index_bytes(rows: int, bits: int) -> int:
    """The length of an index."""
    return HEADER.size + 4 * (2**bits + 2) + ENTRY.itemsize * rows


def build_index(
    offsets: Any, data: Any, out: Any, *, bits: int, seed: int
) -> tuple[int, int] | None:
    """Write the index of some keys.

    Args:
        offsets: Memory of rows + 1 numbers of 64 bits.
        data: Memory of the keys.
        out: Memory of `index_bytes` bytes to write to.
        bits: See `bits_for`.
        seed: Any number of 64 bits; keys are spread differently with each.

    Returns:
        Two rows with the same key; None if there are none, and the index can be used.

    Raises:
        ValueError: The offsets aren't those of the data, or `out` has another length.
    """
    built = native()
    if built is not None:
        return built.build(offsets, data, bits, seed, out)
    return _build_plain(offsets, data, out, bits=bits, seed=seed)


def open_index(index: Any, offsets: Any, data: Any) -> Index:
    """Open an index over mapped memory.

    Raises:
        ValueError: It isn't one of these keys.
    """
    built = native()
    if built is not None:
        return built.Index(index, offsets, data)
    return PlainIndex(index, offsets, data)


def hash_key(key: bytes, seed: int) -> int:
    """FastHash (Zilong Tan), 64 bits of a key."""
    found = seed ^ (len(key) * PRIME & MASK)
    for first in range(0, len(key), 8):
        word = int.from_bytes(key[first : first + 8], "little")
        found = (found ^ _mixed(word)) * PRIME & MASK
    return _mixed(found)


def _mixed(word: int) -> int:
    word ^= word >> 23
    word = word * MIX & MASK
    return word ^ (word >> 47)


def _build_plain(
    offsets: Any, data: Any, out: Any, *, bits: int, seed: int
) -> tuple[int, int] | None:
    ends, text = np.frombuffer(offsets, "<u8"), bytes(data)
    rows = len(ends) - 1
    is_whole = (
        rows >= 0 and ends[0] == 0 and ends[-1] == len(text) and (ends[:-1] <= ends[1:]).all()
    )
    if not is_whole or bits > MAX_BITS or len(out) != index_bytes(rows, bits):
        raise ValueError("the memory has another length, or the keys aren't whole")
    keys = [text[first:last] for first, last in pairwise(ends.tolist())]
    hashes = np.array([hash_key(key, seed) for key in keys], np.uint64)
    # A shift by all 64 bits is none.
    buckets = (hashes >> np.uint64(1) >> np.uint64(63 - bits)).astype(np.int64)
    order = np.argsort(buckets, kind="stable")
    starts = np.zeros(2**bits + 2, "<u4")
    starts[1:-1] = np.cumsum(np.bincount(buckets, minlength=2**bits))
    entries = np.empty(rows, ENTRY)
    entries["tag"] = (hashes & np.uint64(0xFFFFFFFF))[order]
    entries["row"] = order
    header = HEADER.pack(MAGIC, LAYOUT, bits, rows, seed)
    memoryview(out).cast("B")[:] = header + starts.tobytes() + entries.tobytes()
    seen: dict[bytes, int] = {}
    for row, key in enumerate(keys):
        if seen.setdefault(key, row) != row:
            return seen[key], row
    return None


class PlainIndex:
    """An index as Python reads it."""

    def __init__(self, index: Any, offsets: Any, data: Any) -> None:
        """See `open_index`."""
        self._bytes = memoryview(index).cast("B")
        self._offsets = memoryview(offsets).cast("B")
        self._data = memoryview(data).cast("B")
        self._rows = len(self._offsets) // 8 - 1
        if len(self._bytes) < HEADER.size or len(self._offsets) % 8:
            raise ValueError("not an index of these keys")
        magic, layout, self._bits, rows, self._seed = HEADER.unpack_from(self._bytes)
        if (
            (magic, layout, rows) != (MAGIC, LAYOUT, self._rows)
            or self._bits > MAX_BITS
            or len(self._bytes) != index_bytes(rows, self._bits)
        ):
            raise ValueError("not an index of these keys")
        self._entries_at = index_bytes(0, self._bits)

    def find(self, key: bytes, /) -> int:
        """The row of a key; -1 if there is none."""
        found = hash_key(key, self._seed)
        bucket, wanted = found >> (64 - self._bits), found & 0xFFFFFFFF
        place = HEADER.size + 4 * bucket
        (start,) = NUMBER.unpack_from(self._bytes, place)
        (stop,) = NUMBER.unpack_from(self._bytes, place + 4)
        for at in range(start, stop if stop <= self._rows else start):
            tag, row = PAIR.unpack_from(self._bytes, self._entries_at + ENTRY.itemsize * at)
            if tag == wanted and row < self._rows:
                first, last = OFFSETS.unpack_from(self._offsets, 8 * row)
                if first <= last <= len(self._data) and bytes(self._data[first:last]) == key:
                    return row
        return -1
