from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from records import VALUE, record_of

from twofold.errors import InvalidInput
from twofold.model.signature import Field, Output, Signature
from twofold.serving.service import Contract
from twofold.wire.http import DEFAULT, Request, Response
from twofold.wire.mlflow import MAX_PLANS, Invocations, ping, version
from twofold.wire.statuses import WireError

CSV = "text/csv"
LINES = "application/jsonlines"
EPOCH_2026 = 1_767_225_600_000_000

CLASSES = Output(kind="probability", type="float64", names=("low", "high"))
CHURN = Signature(
    fields=(
        Field(name="income", type="float64", nullable=True),
        Field(name="plan", type="string", nullable=True, categories=("basic", "pro")),
    ),
    ignored=("note",),
)
ONE_NUMBER = Signature(fields=(Field(name="x", type="float64", nullable=True),))
ONE_TENSOR = Signature(fields=(Field(name="x", type="tensor", length=2, nullable=True),))
EVENTS = Signature(
    fields=(
        Field(name="at", type="timestamp", nullable=True),
        Field(name="x", type="tensor", length=2, nullable=True),
    )
)
EVERY_TYPE = Signature(
    fields=(
        Field(name="yes", type="bool", nullable=True),
        Field(name="count", type="int64", nullable=True),
        Field(name="small", type="float32", nullable=True),
        Field(name="large", type="float64", nullable=True),
        Field(name="words", type="string", nullable=True),
        Field(name="plan", type="string", nullable=True, categories=("basic", "pro")),
        Field(name="at", type="timestamp", nullable=True),
        Field(name="seen", type="timestamp", zoned=True, nullable=True),
        Field(name="x", type="tensor", length=2, nullable=True),
    ),
    ignored=("note",),
)


def contract(signature: Signature, output: Output = VALUE) -> Contract:
    return Contract(record_of(signature=signature, output=output))


def request(body: Any, kind: str | None = None, accept: str | None = None) -> Request:
    if not isinstance(body, bytes):
        body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    named = {b"content-type": kind, b"accept": accept}
    headers = {name: value.encode() for name, value in named.items() if value is not None}
    return Request(b"POST", b"/invocations", headers, body, DEFAULT, 0.0)


def rows(
    body: Any, kind: str | None = None, *, of: Signature = CHURN, max_rows: int = 3
) -> list[list[Any]]:
    call = Invocations(contract(of), max_rows=max_rows).read(request(body, kind))
    return [list(row) for row in call.rows]


def refused(body: Any, kind: str | None = None, *, of: Signature = CHURN) -> str:
    with pytest.raises(InvalidInput) as caught:
        rows(body, kind, of=of)
    return str(caught.value)


def wire_error(body: Any, kind: str | None = None, **more: Any) -> tuple[str, str]:
    with pytest.raises(WireError) as caught:
        rows(body, kind, **more)
    return caught.value.code, str(caught.value)


# Every form of the same rows

TWO = [[50.5, "pro"], [None, "basic"]]
RECORDS = [{"income": 50.5, "plan": "pro"}, {"income": None, "plan": "basic"}]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["income", "plan"], "data": TWO}},
        {"dataframe_split": {"columns": ["income", "plan"], "index": [7, 9], "data": TWO}},
        {
            "dataframe_split": {
                "columns": ["note", "plan", "income"],
                "data": [["a", "pro", 50.5], [1, "basic", None]],
            }
        },
        {"dataframe_split": {"data": TWO}},
        {"dataframe_split": {"columns": None, "data": TWO}},
        {"dataframe_split": {"columns": [0, 1], "data": TWO}},
        {"dataframe_records": RECORDS},
        {"instances": RECORDS},
        {"instances": TWO},
        {"instances": TWO, "signature_name": "serving_default"},
        {"inputs": {"plan": ["pro", "basic"], "income": [50.5, None], "note": ["a", "b"]}},
        {"inputs": RECORDS},
        {"inputs": TWO},
        {"inputs": TWO, "params": {}},
        {"inputs": TWO, "params": {"temperature": 0.5}},
    ],
)
def test_rows_come_as_json_in_any_of_the_four_forms(body: Any) -> None:
    assert rows(body) == TWO
    assert rows(body, "application/json") == TWO
    assert rows(body, 'Application/JSON; charset="UTF-8"') == TWO


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("income,plan\n50.5,pro\n,basic\n", CSV),
        ('plan,"income",note\r\n"pro",50.5,"a, ""b"""\r\nbasic,NaN,', CSV),
        ("\ufeffincome,plan\n50.5,pro\nnan,basic", "text/csv; charset=utf-8"),
        ("50.5,pro\n,basic\n", CSV),
        ("50.5,pro\n,basic\n", "text/csv;header=absent"),
        ("income,plan\n50.5,pro\n,basic\n", "text/csv; header=present"),
    ],
)
def test_rows_come_as_csv_with_or_without_a_header(text: str, kind: str) -> None:
    assert rows(text, kind) == TWO


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"income": 50.5, "plan": "pro"}\n{"plan": "basic", "income": null}\n', LINES),
        ('[50.5, "pro"]\r\n\r\n[NaN, "basic"]', "application/x-jsonlines"),
        ('[50.5, "pro"]\n{"plan": "basic", "income": NaN}', "application/x-ndjson"),
    ],
)
def test_rows_come_as_json_lines(text: str, kind: str) -> None:
    assert rows(text, kind) == TWO


def test_nan_as_python_writes_it_is_null() -> None:
    body = b'{"dataframe_split": {"columns": ["income", "plan"], "data": [[NaN, NaN]]}}'
    assert rows(body) == [[None, None]]
    assert rows(b'{"inputs": {"income": [NaN], "plan": ["pro"]}}') == [[None, "pro"]]


def test_infinity_is_refused_in_the_words_of_every_door() -> None:
    assert refused(b'{"instances": [[1, "pro"], [-Infinity, "pro"]]}') == (
        "instances[1].income: expected a finite float64, got -Infinity. Send a finite number."
    )
    assert "got Infinity" in refused(b'{"instances": [[1e999, "pro"]]}')


def test_a_timestamp_that_pandas_has_not_is_null() -> None:
    null, there = [None, [1.0, 2.0]], [EPOCH_2026, [1.0, 2.0]]
    times = ["2026-01-01T00:00:00", "NaT"]
    split = {"columns": ["x", "at"], "data": [[[1, 2], time] for time in times]}
    for body in (
        {"dataframe_split": split},
        {"inputs": {"at": times, "x": [[1, 2], [1, 2]]}},
        {"instances": [{"at": time, "x": [1, 2]} for time in times]},
        {"instances": [[time, [1, 2]] for time in times]},
    ):
        assert rows(body, of=EVENTS) == [there, null]
    assert rows('["NaT", [1, 2]]', LINES, of=EVENTS) == [null]
    words = Signature(fields=(Field(name="words", type="string"),))
    assert rows({"instances": ["NaT"]}, of=words) == [["NaT"]]


# Models of one field


def test_a_model_of_one_field_takes_a_value_per_row() -> None:
    expected = [[1.5], [None], [2.0]]
    for name in ("instances", "inputs"):
        assert rows({name: [1.5, None, 2]}, of=ONE_NUMBER) == expected
        assert rows({name: [[1.5], [None], {"x": 2}]}, of=ONE_NUMBER) == expected
    assert rows({"inputs": {"x": [1.5, None, 2]}}, of=ONE_NUMBER) == expected
    assert rows("1.5\nNaN\n2", LINES, of=ONE_NUMBER) == expected
    assert rows("1.5\nnan\n2", CSV, of=ONE_NUMBER) == expected


def test_a_model_of_one_tensor_takes_a_list_per_row() -> None:
    expected = [[[1.0, 2.0]], [None], [[3.0, 4.0]]]
    for name in ("instances", "inputs"):
        assert rows({name: [[1, 2], None, [3, 4]]}, of=ONE_TENSOR) == expected
        assert rows({name: [[[1, 2]], [None], {"x": [3, 4]}]}, of=ONE_TENSOR) == expected
    assert rows({"dataframe_split": {"data": [[1, 2]]}}, of=ONE_TENSOR) == expected[:1]
    assert rows({"inputs": {"x": [[1, 2], None, [3, 4]]}}, of=ONE_TENSOR) == expected
    assert rows("[1, 2]\n[[3, 4]]", LINES, of=ONE_TENSOR) == [expected[0], expected[2]]


def test_a_model_of_one_tensor_takes_its_numbers_as_a_line_of_csv() -> None:
    assert rows("1,2\n3,4\n", CSV, of=ONE_TENSOR) == [[[1.0, 2.0]], [[3.0, 4.0]]]
    assert rows('x\n"[1, 2]"', CSV, of=ONE_TENSOR) == [[[1.0, 2.0]]]
    assert rows('"[1, 2]"', CSV, of=ONE_TENSOR) == [[[1.0, 2.0]]]
    assert refused("1,\n", CSV, of=ONE_TENSOR).startswith("rows[0].x: expected a ")
    assert refused("1,2,3\n", "text/csv;header=absent", of=ONE_TENSOR) == (
        "rows[0].x: expected a list of 2 numbers, got a list of 3. Send exactly 2 numbers."
    )


def test_a_scalar_for_each_input_is_one_row() -> None:
    assert rows({"inputs": {"income": 5, "plan": "pro"}}) == [[5.0, "pro"]]
    assert rows({"inputs": {"income": [5], "plan": "pro"}}) == [[5.0, "pro"]]
    body = {"inputs": {"at": "2026-01-01", "x": [1, 2]}}
    assert rows(body, of=EVENTS) == [[EPOCH_2026, [1.0, 2.0]]]


# What is wrong is told in the caller's words


def test_inputs_of_different_lengths_are_told_apart_by_the_usual_one() -> None:
    three = Signature(
        fields=tuple(Field(name=name, type="float64") for name in ("income", "age", "tenure"))
    )
    assert refused(
        {"inputs": {"income": [1, 2], "age": [1, 2, 3], "tenure": [1, 2, 3]}}, of=three
    ) == (
        "inputs.income: expected 3 rows like the other inputs, got 2. "
        "Send one value per row for every input."
    )
    assert refused({"inputs": {"income": [1, 2], "age": 1, "tenure": [3]}}, of=three) == (
        "inputs.income: expected 1 row like the other inputs, got 2. "
        "Send one value per row for every input."
    )


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"dataframe_split": {"columns": ["plan", "income"], "data": [["pro", "much"]]}}, None,
         "dataframe_split.data[0].income: expected float64, got string 'much'. Send a number."),
        ({"dataframe_records": [*RECORDS, {"income": 1, "plan": 2}]}, None,
         "dataframe_records[2].plan: expected string, got integer 2. Send text."),
        ({"inputs": {"income": [1, True], "plan": ["pro", "pro"]}}, None,
         "inputs.income[1]: expected float64, got boolean true. Send a number."),
        ("income,plan\n1,pro\nmuch,pro\n", CSV,
         "rows[1].income: expected float64, got string 'much'. Send a number."),
        ('[1, "pro"]\n[1]', LINES,
         ("lines[1]: expected 2 values, got 1. "
          "Send one value per field, in this order: income, plan.")),
        ({"instances": [5]}, None,
         ("instances[0]: expected one row, got integer 5. "
          "Send an object by field name, or a list in the signature's order.")),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_with_its_place(body: Any, kind: str | None, words: str) -> None:
    assert refused(body, kind) == words


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"dataframe_split": {"columns": ["income", "x"], "data": [[1, 2]]}}, None,
         "dataframe_split.columns.plan: expected a column, got only income, x. Add column plan."),
        ({"dataframe_split": {"columns": ["income", "plan", "income"], "data": [[1, "pro", 2]]}},
         None,
         "dataframe_split.columns.income: expected one column, got several. Rename the others."),
        ({"inputs": {"income": [1], "plan": ["pro"], "x": [1]}}, None,
         ("inputs.x: expected only the model's fields (income, plan), got a field it does not "
          "have. Remove it, or pack the model with --extra-fields ignore.")),
        ("income,color,age\n1,red,5\n", CSV,
         "header.plan: expected a column, got only income, color. Add column plan."),
        ("a,b\n", "text/csv;header=present",
         "header.income: expected a column, got only a. Add column income."),
    ],
)  # fmt: skip
def test_a_table_must_have_the_models_columns(body: Any, kind: str | None, words: str) -> None:
    assert refused(body, kind) == words


def test_columns_that_the_model_ignores_may_come_twice() -> None:
    split = {"columns": ["note", "plan", "note", "income"], "data": [[1, "pro", 2, 5]]}
    assert rows({"dataframe_split": split}) == [[5.0, "pro"]]


def test_a_table_may_have_any_columns_if_the_model_ignores_what_it_does_not_know() -> None:
    open_one = msgspec.structs.replace(CHURN, extra_fields="ignore")
    split = {"columns": ["x", "plan", "income"], "data": [[1, "pro", 5]]}
    assert rows({"dataframe_split": split}, of=open_one) == [[5.0, "pro"]]
    assert rows("x,plan,income\n1,pro,5", CSV, of=open_one) == [[5.0, "pro"]]


def test_columns_seen_before_mean_the_same_again() -> None:
    reader = Invocations(contract(CHURN), max_rows=3)
    for _ in range(3):
        for body in (
            {"dataframe_split": {"columns": ["plan", "income"], "data": [["pro", 1]]}},
            {"dataframe_split": {"columns": ["income", "plan"], "data": [[1, "pro"]]}},
            {"dataframe_split": {"columns": [0, 1], "data": [[1, "pro"]]}},
        ):
            assert reader.read(request(body)).rows == [[1.0, "pro"]]
    for number in range(100):
        split = {"columns": ["income", "note", "plan"], "data": [[number, 0, "pro"]]}
        spaced = json.dumps({"dataframe_split": split}, indent=number).encode()
        assert reader.read(request(spaced)).rows == [[float(number), "pro"]]
    assert len(reader._plans) == MAX_PLANS


def test_a_long_name_is_not_sent_back_whole() -> None:
    split = {"columns": ["income", "x" * 10_000], "data": [[1, 2]]}
    assert len(refused({"dataframe_split": split})) < 200
    split["columns"] = ["income", "plan", "x" * 10_000]
    assert len(refused({"dataframe_split": split})) < 300


def test_a_row_must_be_as_wide_as_its_columns() -> None:
    split = {"columns": ["plan", "income"], "data": [["pro", 1], ["pro"]]}
    assert refused({"dataframe_split": split}) == (
        "dataframe_split.data[1]: expected 2 values like the columns, got 1. "
        "Send one value per column."
    )
    mend = "Mend the line; put text with a comma or a line break in double quotes."
    assert refused("income,plan\n1,pro\n1,pro,\n", CSV) == (
        f"rows[1]: expected 2 cells like the header, got 3. {mend}"
    )
    assert refused("1,pro\n1\n", CSV) == (
        f"rows[1]: expected 2 cells like the first row, got 1. {mend}"
    )
    assert refused("1,pro,3\n", "text/csv;header=absent").startswith(
        "rows[0]: expected 2 values, got 3. "
    )


@pytest.mark.parametrize(
    ("body", "got"),
    [
        ({}, "none"),
        ({"params": {}}, "none"),
        ({"rows": [1]}, "'rows'"),
        ({"inputs": [1], "instances": [1]}, "'instances', 'inputs'"),
        ({"inputs": [1], "x": 1}, "'inputs', 'x'"),
        ({str(i): i for i in range(10)}, "'0', '1', '2', '3', '4', '5', '6', '7' and 2 more"),
    ],
)
def test_a_body_has_exactly_one_of_the_four_members(body: Any, got: str) -> None:
    assert refused(body) == (
        "body: expected exactly one of dataframe_split, dataframe_records, instances, inputs "
        f'(and params), got {got}. Send {{"dataframe_split": {{"columns": [...], "data": '
        "[[...], ...]}}."
    )


@pytest.mark.parametrize(
    ("body", "fix"),
    [
        (RECORDS, '{"dataframe_records": [...]}'),
        (TWO, '{"instances": [...]}'),
        ([], '{"instances": [...]}'),
        ({"columns": ["income", "plan"], "data": TWO}, '{"dataframe_split": {...}}'),
        ({"columns": ["a"], "index": [0], "data": [[1]]}, '{"dataframe_split": {...}}'),
    ],
)
def test_the_form_of_mlflow_before_2_is_refused_with_its_wrapper_named(body: Any, fix: str) -> None:
    assert refused(body).endswith(f"Wrap it: {fix}.")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"dataframe_split": {"columns": ["income", "plan"], "data": []}}, None),
        ({"dataframe_split": {"data": []}}, None),
        ({"dataframe_split": {"columns": [], "data": []}}, None),
        ({"dataframe_records": []}, None),
        ({"inputs": {"income": [], "plan": []}}, None),
        ({"instances": []}, None),
        ("", CSV),
        ("\n", CSV),
        ("income,plan\n", CSV),
        ("\n\n", LINES),
    ],
)
def test_no_rows_are_no_request(body: Any, kind: str | None) -> None:
    assert "expected at least one row, got none. Send a row." in refused(body, kind)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"dataframe_split": {"columns": ["plan", "income"], "data": [["pro", 1]] * 4}}, None),
        ({"dataframe_split": {"data": [[1, "pro"]] * 4}}, None),
        ({"dataframe_records": RECORDS * 2}, None),
        ({"inputs": {"income": [1] * 4, "plan": ["pro"] * 4}}, None),
        ({"instances": TWO * 2}, None),
        ("1,pro\n" * 4, CSV),
        ('[1,"pro"]\n' * 4, LINES),
    ],
)
def test_more_rows_than_the_limit_are_refused(body: Any, kind: str | None) -> None:
    code, words = wire_error(body, kind)
    assert code == "too_many_rows"
    assert words.endswith(
        "expected at most 3 rows, got 4. Send them in several requests, or use a batch run."
    )


# Media types


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1",
     "application/json; format=pandas-split", "text/csv;header=maybe", "text/csv;a=b", ";", "\xff",
     "application/json; header=absent", "application/jsonlines; header=present"],
)  # fmt: skip
def test_other_media_types_are_refused_with_those_that_are_taken(kind: str) -> None:
    code, words = wire_error({"instances": TWO}, kind)
    assert code == "unsupported_media_type"
    assert words.startswith("Content-Type: expected application/json, text/csv ")
    assert f"got string {kind.encode().decode('latin-1')!r}. Send the rows" in words


def test_no_media_type_means_json() -> None:
    assert rows({"instances": TWO}, "") == TWO


def test_compressed_bodies_are_refused() -> None:
    reader = Invocations(contract(CHURN), max_rows=3)
    zipped = Request(b"POST", b"/", {b"content-encoding": b"gzip"}, b"", DEFAULT, 0.0)
    with pytest.raises(WireError, match="Content-Encoding: expected none, got string 'gzip'"):
        reader.read(zipped)


def test_csv_that_is_no_utf_8_is_refused() -> None:
    code, words = wire_error(b"income,plan\n1,pr\xff\n", CSV)
    assert code == "bad_request"
    assert words == "body: expected CSV in UTF-8, got other bytes. Save the text as UTF-8."


# Answers


def answer(outputs: Sequence[Sequence[Any]], accept: str | None, output: Output) -> Response:
    reader = Invocations(contract(CHURN, output), max_rows=3)
    return reader.read(request({"instances": TWO}, accept=accept)).respond(outputs)


def test_one_output_is_answered_with_a_value_per_row() -> None:
    response = answer([[0.25, math.nan]], None, VALUE)
    assert response.status == 200
    assert response.content_type == b"application/json"
    assert response.body == b'{"predictions":[0.25,null]}'


def test_several_outputs_are_answered_with_an_object_per_row() -> None:
    response = answer([[0.25, 1.0], [0.75, 0.0]], "*/*", CLASSES)
    assert msgspec.json.decode(response.body) == {
        "predictions": [{"low": 0.25, "high": 0.75}, {"low": 1.0, "high": 0.0}]
    }


@pytest.mark.parametrize("accept", ["text/csv", "Text/CSV; q=0.9", "text/csv, application/json"])
def test_who_asks_for_csv_gets_a_line_per_row(accept: str) -> None:
    response = answer([[0.25, 1.0], [0.75, 0.0]], accept, CLASSES)
    assert response.content_type == b"text/csv"
    assert response.body == b"0.25,0.75\n1.0,0.0\n"


@pytest.mark.parametrize("accept", ["", "text/html", "application/json, text/csv", "text/csvx"])
def test_who_asks_for_anything_else_gets_json(accept: str) -> None:
    assert answer([[1, 2]], accept, VALUE).content_type == b"application/json"


def test_every_answer_says_what_made_it() -> None:
    for accept in (None, "text/csv"):
        assert answer([[1, 2]], accept, VALUE).headers == (
            b"X-Twofold-Model: churn\r\nX-Twofold-Version: 3\r\nX-Twofold-Source: live\r\n"
        )


def test_a_ping_is_answered_by_its_status() -> None:
    assert (ping(ready=True).status, ping(ready=True).body) == (200, b'{"ready":true}')
    assert (ping(ready=False).status, ping(ready=False).body) == (503, b'{"ready":false}')


def test_the_version_is_plain_text() -> None:
    response = version("1.2.3")
    assert (response.status, response.body) == (200, b"1.2.3")
    assert response.content_type == b"text/plain; charset=utf-8"


# What holds for all rows, and for all bytes

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SMALL = st.floats(allow_nan=False, allow_infinity=False, width=32)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
YEARS = {"min_value": datetime(1, 1, 2), "max_value": datetime(9999, 12, 30)}
STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "yes": st.booleans(),
    "count": st.integers(-(2**63), 2**63 - 1),
    "small": SMALL,
    "large": FINITE | st.integers(-(2**53), 2**53),
    "words": WORDS,
    "plan": st.sampled_from(["basic", "pro"]),
    "at": st.datetimes(**YEARS).map(datetime.isoformat),
    "seen": st.datetimes(**YEARS, timezones=st.just(UTC)).map(datetime.isoformat),
    "x": st.lists(FINITE, min_size=2, max_size=2),
    "note": WORDS,
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | kind for name, kind in STRATEGIES.items()}),
    min_size=1,
    max_size=4,
)


def cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if isinstance(value, (str, list)) else quoted


@given(given_rows=ROWS, names=st.permutations(list(STRATEGIES)))
def test_all_forms_give_the_rows_that_the_check_gives(
    given_rows: list[dict[str, Any]], names: list[str]
) -> None:
    served = contract(EVERY_TYPE)
    reader = Invocations(served, max_rows=4)
    expected = [served.check(row) for row in given_rows]
    table = [[row[name] for name in names] for row in given_rows]
    ordered = [[row[name] for name in EVERY_TYPE.names] for row in given_rows]
    with_nan = [
        {name: math.nan if value is None else value for name, value in row.items()}
        for row in given_rows
    ]
    lines = [",".join(map(cell, row)) + "\n" for row in table]
    for body, kind in [
        ({"dataframe_split": {"columns": names, "data": table}}, None),
        ({"dataframe_split": {"columns": EVERY_TYPE.names, "data": ordered}}, None),
        ({"dataframe_split": {"data": ordered}}, None),
        ({"dataframe_records": given_rows}, None),
        ({"dataframe_records": with_nan}, None),
        ({"instances": given_rows}, None),
        ({"instances": ordered}, None),
        ({"inputs": {name: [row[name] for row in given_rows] for name in names}}, None),
        ({"inputs": ordered}, None),
        (",".join(names) + "\n" + "".join(lines), CSV),
        ("".join(",".join(map(cell, row)) + "\n" for row in ordered), "text/csv;header=absent"),
        ("".join(json.dumps(row) + "\n" for row in given_rows), LINES),
        ("".join(json.dumps(row) + "\n" for row in ordered), LINES),
    ]:
        assert reader.read(request(body, kind)).rows == expected, (body, kind)


SEEDS = [
    b'{"dataframe_split":{"columns":["at","x"],"index":[0],"data":[["2026-01-01",[1,2.5]]]}}',
    b'{"dataframe_records":[{"at":"2026-01-01T00:00:00Z","x":[1,NaN]}],"params":{"a":1}}',
    b'{"instances":[["NaT",[1e400,-2]],{"at":null,"x":[Infinity,"\\ud800"]}]}',
    b'{"inputs":{"at":["2026-01-01","NaT"],"x":[[1,2],[3,4]]},"signature_name":"s"}',
    b'at,x\r\n2026-01-01,"[1, 2]"\n,""\n',
    b'[1]\n{"at":1}\n"\\u0000"\n',
]
KINDS = [None, "application/json", CSV, "text/csv;header=absent", LINES]
SIGNATURES = [CHURN, ONE_NUMBER, ONE_TENSOR, EVENTS, EVERY_TYPE]


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(body)))
        length = draw(st.integers(0, 6))
        alphabet = st.sampled_from(b'{}[]",:\\\n\xff\x00 0189.eENaulT-x')
        body[place : place + length] = bytes(draw(st.lists(alphabet, max_size=6)))
    return bytes(body)


@given(body=st.binary(max_size=60) | mutations(), kind=st.sampled_from(KINDS))
@example(body=b"[" * 100_000, kind=None)
@example(body=b'{"inputs":' * 100_000, kind=LINES)
@example(body=b'{"instances":[' + b"1" * 5_000 + b"]}", kind=None)
@example(body=b'{"instances":[NaN,' + b"1" * 5_000 + b"]}", kind=None)
@example(body=b'{"instances":["\\ud800"]}', kind=None)
def test_whatever_comes_is_read_or_refused(body: bytes, kind: str | None) -> None:
    for signature in SIGNATURES:
        try:
            call = Invocations(contract(signature), max_rows=3).read(request(body, kind))
        except (WireError, InvalidInput) as error:
            assert msgspec.json.encode(str(error))  # noqa: PT017 - it can be sent
            assert len(str(error)) < 1_000  # noqa: PT017
        else:
            assert 1 <= len(call.rows) <= 3
            assert all(len(row) == len(signature.fields) for row in call.rows)
