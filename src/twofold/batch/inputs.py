"""Finding, opening and reading the input of a run, whatever its format.

A format is a module with `describe` and `read` (see `read_parquet`), and a line in `FORMATS`.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import pyarrow as pa

from twofold.batch import read_arrow, read_csv, read_jsonl, read_parquet
from twofold.batch.chunks import Chunk, Rows, cut
from twofold.batch.folders import add_folders, check_folders, read_folders
from twofold.batch.manifest import InputFile
from twofold.batch.plan import Plan
from twofold.errors import InvalidInput, problem

MAX_INPUT_FILES = 100_000
MAX_HASHED_BYTES = 256 << 20
"""Files up to this size are fingerprinted by their whole content."""
END_BYTES = 64 << 10
"""Of larger files, this much of either end is hashed: a Parquet or Arrow footer is in it."""


class Reader(Protocol):
    """What a format's module does. Both raise ArrowException, OSError or UnicodeError."""

    def describe(self, path: Path) -> tuple[pa.Schema, int | None]:
        """Give a file's columns, and its number of rows if that can be told without reading."""
        ...

    def read(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        codable: Collection[str] = (),
        first_row: int,
        batch_rows: int,
    ) -> Iterator[Rows]:
        """Read the named columns, in that order, from a row on, in bounded memory.

        Text of the `codable` ones may come as Arrow dictionaries, if the file has it so.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: Its name in manifests.
        suffixes: How its files' names end.
        reader: The module that reads it.
        is_text: Whether every value is text, to be parsed into the signature's types.
        is_lines: Whether it is read as lines of JSON, whose members are no columns yet.
    """

    name: str
    suffixes: tuple[str, ...]
    reader: Reader
    is_text: bool = False
    is_lines: bool = False


FORMATS = (
    Format("parquet", (".parquet", ".pq"), read_parquet),
    Format("csv", (".csv",), read_csv, is_text=True),
    Format("arrow", (".arrow", ".arrows", ".feather", ".ipc"), read_arrow),
    Format("jsonl", (".jsonl", ".ndjson"), read_jsonl, is_lines=True),
)
SUFFIXES = {suffix: known for known in FORMATS for suffix in known.suffixes}


@dataclasses.dataclass(frozen=True)
class OpenFile:
    """One file of the input, as it was when the run opened it.

    Attributes:
        path: Where it lies.
        schema: Its columns, then those that only its folders have.
        rows: How many it has, if that can be told without reading.
        bytes: Its length.
        modified_ns: When it was last written.
        folders: Columns that the names of its folders give, and their values.
        in_both: Those of them that are columns of the file, too.
    """

    path: Path
    schema: pa.Schema
    rows: int | None
    bytes: int
    modified_ns: int
    folders: Mapping[str, str | None] = dataclasses.field(default_factory=dict[str, str | None])
    in_both: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Input:
    """The files of a run, in the order in which their rows count.

    Attributes:
        text: What the reader of messages wrote.
        format: Of all files.
        files: At least one.
    """

    text: str
    format: Format
    files: tuple[OpenFile, ...]

    @property
    def rows_total(self) -> int | None:
        """Rows of all files; None if that shows only in reading."""
        counts = [file.rows for file in self.files if file.rows is not None]
        return sum(counts) if len(counts) == len(self.files) else None


def open_input(text: str) -> Input:
    """Find the files and look at their columns.

    Args:
        text: A file; a folder, which stands for all files of a known format below it except
            hidden ones and those whose name starts with `_`; or a glob. Files are taken in the
            order of their paths.

    Raises:
        InvalidInput: Nothing is there, formats are mixed, or a file can't be read.
    """
    paths = _find(text)
    formats = {path: _format_of(path) for path in paths}
    kinds = {known.name for known in formats.values()}
    if len(kinds) > 1:
        got = " and ".join(sorted(kinds))
        raise InvalidInput(
            problem(text, "files of one format", got, "Give one format, for example by a glob.")
        )
    files = tuple(_open(path, formats[path]) for path in paths)
    return Input(text, formats[paths[0]], files)


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
        digest.update(f"{file.bytes} {file.modified_ns or 0} {file.sha256}\n".encode())
        if file.folders:
            digest.update(msgspec.json.encode(file.folders, order="sorted") + b"\n")
    return digest.hexdigest()


def check_unchanged(source: Input) -> None:
    """Check that no file was written to since it was opened.

    Raises:
        InvalidInput: One was.
    """
    for file in source.files:
        try:
            found = file.path.stat()
        except OSError as error:
            raise _unreadable(file.path, source.format, error) from error
        if (found.st_size, found.st_mtime_ns) != (file.bytes, file.modified_ns):
            raise InvalidInput(
                problem(
                    str(file.path),
                    "a file that stays as it is during the run",
                    "one that was written to meanwhile",
                    "Start a new run when it is complete.",
                )
            )


def _find(text: str) -> list[Path]:
    if not text:
        fix = "Name a file, a folder or a glob."
        raise InvalidInput(problem("INPUT", "a path", "an empty one", fix))
    given = Path(text)
    if given.is_dir():
        below = (path for path in given.rglob("*") if path.suffix.lower() in SUFFIXES)
        found = [path for path in below if path.is_file() and not _is_hidden(path, given)]
    elif given.exists():
        found = [given]
    else:
        # Path.glob takes no absolute patterns.
        matches = glob.glob(text, recursive=True)  # noqa: PTH207
        found = [path for path in map(Path, matches) if path.is_file()]
    if not found:
        raise InvalidInput(
            problem(
                text,
                "a Parquet, CSV, JSON Lines or Arrow IPC file, a folder of such files, or a glob",
                "nothing there",
                f"Mend the path; file names must end in {', '.join(SUFFIXES)}.",
            )
        )
    if len(found) > MAX_INPUT_FILES:
        fix = "Give a part of them to each of several runs."
        raise InvalidInput(problem(text, f"at most {MAX_INPUT_FILES} files", str(len(found)), fix))
    return sorted(found, key=lambda path: path.as_posix())


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)


def _format_of(path: Path) -> Format:
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


def _open(path: Path, known: Format) -> OpenFile:
    try:
        stat = path.stat()
        schema, rows = known.reader.describe(path)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise _unreadable(path, known, error) from error
    folders = read_folders(path)
    in_both = folders.keys() & set(schema.names)
    for name in folders:
        if name not in in_both:
            schema = schema.append(pa.field(name, pa.string()))
    return OpenFile(path, schema, rows, stat.st_size, stat.st_mtime_ns, folders, frozenset(in_both))


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
            raise _unreadable(file.path, source.format, error) from error


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
    own = [name for name in columns if name not in added] or file.schema.names[:1]
    for rows in known.reader.read(
        file.path, own, codable=codable, first_row=first_row, batch_rows=batch_rows
    ):
        check_folders(rows, doubled, file.path)
        if added:
            beside = add_folders(rows, added)
            yield dataclasses.replace(beside, columns=beside.columns.select(list(columns)))
        else:
            yield rows


def _described(file: OpenFile, known: Format) -> InputFile:
    try:
        with file.path.open("rb") as opened:
            if file.bytes <= MAX_HASHED_BYTES:
                digest = hashlib.file_digest(opened, "sha256")
                modified_ns = None
            else:
                digest = hashlib.sha256(opened.read(END_BYTES))
                opened.seek(file.bytes - END_BYTES)
                digest.update(opened.read(END_BYTES))
                modified_ns = file.modified_ns
    except OSError as error:
        raise _unreadable(file.path, known, error) from error
    return InputFile(
        path=str(file.path.absolute()),
        bytes=file.bytes,
        rows=file.rows,
        sha256=digest.hexdigest(),
        modified_ns=modified_ns,
        folders=dict(file.folders),
    )


def _unreadable(path: Path, known: Format, error: Exception) -> InvalidInput:
    got = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    fix = "Write the file again, or leave it out."
    return InvalidInput(problem(str(path), f"a readable {known.name} file", got, fix))
