"""Columns whose values stand in the names of folders."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from twofold.batch.chunks import Broken, Rows
from twofold.batch.folders import add_folders, check_folders, read_folders
from twofold.errors import InvalidInput

PATH = Path("/data/day=1/in.parquet")


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/data/day=2026-01-31/in.parquet", {"day": "2026-01-31"}),
        ("/data/year=2026/month=01/x=y.parquet", {"year": "2026", "month": "01"}),
        ("/data/day=__HIVE_DEFAULT_PARTITION__/in.parquet", {"day": None}),
        ("/data/at=12%3A30%2F1/caf%C3%A9=%3D/in.parquet", {"at": "12:30/1", "caf\u00e9": "="}),
        ("/data/a=b=c/in.parquet", {"a": "b=c"}),
        ("/data/a=/=b/plain/in.parquet", {"a": ""}),
        ("/data/a=1/a=1/in.parquet", {"a": "1"}),
        ("/data/in.parquet", {}),
    ],
)
def test_names_of_folders_give_columns_and_values(path: str, values: dict[str, Any]) -> None:
    assert read_folders(Path(path)) == values


def test_relative_path_says_the_same_as_the_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "day=1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert read_folders(Path("in.csv")) == read_folders(folder / "in.csv") == {"day": "1"}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/data/a=1/a=2/in.csv", "expected one value in the names of its folders, got '1' and '2'"),
        ("/data/a=%ff/in.csv", "expected names of folders in UTF-8"),
        ("/data/a=\udcff/in.csv", "expected names of folders in UTF-8"),
    ],
)
def test_names_that_cannot_be_read_are_refused(path: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_folders(Path(path))


def test_values_come_beside_the_rows() -> None:
    rows = Rows(pa.RecordBatch.from_pydict({"a": [1, 2]}), (Broken(1, "", "x"),))
    found = add_folders(rows, {"day": "1", "none": None})
    assert found.columns.to_pydict() == {"a": [1, 2], "day": ["1", "1"], "none": [None, None]}
    assert found.columns.schema.field("none").type == pa.string()
    assert found.broken == rows.broken


@pytest.mark.parametrize(
    ("values", "folder"),
    [
        (pa.array(["01", "01"]), "01"),
        (pa.array([1, 1], pa.int16()), "01"),
        (pa.array([date(2026, 1, 31)]), "2026-01-31"),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array([None], pa.int64()), None),
        (pa.array([], pa.int64()), "x"),
    ],
)
def test_column_of_the_file_that_says_the_same_is_fine(values: pa.Array, folder: Any) -> None:
    rows = Rows(pa.RecordBatch.from_arrays([values], names=["day"]))
    check_folders(rows, {"day": folder}, PATH)


@pytest.mark.parametrize(
    ("values", "folder", "got"),
    [
        (pa.array(["1", "2"]), "1", "'2'"),
        (pa.array([1, None], pa.int64()), "1", "None"),
        (pa.array([1], pa.int64()), "x", "1"),
        (pa.array(["1"]), None, "'1'"),
        (pa.array([[1]]), "1", "[1]"),
    ],
)
def test_column_of_the_file_that_says_another_is_refused(
    values: pa.Array, folder: Any, got: str
) -> None:
    rows = Rows(pa.RecordBatch.from_arrays([values], names=["day"]))
    with pytest.raises(InvalidInput) as caught:
        check_folders(rows, {"day": folder}, PATH)
    assert f"got {got} in the file" in str(caught.value)
    assert str(caught.value).startswith(f"{PATH}: day: expected {folder!r}, as the name")
