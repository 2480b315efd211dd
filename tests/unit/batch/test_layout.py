"""Which columns come in, which go out, in which order, and in one piece."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.formats import FORMATS
from twofold.batch.inputs import Input, OpenFile
from twofold.batch.layout import Layout, Stamp, lay_out, parsed
from twofold.errors import InvalidInput
from twofold.model.signature import Field, Output, Signature

SIGNATURE = Signature(
    fields=(Field(name="amount", type="float64"), Field(name="plan", type="string")),
    ignored=("note",),
)
ANY_EXTRA = Signature(fields=SIGNATURE.fields, extra_fields="ignore")
VALUE = Output(kind="value", type="float64")
CLASSES = Output(kind="probability", type="float32", names=("low", "high"))
COLUMNS = {"id": pa.int64(), "amount": pa.float64(), "plan": pa.string(), "note": pa.string()}
STAMP = Stamp("3", "night", datetime(2026, 1, 31, 12, 30, 15, 123457, tzinfo=UTC))


def source(*schemas: pa.Schema) -> Input:
    files = tuple(
        OpenFile(Path(f"f{number}.parquet"), schema, None, 0, 0, tuple(schema.names))
        for number, schema in enumerate(schemas)
    )
    return Input("in", "in", FORMATS[0], files)


def layout(
    *schemas: pa.Schema,
    signature: Signature = SIGNATURE,
    output: Output = VALUE,
    key: str | None = "id",
    keep: tuple[str, ...] = (),
) -> Layout:
    found = source(*(schemas or (pa.schema(COLUMNS),)))
    return lay_out(found, signature, output, key=key, keep=keep)


def batch(numbers: list[int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {"id": pa.array(numbers, pa.int64()), "prediction": pa.array(numbers, pa.float64())}
    )


def test_key_comes_first_then_what_is_kept_then_predictions_then_constants() -> None:
    found = layout(keep=("note", "amount"), output=CLASSES)
    assert found.schema == pa.schema(
        {
            "id": pa.int64(),
            "note": pa.string(),
            "amount": pa.float64(),
            "low": pa.float32(),
            "high": pa.float32(),
            "model_version": pa.dictionary(pa.int32(), pa.string()),
            "run_id": pa.dictionary(pa.int32(), pa.string()),
            "predicted_at": pa.timestamp("us", "UTC"),
        }
    )


def test_column_with_several_uses_is_read_and_copied_once() -> None:
    found = layout(key="amount", keep=("note", "amount", "note"), signature=ANY_EXTRA)
    assert found.read == ["amount", "note", "plan"]
    assert [field.name for field in found.passed] == ["amount", "note"]


def test_without_key_and_kept_columns_only_the_fields_are_read() -> None:
    found = layout(pa.schema({"plan": pa.string(), "amount": pa.float64()}), key=None)
    assert (found.key, found.passed, found.read) == (None, (), ["amount", "plan"])


def test_not_null_column_of_the_input_may_be_copied() -> None:
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), *list(pa.schema(COLUMNS))[1:]])
    assert layout(schema).schema.field("id") == pa.field("id", pa.int64())


@pytest.mark.parametrize(
    ("output", "key", "keep", "flag", "name"),
    [
        (VALUE, "prediction", (), "--key", "prediction"),
        (VALUE, "id", ("note", "prediction"), "--keep", "prediction"),
        (CLASSES, None, ("high",), "--keep", "high"),
        (VALUE, None, ("model_version",), "--keep", "model_version"),
        (VALUE, "run_id", ("run_id",), "--key", "run_id"),
        (VALUE, "predicted_at", (), "--key", "predicted_at"),
    ],
)
def test_copied_column_may_not_be_called_like_one_the_run_writes(
    output: Output, key: str | None, keep: tuple[str, ...], flag: str, name: str
) -> None:
    schema = pa.schema(COLUMNS | {name: pa.string()})
    with pytest.raises(InvalidInput) as caught:
        layout(schema, output=output, key=key, keep=keep)
    assert str(caught.value) == (
        f"{flag}: expected a name the run doesn't write itself, got {name}. "
        "Rename that column of the input."
    )


def test_column_of_that_name_that_is_not_copied_is_no_matter() -> None:
    schema = pa.schema(COLUMNS | {"prediction": pa.string()})
    assert layout(schema, signature=ANY_EXTRA).schema.field("prediction").type == pa.float64()


def test_copied_column_that_is_there_twice_is_refused() -> None:
    schema = pa.schema([*pa.schema(COLUMNS), pa.field("note", pa.int64())])
    with pytest.raises(InvalidInput) as caught:
        layout(schema, keep=("note",))
    assert str(caught.value) == (
        "f0.parquet: --keep note: expected a column, got it several times. Name one it has once."
    )


def test_columns_of_a_wide_file_are_shown_up_to_the_twentieth() -> None:
    schema = pa.schema({f"x{number}": pa.int64() for number in range(30)})
    with pytest.raises(InvalidInput) as caught:
        layout(schema)
    assert ", x18, x19. Name" in str(caught.value)


def test_second_file_without_the_key_is_named() -> None:
    without = pa.schema({name: kind for name, kind in COLUMNS.items() if name != "id"})
    with pytest.raises(InvalidInput, match=r"^f1\.parquet: --key id: expected a column, got only"):
        layout(pa.schema(COLUMNS), without)


def test_copied_column_of_another_type_in_a_later_file_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        layout(pa.schema(COLUMNS), pa.schema(COLUMNS | {"id": pa.int32()}))
    assert str(caught.value) == (
        "f1.parquet.id: expected int64 as in f0.parquet, got int32. "
        "Write the files with one type for this column."
    )


def test_fields_of_another_type_in_a_later_file_are_left_to_the_check_of_the_rows() -> None:
    found = layout(pa.schema(COLUMNS), pa.schema(COLUMNS | {"amount": pa.int8()}))
    assert found.fields == ("amount", "plan")


def test_unknown_column_is_refused_unless_it_is_the_key_or_kept() -> None:
    schema = pa.schema(COLUMNS | {"extra": pa.int64()})
    assert layout(schema, keep=("extra",)).read == ["id", "extra", "amount", "plan"]
    with pytest.raises(InvalidInput, match=r"^f1\.parquet\.extra: expected only the model's"):
        layout(pa.schema(COLUMNS), schema)


@given(st.lists(st.integers(0, 6), max_size=6))
def test_table_is_the_same_in_one_piece_however_the_batches_were_cut(lengths: list[int]) -> None:
    whole = batch(list(range(sum(lengths))))
    starts = [sum(lengths[:index]) for index in range(len(lengths))]
    pieces = [whole.slice(start, count) for start, count in zip(starts, lengths, strict=True)]
    found, wanted = layout().table(pieces, STAMP), layout().table([whole], STAMP)
    assert found.equals(wanted)
    assert found.schema == layout().schema
    assert all(column.num_chunks <= 1 for column in found.columns)


def test_constants_stand_beside_every_row() -> None:
    rows = layout().table([batch([7, 8])], STAMP).to_pylist()
    assert rows == [
        {
            "id": number,
            "prediction": float(number),
            "model_version": "3",
            "run_id": "night",
            "predicted_at": STAMP.predicted_at,
        }
        for number in (7, 8)
    ]


def test_table_without_batches_has_all_columns_and_no_rows() -> None:
    found = layout().table([], STAMP)
    assert found.schema == layout().schema
    assert found.num_rows == 0


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 1, 31, 23, 0, 0, 1, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
def test_instant_keeps_its_microseconds_and_becomes_utc(instant: datetime) -> None:
    table = layout().table([batch([1])], Stamp("3", "night", instant))
    assert table.column("predicted_at").to_pylist() == [instant]
    assert table.schema.field("predicted_at").type == pa.timestamp("us", "UTC")


def test_label_columns_of_batches_with_other_dictionaries_are_joined() -> None:
    kind = pa.dictionary(pa.int32(), pa.string())
    found = layout(pa.schema(COLUMNS | {"id": kind}))
    pieces = [
        pa.RecordBatch.from_pydict(
            {"id": pa.array(labels, kind), "prediction": pa.array([0.0] * len(labels))}
        )
        for labels in (["x", "y"], ["z", None, "x"])
    ]
    table = found.table(pieces, STAMP)
    assert table.column("id").to_pylist() == ["x", "y", "z", None, "x"]
    assert table.column("id").num_chunks == 1


def in_folders(
    *folders: dict[str, str | None], schema: pa.Schema | None = None, lines: bool = False
) -> Input:
    kind = next(known for known in FORMATS if known.is_lines == lines)
    own = pa.schema(COLUMNS) if schema is None else schema
    files: list[OpenFile] = []
    for number, values in enumerate(folders):
        extra = [pa.field(name, pa.string()) for name in values if name not in own.names]
        in_both = frozenset(values).intersection(own.names)
        found = pa.schema([*own, *extra])
        names = tuple(own.names)
        path = Path(f"f{number}")
        files.append(OpenFile(path, found, None, 0, 0, names, values, in_both))
    return Input("in", "in", kind, tuple(files))


DAY = Field(name="day", type="int64")
WITH_DAY = Signature(fields=(*SIGNATURE.fields, DAY), ignored=("id", "note"))


def test_column_of_folders_is_text_unless_a_field_says_otherwise() -> None:
    found = lay_out(
        in_folders({"day": "1", "site": "2"}, {"day": None, "site": "x"}),
        WITH_DAY,
        VALUE,
        key="site",
        keep=["day"],
    )
    assert found.passed == (pa.field("site", pa.string()), pa.field("day", pa.int64()))
    assert found.parsed == (DAY,)
    assert parsed(DAY, pa.array(["07", None])).to_pylist() == [7, None]


def test_folder_that_is_no_value_of_its_field_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        lay_out(in_folders({"day": "1"}, {"day": "x"}), WITH_DAY, VALUE, key=None, keep=())
    assert str(caught.value) == ("f1: day: expected int64, got string 'x'. Rename the folder.")


def test_folder_that_nothing_asks_for_is_no_unknown_column() -> None:
    found = lay_out(in_folders({"run": "5"}), SIGNATURE, VALUE, key="id", keep=())
    assert "run" not in found.read


@pytest.mark.parametrize("lines", [False, True])
def test_file_beside_the_folders_of_the_others_is_named(lines: bool) -> None:
    source = in_folders({"day": "1"}, {}, lines=lines)
    with pytest.raises(InvalidInput, match=r"^f1: day: expected a folder day=\.\.\., got none, wh"):
        lay_out(source, WITH_DAY, VALUE, key=None, keep=())


def test_column_that_the_files_have_is_theirs() -> None:
    schema = pa.schema({**COLUMNS, "day": pa.int16()})
    found = lay_out(in_folders({"day": "1"}, schema=schema), WITH_DAY, VALUE, key="day", keep=())
    assert found.passed == (pa.field("day", pa.int16()),)
    assert found.parsed == ()


def test_lines_are_read_whole_and_what_is_copied_has_the_type_of_its_field_or_is_text() -> None:
    source = in_folders({"day": "1"}, lines=True)
    found = lay_out(source, WITH_DAY, VALUE, key="id", keep=["amount", "day"])
    assert found.read == ["", "day"]
    assert [str(field.type) for field in found.passed] == ["string", "double", "int64"]


def test_key_that_no_line_has_is_refused_where_any_line_could_be_read() -> None:
    with pytest.raises(InvalidInput, match="in: --key nope: expected a column, got only id, amou"):
        lay_out(in_folders({}, lines=True), SIGNATURE, VALUE, key="nope", keep=())
    empty = in_folders({}, schema=pa.schema([]), lines=True)
    assert lay_out(empty, SIGNATURE, VALUE, key="nope", keep=()).key == "nope"
