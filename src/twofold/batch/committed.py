"""A committed run as what is delivered: its files, its rows, and what tells it from any other."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa

from twofold.batch.manifest import FileEntry, Manifest
from twofold.batch.part_files import part_format
from twofold.errors import TwofoldError, problem

BATCH_ROWS = 16_384


@dataclasses.dataclass(frozen=True)
class Committed:
    """A run in its folder.

    Attributes:
        folder: Where it lies.
        manifest: What it is.
    """

    folder: Path
    manifest: Manifest

    @property
    def run_id(self) -> str:
        """Its name."""
        return self.manifest.run_id

    @property
    def identity(self) -> str:
        """What it shares with no other run, also none of its name; repairs don't change it."""
        run = self.manifest
        parts = [run.run_id, run.predicted_at, run.model.digest, run.input.fingerprint]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]

    @property
    def generation(self) -> int:
        """1, and 1 more for each repair."""
        return 1 + len(self.manifest.repairs)

    def schema(self) -> pa.Schema:
        """The schema of its parts.

        Raises:
            TwofoldError: The first isn't as it was written.
        """
        return self._read(self.manifest.files[0]).schema

    def tables(self) -> Iterator[pa.Table]:
        """Give its parts, in the order of the rows, each checked and one at a time.

        Raises:
            TwofoldError: One isn't as it was written.
        """
        for entry in self.manifest.files:
            yield self._read(entry)

    def _read(self, entry: FileEntry) -> pa.Table:
        read = part_format(self.manifest.settings.format).read
        if read is None:
            raise ValueError("files that don't say their types are delivered as they are")
        path = self.folder / entry.name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != entry.sha256:
                raise damaged(path)
            return read(path)
        except OSError as error:
            raise damaged(path) from error


def damaged(path: Path) -> TwofoldError:
    """Say that a file of a run isn't what its manifest lists."""
    fix = "Was the run repaired meanwhile? Then deliver it again; else restore the file."
    return TwofoldError(problem(str(path), "the file that the manifest lists", "another", fix))


@contextlib.contextmanager
def streamed(
    run: Committed, schema: pa.Schema, tell: Callable[[int], None]
) -> Generator[pa.RecordBatchReader]:
    """Give the rows of a run as a stream in a schema, for a library to take.

    What goes wrong within the stream a library puts into words of its own, or loses; so it is
    raised again here.

    Args:
        run: The run.
        schema: The columns, all of the run's, by name.
        tell: Told the number of rows taken so far.

    Raises:
        TwofoldError: A part isn't as it was written.
    """
    failed: list[BaseException] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from _batches(run, schema, tell)
        except GeneratorExit:
            raise
        except BaseException as error:
            failed.append(error)
            raise

    try:
        yield pa.RecordBatchReader.from_batches(schema, batches())
    except BaseException:
        if failed:
            raise failed[0]  # noqa: B904 - it is the cause of the other
        raise


def _batches(
    run: Committed, schema: pa.Schema, tell: Callable[[int], None]
) -> Iterator[pa.RecordBatch]:
    rows = 0
    for table in run.tables():
        for batch in table.to_batches(max_chunksize=BATCH_ROWS):
            if not batch.num_rows:
                continue
            columns = [_cast(batch.column(field.name), field.type) for field in schema]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
            rows += batch.num_rows
            tell(rows)
    if rows != run.manifest.rows_predicted:
        fix = "Restore the files of the run."
        got = str(rows)
        wanted = f"{run.manifest.rows_predicted} rows"
        raise TwofoldError(problem(str(run.folder), wanted, got, fix))


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    # Only instants lose something: what is finer than a microsecond.
    return column.cast(kind, safe=not pa.types.is_temporal(kind))
