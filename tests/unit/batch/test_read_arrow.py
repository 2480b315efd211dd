"""Arrow files and streams, from any row on, in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc

from twofold.batch.read_arrow import describe, read

SCHEMA = pa.schema({"a": pa.int64(), "b": pa.string(), "c": pa.list_(pa.float32())})


def table(lengths: Sequence[int]) -> list[pa.RecordBatch]:
    """Make record batches of these lengths; rows are numbered through."""
    batches: list[pa.RecordBatch] = []
    row = 0
    for length in lengths:
        numbers = range(row, row + length)
        rows = [{"a": n, "b": f"b{n}" if n % 3 else None, "c": [n, n]} for n in numbers]
        batches.append(pa.RecordBatch.from_pylist(rows, SCHEMA))
        row += length
    return batches


def write(
    path: Path,
    batches: Sequence[pa.RecordBatch],
    *,
    stream: bool = False,
    compression: str | None = None,
    schema: pa.Schema = SCHEMA,
) -> Path:
    make = ipc.new_stream if stream else ipc.new_file
    options = ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as sink, make(sink, schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return path


def rows_of(
    path: Path, columns: Sequence[str], *, first_row: int = 0, batch_rows: int = 100
) -> list[dict[str, Any]]:
    pieces = read(path, columns, first_row=first_row, batch_rows=batch_rows)
    return [row for piece in pieces for row in piece.columns.to_pylist()]


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("lengths", [[], [0], [4], [4, 0, 3]])
def test_file_knows_its_rows_and_a_stream_does_not(
    tmp_path: Path, lengths: list[int], compression: str | None
) -> None:
    batches = table(lengths)
    file = write(tmp_path / "f", batches, compression=compression)
    stream = write(tmp_path / "s", batches, compression=compression, stream=True)
    assert describe(file) == (SCHEMA, sum(lengths))
    assert describe(stream) == (SCHEMA, None)


def test_rows_are_counted_when_the_first_column_is_nested_or_encoded(tmp_path: Path) -> None:
    labels = pa.array(["x", "y", "x"]).dictionary_encode()
    structs = pa.array([{"p": 1, "q": [1]}, None, {"p": 2, "q": []}])
    for name, column in (("labels", labels), ("structs", structs), ("nothing", pa.nulls(3))):
        batch = pa.RecordBatch.from_pydict({name: column, "n": pa.array([1, 2, 3])})
        path = write(tmp_path / name, [batch], compression="zstd", schema=batch.schema)
        assert describe(path) == (batch.schema, 3)


@given(
    lengths=st.lists(st.integers(0, 9), max_size=4),
    first_row=st.integers(0, 40),
    batch_rows=st.integers(1, 10),
    columns=st.permutations(["a", "b", "c"]).flatmap(
        lambda names: st.integers(1, 3).map(lambda count: names[:count])
    ),
    options=st.fixed_dictionaries(
        {"stream": st.booleans(), "compression": st.sampled_from([None, "zstd"])}
    ),
)
def test_any_rows_of_any_columns_are_read_in_order_in_pieces_no_longer_than_asked(
    new_folder: Callable[[], Path],
    lengths: list[int],
    first_row: int,
    batch_rows: int,
    columns: list[str],
    options: dict[str, Any],
) -> None:
    batches = table(lengths)
    path = write(new_folder() / "in", batches, **options)
    pieces = list(read(path, columns, first_row=first_row, batch_rows=batch_rows))
    wanted = [row for batch in batches for row in batch.select(columns).to_pylist()]
    assert [row for piece in pieces for row in piece.columns.to_pylist()] == wanted[first_row:]
    for piece in pieces:
        assert piece.columns.schema.names == columns
        assert 0 < piece.columns.num_rows <= batch_rows
        assert piece.broken == ()


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("read")


def test_rows_outlive_the_reading_and_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "in", table([5]))
    pieces = list(read(path, ["a"], first_row=1, batch_rows=2))
    path.unlink()
    assert [piece.columns.to_pydict() for piece in pieces] == [{"a": [1, 2]}, {"a": [3, 4]}]


@pytest.mark.parametrize("stream", [False, True])
def test_label_columns_are_read_without_their_neighbours(tmp_path: Path, stream: bool) -> None:
    kind = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema({"x": kind, "n": pa.int64(), "y": kind})
    batch = pa.RecordBatch.from_pydict(
        {
            "x": pa.array(["a", "b", None], kind),
            "n": pa.array([1, 2, 3]),
            "y": pa.array(["p", "q", "p"], kind),
        },
        schema,
    )
    path = write(tmp_path / "in", [batch, batch], stream=stream, schema=schema)
    assert [row["y"] for row in rows_of(path, ["y"], first_row=1)] == ["q", "p", "p", "q", "p"]
    assert rows_of(path, ["y", "x"], first_row=5) == [{"y": "p", "x": None}]


def test_labels_that_change_along_a_stream_are_read(tmp_path: Path) -> None:
    kind = pa.dictionary(pa.int32(), pa.string())
    batches = [
        pa.RecordBatch.from_pydict({"x": pa.array(labels, kind)})
        for labels in (["a", "b"], ["c", "a"])
    ]
    path = write(tmp_path / "in", batches, stream=True, schema=batches[0].schema)
    assert [row["x"] for row in rows_of(path, ["x"])] == ["a", "b", "c", "a"]


def test_columns_of_one_name_are_no_matter_where_they_are_not_read(tmp_path: Path) -> None:
    schema = pa.schema([("x", pa.int64()), ("n", pa.int64()), ("x", pa.string())])
    arrays = [pa.array([1, 2]), pa.array([3, 4]), pa.array(["p", "q"])]
    path = write(
        tmp_path / "in", [pa.RecordBatch.from_arrays(arrays, schema=schema)], schema=schema
    )
    assert rows_of(path, ["n"]) == [{"n": 3}, {"n": 4}]


@pytest.mark.parametrize("stream", [False, True])
def test_file_cut_short_is_an_error_not_an_early_end(tmp_path: Path, stream: bool) -> None:
    path = write(tmp_path / "in", table([50, 50]), stream=stream)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises((pa.ArrowException, OSError)):
        rows_of(path, ["a"])


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"ARROW1\0\0", b"PAR1", b"\xff" * 40])
def test_what_is_no_arrow_file_is_an_arrow_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in"
    path.write_bytes(content)
    with pytest.raises((pa.ArrowException, OSError)):
        describe(path)
