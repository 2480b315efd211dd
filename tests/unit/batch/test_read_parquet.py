"""Parquet files, from any row on, in pieces of bounded size; only what is asked for is touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.read_parquet import describe, read


def table(rows: int) -> pa.Table:
    return pa.table(
        {
            "a": pa.array(range(rows), pa.int64()),
            "b": pa.array([f"b{n}" if n % 3 else None for n in range(rows)], pa.string()),
            "c": pa.array([[n, n] for n in range(rows)], pa.list_(pa.float32())),
        }
    )


def rows_of(
    path: Path, columns: Sequence[str], *, first_row: int = 0, batch_rows: int = 100
) -> list[dict[str, Any]]:
    pieces = read(path, columns, first_row=first_row, batch_rows=batch_rows)
    return [row for piece in pieces for row in piece.columns.to_pylist()]


def damage(path: Path, group: int, column: int) -> None:
    """Overwrite the pages of one column in one row group."""
    chunk = pq.read_metadata(path).row_group(group).column(column)
    start = min(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.data_page_offset)
    content = bytearray(path.read_bytes())
    size = chunk.total_compressed_size
    content[start : start + size] = b"\xff" * size
    path.write_bytes(content)


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("read")


@pytest.mark.parametrize("rows", [0, 1, 20])
def test_file_tells_its_columns_and_rows(tmp_path: Path, rows: int) -> None:
    pq.write_table(table(rows), tmp_path / "in", row_group_size=7)
    schema, count = describe(tmp_path / "in")
    assert count == rows
    assert dict(zip(schema.names, schema.types, strict=True)) == {
        "a": pa.int64(),
        "b": pa.string(),
        "c": pa.list_(pa.field("element", pa.float32())),
    }


@given(
    groups=st.lists(st.integers(0, 9), max_size=4),
    first_row=st.integers(0, 40),
    batch_rows=st.integers(1, 10),
    columns=st.permutations(["a", "b", "c"]).flatmap(
        lambda names: st.integers(1, 3).map(lambda count: names[:count])
    ),
)
def test_any_rows_of_any_columns_are_read_in_order_in_pieces_no_longer_than_asked(
    new_folder: Callable[[], Path],
    groups: list[int],
    first_row: int,
    batch_rows: int,
    columns: list[str],
) -> None:
    path = new_folder() / "in"
    whole, start = table(sum(groups)), 0
    with pq.ParquetWriter(path, whole.schema) as writer:
        for rows in groups:
            writer.write_table(whole.slice(start, rows), row_group_size=max(1, rows))
            start += rows
    pieces = list(read(path, columns, first_row=first_row, batch_rows=batch_rows))
    found = [row for piece in pieces for row in piece.columns.to_pylist()]
    assert found == whole.select(columns).to_pylist()[first_row:]
    for piece in pieces:
        assert piece.columns.schema.names == columns
        assert piece.columns.num_rows <= batch_rows
        assert piece.broken == ()


def test_row_groups_before_the_first_row_are_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "in"
    pq.write_table(table(20), path, row_group_size=10)
    damage(path, 0, 0)
    assert [row["a"] for row in rows_of(path, ["a"], first_row=10)] == list(range(10, 20))
    with pytest.raises((pa.ArrowException, OSError)):
        rows_of(path, ["a"], first_row=9)


def test_columns_that_are_not_asked_for_are_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "in"
    pq.write_table(table(20), path)
    damage(path, 0, 0)
    assert [row["b"] for row in rows_of(path, ["b"], first_row=17)] == ["b17", None, "b19"]
    with pytest.raises((pa.ArrowException, OSError)):
        rows_of(path, ["b", "a"])


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (["a"], {"a": 1}),
        (["a.b"], {"a.b": 2}),
        (["s"], {"s": {"x": 3}}),
        (["s.x"], {"s.x": 4}),
        (["s.x", "a", "s"], {"s.x": 4, "a": 1, "s": {"x": 3}}),
    ],
)
def test_name_with_a_dot_is_a_name_and_no_path(
    tmp_path: Path, columns: list[str], row: dict[str, Any]
) -> None:
    columns_of_file = {"a": [1], "a.b": [2], "s": [{"x": 3}], "s.x": [4]}
    pq.write_table(pa.table(columns_of_file), tmp_path / "in")
    assert rows_of(tmp_path / "in", columns) == [row]


def test_label_columns_stay_labels_across_row_groups(tmp_path: Path) -> None:
    labels = pa.array(["x", "y", None, "z", "x"]).dictionary_encode()
    pq.write_table(pa.table({"l": labels}), tmp_path / "in", row_group_size=2)
    pieces = list(read(tmp_path / "in", ["l"], first_row=1, batch_rows=3))
    assert {piece.columns.column("l").type for piece in pieces} == {labels.type}
    assert [row["l"] for row in rows_of(tmp_path / "in", ["l"], first_row=1, batch_rows=3)] == [
        "y",
        None,
        "z",
        "x",
    ]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1PAR1", b"ARROW1\0\0" * 9])
def test_what_is_no_parquet_file_is_an_arrow_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in").write_bytes(content)
    with pytest.raises((pa.ArrowException, OSError)):
        describe(tmp_path / "in")


def test_text_that_a_file_has_as_codes_may_come_as_codes(tmp_path: Path) -> None:
    rows = 3000
    plans = ["basic", "pro", None, "a longer name of a plan"]
    columns = {
        "plan": pa.array([plans[n % 4] for n in range(rows)]),
        "late": pa.array([plans[n // 1000] for n in range(rows)]),
        "kept": pa.array([plans[n % 4] for n in range(rows)]),
        "note": pa.array([f"a note that is like no other: {n}" for n in range(rows)]),
        "dotted.name": pa.array(["x"] * rows),
    }
    path = tmp_path / "in"
    pq.write_table(pa.table(columns), path, row_group_size=1000)
    codable = ("plan", "late", "note", "dotted.name", "nowhere")
    pieces = list(read(path, list(columns), codable=codable, first_row=10, batch_rows=700))
    for piece in pieces:
        found = dict(zip(piece.columns.schema.names, piece.columns.schema.types, strict=True))
        coded = pa.dictionary(pa.int32(), pa.string())
        assert (found.pop("plan"), found.pop("late")) == (coded, coded)
        assert set(found.values()) == {pa.string()}
    whole = [row for piece in pieces for row in piece.columns.to_pylist()]
    assert whole == pa.table(columns).to_pylist()[10:]
