"""Finding, opening and reading inputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.inputs import describe_files, fingerprint, open_input, read_chunks
from twofold.batch.plan import Plan
from twofold.errors import InvalidInput
from twofold.model import arrow


def read(source: object, columns: list[str], first_row: int = 0) -> dict[str, list[Any]]:
    chunks = read_chunks(open_input(str(source)), columns, Plan(8, 3), first_row=first_row)
    batches = [chunk.rows.columns for chunk in chunks]
    if not batches:
        return {name: [] for name in columns}
    return pa.Table.from_batches(batches).to_pydict()


def fingerprint_of(source: object) -> str:
    return fingerprint(describe_files(open_input(str(source))))


def writers(bench: Any) -> dict[str, Callable[[pa.Table], Any]]:
    return {
        "parquet": lambda table: bench.parquet(table, row_group_size=4),
        "csv": bench.csv,
        "arrow file": bench.arrow,
        "arrow stream": lambda table: bench.arrow(table, "in.arrows", stream=True),
    }


@pytest.mark.parametrize("kind", ["parquet", "csv", "arrow file", "arrow stream"])
@pytest.mark.parametrize("first_row", [0, 1, 4, 7, 16, 20, 21])
def test_reading_from_a_row_gives_the_rows_from_there_on(
    bench: Any, kind: str, first_row: int
) -> None:
    source = writers(bench)[kind](bench.table([float(n) for n in range(20)]))
    found = read(source, ["amount", "id"], first_row)
    assert list(found) == ["amount", "id"]
    assert found["id"] == [f"c{n}" for n in range(20)][first_row:]
    assert [float(value) for value in found["amount"]] == [float(n) for n in range(20)][first_row:]


@given(lengths=st.lists(st.integers(0, 7), min_size=1, max_size=5), data=st.data())
def test_files_count_as_one_input_in_the_order_of_their_paths(
    new_bench: Callable[[], Any], lengths: list[int], data: st.DataObject
) -> None:
    bench = new_bench()
    kind = data.draw(st.sampled_from(["parquet", "csv"]))
    first_row = data.draw(st.integers(0, sum(lengths) + 1))
    row = 0
    for index, length in enumerate(lengths):
        table = bench.table([0.0] * length).set_column(
            0, "id", pa.array([f"c{row + n}" for n in range(length)], pa.string())
        )
        (bench.parquet if kind == "parquet" else bench.csv)(table, f"d{index}.{kind}")
        row += length
    found = read(bench.folder, ["id"], first_row)["id"]
    assert found == [f"c{n}" for n in range(row)][first_row:]


def test_folder_leaves_out_hidden_and_foreign_files_and_looks_below(bench: Any) -> None:
    bench.parquet(bench.table([1.0]), "in/b.parquet")
    bench.parquet(bench.table([2.0]), "in/a/z.parquet")
    bench.parquet(bench.table([3.0]), "in/_drafts/x.parquet")
    bench.parquet(bench.table([4.0]), "in/.hidden.parquet")
    (bench.folder / "in" / "_SUCCESS").touch()
    (bench.folder / "in" / "readme.txt").touch()
    assert read(bench.folder / "in", ["amount"])["amount"] == [2.0, 1.0]


def test_glob_takes_the_files_it_matches(bench: Any) -> None:
    for name in ("b-2", "b-1", "c-1"):
        bench.parquet(bench.table([float(name[-1])]), f"{name}.parquet")
    assert read(f"{bench.folder}/b-*.parquet", ["amount"])["amount"] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("in.parquet", b"not parquet at all", "a readable parquet file"),
        ("in.parquet", b"", "a readable parquet file"),
        ("in.arrow", b"ARROW1 but then nothing", "a readable arrow file"),
        ("in.arrow", b"", "a readable arrow file"),
        ("in.csv", b"", "no header line"),
        ("in.csv", b"\xff\xfe\x00,\x00\n1,2\n", "a readable csv file"),
        ("in.xlsx", b"x", "a file name that ends in"),
    ],
)
def test_file_that_cannot_be_read_is_named(
    bench: Any, name: str, content: bytes, says: str
) -> None:
    path = bench.text(content, name)
    with pytest.raises(InvalidInput) as caught:
        open_input(str(path))
    assert str(caught.value).startswith(f"{path}: expected ")
    assert says in str(caught.value)


@pytest.mark.parametrize("kind", ["parquet", "arrow file"])
def test_file_damaged_in_the_middle_is_named(bench: Any, kind: str) -> None:
    path = writers(bench)[kind](bench.table([float(n) for n in range(5000)]))
    opened = open_input(str(path))
    data = bytearray(path.read_bytes())
    data[100 : len(data) - 3000] = b"\xff" * (len(data) - 3100)
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=f"{path}: expected a readable"):
        list(read_chunks(opened, ["id", "amount"], Plan(100, 100), first_row=0))


def test_nothing_there_and_mixed_formats_are_refused(bench: Any) -> None:
    with pytest.raises(InvalidInput, match="nothing there"):
        open_input(str(bench.folder / "absent.parquet"))
    with pytest.raises(InvalidInput, match="nothing there"):
        open_input(str(bench.folder))
    bench.parquet(bench.table([1.0]))
    bench.csv(bench.table([1.0]))
    with pytest.raises(InvalidInput, match="csv and parquet"):
        open_input(str(bench.folder))


def test_fingerprint_binds_content_and_order_and_nothing_else(bench: Any) -> None:
    one, two = bench.table([1.0]), bench.table([2.0])
    bench.parquet(one, "x/a.parquet")
    bench.parquet(two, "x/b.parquet")
    bench.parquet(one, "y/1.parquet")
    last = bench.parquet(two, "y/2.parquet")
    bench.parquet(two, "z/1.parquet")
    bench.parquet(one, "z/2.parquet")
    first = fingerprint_of(bench.folder / "x")
    os.utime(last, ns=(1, 1))
    assert fingerprint_of(bench.folder / "y") == first
    assert fingerprint_of(bench.folder / "z") != first
    last.write_bytes(last.read_bytes() + b"x")
    with pytest.raises(InvalidInput):
        fingerprint_of(bench.folder / "y")


def test_large_file_is_bound_by_its_ends_and_the_time_it_was_written(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twofold.batch.inputs.MAX_HASHED_BYTES", 100)
    path = bench.parquet(bench.table([float(n) for n in range(100_000)]))
    before = fingerprint_of(path)
    assert fingerprint_of(path) == before
    os.utime(path, ns=(1, 1))
    assert fingerprint_of(path) != before


def test_batches_across_row_groups_and_files_with_other_dictionaries(tmp_path: Path) -> None:
    names = [None if n % 7 == 3 else f"plan {n // 90}" for n in range(1000)]
    for part, rows in (("1", names), ("2", names[::-1])):
        table = pa.table({"plan": pa.array(rows, pa.string()), "n": list(range(1000))})
        pq.write_table(table, tmp_path / f"{part}.parquet", row_group_size=300)
    source = open_input(str(tmp_path))
    plan = Plan(800, 400)
    chunks = list(read_chunks(source, ["plan", "n"], plan, codable=["plan"], first_row=1))
    assert {chunk.rows.columns.schema.field("plan").type for chunk in chunks} == {arrow.CODED}
    found = [text for chunk in chunks for text in chunk.rows.columns.column("plan").to_pylist()]
    assert found == (names + names[::-1])[1:]


def test_columns_of_folders_come_with_the_files_in_the_order_of_their_paths(bench: Any) -> None:
    for day in ("2", "10", "__HIVE_DEFAULT_PARTITION__"):
        bench.parquet(bench.table([float(len(day)), 0.0]), f"in/day={day}/in.parquet")
    found = read(bench.folder / "in", ["day", "amount"])
    assert found == {
        "day": ["10", "10", "2", "2", None, None],
        "amount": [2.0, 0.0, 1.0, 0.0, 26.0, 0.0],
    }
    assert read(bench.folder / "in", ["amount", "day"], 3)["day"] == ["2", None, None]
    assert read(f"{bench.folder}/in/day=1*/*.parquet", ["day"]) == {"day": ["10", "10"]}
    assert read(bench.folder / "in" / "day=2", ["day"]) == {"day": ["2", "2"]}


@pytest.mark.parametrize("kind", ["parquet", "csv", "arrow"])
def test_column_that_folder_and_file_have_must_agree(bench: Any, kind: str) -> None:
    (bench.folder / "id=c0").mkdir()
    getattr(bench, kind)(bench.table([1.0]), f"id=c0/in.{kind}")
    assert read(bench.folder, ["id"]) == {"id": ["c0"]}
    getattr(bench, kind)(bench.table([1.0, 2.0]), f"id=c0/in.{kind}")
    assert read(bench.folder, ["amount"])["amount"] in ([1.0, 2.0], ["1", "2"])
    with pytest.raises(InvalidInput, match=r"in\.\w+: id: expected 'c0', as the name of its fol"):
        read(bench.folder, ["id"])


def test_fingerprint_binds_the_columns_of_folders(bench: Any) -> None:
    one, two = bench.table([1.0]), bench.table([2.0])
    for root, first, second in (("x", "day=1", "day=2"), ("y", "day=1", "day=3")):
        bench.parquet(one, f"{root}/{first}/a.parquet")
        bench.parquet(two, f"{root}/{second}/a.parquet")
    bench.parquet(one, "z/day=1/b.parquet")
    bench.parquet(two, "z/other/day=2/c.parquet")
    prints = {root: fingerprint_of(bench.folder / root) for root in "xyz"}
    assert prints["x"] == prints["z"] != prints["y"]


def test_lines_come_with_the_columns_of_their_folders(bench: Any) -> None:
    (bench.folder / "a=1").mkdir()
    path = bench.text('{"a":1}\n\n{"b":2}', "a=1/in.jsonl")
    opened = open_input(str(path))
    assert opened.files[0].schema.names == ["a", "b"]
    assert opened.rows_total is None
    assert read(path, ["", "a"]) == {"": [b'{"a":1}\n', b'{"b":2}\n'], "a": ["1", "1"]}
