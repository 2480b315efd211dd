"""The OpenAPI document promises what the server does: rows, answers, refusals, limits."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import InvalidInput
from twofold.model.rows import RowCheck
from twofold.model.signature import Field, Output, Signature
from twofold.serving.service import Service
from twofold.serving.settings import ServeSettings
from twofold.wire.openapi import openapi
from twofold.wire.openapi_schemas import LOCAL_TIMESTAMP, MAX_FLOAT32, row_schema
from twofold.wire.statuses import STATUSES

PREDICT = "/v1/models/churn/predict"
MAX_INT64 = 2**63 - 1

Admits = Callable[[Any, Any], bool]


def is_a(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, float) and name == "integer":
        return value.is_integer()
    kinds: dict[str, Any] = {
        "array": list,
        "boolean": bool,
        "integer": int,
        "null": type(None),
        "number": (int, float),
        "object": dict,
        "string": str,
    }
    return isinstance(value, kinds[name])


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def bound(kind: str, holds: Callable[[Any, Any], bool], of: Callable[[Any], Any]) -> Any:
    return lambda wanted, value, _: not is_a(value, kind) or holds(of(value), wanted)


def itself(value: Any) -> Any:
    return value


# The part of JSON Schema (2020-12) that the documents use; any other keyword is an error here.
KEYWORDS: dict[str, Callable[[Any, Any, Admits], bool]] = {
    "type": lambda wanted, value, _: any(
        is_a(value, name) for name in ([wanted] if isinstance(wanted, str) else wanted)
    ),
    "enum": lambda wanted, value, _: any(same(item, value) for item in wanted),
    "const": lambda wanted, value, _: same(wanted, value),
    "oneOf": lambda wanted, value, admits: sum(admits(item, value) for item in wanted) == 1,
    "minimum": bound("number", operator.ge, itself),
    "maximum": bound("number", operator.le, itself),
    "minItems": bound("array", operator.ge, len),
    "maxItems": bound("array", operator.le, len),
    "required": lambda wanted, value, _: not is_a(value, "object") or set(wanted) <= value.keys(),
    "items": lambda wanted, value, admits: (
        not is_a(value, "array") or all(admits(wanted, item) for item in value)
    ),
    "prefixItems": lambda wanted, value, admits: (
        not is_a(value, "array") or all(map(admits, wanted, value))
    ),
    "properties": lambda wanted, value, admits: (
        not is_a(value, "object")
        or all(admits(wanted[name], value[name]) for name in wanted.keys() & value.keys())
    ),
    "description": lambda *_: True,
    "format": lambda *_: True,
}


def admits(schema: dict[str, Any], value: Any, document: Any = None) -> bool:
    """Say whether a schema admits a JSON value."""
    if "$ref" in schema:
        node = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part]
        return admits(node, value, document)
    closed = schema.get("additionalProperties", True) is False and is_a(value, "object")
    if closed and value.keys() - schema["properties"].keys():
        return False
    return all(
        KEYWORDS[keyword](wanted, value, lambda inner, item: admits(inner, item, document))
        for keyword, wanted in schema.items()
        if keyword != "additionalProperties"
    )


def document_of(bench: Any, **settings: Any) -> Any:
    """Make the document of the bench's models, as it is read from the wire."""
    made = openapi(bench.service, ServeSettings(max_rows=3, **settings), version="9.9")
    return json.loads(json.dumps(made))


def operation_of(document: Any, path: str = PREDICT) -> Any:
    return document["paths"][path]["post"]


def body_schema(document: Any, path: str = PREDICT) -> Any:
    return operation_of(document, path)["requestBody"]["content"]["application/json"]["schema"]


def answer_schema(document: Any, path: str) -> Any:
    return operation_of(document, path)["responses"]["200"]["content"]["application/json"]["schema"]


def prediction_of(bench: Any, output: Output) -> Any:
    """Give the schema of one prediction of a model with this output."""
    service = Service([bench.other(Signature(fields=()), output)], bench.metrics, clock=float)
    document = openapi(service, ServeSettings(), version="9.9")
    one, _ = answer_schema(document, "/v1/models/other/predict")["oneOf"]
    return one["properties"]["prediction"]


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
                "description": "an ISO 8601 timestamp without time zone",
                "pattern": LOCAL_TIMESTAMP,
            },
        ),
        (
            Field(name="f", type="timestamp", zoned=True, nullable=True),
            {
                "type": ["string", "null"],
                "description": "an ISO 8601 timestamp with time zone",
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
    bench: Any, output: Output, schema: dict[str, Any]
) -> None:
    assert prediction_of(bench, output) == schema


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PREDICT, {"row": {"amount": 1.5, "plan": None}}),
        (PREDICT, {"rows": [[1, "pro"], {"amount": 2, "plan": "<basic>", "note": 1}]}),
        (PREDICT, {"rows": []}),
        ("/v1/models/churn/versions/2/predict", {"row": [1.5, None]}),
        ("/v1/models/risk/predict", {"row": [0.25, None]}),
        ("/v1/models/risk/predict", {"rows": [[0.25, None], [0.5, "pro"]]}),
    ],
)
def test_body_that_is_answered_is_as_described_and_so_is_its_answer(
    bench: Any, path: str, body: Any
) -> None:
    document = document_of(bench)
    assert admits(body_schema(document, path), body, document)
    response = bench.ask("POST", path, body)
    assert response.status == 200
    assert admits(answer_schema(document, path), json.loads(response.body), document)


def test_answer_of_another_version_is_not_as_described(bench: Any) -> None:
    document = document_of(bench)
    answer = json.loads(bench.ask("POST", PREDICT, {"row": [1.5, None]}).body)
    pinned = answer_schema(document, "/v1/models/churn/versions/2/predict")
    assert not admits(pinned, answer, document)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"row": [1.0, None], "rows": [[1.0, None]]},
        {"row": [1.0, None], "id": 7},
        {"rows": [1.0, None]},
        {"rows": [[1.0, None]] * 4},
        {"row": ["1.0", None]},
        [1.0, None],
    ],
)
def test_body_that_is_refused_is_not_as_described_and_its_refusal_is(bench: Any, body: Any) -> None:
    document = document_of(bench)
    assert not admits(body_schema(document), body, document)
    response = bench.ask("POST", PREDICT, body)
    described = operation_of(document)["responses"][str(response.status)]["$ref"]
    assert described == f"#/components/responses/{response.status}"
    schema = document["components"]["responses"][str(response.status)]["content"]
    answer = json.loads(response.body)
    assert admits(schema["application/json"]["schema"], answer, document)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (400, b"not json", {}),
        (400, b'{"row":[1.0,null]}', {b"x-twofold-deadline-ms": b"soon"}),
        (415, b'{"row":[1.0,null]}', {b"content-type": b"text/csv"}),
        (422, b'{"row":[]}', {}),
        (500, b'{"row":[666.0,null]}', {}),
        (500, b'{"row":[-666.0,null]}', {}),
    ],
)
def test_refusal_of_any_kind_is_as_described(
    bench: Any, status: int, body: bytes, headers: dict[bytes, bytes]
) -> None:
    document = document_of(bench)
    response = bench.ask("POST", PREDICT, body, headers)
    assert response.status == status
    assert str(status) in operation_of(document)["responses"]
    error = document["components"]["schemas"]["Error"]
    answer = json.loads(response.body)
    assert admits(error, answer, document)
    assert answer.keys() <= error["properties"].keys()


def test_every_status_and_code_is_explained(bench: Any) -> None:
    responses = document_of(bench)["components"]["responses"]
    told = {
        code: int(status)
        for status, response in responses.items()
        for code in response["description"].partition(": ")[2].split(", ")
    }
    assert told == STATUSES
    assert responses["503"]["description"] == (
        "Service Unavailable: draining, overloaded, too_many_connections"
    )


def test_default_version_has_a_path_without_its_number_and_the_others_have_not(
    bench: Any,
) -> None:
    paths = document_of(bench)["paths"]
    posted = [path for path in paths if path.endswith("/predict")]
    assert posted == [
        "/v1/models/churn/versions/3/predict",
        "/v1/models/churn/predict",
        "/v1/models/churn/versions/2/predict",
        "/v1/models/risk/versions/1/predict",
        "/v1/models/risk/predict",
        "/v1/models/image/versions/1/predict",
        "/v1/models/image/predict",
    ]
    pinned, plain = paths[posted[0]]["post"], paths[posted[1]]["post"]
    assert pinned["operationId"] == "predict-churn-3"
    assert plain == {**pinned, "operationId": "predict-churn-default"}
    inferred = [path for path in paths if path.endswith("/infer")]
    assert inferred == [f"/v2{path[3:-8]}/infer" for path in posted]
    assert [path for path, methods in paths.items() if "post" in methods].count("/invocations") == 1


def test_limits_are_those_of_the_settings(bench: Any) -> None:
    document = document_of(bench, deadline_s=0.25)
    _, many = body_schema(document)["oneOf"]
    assert many["properties"]["rows"]["maxItems"] == 3
    parameters = [
        document["components"]["parameters"][reference["$ref"].rpartition("/")[2]]
        for reference in operation_of(document)["parameters"]
    ]
    assert [(item["name"], item["in"], item["required"]) for item in parameters] == [
        ("X-Twofold-Deadline-Ms", "header", False),
        ("X-Twofold-Priority", "header", False),
        ("X-Twofold-Timing", "header", False),
    ]
    assert parameters[0]["description"].endswith("Without it: 250.")


def test_keys_are_described_only_where_there_are_any(bench: Any) -> None:
    document = document_of(bench)
    assert "securitySchemes" not in document["components"]
    assert not {"401", "403", "429"} & operation_of(document)["responses"].keys()
    guarded = document_of(bench, api_keys="keys.toml")
    assert set(guarded["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    assert {"401", "403", "429"} <= operation_of(guarded)["responses"].keys()
    assert operation_of(guarded)["security"] == [{"bearer": []}, {"apiKey": []}]


def test_document_names_the_release_and_the_models(bench: Any) -> None:
    assert document_of(bench)["info"] == {
        "title": "twofold",
        "version": "9.9",
        "summary": "Predictions of churn, risk, image.",
    }


def test_example_of_the_sample_is_the_example_of_the_document(bench: Any) -> None:
    churn = bench.service.find("churn")
    churn.example = {"amount": 17.25, "plan": "pro"}
    content = operation_of(document_of(bench))["requestBody"]["content"]["application/json"]
    assert content["examples"] == {
        "one": {"value": {"row": churn.example}},
        "many": {"value": {"rows": [churn.example]}},
    }
