"""What is predicted in a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv, ipc

from twofold.app.compare.inputs import (
    ROW_KEY,
    answer_requests,
    copies_for,
    predict_requests,
    predictable,
    split_header,
    write_copies,
    write_keyed,
)
from twofold.batch.inputs import open_input
from twofold.errors import PredictionFailed

TABLE = pa.table({"x": [1.5, 2.5, None], "note": ["a", 'b "c"\nd', None]})


def write_arrow(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def write_lines(table: pa.Table, path: Path) -> None:
    path.write_bytes(b"\n".join(map(msgspec.json.encode, table.to_pylist())))


WRITE: dict[str, Any] = {
    "parquet": pq.write_table,
    "csv": csv.write_csv,
    "arrow": write_arrow,
    "jsonl": write_lines,
}
READ: dict[str, Any] = {
    "parquet": lambda path: pq.read_table(path).to_pylist(),
    "csv": lambda path: csv.read_csv(
        path, parse_options=csv.ParseOptions(newlines_in_values=True)
    ).to_pylist(),
    "arrow": lambda path: ipc.open_file(path).read_all().to_pylist(),
    "jsonl": lambda path: [msgspec.json.decode(line) for line in path.read_bytes().splitlines()],
}


@pytest.mark.parametrize("kind", WRITE)
def test_copies_have_the_rows_of_all_files_again_and_again(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        WRITE[kind](TABLE, folder / f"{name}.{kind}")
    source = open_input(str(folder))
    path = write_copies(source, 3, tmp_path)
    rows = READ[kind](path)
    once = READ[kind](path)[:3]
    assert len(rows) == 18
    assert rows == once * 6


def test_a_large_input_and_one_that_is_in_folders_is_not_copied(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "rows.parquet")
    source = open_input(str(tmp_path / "rows.parquet"))
    assert copies_for(source, 3, 10) == 4
    assert copies_for(source, 3, 3) == 1
    assert copies_for(source, 0, 10) == 1
    (tmp_path / "day=1").mkdir()
    pq.write_table(TABLE, tmp_path / "day=1" / "rows.parquet")
    assert copies_for(open_input(str(tmp_path / "day=1" / "rows.parquet")), 3, 10) == 1


def test_a_header_ends_at_its_line_though_names_may_have_line_ends() -> None:
    assert split_header(b'a,"b\nc"\n1,2\n') == (b'a,"b\nc"\n', b"1,2\n")
    assert split_header(b"a,b") == (b"a,b\n", b"")


def test_rows_are_keyed_by_their_number_until_there_are_enough(tmp_path: Path) -> None:
    path = write_keyed(TABLE, tmp_path / "keyed.parquet", at_least=7)
    found = pq.read_table(path)
    assert found[ROW_KEY].to_pylist() == list(range(9))
    assert found["x"].to_pylist() == [1.5, 2.5, None] * 3


def test_requests_are_whole_and_say_how_long_they_are() -> None:
    [first, *_] = predict_requests(TABLE, "churn", "h:1")
    head, _, body = first.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/models/churn/predict HTTP/1.1\r\nHost: h:1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert msgspec.json.decode(body) == {"row": {"x": 1.5, "note": "a"}}
    [asked] = answer_requests(["a/b ?"], "churn", "h:1")
    assert asked.startswith(b"GET /v1/models/churn/answers/a%2Fb%20%3F HTTP/1.1\r\nHost: h:1\r\n")
    assert asked.endswith(b"\r\n\r\n")


def test_rows_that_the_model_fails_for_are_not_asked_for() -> None:
    def predict_one(row: Any) -> float:
        if row["x"] is None:
            raise PredictionFailed("model: expected a number, got none. Mend it.")
        return row["x"]

    rows = pa.concat_tables([TABLE.slice(2), TABLE])
    found = predictable(rows, predict_one, seconds=60.0)
    assert found.to_pylist() == TABLE.slice(0, 2).to_pylist()
    # However little time there is, one that works is looked for.
    found = predictable(rows, predict_one, seconds=0.0)
    assert found.to_pylist() == TABLE.slice(0, 1).to_pylist()
    assert predictable(TABLE.slice(2), predict_one, seconds=60.0).num_rows == 0
