"""Staging and commit: files become durable where no reader looks, then visible all at once.

```
DIR/.twofold/RUN_ID/lease            held by the process at work
                    quarantine.parquet  rows set aside, if the error budget was overdrawn
                    attempt-000001/  named anew by each process that takes the run over
                        ledger.jsonl what the run is, which partitions are finished
                        parts/       becomes DIR/RUN_ID by one rename, the commit
                        quarantine/  rows set aside, by partition
                        answer/      what a database said, until the commit
```
A crash at any instant leaves a ledger that speaks only of files that are whole.

The number of the attempt is a fencing token: a process that lost its lease without knowing (it
was stopped for an hour, its network file system forgot the lock) finds no folder by the name it
knows, so that it can neither record anything nor commit. What it still writes to files it has
open, nobody reads: the files of an attempt get their names when they are whole, and whoever takes
over removes the others.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from twofold.batch import quarantine
from twofold.batch.exchange import exchange
from twofold.batch.ledger import Answered, Finished, Ledger, Started, parse_ledger, render_entry
from twofold.batch.local import cores
from twofold.batch.manifest import (
    MANIFEST_FILE,
    FileEntry,
    Manifest,
    check_counts,
    render_manifest,
)
from twofold.batch.parallel import in_parallel
from twofold.batch.part_files import PARQUET, PartFormat
from twofold.batch.plan import part_name
from twofold.batch.watch import Step, utc_now
from twofold.durable import make_durably, sync
from twofold.errors import (
    CommitUnknown,
    ConfigError,
    InvalidInput,
    LeaseHeld,
    TwofoldError,
    problem,
)

STAGING_FOLDER = ".twofold"
ATTEMPT = "attempt-"
LEDGER_FILE = "ledger.jsonl"
DRAFT_FILE = "draft"
TAKEN = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY}
"""How a folder is refused that another process has just renamed."""
READ_ATTEMPTS = 10
"""A reader of the ledger may find it renamed under its hands, once for each process that fails."""


def staging_folder(output: Path, run_id: str) -> Path:
    """Where a run keeps what isn't committed yet."""
    return output / STAGING_FOLDER / run_id


def read_ledger(folder: Path) -> Ledger:
    """Read the ledger of a staging folder; an empty one if there is none."""
    for _ in range(READ_ATTEMPTS):
        number = _newest_attempt(folder)
        if number is None:
            break
        try:
            return parse_ledger((_attempt(folder, number) / LEDGER_FILE).read_bytes())
        except FileNotFoundError:
            if _newest_attempt(folder) == number:
                break
    return parse_ledger(b"")


class Stage:
    """The staging folder of one run. Its caller holds the run's lease.

    `take_over` comes before everything that reads or writes an attempt.
    """

    def __init__(
        self,
        output: Path,
        run_id: str,
        step: Callable[[Step], None],
        parts: PartFormat = PARQUET,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Name the places and the format of the parts; nothing is touched."""
        self.target = output / run_id
        self.folder = staging_folder(output, run_id)
        self._run_id = run_id
        self._step = step
        self._format = parts
        self._clock = clock
        self._be(0)

    def _be(self, number: int) -> None:
        self._number = number
        self._work = _attempt(self.folder, number)
        self._parts = self._work / "parts"
        self._quarantine = self._work / "quarantine"
        self.answer = self._work / "answer" / "answer.parquet"

    def make_folder(self) -> None:
        """Make the staging folder, durably.

        Raises:
            ConfigError: It can't be made.
        """
        try:
            make_durably(self.target.parent, self.folder.parent, self.folder)
        except OSError as error:
            where = str(self.target.parent)
            raise ConfigError(
                problem(where, "a folder that can be written to", str(error), "Choose another.")
            ) from error

    def take_over(self) -> None:
        """Shut out whoever worked on the run before: from now on it can't record nor commit."""
        with self._disk():
            self._step(Step.TAKE_OVER)
            before = _newest_attempt(self.folder)
            self._be((before or 0) + 1)
            try:
                if before is None:
                    self._work.mkdir()
                else:
                    _attempt(self.folder, before).rename(self._work)
            except OSError as error:
                if error.errno in TAKEN:
                    raise self._fenced() from error
                raise
            sync(self.folder)

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
        # Another process may still have it open and write to it.
        (self._work / DRAFT_FILE).unlink(missing_ok=True)
        ledger = read_ledger(self.folder)
        path = self._work / LEDGER_FILE
        if path.exists():
            if path.stat().st_size > ledger.valid_bytes:
                os.truncate(path, ledger.valid_bytes)
            # An earlier attempt may have ended between writing a line and syncing it.
            sync(path)
        sync(self._work)
        answered = ledger.answered
        if answered and _digest(self.answer) != answered.file.sha256:
            answered = None
        is_lost = ledger.answered is not None and answered is None
        entries = () if is_lost else ledger.finished
        are_sound = in_parallel(self._is_sound, entries, limit=cores())
        count = (*are_sound, False).index(False)
        sound = entries[:count]
        parts = {entry.part.name for entry in sound}
        set_aside = {entry.quarantine.name for entry in sound if entry.quarantine}
        _delete_others(self._parts, parts)
        _delete_others(self._quarantine, set_aside)
        (self.folder / quarantine.QUARANTINE_FILE).unlink(missing_ok=True)
        return Ledger(ledger.started, sound, ledger.valid_bytes, answered)

    def start(self, entry: Started) -> None:
        """Record the start of the run."""
        with self._disk():
            self._step(Step.START)
            self._append(entry)
            sync(self._work)

    def keep_answer(
        self, tables: Iterable[pa.Table], schema: pa.Schema, read_at: datetime
    ) -> Answered:
        """Keep what a database says, and record it once it is safe."""
        with self._disk():
            self.answer.parent.mkdir(exist_ok=True)
            entry = Answered(
                file=self._write(self.answer, PARQUET, tables, schema), read_at=read_at
            )
            self._step(Step.ANSWER)
            self._append(entry)
            return entry

    def finish(
        self,
        partition: int,
        first_row: int,
        part: pa.Table,
        set_aside: pa.Table,
        sketch: bytes | None = None,
        began_at: datetime | None = None,
    ) -> Finished:
        """Stage a partition's files, and record it, with its sketch, once they are safe.

        When they were is recorded beside when it began, if that is known.
        """
        with self._disk():
            return self._finish(partition, first_row, part, set_aside, sketch, began_at)

    def _finish(
        self,
        partition: int,
        first_row: int,
        part: pa.Table,
        set_aside: pa.Table,
        sketch: bytes | None,
        began_at: datetime | None,
    ) -> Finished:
        rows = part.num_rows + set_aside.num_rows
        name = part_name(partition, self._format.suffix)
        file = self._write(self._parts / name, self._format, [part], part.schema)
        kept: FileEntry | None = None
        if set_aside.num_rows:
            path = self._quarantine / quarantine.part_name(partition)
            kept = self._write(path, PARQUET, [set_aside], quarantine.SCHEMA)
        entry = Finished(
            partition=partition,
            first_row=first_row,
            rows_in=rows,
            part=file,
            quarantine=kept,
            sketch=sketch,
            began_at=began_at,
            finished_at=began_at and self._clock(),
        )
        self._step(Step.FINISH)
        self._append(entry)
        return entry

    def show_quarantine(self, finished: Iterable[Finished], also: pa.Table) -> Path:
        """Write what was set aside so far to where the operator is told to look."""
        path = self.folder / quarantine.QUARANTINE_FILE
        with self._disk():
            self._step(Step.QUARANTINE)
            self._write(path, PARQUET, [*self._set_aside(finished), also], quarantine.SCHEMA)
        return path

    def merge_quarantine(self, finished: Iterable[Finished]) -> FileEntry | None:
        """Write the run's quarantine beside its parts, if any row was set aside."""
        path = self._parts / quarantine.QUARANTINE_FILE
        with self._disk():
            tables = self._set_aside(finished)
            first = next(tables, None)
            if first is None:
                return None
            self._step(Step.QUARANTINE)
            return self._write(path, PARQUET, itertools.chain([first], tables), quarantine.SCHEMA)

    def begin_again(self) -> None:
        """Make room for the parts of a run that is committed and to be repaired."""
        with self._disk():
            self._parts.mkdir(exist_ok=True)
            _delete_others(self._parts, set())

    def take(self, entry: FileEntry) -> FileEntry:
        """Take a file of the committed run over as it is."""
        with self._disk():
            (self._parts / entry.name).hardlink_to(self.target / entry.name)
        return entry

    def read_part(self, entry: FileEntry) -> pa.Table:
        """Read a part of the committed run.

        Raises:
            InvalidInput: It isn't as it was written, or its format can't be read back.
        """
        path = self.target / entry.name
        if self._format.read is None or _digest(path) != entry.sha256:
            fix = "Restore the file, or run the whole input again under a new run id."
            raise InvalidInput(
                problem(str(path), "the file that the manifest lists", "another or none", fix)
            )
        with self._disk():
            return self._format.read(path)

    def write_part(self, name: str, part: pa.Table) -> FileEntry:
        """Stage a part of a run that is repaired."""
        with self._disk():
            return self._write(self._parts / name, self._format, [part], part.schema)

    def write_quarantine(self, table: pa.Table) -> FileEntry:
        """Stage the quarantine of a run that is repaired."""
        path = self._parts / quarantine.QUARANTINE_FILE
        with self._disk():
            self._step(Step.QUARANTINE)
            return self._write(path, PARQUET, [table], quarantine.SCHEMA)

    def exchange(self, manifest: Manifest) -> None:
        """Make a repaired run visible in the place of what it was, all at once.

        Raises:
            TwofoldError: The counts don't agree, or the file system can't do that; the run is as
                it was.
            CommitUnknown: The repair may be undone by a crash of the machine.
        """
        check_counts(manifest)
        with self._disk():
            self._write_manifest(manifest)
            self._step(Step.EXCHANGE)
            try:
                exchange(self._parts, self.target)
            except OSError as error:
                if error.errno not in {errno.ENOTSUP, errno.EINVAL, errno.ENOSYS}:
                    raise
                wanted = "a file system that can exchange folders"
                fix = "Run the mended input again, under a new run id."
                raise TwofoldError(problem(str(self.target), wanted, "another", fix)) from error
            self._make_sure()

    def forget(self) -> None:
        """Remove what a repair has left behind; the run is done, whatever becomes of it."""
        with contextlib.suppress(OSError):
            _delete_others(self._parts, set())
            self._parts.rmdir()

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
        self._write_manifest(manifest)
        self._step(Step.COMMIT)
        try:
            # The commit point: before it no reader sees the run, after it every reader does.
            self._parts.rename(self.target)
        except OSError as error:
            if not self._is_fenced() and (self.target / MANIFEST_FILE).exists():
                raise self._unknown(error) from error
            raise
        self._make_sure()

    def _write_manifest(self, manifest: Manifest) -> None:
        self._step(Step.MANIFEST)
        path = self._parts / MANIFEST_FILE
        with path.open("wb") as file:
            file.write(render_manifest(manifest))
            file.flush()
            os.fsync(file.fileno())
        sync(self._parts)

    def _make_sure(self) -> None:
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
            newest = _attempt(self.folder, _newest_attempt(self.folder) or 0)
            for folder in (self.target.parent, newest):
                if folder.exists():
                    sync(folder)
        except OSError as error:
            raise self._unknown(error) from error
        # The run is done, whatever becomes of what it has left.
        with contextlib.suppress(OSError):
            for folder in (newest / "quarantine", newest / "answer"):
                if folder.exists():
                    _delete_others(folder, set())
                    folder.rmdir()

    @contextlib.contextmanager
    def _disk(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            if self._is_fenced():
                raise self._fenced() from error
            fix = "Make room; then run the same command again, it goes on from here."
            where = str(self.folder)
            raise TwofoldError(problem(where, "a disk to write to", str(error), fix)) from error

    def _is_fenced(self) -> bool:
        return (_newest_attempt(self.folder) or 0) > self._number

    def _fenced(self) -> LeaseHeld:
        fix = "Leave it to that one; `twofold batch status` shows how far it is."
        got = "another, which has taken it over meanwhile"
        return LeaseHeld(problem(self._run_id, "this process alone on the run", got, fix))

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

    def _append(self, entry: Started | Answered | Finished) -> None:
        with (self._work / LEDGER_FILE).open("ab") as file:
            file.write(render_entry(entry))
            file.flush()
            os.fsync(file.fileno())

    def _set_aside(self, finished: Iterable[Finished]) -> Iterator[pa.Table]:
        for entry in finished:
            if entry.quarantine:
                yield quarantine.read(self._quarantine / entry.quarantine.name)

    def _is_sound(self, entry: Finished) -> bool:
        files = [(self._parts, entry.part), (self._quarantine, entry.quarantine)]
        return all(
            file is None or _digest(folder / file.name) == file.sha256 for folder, file in files
        )

    def _write(
        self, path: Path, known: PartFormat, tables: Iterable[pa.Table], schema: pa.Schema
    ) -> FileEntry:
        """Write a file under its final name only when it is whole and on disk."""
        self._step(Step.WRITE)
        draft = self._work / DRAFT_FILE
        rows = known.write(draft, tables, schema)
        sync(draft)
        found = known.count(draft)
        digest = _digest(draft)
        if found != rows or digest is None:
            fix = "Check the disk; then run the same command again."
            raise TwofoldError(problem(str(path), f"{rows} rows on disk", str(found), fix))
        self._step(Step.RENAME)
        draft.replace(path)
        sync(path.parent)
        return FileEntry(name=path.name, rows=rows, bytes=path.stat().st_size, sha256=digest)


def _attempt(folder: Path, number: int) -> Path:
    return folder / f"{ATTEMPT}{number:06d}"


def _newest_attempt(folder: Path) -> int | None:
    """The number of the attempt under way or last made; None if there is none."""
    found = (path.name.removeprefix(ATTEMPT) for path in folder.glob(f"{ATTEMPT}*"))
    return max((int(number) for number in found if number.isdecimal()), default=None)


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
