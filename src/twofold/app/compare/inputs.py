"""What is predicted in a comparison: the input, that several times over, and that with a key."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from twofold.batch.inputs import Input
from twofold.errors import PredictionFailed
from twofold.lab.requests import Protocol, body_of, key_target, path_of, request_of
from twofold.model import arrow

ROW_KEY = "twofold_row"
"""The key of a copy whose input has none."""
MAX_COPIED_BYTES = 2 << 30
"""Of a larger input there is no use in a larger copy."""
GROUP_ROWS = 65_536


def copies_for(source: Input, rows: int, large_rows: int) -> int:
    """How often an input is repeated to have so many rows; 1 if it is large, or can't be copied."""
    size_bytes = sum(file.bytes for file in source.files)
    are_plain = all(isinstance(file.path, Path) and not file.folders for file in source.files)
    if not rows or not are_plain or source.format.name not in WRITERS:
        return 1
    copies = -(-large_rows // rows)
    if size_bytes * copies > MAX_COPIED_BYTES:
        copies = MAX_COPIED_BYTES // max(size_bytes, 1)
    return max(1, copies)


def write_copies(source: Input, copies: int, folder: Path) -> Path:
    """Write an input's rows so many times over, into one file of the same format."""
    files = [file.path for file in source.files if isinstance(file.path, Path)]
    path = folder / f"copies{files[0].suffix}"
    WRITERS[source.format.name](files, copies, path)
    return path


def _parquet(files: list[Path], copies: int, path: Path) -> None:
    tables = [pq.ParquetFile(file).read() for file in files]
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for _ in range(copies):
            for table in tables:
                writer.write_table(table, row_group_size=GROUP_ROWS)


def _arrow(files: list[Path], copies: int, path: Path) -> None:
    tables = [_read_arrow(file) for file in files]
    schema = tables[0].schema
    with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, schema) as writer:
        for _ in range(copies):
            for table in tables:
                writer.write_table(table, max_chunksize=GROUP_ROWS)


def _read_arrow(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as mapped:
        try:
            return ipc.open_file(mapped).read_all()
        except pa.ArrowInvalid:
            mapped.seek(0)
            return ipc.open_stream(mapped).read_all()


def _lines(files: list[Path], copies: int, path: Path) -> None:
    _write_texts(path, b"", [file.read_bytes() for file in files], copies)


def _csv(files: list[Path], copies: int, path: Path) -> None:
    texts = [split_header(file.read_bytes()) for file in files]
    _write_texts(path, texts[0][0], [body for _, body in texts], copies)


def _write_texts(path: Path, header: bytes, bodies: list[bytes], copies: int) -> None:
    with path.open("wb") as file:
        file.write(header)
        for _ in range(copies):
            for body in bodies:
                file.write(body if body.endswith(b"\n") or not body else body + b"\n")


def split_header(text: bytes) -> tuple[bytes, bytes]:
    """Split a CSV text behind its first line, which may have line ends between quotes."""
    is_quoted = False
    for at in range(len(text)):
        if text[at : at + 1] == b'"':
            is_quoted = not is_quoted
        elif text[at : at + 1] == b"\n" and not is_quoted:
            return text[: at + 1], text[at + 1 :]
    return text + b"\n", b""


WRITERS = {"parquet": _parquet, "arrow": _arrow, "csv": _csv, "jsonl": _lines}


def write_keyed(rows: pa.Table, path: Path, *, at_least: int = 0) -> Path:
    """Write rows with their numbers as a key; again and again until there are enough."""
    copies = max(1, -(-at_least // max(rows.num_rows, 1)))
    table = pa.concat_tables([rows] * copies)
    keys = arrow.from_numbers(np.arange(table.num_rows, dtype=np.int64))
    pq.write_table(table.append_column(ROW_KEY, keys), path, row_group_size=GROUP_ROWS)
    return path


def predictable(
    rows: pa.Table, predict_one: Callable[[Mapping[str, Any]], object], *, seconds: float
) -> pa.Table:
    """Leave out the rows that a model fails for, as a run sets them aside.

    Args:
        rows: Which may be asked for.
        predict_one: Predicts one of them.
        seconds: When there are enough, if there is one: of a slow model no more are asked for.
    """
    kept: list[int] = []
    until_s = time.monotonic() + seconds
    for at, row in enumerate(rows.to_pylist()):
        with contextlib.suppress(PredictionFailed):
            predict_one(row)
            kept.append(at)
        if kept and time.monotonic() >= until_s:
            break
    return rows.take(pa.array(kept, pa.int64()))


def predict_requests(rows: pa.Table, model: str, host: str) -> list[bytes]:
    """Make a request of each row: its prediction alone is asked for."""
    path = path_of(Protocol.TWOFOLD, model)
    bodies = (body_of(Protocol.TWOFOLD, row) for row in rows.to_pylist())
    return [request_of(path, host=host, body=body) for body in bodies]


def answer_requests(keys: list[str], model: str, host: str) -> list[bytes]:
    """Make a request for what is stored for each key."""
    path = path_of(Protocol.ANSWERS, model)
    return [request_of(key_target(path, key), host=host, body=None) for key in keys]
