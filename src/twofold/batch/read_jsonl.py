"""Reading JSON Lines (also called NDJSON): the lines alone, in bounded memory.

What is in them is read where there are several threads for it and where the signature is known
(see `json_lines`). Blank lines are no rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import BinaryIO

import msgspec
import numpy as np
import pyarrow as pa

from twofold.batch.chunks import Broken, Rows, drop_rows
from twofold.batch.objects import Place
from twofold.model import arrow

LINE = ""
"""The column of lines. No folder can have this name, which would put a column beside it."""
BLOCK_BYTES = 4 << 20
"""Read at a time; no line may be longer."""
MAX_DESCRIBED_LINES = 1_000
"""Whose members are what a file is said to have."""
BOM = b"\xef\xbb\xbf"
NEWLINE = 10


def describe(path: Place) -> tuple[pa.Schema, int | None]:
    """Give the members of a file's first lines; how many rows there are shows only in reading.

    Their types are those of their values, which may be others in each line.
    """
    names: dict[str, None] = {}
    with path.open("rb") as file:
        lines = file.read(BLOCK_BYTES).removeprefix(BOM).split(b"\n", MAX_DESCRIBED_LINES)
    for line in lines[:MAX_DESCRIBED_LINES]:
        try:
            row = msgspec.json.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue  # it will be set aside when it is read
        if isinstance(row, dict):
            names |= dict.fromkeys(row)  # type: ignore[arg-type] - names are text
    return pa.schema([(name, pa.string()) for name in names]), None


def read(
    path: Place,
    columns: Sequence[str],
    *,
    codable: Collection[str] = (),  # noqa: ARG001 - there is no text yet
    first_row: int,
    batch_rows: int,
) -> Iterator[Rows]:
    """Read the lines from a row on, as the one column LINE; the lines before it are dropped."""
    if list(columns) != [LINE]:
        raise ValueError(f"lines have no columns {columns}")
    with path.open("rb") as file:
        for rows in drop_rows(_read(file), first_row):
            for start in range(0, rows.columns.num_rows, batch_rows):
                yield rows.slice(start, min(start + batch_rows, rows.columns.num_rows))


def _read(file: BinaryIO) -> Iterator[Rows]:
    held = file.read(len(BOM)).removeprefix(BOM)
    is_too_long = False  # whether the end of such a line is still to come
    while True:
        block = file.read(BLOCK_BYTES)
        if is_too_long:
            _, newline, block_rest = block.partition(b"\n")
            is_too_long = bool(block) and not newline
            if is_too_long:
                continue
            held = block_rest
        else:
            held += block
        if not block:
            if held.strip():
                yield _lines(held + b"\n")
            return
        whole, newline, held = held.rpartition(b"\n")
        if newline:
            yield _lines(whole + newline)
        if len(held) > BLOCK_BYTES:
            nothing = pa.nulls(1, pa.large_binary())
            lines = pa.RecordBatch.from_arrays([nothing], names=[LINE])
            yield Rows(lines, (Broken(0, "", _too_long()),))
            held, is_too_long = b"", True


def _lines(text: bytes) -> Rows:
    """Cut text, which ends in a newline, into its lines, each with its newline."""
    found = np.frombuffer(text, np.uint8)
    offsets = np.zeros(np.count_nonzero(found == NEWLINE) + 1, np.int64)
    offsets[1:] = np.flatnonzero(found == NEWLINE) + 1
    column = pa.Array.from_buffers(
        pa.large_binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    )
    lines = pa.RecordBatch.from_arrays([column], names=[LINE])
    # Of the lines that start with a space, some may have nothing else in them.
    too_long = np.flatnonzero(np.diff(offsets) > BLOCK_BYTES + 1).tolist()
    spaced = np.flatnonzero(np.isin(found[offsets[:-1]], np.frombuffer(b" \t\r\n", np.uint8)))
    blank = [row for row in spaced.tolist() if not text[offsets[row] : offsets[row + 1]].strip()]
    broken = tuple(Broken(row, "", _too_long()) for row in too_long)
    if not blank:
        return Rows(lines, broken)
    keep = np.ones(len(column), np.bool_)
    keep[blank] = False
    places = np.cumsum(keep) - 1
    broken = tuple(
        dataclasses.replace(item, row=int(places[item.row])) for item in broken if keep[item.row]
    )
    return Rows(arrow.filter_rows(lines, keep), broken)


def _too_long() -> str:
    return f"expected a line of at most {BLOCK_BYTES} bytes, got a longer one. Shorten it."
