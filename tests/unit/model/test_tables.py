"""Containers of rows and sample files, as Arrow tables."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest

from twofold.errors import DeclarationError, InvalidInput
from twofold.model.tables import (
    MAX_SAMPLE_ROWS,
    is_table,
    one_batch,
    pandas_categoricals,
    sample_table,
    table_of,
)

TABLE = pa.table({"n": [1, 2], "s": ["a", None]})


def pandas() -> Any:
    return pytest.importorskip("pandas", reason="pandas is an extra")


def polars() -> Any:
    return pytest.importorskip("polars", reason="polars is an extra")


def csv_sample(folder: Path, text: str) -> dict[str, list[Any]]:
    path = folder / "s.csv"
    path.write_text(text)
    return sample_table(path).to_pydict()


@pytest.mark.parametrize(
    "data",
    [
        [{"n": 1}],
        {"n": [1]},
        np.zeros((2, 2)),
        pa.array([1]),
        pa.chunked_array([[1]]),
        "s.parquet",
        5,
        None,
        SimpleNamespace(columns=["n"]),
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_has_no_named_columns_is_no_table(data: Any) -> None:
    assert not is_table(data)
    with pytest.raises(InvalidInput) as caught:
        table_of(data)
    assert str(caught.value) == (
        "data: expected a table (pyarrow, pandas or polars) or a list of rows, "
        f"got one {type(data).__name__}. Pass a table, or a list of dicts."
    )


def test_an_arrow_table_is_given_as_it_is() -> None:
    assert is_table(TABLE)
    assert table_of(TABLE) is TABLE


def test_a_record_batch_is_a_table_of_its_rows() -> None:
    batch = one_batch(TABLE)[1:]
    assert is_table(batch)
    assert table_of(batch).equals(TABLE[1:])


def test_a_table_of_any_library_with_the_arrow_protocol_is_one() -> None:
    class Foreign:
        columns = ("n", "s")

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return TABLE.__arrow_c_stream__(requested_schema)

    assert is_table(Foreign())
    assert table_of(Foreign()).equals(TABLE)


def test_a_polars_frame_is_a_table_of_its_columns() -> None:
    frame = polars().DataFrame({"n": [1, 2], "s": ["a", None]})
    assert is_table(frame)
    assert table_of(frame).to_pydict() == TABLE.to_pydict()


def test_the_index_of_a_pandas_frame_is_left_out() -> None:
    frame = pandas().DataFrame({"n": [1, 2]}, index=["first", "second"])
    frame.index.name = "key"
    assert is_table(frame)
    assert table_of(frame).to_pydict() == {"n": [1, 2]}


def test_a_filtered_pandas_frame_has_the_rows_that_are_left() -> None:
    frame = pandas().DataFrame({"n": [1, 2, 3], "x": [0.5, None, 2.5]})
    assert table_of(frame[frame.n > 1]).to_pydict() == {"n": [2, 3], "x": [None, 2.5]}


def test_a_table_in_pieces_becomes_one_batch_in_order() -> None:
    table = pa.concat_tables([TABLE, TABLE.slice(1), TABLE.slice(0, 0)])
    batch = one_batch(table)
    assert batch.to_pydict() == {"n": [1, 2, 2], "s": ["a", None, None]}


def test_one_batch_keeps_types_nullability_and_metadata() -> None:
    schema = pa.schema(
        [pa.field("n", pa.int8(), nullable=False, metadata={"unit": "EUR"})],
        metadata={"made by": "us"},
    )
    batch = one_batch(pa.table({"n": [1, 2]}, schema=schema))
    assert batch.schema.equals(schema, check_metadata=True)


def test_a_table_without_rows_or_chunks_becomes_an_empty_batch() -> None:
    batch = one_batch(TABLE.schema.empty_table())
    assert (batch.num_rows, batch.schema) == (0, TABLE.schema)
    assert one_batch(pa.Table.from_batches([], TABLE.schema)).equals(batch)


def test_the_columns_of_a_matrix_are_numbered() -> None:
    table = sample_table(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert table.to_pydict() == {"x0": [0.0, 3.0], "x1": [1.0, 4.0], "x2": [2.0, 5.0]}
    assert set(table.schema.types) == {pa.float32()}


@pytest.mark.parametrize("view", [lambda m: m.T, lambda m: m[::2, ::-1], np.asfortranarray])
def test_the_layout_of_a_matrix_in_memory_changes_nothing(view: Any) -> None:
    matrix = view(np.arange(12).reshape(4, 3))
    expected = {f"x{index}": matrix[:, index].tolist() for index in range(matrix.shape[1])}
    assert sample_table(matrix).to_pydict() == expected


def test_a_matrix_of_booleans_is_a_sample_too() -> None:
    table = sample_table(np.array([[True, False], [False, False]]))
    assert table.to_pydict() == {"x0": [True, False], "x1": [False, False]}


def test_rows_may_be_any_mappings_and_lack_values() -> None:
    table = sample_table([{"n": 1, "s": "a"}, dict.fromkeys(["s"], "b")])
    assert table.to_pydict() == {"n": [1, None], "s": ["a", "b"]}


@pytest.mark.parametrize(
    "sample",
    [
        [],
        (),
        [{}],
        TABLE.slice(0, 0),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        pa.table({}),
        TABLE.select([]),
    ],
    ids=["list", "tuple", "empty rows", "table", "no rows", "no columns", "nothing", "none left"],
)
def test_a_sample_without_rows_or_columns_is_refused(sample: Any) -> None:
    with pytest.raises(DeclarationError) as caught:
        sample_table(sample)
    assert str(caught.value) == (
        "sample: expected at least one row, got none. Give rows like those to be predicted."
    )


@pytest.mark.parametrize("sample", [np.zeros(3), np.zeros((2, 2, 2)), [1, 2], {"n": [1]}, 7])
def test_what_is_no_sample_is_refused_by_its_kind(sample: Any) -> None:
    with pytest.raises(DeclarationError, match=f"got one {type(sample).__name__}\\."):
        sample_table(sample)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow", ".feather", ".ipc", ".PARQUET"])
@pytest.mark.parametrize("as_path", [str, Path])
def test_a_file_is_read_by_its_suffix(tmp_path: Path, suffix: str, as_path: Any) -> None:
    path = tmp_path / f"sample{suffix}"
    match suffix.lower():
        case ".parquet":
            pq.write_table(TABLE, path)
        case ".csv":
            pcsv.write_csv(TABLE, path)
        case ".feather":
            pf.write_feather(TABLE, str(path))
        case _:
            with pa.ipc.new_file(path, TABLE.schema) as writer:
                writer.write_table(TABLE)
    assert sample_table(as_path(path)).equals(TABLE)


def test_an_arrow_file_may_be_a_stream(tmp_path: Path) -> None:
    with pa.ipc.new_stream(tmp_path / "s.arrow", TABLE.schema) as writer:
        writer.write_table(TABLE)
        writer.write_table(TABLE)
    assert sample_table(tmp_path / "s.arrow").equals(pa.concat_tables([TABLE, TABLE]))


def test_only_the_beginning_of_a_long_sample_is_read(tmp_path: Path) -> None:
    count = MAX_SAMPLE_ROWS + 3
    table = pa.table({"n": np.arange(count)})
    # Row groups that do not add up to the limit: the last batch read overshoots it.
    pq.write_table(table, tmp_path / "s.parquet", row_group_size=70_001)
    pcsv.write_csv(table, tmp_path / "s.csv")
    with pa.ipc.new_file(tmp_path / "s.arrow", table.schema) as writer:
        writer.write_table(table)
    files = [tmp_path / name for name in ("s.parquet", "s.csv", "s.arrow")]
    for sample in (table, np.arange(count).reshape(-1, 1), *files):
        read = sample_table(sample)
        assert read.num_rows == MAX_SAMPLE_ROWS
        assert read.column(0)[-1].as_py() == MAX_SAMPLE_ROWS - 1


def test_an_empty_cell_is_null_and_an_empty_quoted_one_is_text(tmp_path: Path) -> None:
    found = csv_sample(tmp_path, 'n,s,t\n1,"",a\n,,b\n')
    assert found == {"n": [1, None], "s": ["", None], "t": ["a", "b"]}


def test_words_that_other_readers_take_for_null_stay_text(tmp_path: Path) -> None:
    words = ["NA", "null", "None", "n/a", "NaN"]
    assert csv_sample(tmp_path, "s\n" + "\n".join(words) + "\n") == {"s": words}


def test_ones_and_zeros_are_numbers_and_true_and_false_are_not(tmp_path: Path) -> None:
    found = csv_sample(tmp_path, "flag,digit\nTrue,1\nfalse,0\nTRUE,1\n")
    assert found == {"flag": [True, False, True], "digit": [1, 0, 1]}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("s.parquet", b"", "expected a readable .parquet file"),
        ("s.csv", b"", "expected a readable .csv file, got Empty CSV file. Look whether"),
        ("s.csv", b"a,b\n1,2\n3\n", "Expected 2 columns, got 1: 3. Look whether"),
        ("s.arrow", b"", "expected a readable .arrow file"),
        ("s.arrow", b"ARROW1\x00\x00 and no more", "expected a readable .arrow file"),
        ("s.feather", b"FEA1 of old", "expected a readable .feather file"),
        (
            "sample",
            b"n\n1\n",
            "expected a .parquet, .csv or .arrow file, got the suffix ''. Convert the sample to",
        ),
    ],
)
def test_a_broken_file_is_refused_with_its_path_and_its_reason(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DeclarationError) as caught:
        sample_table(path)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert words in str(caught.value)


def test_a_file_cut_short_is_refused_whatever_its_format(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "s.parquet")
    with pa.ipc.new_stream(tmp_path / "s.arrow", TABLE.schema) as writer:
        writer.write_table(TABLE)
    for name in ("s.parquet", "s.arrow"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) - 20])
        with pytest.raises(DeclarationError, match=r"expected a readable \.\w+ file"):
            sample_table(tmp_path / name)


def test_a_folder_is_no_sample(tmp_path: Path) -> None:
    (tmp_path / "s.parquet").mkdir()
    with pytest.raises(DeclarationError, match=r"s\.parquet: expected a file, got nothing there\."):
        sample_table(tmp_path / "s.parquet")


def test_the_error_of_an_empty_file_of_rows_names_the_file(tmp_path: Path) -> None:
    pq.write_table(TABLE.slice(0, 0), tmp_path / "s.parquet")
    with pytest.raises(DeclarationError) as caught:
        sample_table(tmp_path / "s.parquet")
    assert str(caught.value).startswith(f"{tmp_path}/s.parquet: expected at least one row")


def test_dictionaries_are_categoricals_and_plain_strings_are_not() -> None:
    schema = pa.schema({"c": pa.dictionary(pa.int8(), pa.string()), "s": pa.string()})
    assert pandas_categoricals(schema) == {"c"}


def test_categoricals_are_known_from_what_pandas_wrote_about_them() -> None:
    columns = [
        {"name": "c", "pandas_type": "categorical"},
        {"name": "s", "pandas_type": "unicode"},
        {"name": None, "pandas_type": "int64"},
    ]
    noted = pa.schema({"c": pa.string(), "s": pa.string()})
    noted = noted.with_metadata({"pandas": json.dumps({"columns": columns})})
    assert pandas_categoricals(noted) == {"c"}


@pytest.mark.parametrize("metadata", [None, {}, {"pandas": "{}"}, {"other": "x"}])
def test_a_schema_that_says_nothing_of_pandas_has_no_categoricals(
    metadata: dict[str, str] | None,
) -> None:
    assert pandas_categoricals(pa.schema({"s": pa.string()}, metadata)) == set()


def test_categoricals_survive_pandas_and_parquet(tmp_path: Path) -> None:
    pd = pandas()
    frame = pd.DataFrame({"c": pd.Categorical(["b", "a"]), "s": ["x", "y"]})
    frame.to_parquet(tmp_path / "s.parquet", index=False)
    for table in (table_of(frame), sample_table(tmp_path / "s.parquet")):
        assert pandas_categoricals(table.schema) == {"c"}
        assert table["c"].to_pylist() == ["b", "a"]
