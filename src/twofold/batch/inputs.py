"""Opening and reading the input of a run, whatever its format and wherever it lies."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import xxhash

from twofold.batch.chunks import Chunk, Rows, cut
from twofold.batch.delta import TableName, open_table, pinned, table_name
from twofold.batch.find import find_files
from twofold.batch.folders import add_folders, check_folders, read_folders
from twofold.batch.formats import DELTA, SUFFIXES, Format
from twofold.batch.manifest import InputFile
from twofold.batch.objects import ObjectFile, Place, find_object, is_object_url, split_url
from twofold.batch.parallel import in_parallel
from twofold.batch.plan import Plan
from twofold.errors import InvalidInput, problem

MAX_OPENED = 8
"""Objects opened at a time."""
MAX_HASHED_BYTES = 256 << 20
"""Files up to this size are fingerprinted by their whole content."""
END_BYTES = 64 << 10
"""Of larger files, this much of either end is hashed: a Parquet or Arrow footer is in it."""


@dataclasses.dataclass(frozen=True)
class OpenFile:
    """One file of the input, as it was when the run opened it.

    Attributes:
        path: Where it lies.
        schema: Its columns, then those that only its folders have.
        rows: How many it has, if that can be told without reading.
        bytes: Its length.
        modified_ns: When it was last written.
        names: Its own columns, without those that are only in `schema`.
        folders: Columns that the names of its folders give, and their values.
        in_both: Those of them that are columns of the file, too.
        constants: Columns that the log of its table gives, with their one value.
        casts: Columns of the file that its table has in another type: that of `schema`.
        shown: What messages call it, if not by its path.
    """

    path: Place
    schema: pa.Schema
    rows: int | None
    bytes: int
    modified_ns: int
    names: tuple[str, ...]
    folders: Mapping[str, str | None] = dataclasses.field(default_factory=dict[str, str | None])
    in_both: frozenset[str] = frozenset()
    constants: Mapping[str, pa.Scalar] = dataclasses.field(default_factory=dict[str, pa.Scalar])
    casts: frozenset[str] = frozenset()
    shown: str = ""

    @property
    def where(self) -> str:
        """How messages call it."""
        return self.shown or str(self.path)


@dataclasses.dataclass(frozen=True)
class Input:
    """The files of a run, in the order in which their rows count.

    Attributes:
        text: What the reader of messages wrote.
        given: The same for a later attempt, wherever that is made.
        format: Of all files.
        files: At least one.
    """

    text: str
    given: str
    format: Format
    files: tuple[OpenFile, ...]

    @property
    def rows_total(self) -> int | None:
        """Rows of all files; None if that shows only in reading."""
        counts = [file.rows for file in self.files if file.rows is not None]
        return sum(counts) if len(counts) == len(self.files) else None


def open_input(text: str, recorded: str | None = None) -> Input:
    """Find the files and look at their columns.

    Args:
        text: A file; a folder, which stands for all files of a known format below it except
            hidden ones and those whose name starts with `_`; a glob; each of them in an object
            store, too; or a Delta table. Files are taken in the order of their paths.
        recorded: The input that a run has begun with: where both are one Delta table and the
            text doesn't name a version, it is that of the run.

    Raises:
        InvalidInput: Nothing is there, formats are mixed, or a file can't be read.
        ConfigError: What it needs isn't installed.
    """
    name = table_name(text)
    if name is not None:
        return _open_table(text, pinned(name, recorded))
    paths = find_files(text)
    formats = {path: _format_of(path) for path in paths}
    kinds = {known.name for known in formats.values()}
    if len(kinds) > 1:
        got = " and ".join(sorted(kinds))
        raise InvalidInput(
            problem(text, "files of one format", got, "Give one format, for example by a glob.")
        )
    known = formats[paths[0]]
    given = text if is_object_url(text) else str(Path(text).absolute())
    return Input(text, given, known, tuple(_open_all(paths, known)))


def read_chunks(
    source: Input,
    columns: Sequence[str],
    plan: Plan,
    *,
    codable: Collection[str] = (),
    first_row: int,
) -> Generator[Chunk]:
    """Read the named columns, from a row on, in the batches of the plan.

    Text of the `codable` ones may come as Arrow dictionaries.

    Raises:
        InvalidInput: A file can't be read to its end; the message names it.
    """
    rows = _rows(source, columns, codable, plan.batch_rows, first_row)
    return cut(rows, plan, first_row=first_row)


def describe_files(source: Input) -> tuple[InputFile, ...]:
    """Give every file's size and a hash that binds its content (see `InputFile`)."""
    return tuple(_described(file, source.format) for file in source.files)


def fingerprint(files: Sequence[InputFile]) -> str:
    """Bind the contents of the files, what their folders say of them, and their order.

    What else they are called doesn't matter.
    """
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.bytes} {file.modified_ns or 0} {file.digest}\n".encode())
        if file.etag or file.version:
            digest.update(msgspec.json.encode([file.etag, file.version]) + b"\n")
        if file.folders:
            digest.update(msgspec.json.encode(file.folders, order="sorted") + b"\n")
    return digest.hexdigest()


def check_unchanged(source: Input) -> None:
    """Check that no file was written to since it was opened.

    Raises:
        InvalidInput: One was.
    """
    are_objects = isinstance(source.files[0].path, ObjectFile) if source.files else False
    limit = MAX_OPENED if are_objects else 1
    for group in _groups(source.files, limit):
        for file, same in zip(group, in_parallel(_is_same, group, limit=limit), strict=True):
            if not same:
                raise InvalidInput(
                    problem(
                        str(file.path),
                        "a file that stays as it is during the run",
                        "one that was written to meanwhile",
                        "Start a new run when it is complete.",
                    )
                )


def _groups(files: Sequence[OpenFile], size: int) -> Iterator[Sequence[OpenFile]]:
    return (files[start : start + size] for start in range(0, len(files), size))


def _is_same(file: OpenFile) -> bool:
    try:
        if isinstance(file.path, ObjectFile):
            return find_object(file.path.root, file.path.key) == file.path
        found = file.path.stat()
    except OSError as error:
        raise _unreadable(file.path, "input", error) from error
    return (found.st_size, found.st_mtime_ns) == (file.bytes, file.modified_ns)


def _open_table(text: str, name: TableName) -> Input:
    table = open_table(name)
    places: list[Place] = []
    for file in table.files:
        if not is_object_url(file.path):
            places.append(Path(file.path))
            continue
        places.append(_object_of(file.path))
    opened: list[OpenFile] = []
    for file, own in zip(table.files, _open_all(places, DELTA), strict=True):
        names = {field.name: field.type for field in own.schema}
        constants = dict(file.partition)
        constants |= {
            field.name: pa.scalar(None, field.type)
            for field in table.schema
            if field.name not in names and field.name not in constants
        }
        casts = {
            field.name
            for field in table.schema
            if field.name not in constants and names[field.name] != field.type
        }
        opened.append(
            dataclasses.replace(
                own, schema=table.schema, constants=constants, casts=frozenset(casts)
            )
        )
    return Input(text, str(table.name), DELTA, tuple(opened))


def _object_of(url: str) -> ObjectFile:
    try:
        found = find_object(*split_url(url))
    except OSError as error:
        raise _unreadable(url, DELTA.name, error) from error
    if found is None:
        raise _unreadable(url, DELTA.name, FileNotFoundError("no such object"))
    return found


def _format_of(path: Place) -> Format:
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise InvalidInput(
            problem(
                str(path),
                f"a file name that ends in {', '.join(SUFFIXES)}",
                f"the ending {path.suffix!r}",
                "Convert or rename the file.",
            )
        )
    return found


def _open_all(paths: Sequence[Place], known: Format) -> list[OpenFile]:
    are_objects = any(isinstance(path, ObjectFile) for path in paths)
    return in_parallel(
        lambda path: _open(path, known), paths, limit=MAX_OPENED if are_objects else 1
    )


def _open(path: Place, known: Format) -> OpenFile:
    try:
        if isinstance(path, ObjectFile):
            size_bytes, modified_ns = path.bytes, path.modified_ns
        else:
            stat = path.stat()
            size_bytes, modified_ns = stat.st_size, stat.st_mtime_ns
        schema, rows = known.reader.describe(path)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise _unreadable(path, known.name, error) from error
    names = tuple(schema.names)
    if known is DELTA:  # its log says what the names of its folders mean
        return OpenFile(path, schema, rows, size_bytes, modified_ns, names)
    folders = read_folders(path)
    in_both = folders.keys() & set(names)
    for name in folders:
        if name not in in_both:
            schema = schema.append(pa.field(name, pa.string()))
    return OpenFile(path, schema, rows, size_bytes, modified_ns, names, folders, frozenset(in_both))


def _rows(
    source: Input,
    columns: Sequence[str],
    codable: Collection[str],
    batch_rows: int,
    first_row: int,
) -> Iterator[Rows]:
    skip = first_row
    for file in source.files:
        if file.rows is not None and skip >= file.rows:
            skip -= file.rows
            continue
        # Without a count, whether the first row lies in this file shows only in reading it.
        start = skip if file.rows is not None else 0
        skip -= start
        read = _read(file, source.format, columns, codable, batch_rows, start)
        try:
            for rows in read:
                total = rows.columns.num_rows
                if skip < total:
                    yield rows.slice(skip, total) if skip else rows
                skip = max(0, skip - total)
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise _unreadable(file.path, source.format.name, error) from error


def _read(
    file: OpenFile,
    known: Format,
    columns: Sequence[str],
    codable: Collection[str],
    batch_rows: int,
    first_row: int,
) -> Iterator[Rows]:
    """Read one file, and put beside its columns those of its folders."""
    # Whether a line agrees with its folder shows only when it is parsed.
    in_both = frozenset[str]() if known.is_lines else file.in_both
    given = {name: file.folders[name] for name in columns if name in file.folders}
    added = {name: value for name, value in given.items() if name not in in_both}
    doubled = {name: value for name, value in given.items() if name in in_both}
    # Some column must be read: of no columns, nobody knows how many rows they have.
    beside = [name for name in columns if name in file.constants]
    own = [name for name in columns if name not in added and name not in beside]
    own = own or list(file.names[:1])
    for rows in known.reader.read(
        file.path, own, codable=codable, first_row=first_row, batch_rows=batch_rows
    ):
        check_folders(rows, doubled, file.path)
        if file.constants or file.casts:
            yield Rows(_of_table(rows.columns, file, columns))
        elif added:
            wider = add_folders(rows, added)
            yield dataclasses.replace(wider, columns=wider.columns.select(list(columns)))
        else:
            yield rows


def _of_table(rows: pa.RecordBatch, file: OpenFile, columns: Sequence[str]) -> pa.RecordBatch:
    """The columns as the table has them: those that the file lacks, and the right types."""
    found: list[pa.Array] = []
    for name in columns:
        if name in file.constants:
            found.append(pa.repeat(file.constants[name], rows.num_rows))
        else:
            column = rows.column(name)
            kind = file.schema.field(name).type
            found.append(column.cast(kind) if name in file.casts else column)
    return pa.RecordBatch.from_arrays(found, names=list(columns))


def _described(file: OpenFile, known: Format) -> InputFile:
    folders = dict(file.folders) | {
        name: None if value.as_py() is None else str(value.as_py())
        for name, value in file.constants.items()
    }
    if isinstance(file.path, ObjectFile):
        return InputFile(
            path=str(file.path),
            bytes=file.bytes,
            rows=file.rows,
            etag=file.path.etag,
            version=file.path.version,
            modified_ns=file.modified_ns,
            folders=folders,
        )
    try:
        with file.path.open("rb") as opened:
            if file.bytes <= MAX_HASHED_BYTES:
                digest = hashlib.file_digest(opened, xxhash.xxh3_128)
                modified_ns = None
            else:
                digest = xxhash.xxh3_128(opened.read(END_BYTES))
                opened.seek(file.bytes - END_BYTES)
                digest.update(opened.read(END_BYTES))
                modified_ns = file.modified_ns
    except OSError as error:
        raise _unreadable(file.path, known.name, error) from error
    return InputFile(
        path=str(file.path.absolute()),
        bytes=file.bytes,
        rows=file.rows,
        digest=f"xxh128:{digest.hexdigest()}",
        modified_ns=modified_ns,
        folders=folders,
    )


def _unreadable(path: Place | str, kind: str, error: Exception) -> InvalidInput:
    got = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    fix = "Write the file again, or leave it out."
    return InvalidInput(problem(str(path), f"a readable {kind} file", got, fix))
