"""What a format of part files writes is what its readers find, with the same bits."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv

from twofold.batch.part_files import PART_FORMATS, PartFormat, check_writable, part_format
from twofold.errors import InvalidInput

AT = dt.datetime(2026, 1, 31, 12, 30, 0, 250, tzinfo=dt.UTC)
TEXT = st.text("ab1,;\"'\\\n\t =\x01\x7fé\u2028\ufeff\uffff😀", max_size=9)
EVERY = [pytest.param(known, id=name) for name, known in PART_FORMATS.items()]


def table(predictions: list[float | None], keys: list[str | None]) -> pa.Table:
    rows = len(keys)
    label = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["3"]))
    return pa.table(
        {
            "id": pa.array(keys, pa.string()),
            "prediction": pa.array(predictions, pa.float64()),
            "model_version": label,
            "predicted_at": pa.array([AT] * rows, pa.timestamp("us", "UTC")),
        }
    )


def read(known: PartFormat, path: Path) -> pa.Table:
    if known.name == "parquet":
        return pq.ParquetFile(path).read()
    if known.name == "arrow":
        return pa.ipc.open_file(path).read_all()
    options = arrow_csv.ConvertOptions(
        column_types={
            "id": pa.string(),
            "prediction": pa.float64(),
            "model_version": pa.string(),
            "predicted_at": pa.timestamp("us", "UTC"),
        },
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    return arrow_csv.read_csv(path, convert_options=options, parse_options=parse)


def bits(found: pa.Table) -> list[int]:
    column = found.column("prediction").combine_chunks()
    return np.asarray(column.fill_null(-1.0)).view(np.int64).tolist()


@pytest.mark.parametrize("known", EVERY)
@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.floats(allow_nan=False) | st.none(),
            st.none() | TEXT,
        ),
        max_size=20,
    )
)
def test_rows_come_back_with_the_same_bits(
    known: PartFormat,
    rows: list[tuple[float | None, str | None]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("parts") / f"part{known.suffix}"
    given_table = table([prediction for prediction, _ in rows], [key for _, key in rows])
    assert known.write(path, [given_table], given_table.schema) == len(rows)
    assert known.count(path) == len(rows)
    found = read(known, path)
    assert found.column("id").to_pylist() == given_table.column("id").to_pylist()
    assert bits(found) == bits(given_table)
    assert found.column("model_version").to_pylist() == ["3"] * len(rows)
    assert found.column("predicted_at").to_pylist() == [AT] * len(rows)


@pytest.mark.parametrize("known", EVERY)
def test_same_rows_give_the_same_bytes(known: PartFormat, tmp_path: Path) -> None:
    rows = table([0.1, None, 1e300], ["a", "b", None])
    digests: set[str] = set()
    for name in ("one", "two"):
        known.write(tmp_path / name, [rows], rows.schema)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("known", EVERY)
def test_several_tables_are_counted_together_and_none_is_an_empty_file(
    known: PartFormat, tmp_path: Path
) -> None:
    one, two = table([1.0], ["a"]), table([2.0, 3.0], ["b", "c"])
    assert known.write(tmp_path / "some", [one, two], one.schema) == 3
    assert known.count(tmp_path / "some") == 3
    assert known.write(tmp_path / "none", [], one.schema) == 0
    assert known.count(tmp_path / "none") == 0
    assert read(known, tmp_path / "none").column_names == one.column_names


def test_csv_keeps_null_and_the_empty_text_apart(tmp_path: Path) -> None:
    known = PART_FORMATS["csv"]
    rows = pa.table({"id": pa.array(["", None, 'a "b", c\n'])})
    known.write(tmp_path / "part.csv", [rows], rows.schema)
    assert (tmp_path / "part.csv").read_text() == '"id"\n""\n\n"a ""b"", c\n"\n'


@pytest.mark.parametrize(
    ("value", "said"),
    [([1], "list"), ({"a": 1}, "struct"), (b"x", "binary"), (dt.timedelta(1), "duration")],
)
def test_csv_refuses_what_it_has_no_form_for(value: object, said: str) -> None:
    schema = pa.table({"extra": pa.array([value])}).schema
    with pytest.raises(InvalidInput) as caught:
        check_writable(PART_FORMATS["csv"], schema)
    message = str(caught.value)
    assert message.startswith(f"--format csv: extra: expected a type CSV has, got {said}")
    assert message.endswith("Leave it out of --keep, or choose --format parquet.")
    check_writable(PART_FORMATS["parquet"], schema)
    check_writable(PART_FORMATS["arrow"], schema)


def test_csv_takes_what_is_written_as_one_cell() -> None:
    values = [1, 1.5, True, "a", decimal.Decimal("1.10"), AT, AT.date(), AT.time()]
    schema = pa.table({f"c{at}": pa.array([value]) for at, value in enumerate(values)}).schema
    check_writable(PART_FORMATS["csv"], schema)


def test_unknown_format_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="expected one of parquet, csv, arrow, got orc"):
        part_format("orc")
