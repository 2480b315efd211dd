"""Types of databases as files have them."""

from __future__ import annotations

import uuid

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.sql_types import plain_batch, plain_schema, unreadable, uuid_texts


@given(st.lists(st.none() | st.uuids(), max_size=9), st.integers(0, 3))
def test_uuids_are_written_as_python_writes_them(values: list[uuid.UUID | None], skip: int) -> None:
    raw = pa.array([value and value.bytes for value in values], pa.binary(16))
    assert uuid_texts(raw[skip:]).to_pylist() == [value and str(value) for value in values[skip:]]


def test_numeric_is_a_number_for_the_model_and_else_text() -> None:
    kind = pa.opaque(pa.string(), "numeric", "PostgreSQL")
    texts = pa.array(["1.50", "nan", None, "12345678901234567890.1"])
    column = pa.ExtensionArray.from_storage(kind, texts)
    batch = pa.RecordBatch.from_arrays([column, column], names=["a", "b"])
    schema = plain_schema(batch.schema, ["a"])
    assert schema.types == [pa.float64(), pa.string()]
    found = plain_batch(batch, schema)
    assert str(found.column("a").to_pylist()) == "[1.5, nan, None, 1.2345678901234567e+19]"
    assert found.column("b").to_pylist() == texts.to_pylist()


def test_enums_json_and_views_are_text_and_the_rest_stays() -> None:
    columns = {
        "enum": pa.array(["a", "b"]).dictionary_encode(),
        "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}", "1"])),
        "view": pa.array(["a", "b"], pa.string_view()),
        "list": pa.array([[1], [2]]),
    }
    batch = pa.RecordBatch.from_pydict(columns)
    schema = plain_schema(batch.schema, [])
    assert schema.types == [pa.string()] * 3 + [pa.list_(pa.int64())]
    assert plain_batch(batch, schema).column("enum").to_pylist() == ["a", "b"]


def test_types_that_no_file_has_are_named_also_within_others() -> None:
    inet = pa.opaque(pa.binary(), "inet", "PostgreSQL")
    span = pa.month_day_nano_interval()
    schema = pa.schema(
        [
            pa.field("host", inet),
            pa.field("hosts", pa.list_(inet)),
            pa.field("age", span),
            pa.field("both", pa.struct([("a", pa.int64()), ("b", pa.list_(span))])),
            pa.field("some", pa.sparse_union([pa.field("x", pa.int8())])),
            pa.field("price", pa.int64(), metadata={"POSTGRESQL:type": "money"}),
            pa.field("count", pa.int64(), metadata={"POSTGRESQL:type": "int8"}),
            pa.field("exact", pa.opaque(pa.string(), "numeric", "PostgreSQL")),
            pa.field("token", pa.uuid()),
            pa.field("day", pa.dictionary(pa.int8(), pa.string())),
        ]
    )
    found = {
        "host": "inet",
        "hosts": "inet",
        "age": "interval",
        "both": "interval",
        "some": "union",
        "price": "money",
    }
    assert unreadable(schema, schema.names) == found
    assert unreadable(schema, ["age", "token"]) == {"age": "interval"}
