"""The files of a snapshot in a folder: columns by row number, and the index of the keys.

========== =====================================================================================
keys       the keys of all rows, one behind the other; `keys.ends` says where each begins
index      from a key to its row; see `twofold.stores.index`
values-N   of output N: numbers of 8 bytes, booleans of 1, or texts, with `values-N.ends`
later      rows that were predicted at another instant than the run, ascending; `later.at` says
           when, in microseconds since 1970
features   the input's fields, if they are published: an Arrow file
files.json digests of all of these
========== =====================================================================================

They are written once, read back, and never changed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Self

import msgspec
import numpy as np
import pyarrow as pa
import xxhash

from twofold.durable import sync
from twofold.errors import InvalidInput, TwofoldError, problem
from twofold.model import arrow
from twofold.stores.index import MAX_ROWS, bits_for, build_index, index_bytes
from twofold.stores.snapshot import Snapshot
from twofold.stores.store import Rows
from twofold.stores.values import to_micros

KEYS, INDEX, LATER, FEATURES, DIGESTS = "keys", "index", "later", "features", "files.json"
ENDS, INSTANTS = ".ends", ".at"
READ_BYTES = 1 << 20


def values_name(output: int) -> str:
    """The file of an output's predictions."""
    return f"values-{output}"


class FileDigest(msgspec.Struct, frozen=True):
    """What binds the content of a file: its length, and its XXH3 of 128 bits."""

    bytes: int
    xxh128: str


class _Column:
    """A file that is written once, from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self._digest = xxhash.xxh3_128()
        self._file: IO[bytes] = path.open("xb", buffering=READ_BYTES)

    def write(self, data: Any) -> None:
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._digest.update(view)
        self.bytes += len(view)

    def finish(self) -> FileDigest:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return FileDigest(self.bytes, self._digest.hexdigest())

    def close(self) -> None:
        self._file.close()


class _Texts:
    """Texts, or bytes, one behind the other, and where each begins."""

    def __init__(self, path: Path) -> None:
        self.data = _Column(path)
        self.ends = _Column(path.with_name(path.name + ENDS))
        self.ends.write(np.zeros(1, "<u8"))

    def write(self, column: pa.Array) -> None:
        column = column.cast(pa.large_binary())
        _, offsets, data = column.buffers()
        if not len(column):
            return
        ends = np.frombuffer(offsets, "<i8")[column.offset : column.offset + len(column) + 1]
        first, last = int(ends[0]), int(ends[-1])
        self.ends.write((ends[1:] - first + self.data.bytes).astype("<u8"))
        if last > first:
            self.data.write(memoryview(data)[first:last])


class SnapshotWriter:
    """Writes the files of a snapshot; used as a context, which closes them."""

    def __init__(self, folder: Path, snapshot: Snapshot) -> None:
        """Begin to write into a folder that is there and empty."""
        self._folder = folder
        self._snapshot = snapshot
        self._rows = 0
        self._keys = _Texts(folder / KEYS)
        paths = [folder / values_name(output) for output in range(len(snapshot.outputs))]
        make = _Texts if snapshot.type == "string" else _Column
        self._values: list[_Texts | _Column] = [make(path) for path in paths]
        self._later = _Column(folder / LATER)
        self._later_at = _Column(folder / (LATER + INSTANTS))
        self._predicted_at = to_micros(snapshot.predicted_at)
        self._features: Any = None

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open: all is on disk already, or of no use."""
        for column in self._columns():
            with contextlib.suppress(OSError):
                column.close()
        with contextlib.suppress(OSError, pa.ArrowException):
            self._close_features()

    def _close_features(self) -> bool:
        """Close the file of the features, if there is one; once, since that writes its end."""
        features, self._features = self._features, None
        if features is not None:
            features.close()
        return features is not None

    def _columns(self) -> list[_Column]:
        found = [self._later, self._later_at]
        for item in (self._keys, *self._values):
            found += [item.data, item.ends] if isinstance(item, _Texts) else [item]
        return found

    def write_all(self, rows: Iterable[Rows]) -> None:
        """Write all rows, and have them on disk.

        Raises:
            InvalidInput: There are too many, or a key stands twice.
            OSError: The disk is full, or broken.
        """
        for some in rows:
            self._write(some)
        digests = {column.path.name: column.finish() for column in self._columns()}
        if self._close_features():
            sync(self._folder / FEATURES)
            digests[FEATURES] = digest_of(self._folder / FEATURES)
        self._write_index()
        digests[INDEX] = digest_of(self._folder / INDEX)
        path = self._folder / DIGESTS
        path.write_bytes(msgspec.json.format(msgspec.json.encode(digests)))
        sync(path)
        sync(self._folder)

    def _write(self, rows: Rows) -> None:
        if self._rows + len(rows.keys) > MAX_ROWS:
            fix = "Split them by region or kind into several models."
            raise InvalidInput(
                problem(self._snapshot.model, f"at most {MAX_ROWS} keys", "more", fix)
            )
        self._keys.write(rows.keys)
        for file, column in zip(self._values, rows.predictions, strict=True):
            if isinstance(file, _Texts):
                file.write(column)
            elif pa.types.is_boolean(column.type):
                file.write(arrow.numbers(column.cast(pa.uint8())))
            else:
                kind = "<i8" if self._snapshot.type == "int64" else "<f8"
                file.write(np.ascontiguousarray(arrow.numbers(column), kind))
        instants = arrow.numbers(rows.predicted_at.cast(pa.int64()))
        later = np.flatnonzero(instants != self._predicted_at)
        if len(later):
            self._later.write((later + self._rows).astype("<u8"))
            self._later_at.write(instants[later].astype("<i8"))
        if rows.features is not None:
            if self._features is None:
                path = str(self._folder / FEATURES)
                self._features = pa.ipc.new_file(path, rows.features.schema)
            self._features.write_batch(rows.features)
        self._rows += len(rows.keys)

    def _write_index(self) -> None:
        bits = bits_for(self._rows)
        path = self._folder / INDEX
        with path.open("xb+") as file, contextlib.ExitStack() as held:
            os.posix_fallocate(file.fileno(), 0, index_bytes(self._rows, bits))
            out = held.enter_context(mmap.mmap(file.fileno(), 0))
            ends = map_file(self._folder / (KEYS + ENDS))
            data = map_file(self._folder / KEYS)
            twins = build_index(ends, data, out, bits=bits, seed=secrets.randbits(64))
            if twins is not None:
                raise _twice(ends, data, twins)
            out.flush()
            os.fsync(file.fileno())


def map_file(path: Path) -> Any:
    """The bytes of a file, mapped; nothing of it is in memory that isn't read.

    Raises:
        OSError: There is no such file.
    """
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return b""  # nothing can't be mapped
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def digest_of(path: Path) -> FileDigest:
    """Read a file, and tell what binds it."""
    digest, count = xxhash.xxh3_128(), 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(READ_BYTES):
            digest.update(data)
            count += len(data)
    return FileDigest(count, digest.hexdigest())


def verify_files(folder: Path) -> int:
    """Read a snapshot's files back.

    Returns:
        Its keys.

    Raises:
        TwofoldError: One of them isn't as it was written.
        OSError: One can't be read.
    """
    try:
        written = msgspec.json.decode((folder / DIGESTS).read_bytes(), type=dict[str, FileDigest])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_as_written(folder / DIGESTS, "digests", str(error)) from error
    for name, digest in written.items():
        found = digest_of(folder / name)
        if found != digest:
            raise _not_as_written(folder / name, f"{digest}", f"{found}")
    return written[KEYS + ENDS].bytes // 8 - 1


def _not_as_written(path: Path, expected: str, got: str) -> TwofoldError:
    fix = "Publish the run again; if it happens again, look at the disk."
    return TwofoldError(problem(str(path), expected, got, fix))


def _twice(ends: Any, data: Any, twins: tuple[int, int]) -> InvalidInput:
    row = twins[0]
    first, last = np.frombuffer(ends, "<u8", count=2, offset=8 * row).tolist()
    key = bytes(data[first : min(last, first + 80)]).decode("utf-8", "replace")
    return InvalidInput(
        problem(
            "key",
            "each key once",
            f"{key!r} in rows {twins[0] + 1} and {twins[1] + 1} of the predicted ones",
            "Predict each of them once; which of two predictions is meant, nobody can tell.",
        )
    )
