"""Each schema admits just what the protocols take, but for what its description says."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_schema import admits

from twofold.errors import InvalidInput
from twofold.model.rows import RowCheck
from twofold.model.signature import Field, Output, Signature
from twofold.wire.openapi import infer_example, invocations_examples
from twofold.wire.openapi_schemas import (
    LOCAL_TIMESTAMP,
    MAX_FLOAT32,
    infer_schema,
    inferred_schema,
    invocations_schema,
    invoked_schema,
    prediction_schema,
    row_schema,
)

MAX_INT64 = 2**63 - 1

FIELDS = (
    Field(name="flag", type="bool"),
    Field(name="count", type="int64", nullable=True),
    Field(name="small", type="float32"),
    Field(name="amount", type="float64", nullable=True),
    Field(name="plan", type="string", categories=("basic", "pro")),
    Field(name="tier", type="string", categories=("a",), nullable=True),
    Field(name="city", type="string", categories=("x",), unknown_categories="allow"),
    Field(name="text", type="string", nullable=True),
    Field(name="at", type="timestamp", zoned=True, nullable=True),
    Field(name="x", type="tensor", length=2),
    Field(name="y", type="tensor", length=1, nullable=True),
)
GOOD: dict[str, Any] = {
    "flag": True,
    "count": 3.0,
    "small": 1,
    "amount": 2.5,
    "plan": "pro",
    "tier": "a",
    "city": "elsewhere",
    "text": "",
    "at": "2026-01-31T12:00:00Z",
    "x": [1, 2.5],
    "y": [0.0],
}
ODD = [None, True, False, 0, -1, 1.5, -0.0, [], {}, [1.5], [1, 2], [1, None], [True, 2], [[1], 2]]
"""Values on which the two must agree; texts are told apart by their fields."""
ODD_IN = {
    "count": [MAX_INT64, MAX_INT64 + 1, -MAX_INT64 - 1, -MAX_INT64 - 2, 1e300, "3"],
    "plan": ["basic", "gold", "Pro", ""],
    "tier": ["a", "b", ""],
    "city": ["x", ""],
    "text": ["anything"],
}


@st.composite
def rows_to_check(draw: st.DrawFn, fields: tuple[Field, ...]) -> Any:
    """Draw a row that is good but for some values, members or its length."""
    row = {field.name: GOOD[field.name] for field in fields}
    for name in draw(st.lists(st.sampled_from(list(row)), max_size=2)):
        row[name] = draw(st.sampled_from([*ODD, *ODD_IN.get(name, [])]))
    if draw(st.booleans()):
        values = list(row.values())
        return draw(st.sampled_from([values] * 4 + [values[1:], [*values, 1]]))
    for name in draw(st.lists(st.sampled_from(list(row)), max_size=1)):
        del row[name]
    return row | draw(st.sampled_from([{}, {"note": [None]}, {"extra": 1}]))


@given(data=st.data(), extra_fields=st.sampled_from(["refuse", "ignore"]))
def test_schema_admits_just_the_rows_that_the_model_takes(
    data: st.DataObject, extra_fields: Any
) -> None:
    picked = data.draw(st.lists(st.sampled_from(FIELDS), min_size=1, unique_by=id))
    signature = Signature(fields=tuple(picked), ignored=("note",), extra_fields=extra_fields)
    row = data.draw(rows_to_check(signature.fields))
    try:
        RowCheck(signature)(row)
        taken = True
    except InvalidInput:
        taken = False
    assert admits(row_schema(signature), row) == taken


@pytest.mark.parametrize("row", [None, 1, True, "flag", [[True]], [{"flag": True}]])
def test_what_is_no_row_is_not_admitted(row: Any) -> None:
    assert not admits(row_schema(Signature(fields=FIELDS[:1])), row)


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        (Field(name="f", type="bool", nullable=True), {"type": ["boolean", "null"]}),
        (
            Field(name="f", type="float32"),
            {
                "type": "number",
                "format": "float",
                "minimum": -MAX_FLOAT32,
                "maximum": MAX_FLOAT32,
            },
        ),
        (Field(name="f", type="float64"), {"type": "number", "format": "double"}),
        (
            Field(name="f", type="int64"),
            {
                "type": "integer",
                "format": "int64",
                "minimum": -9223372036854775808,
                "maximum": 9223372036854775807,
            },
        ),
        (
            Field(name="f", type="timestamp"),
            {
                "type": "string",
                "description": (
                    "an ISO 8601 timestamp without time zone, within the years 1 to 9999"
                ),
                "pattern": LOCAL_TIMESTAMP,
            },
        ),
        (
            Field(name="f", type="timestamp", zoned=True, nullable=True),
            {
                "type": ["string", "null"],
                "description": (
                    "an ISO 8601 timestamp with time zone, within the years 1 to 9999 of UTC"
                ),
                "format": "date-time",
            },
        ),
    ],
)
def test_field_is_described_in_the_words_of_json_schema(
    field: Field, schema: dict[str, Any]
) -> None:
    by_name, by_order = row_schema(Signature(fields=(field,)))["oneOf"]
    assert by_name["properties"] == {"f": schema}
    assert by_order["prefixItems"] == [schema]


@pytest.mark.parametrize(
    ("output", "schema"),
    [
        (Output(kind="value", type="float32"), {"type": "number"}),
        (Output(kind="value", type="int64"), {"type": "integer"}),
        (Output(kind="label", type="string"), {"type": "string"}),
        (Output(kind="label", type="bool"), {"type": "boolean"}),
        (
            Output(kind="probability", type="float64"),
            {"type": "number", "minimum": 0, "maximum": 1},
        ),
        (
            Output(kind="value", type="float64", names=("low", "high")),
            {
                "type": "object",
                "properties": {"low": {"type": "number"}, "high": {"type": "number"}},
                "required": ["low", "high"],
            },
        ),
    ],
)
def test_prediction_is_described_by_the_models_output(
    output: Output, schema: dict[str, Any]
) -> None:
    assert prediction_schema(output) == schema


@given(st.datetimes())
def test_every_local_time_is_described(time: datetime) -> None:
    assert re.search(LOCAL_TIMESTAMP, time.isoformat())


@given(st.from_regex(LOCAL_TIMESTAMP, fullmatch=True))
def test_what_is_described_as_a_local_time_is_one(text: str) -> None:
    assert datetime.fromisoformat(text).tzinfo is None


@pytest.mark.parametrize(
    "text",
    [
        "0000-01-01T00:00:00",
        "1900-02-29T00:00:00",
        "2026-02-29T00:00:00",
        "2026-04-31T00:00:00",
        "2026-00-01T00:00:00",
        "2026-01-01T24:00:00",
        "2026-01-01T00:00:60",
        "2026-01-01T00:00:00Z",
    ],
)
def test_what_is_no_local_time_is_not_described_as_one(text: str) -> None:
    assert not re.search(LOCAL_TIMESTAMP, text)


NUMBERS = Signature(fields=tuple(Field(name=name, type="float32") for name in "ab"))


def test_numbers_may_come_in_one_tensor_of_any_name_but_a_fields(bench: Any) -> None:
    schema = infer_schema(bench.other(NUMBERS), max_rows=3)

    def table(name: str, *values: Any) -> dict[str, Any]:
        shape = [len(values) // 2, 2]
        tensor = {"name": name, "datatype": "FP32", "shape": shape, "data": list(values)}
        return {"inputs": [tensor]}

    assert admits(schema, table("x", 1, 2.5))
    assert admits(schema, table("x", 1, 2.5, 3, 4))
    assert not admits(schema, table("a", 1, 2.5))
    assert not admits(schema, table("x", 1, None))
    assert not admits(schema, table("x", 1, 1e39))
    assert not admits(schema, table("x", *[0.5] * 8))
    mixed = Signature(fields=(*NUMBERS.fields, Field(name="c", type="string")))
    assert not admits(infer_schema(bench.other(mixed), max_rows=3), table("x", 1, 2.5))


def test_examples_of_every_type_of_field_are_as_described(bench: Any) -> None:
    served = bench.other(Signature(fields=FIELDS, ignored=("note",)))
    assert admits(infer_schema(served, max_rows=3), infer_example(served))
    split, lines, table = invocations_examples(served)
    assert admits(invocations_schema(served, max_rows=3), split)
    assert lines.count("\n") == 1
    header, row = table.splitlines()
    assert header == ",".join(field.name for field in FIELDS)
    assert row.endswith('"[0.5,0.5]",[0.5]')


@pytest.mark.parametrize("names", [("prediction",), ("low", "high")])
def test_answers_have_the_names_of_the_models_outputs(bench: Any, names: tuple[str, ...]) -> None:
    served = bench.other(NUMBERS, Output(kind="value", type="float64", names=names))
    outputs = [{"name": name, "datatype": "FP64", "shape": [1], "data": [0.5]} for name in names]
    answer = {"model_name": "other", "model_version": "1", "outputs": outputs}
    assert admits(inferred_schema(served), answer)
    assert admits(inferred_schema(served), {**answer, "id": "x"})
    assert not admits(inferred_schema(served), {**answer, "model_name": "another"})
    outputs[0]["name"] = "score"
    assert not admits(inferred_schema(served), answer)
    one = 0.5 if len(names) == 1 else dict.fromkeys(names, 0.5)
    assert admits(invoked_schema(served), {"predictions": [one, one]})
    assert not admits(invoked_schema(served), {"predictions": [[one]]})
