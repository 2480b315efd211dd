"""The file formats of inputs: a module with `describe` and `read` each, and a line in `FORMATS`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from twofold.batch import read_arrow, read_csv, read_jsonl, read_parquet
from twofold.batch.chunks import Rows
from twofold.batch.objects import Place


class Reader(Protocol):
    """What a format's module does. Both raise ArrowException, OSError or UnicodeError."""

    def describe(self, path: Place) -> tuple[pa.Schema, int | None]:
        """Give a file's columns, and its number of rows if that can be told without reading."""
        ...

    def read(
        self,
        path: Place,
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
DELTA = Format("delta", (), read_parquet)
"""Parquet files that the log of a table names."""
SQL = Format("sql", (), read_parquet)
"""The answer to a query, kept as Parquet."""
