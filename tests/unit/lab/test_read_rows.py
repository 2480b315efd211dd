from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twofold.errors import InvalidInput
from twofold.lab.read_rows import MAX_ROWS, chosen, read_keys, read_rows


def test_all_formats_give_the_same_rows(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "r.parquet")
    (tmp_path / "r.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "r.jsonl").write_text('{"a":1,"b":"x"}\n{"a":2,"b":"y"}\n')
    for name in ("r.parquet", "r.csv", "r.jsonl"):
        assert read_rows(tmp_path / name) == rows


def test_only_the_first_rows_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": range(MAX_ROWS + 5)}), tmp_path / "r.parquet")
    assert len(read_rows(tmp_path / "r.parquet")) == MAX_ROWS
    (tmp_path / "r.jsonl").write_text('{"a":1}\n' * (MAX_ROWS + 5))
    assert len(read_rows(tmp_path / "r.jsonl")) == MAX_ROWS


def test_text_that_looks_like_numbers_stays_text_where_it_is_known_to_be(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("zip\n01234\n")
    assert read_rows(tmp_path / "r.csv", texts=["zip"]) == [{"zip": "01234"}]


@pytest.mark.parametrize("text", ["", "[1]\n", "{nope\n"])
def test_lines_that_are_no_rows_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(InvalidInput, match="JSON object a line"):
        read_rows(tmp_path / "r.jsonl")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("r.parquet", "r.jsonl"):
        with pytest.raises(InvalidInput, match=name):
            read_rows(tmp_path / name)


def test_keys_are_text_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("id,x\n007,1\n,2\nk,3\n")
    assert read_keys(tmp_path / "r.csv", "id") == ["007", "k"]
    with pytest.raises(InvalidInput, match="a column 'nope', got id, x"):
        read_keys(tmp_path / "r.csv", "nope")


def test_only_what_a_model_takes_is_chosen_in_its_order() -> None:
    rows = [{"id": "k", "b": 2, "a": 1}]
    assert [list(row.items()) for row in chosen(rows, ["a", "b", "c"])] == [[("a", 1), ("b", 2)]]
    assert chosen(rows, []) == rows
