"""Where a Redis server keeps snapshots: the names of its keys, buckets of rows, atomic steps.

| key | what |
| --- | --- |
| `twofold:{MODEL}:pointer` | a hash: `pointer` is its JSON, `mark` tells it from others |
| `twofold:{MODEL}:lock` | the token of who publishes; ends by itself |
| `twofold:{MODEL}:written` | a hash: the names of snapshots that may have rows, and how many |
| `twofold:{MODEL}:live:MARK` | a hash: live predictions by key, as long as the mark is that |
| `twofold:{MODEL:SNAPSHOT:BUCKET}:rows` | a hash: some rows of a snapshot, by key |

What changes together is in one slot of a cluster, for which the braces stand; the rows are spread
over all. Rows lie in small hashes because Redis packs those: a key of its own for each row takes
several times the memory. But for the lock no key ends by itself: an old snapshot is better than
none.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import xxhash

from twofold.errors import StoreUnavailable, problem
from twofold.stores.snapshot import Pointer, Snapshot
from twofold.stores.store import Rows
from twofold.stores.values import encode_rows

ROWS_PER_BUCKET = 64
"""Redis packs hashes of up to 128 fields. It can't be changed: readers of old snapshots know it."""
MAX_COMMAND_ROWS = 1_000
"""Rows that are written with one command: for a snapshot with more rows than it says."""
STEP_ROWS = 16_384
"""Rows that are packed at once."""
SHA1_BYTES, CHECKSUM_BYTES = 20, 5
"""Of a digest, and of it in the sum of a bucket, which Lua has as a float."""
WINDOW_ROWS = 262_144
WINDOW_BYTES = 64 << 20
"""Rows that are sorted into buckets together: the more, the fewer commands."""

Command = tuple[Any, ...]
"""A command of Redis, and what it is given: bytes, texts and whole numbers."""

TAKE = """
local pointer = redis.call('HGET', KEYS[2], 'pointer')
if redis.call('GET', KEYS[1]) ~= ARGV[1]
    and not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return {0, pointer} end
return {1, pointer}
"""
"""Take the lock, also if it is sent twice; read the pointer, as nobody else moves it any more."""
RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
BEGIN = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1
"""
"""Say that a snapshot will have rows, before it has any: so they are found if we die."""
POINT = """
local pointer = redis.call('HGET', KEYS[2], 'pointer') or ''
if pointer == ARGV[3] then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] or pointer ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], 'pointer', ARGV[3], 'mark', ARGV[4])
redis.call('UNLINK', KEYS[3])
return 1
"""
"""Move the pointer if it is what we know, and we hold the lock; doing it twice does no harm."""
SETTLE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return redis.call('HGET', KEYS[2], 'pointer')
"""
"""Change the lock's token, so that a move that is still under way fails; say what came of it."""
LEFT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
if (redis.call('HGET', KEYS[2], 'pointer') or '') ~= ARGV[2] then return false end
return redis.call('HGETALL', KEYS[3])
"""
"""List what was written, as long as nobody else can have begun to write."""
READ_BACK = """
local rows, sum = redis.call('HGETALL', KEYS[1]), 0
local digest, first, number = redis.sha1hex, string.sub, tonumber
for at = 1, #rows, 2 do
    local row = #rows[at] .. ':' .. rows[at] .. rows[at + 1]
    sum = sum + number(first(digest(row), 1, 10), 16)
end
return {#rows / 2, string.format('%.0f', sum)}
"""
"""How many rows a bucket has, and the sum of their checksums, in whatever order they lie."""
KEEP = """
if redis.call('HGET', KEYS[1], 'mark') ~= ARGV[1] then return 0 end
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0
    and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1
"""
"""Keep a live prediction if the pointer is what we know, and there is room."""


class Names:
    """The keys of one model."""

    def __init__(self, model: str) -> None:
        """Name them."""
        self.pointer = f"twofold:{{{model}}}:pointer"
        self.lock = f"twofold:{{{model}}}:lock"
        self.written = f"twofold:{{{model}}}:written"
        self._model = model

    def live(self, mark: str) -> str:
        """Where live predictions are kept while the pointer has a mark."""
        return f"twofold:{{{self._model}}}:live:{mark}"


def mark_of(pointer: Pointer | None) -> str:
    """What tells a pointer from every other of its model, also from one on a server made anew."""
    if pointer is None or not pointer.switches:
        return ""
    return f"{pointer.switches}:{pointer.current.name if pointer.current else ''}"


def not_ours(address: str, snapshot: Snapshot, error: Exception) -> StoreUnavailable:
    """Say that something else lies where a prediction should."""
    where = f"{address} {snapshot.model} {snapshot.name}"
    fix = "Publish the run again."
    return StoreUnavailable(problem(where, "a prediction as it was written", str(error), fix))


class Buckets:
    """Where the rows of a snapshot lie."""

    def __init__(self, model: str, name: str, rows: int) -> None:
        """Count them."""
        self.number = max(1, -(-rows // ROWS_PER_BUCKET))
        self._prefix = f"twofold:{{{model}:{name}:".encode()

    @classmethod
    def of(cls, snapshot: Snapshot) -> Buckets:
        """Those of a snapshot."""
        return cls(snapshot.model, snapshot.name, snapshot.rows)

    def at(self, bucket: int) -> bytes:
        """The name of a bucket."""
        return b"%b%d}:rows" % (self._prefix, bucket)

    def holding(self, key: bytes) -> bytes:
        """The name of the bucket that holds a key."""
        return self.at(xxhash.xxh3_64_intdigest(key) % self.number)

    def all(self) -> Iterator[bytes]:
        """The names of all."""
        return map(self.at, range(self.number))


class Group(NamedTuple):
    """Rows of one bucket, to be written with one command.

    Attributes:
        rows: Which of the window's.
        command: The command.
    """

    rows: list[int]
    command: Command


class Window:
    """Some rows of a snapshot, and what of them goes to which bucket."""

    def __init__(self) -> None:
        """Begin with none."""
        self.keys: list[bytes] = []
        self.values: list[bytes] = []
        self.size_bytes = 0
        self.hashes: np.ndarray[Any, np.dtype[np.uint64]] = np.empty(0, np.uint64)

    @property
    def is_full(self) -> bool:
        """Whether no more rows are to be added."""
        return len(self.keys) >= WINDOW_ROWS or self.size_bytes >= WINDOW_BYTES

    def add(self, rows: Rows) -> None:
        """Add rows."""
        keys, values = rows.keys.to_pylist(), list(encode_rows(rows))
        self.keys += keys
        self.values += values
        self.size_bytes += sum(map(len, keys)) + sum(map(len, values))

    def groups(self, buckets: Buckets) -> Iterator[Group]:
        """Sort the rows into buckets."""
        self.hashes = np.array([xxhash.xxh3_64_intdigest(key) for key in self.keys], np.uint64)
        wanted = self.hashes % np.uint64(buckets.number)
        order = np.argsort(wanted, kind="stable")
        wanted = wanted[order]
        starts = [0, *(np.flatnonzero(wanted[1:] != wanted[:-1]) + 1).tolist(), len(order)]
        rows, names = order.tolist(), wanted.tolist()
        for start, stop in itertools.pairwise(starts):
            name = buckets.at(names[start])
            for first in range(start, stop, MAX_COMMAND_ROWS):
                group = rows[first : min(stop, first + MAX_COMMAND_ROWS)]
                yield Group(group, self._command(name, group))

    def _command(self, name: bytes, group: list[int]) -> Command:
        command: list[Any] = ["HSET", name, *group, *group]
        command[2::2] = map(self.keys.__getitem__, group)
        command[3::2] = map(self.values.__getitem__, group)
        return tuple(command)

    def checksum(self) -> int:
        """The sum of the rows' checksums, as READ_BACK has it."""
        rows = map(
            b"%d:%b%b".__mod__, zip(map(len, self.keys), self.keys, self.values, strict=True)
        )
        # It is what Redis has, against damage, not against anybody.
        digests = b"".join([hashlib.sha1(row, usedforsecurity=False).digest() for row in rows])
        first = np.frombuffer(digests, np.uint8).reshape(-1, SHA1_BYTES)[:, :CHECKSUM_BYTES]
        return sum(
            int(place) << 8 * at for at, place in enumerate(reversed(first.sum(0, np.int64)))
        )

    def twice(
        self, doubtful: Sequence[int], before: Sequence[np.ndarray[Any, np.dtype[np.uint64]]]
    ) -> bytes | None:
        """Find a key that stands twice.

        Args:
            doubtful: Rows of which one was there already, says the server.
            before: Hashes of the rows of earlier windows.

        Returns:
            It; None if there is none: a command that was sent twice finds its own rows.
        """
        seen: set[bytes] = set()
        for key in self.keys:
            if key in seen:
                return key
            seen.add(key)
        for hashes in before:
            found = np.flatnonzero(np.isin(self.hashes[list(doubtful)], hashes))
            if len(found):
                return self.keys[doubtful[int(found[0])]]
        return None


def windows(rows: Iterable[Rows]) -> Iterator[Window]:
    """Collect rows, in bounded memory."""
    window = Window()
    for batch in rows:
        for step in _steps(batch):
            window.add(step)
            if window.is_full:
                yield window
                window = Window()
    if window.keys:
        yield window


def _steps(rows: Rows) -> Iterator[Rows]:
    for start in range(0, len(rows.keys), STEP_ROWS):
        features = rows.features
        yield Rows(
            rows.keys.slice(start, STEP_ROWS),
            tuple(column.slice(start, STEP_ROWS) for column in rows.predictions),
            rows.predicted_at.slice(start, STEP_ROWS),
            None if features is None else features.slice(start, STEP_ROWS),
        )
