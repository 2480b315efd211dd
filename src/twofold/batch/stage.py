"""Staging and commit: files become durable where no reader looks, then visible all at once.

```
DIR/.twofold/RUN_ID/ledger.jsonl     what the run is, which partitions are finished
                    lease            held by the process at work
                    parts/           becomes DIR/RUN_ID by one rename, the commit
                    quarantine/      rows set aside, by partition
                    quarantine.parquet  all of them, if the error budget was overdrawn
```
A crash at any instant leaves a ledger that speaks only of files that are whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from twofold.batch import quarantine
from twofold.batch.ledger import Finished, Ledger, Started, parse_ledger, render_entry
from twofold.batch.manifest import (
    MANIFEST_FILE,
    FileEntry,
    Manifest,
    check_counts,
    render_manifest,
)
from twofold.batch.plan import part_name
from twofold.batch.watch import Step
from twofold.errors import CommitUnknown, ConfigError, TwofoldError, problem

STAGING_FOLDER = ".twofold"
LEDGER_FILE = "ledger.jsonl"
COMPRESSION = "zstd"
COMPRESSION_LEVEL = 1


def staging_folder(output: Path, run_id: str) -> Path:
    """Where a run keeps what isn't committed yet."""
    return output / STAGING_FOLDER / run_id


def read_ledger(folder: Path) -> Ledger:
    """Read the ledger of a staging folder; an empty one if there is none."""
    try:
        return parse_ledger((folder / LEDGER_FILE).read_bytes())
    except FileNotFoundError:
        return parse_ledger(b"")


class Stage:
    """The staging folder of one run. Its caller holds the run's lease."""

    def __init__(self, output: Path, run_id: str, step: Callable[[Step], None]) -> None:
        """Name the places; nothing is touched."""
        self.target = output / run_id
        self.folder = staging_folder(output, run_id)
        self._run_id = run_id
        self._step = step
        self._parts = self.folder / "parts"
        self._quarantine = self.folder / "quarantine"

    def make_folder(self) -> None:
        """Make the staging folder, durably.

        Raises:
            ConfigError: It can't be made.
        """
        try:
            _make_durably(self.target.parent, self.folder.parent, self.folder)
        except OSError as error:
            where = str(self.target.parent)
            raise ConfigError(
                problem(where, "a folder that can be written to", str(error), "Choose another.")
            ) from error

    def resume(self) -> Ledger:
        """Take up what earlier attempts finished.

        Torn ledger lines are cut off; files the ledger doesn't speak of are deleted; a
        partition whose files are no longer as recorded is to be done again, with all after it.
        """
        with self._disk():
            return self._resume()

    def _resume(self) -> Ledger:
        for folder in (self._parts, self._quarantine):
            folder.mkdir(exist_ok=True)
        ledger = read_ledger(self.folder)
        path = self.folder / LEDGER_FILE
        if path.exists():
            if path.stat().st_size > ledger.valid_bytes:
                os.truncate(path, ledger.valid_bytes)
            # An earlier attempt may have ended between writing a line and syncing it.
            _sync(path)
        _sync(self.folder)
        sound: list[Finished] = []
        for entry in ledger.finished:
            if not self._is_sound(entry):
                break
            sound.append(entry)
        parts = {entry.part.name for entry in sound}
        set_aside = {entry.quarantine.name for entry in sound if entry.quarantine}
        _delete_others(self._parts, parts)
        _delete_others(self._quarantine, set_aside)
        (self.folder / quarantine.QUARANTINE_FILE).unlink(missing_ok=True)
        return Ledger(ledger.started, tuple(sound), ledger.valid_bytes)

    def start(self, entry: Started) -> None:
        """Record the start of the run."""
        with self._disk():
            self._step(Step.START)
            self._append(entry)
            _sync(self.folder)

    def finish(
        self, partition: int, first_row: int, part: pa.Table, set_aside: pa.Table
    ) -> Finished:
        """Stage a partition's files, and record it once they are safe."""
        with self._disk():
            return self._finish(partition, first_row, part, set_aside)

    def _finish(
        self, partition: int, first_row: int, part: pa.Table, set_aside: pa.Table
    ) -> Finished:
        rows = part.num_rows + set_aside.num_rows
        file = self._write(self._parts / part_name(partition), [part], part.schema)
        kept: FileEntry | None = None
        if set_aside.num_rows:
            path = self._quarantine / quarantine.part_name(partition)
            kept = self._write(path, [set_aside], quarantine.SCHEMA)
        entry = Finished(
            partition=partition, first_row=first_row, rows_in=rows, part=file, quarantine=kept
        )
        self._step(Step.FINISH)
        self._append(entry)
        return entry

    def show_quarantine(self, finished: Iterable[Finished], also: pa.Table) -> Path:
        """Write what was set aside so far to where the operator is told to look."""
        path = self.folder / quarantine.QUARANTINE_FILE
        with self._disk():
            self._step(Step.QUARANTINE)
            self._write(path, [*self._set_aside(finished), also], quarantine.SCHEMA)
        return path

    def merge_quarantine(self, finished: Iterable[Finished]) -> FileEntry | None:
        """Write the run's quarantine beside its parts, if any row was set aside."""
        tables = self._set_aside(finished)
        first = next(tables, None)
        if first is None:
            return None
        path = self._parts / quarantine.QUARANTINE_FILE
        with self._disk():
            self._step(Step.QUARANTINE)
            return self._write(path, _chain(first, tables), quarantine.SCHEMA)

    def commit(self, manifest: Manifest) -> None:
        """Make the run visible, all at once.

        Raises:
            TwofoldError: The counts don't agree; nothing is visible.
            CommitUnknown: The run may or may not be visible after a crash of the machine.
        """
        check_counts(manifest)
        with self._disk():
            self._commit(manifest)

    def _commit(self, manifest: Manifest) -> None:
        self._step(Step.MANIFEST)
        path = self._parts / MANIFEST_FILE
        with path.open("wb") as file:
            file.write(render_manifest(manifest))
            file.flush()
            os.fsync(file.fileno())
        _sync(self._parts)
        self._step(Step.COMMIT)
        try:
            # The commit point: before it no reader sees the run, after it every reader does.
            self._parts.rename(self.target)
        except OSError as error:
            if (self.target / MANIFEST_FILE).exists():
                raise self._unknown(error) from error
            raise
        try:
            self._step(Step.SYNC)
        except OSError as error:
            raise self._unknown(error) from error
        self.settle()

    def settle(self) -> None:
        """Make sure that a commit outlives a crash of the machine, and clean up behind it.

        Whoever made it may have come no further than that.

        Raises:
            CommitUnknown: It may not be on disk.
        """
        try:
            for folder in (self.target.parent, self.folder):
                if folder.exists():
                    _sync(folder)
        except OSError as error:
            raise self._unknown(error) from error
        # The run is done, whatever becomes of what it has left.
        with contextlib.suppress(OSError):
            _delete_others(self._quarantine, set())
            self._quarantine.rmdir()

    @contextlib.contextmanager
    def _disk(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            fix = "Make room; then run the same command again, it goes on from here."
            where = str(self.folder)
            raise TwofoldError(problem(where, "a disk to write to", str(error), fix)) from error

    def _unknown(self, error: OSError) -> CommitUnknown:
        return CommitUnknown(
            problem(
                str(self.target),
                "a commit that is surely on disk",
                str(error),
                f"Look whether {MANIFEST_FILE} is there, then run again with "
                f"--run-id {self._run_id}.",
            )
        )

    def _append(self, entry: Started | Finished) -> None:
        with (self.folder / LEDGER_FILE).open("ab") as file:
            file.write(render_entry(entry))
            file.flush()
            os.fsync(file.fileno())

    def _set_aside(self, finished: Iterable[Finished]) -> Iterator[pa.Table]:
        for entry in finished:
            if entry.quarantine:
                with pq.ParquetFile(self._quarantine / entry.quarantine.name) as file:
                    yield file.read()

    def _is_sound(self, entry: Finished) -> bool:
        files = [(self._parts, entry.part), (self._quarantine, entry.quarantine)]
        return all(
            file is None or _digest(folder / file.name) == file.sha256 for folder, file in files
        )

    def _write(self, path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> FileEntry:
        """Write a Parquet file under its final name only when it is whole and on disk."""
        self._step(Step.WRITE)
        draft = self.folder / "draft.parquet"
        rows = 0
        with (
            # Not Arrow's own file, which doesn't say why it can't be closed.
            draft.open("wb") as sink,
            pq.ParquetWriter(
                sink,
                schema,
                compression=COMPRESSION,
                compression_level=COMPRESSION_LEVEL,
                use_dictionary=_repetitive(schema),  # type: ignore[arg-type] - names will do
            ) as writer,
        ):
            for table in tables:
                rows += table.num_rows
                writer.write_table(table, row_group_size=max(1, table.num_rows))
        _sync(draft)
        with pq.ParquetFile(draft) as file:
            found = file.metadata.num_rows
        digest = _digest(draft)
        if found != rows or digest is None:
            fix = "Check the disk; then run the same command again."
            raise TwofoldError(problem(str(path), f"{rows} rows on disk", str(found), fix))
        self._step(Step.RENAME)
        draft.replace(path)
        _sync(path.parent)
        return FileEntry(name=path.name, rows=rows, bytes=path.stat().st_size, sha256=digest)


def _repetitive(schema: pa.Schema) -> list[str]:
    """The columns that dictionaries make smaller.

    Of keys and predictions hardly two are alike: looking for it takes longer than all else in
    writing them.
    """
    return [
        field.name
        for field in schema
        if not pa.types.is_floating(field.type) and not pa.types.is_integer(field.type)
    ]


def _chain(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from rest


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _delete_others(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()


def _make_durably(output: Path, *below: Path) -> None:
    """Make folders so that a crash of the machine takes none of them away, nor those above.

    One by one, each entry on disk before there is anything behind it: an attempt that goes on
    after another was killed here has to look no further than the deepest folder it finds.
    """
    output = output.absolute()
    folders = [*reversed(output.parents), output, *below]
    missing = [place for place, folder in enumerate(folders) if not folder.exists()]
    deepest = missing[0] - 1 if missing else len(folders)
    for folder in folders[min(deepest, folders.index(output)) :]:
        is_new = not folder.exists()
        if is_new:
            folder.mkdir(exist_ok=True)
        try:
            _sync(folder.parent)
        except PermissionError:
            # Whoever may not look into the folder above hasn't made this one there.
            if is_new:
                raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
