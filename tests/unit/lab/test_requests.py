from __future__ import annotations

import json
from typing import Any

import pytest

from twofold.errors import InvalidInput
from twofold.lab.requests import (
    Protocol,
    Tensor,
    body_of,
    deadline_header,
    key_target,
    path_of,
    protocol_of,
    request_of,
    with_header,
)

ROW = {"age": 41, "plan": "basic", "vip": True, "score": 0.5}


def body(protocol: Protocol, row: Any = None, **more: Any) -> Any:
    return json.loads(body_of(protocol, ROW if row is None else row, **more))


@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        ("", None),
        ("/", None),
        ("/v1/models/m/predict", Protocol.TWOFOLD),
        ("/v1/models/m/versions/3/predict", Protocol.TWOFOLD),
        ("/v1/models/m/answers", Protocol.ANSWERS),
        ("/v2/models/m/infer", Protocol.V2),
        ("/v2/models/m/versions/3/infer", Protocol.V2),
        ("/invocations", Protocol.MLFLOW),
        ("/endpoint/m/invocations", Protocol.MLFLOW),
        ("/predict", Protocol.JSON),
    ],
)
def test_a_path_says_its_protocol(path: str, protocol: Protocol | None) -> None:
    assert protocol_of(path) is protocol


def test_paths_are_those_of_the_protocols() -> None:
    assert path_of(Protocol.V2, "a b") == "/v2/models/a%20b/infer"
    assert path_of(Protocol.TWOFOLD, "m") == "/v1/models/m/predict"


def test_bodies_are_those_of_the_protocols() -> None:
    assert body(Protocol.TWOFOLD) == {"row": ROW}
    assert body(Protocol.JSON) == ROW
    assert body(Protocol.MLFLOW) == {
        "dataframe_split": {"columns": list(ROW), "data": [[41, "basic", True, 0.5]]}
    }


def test_without_metadata_each_value_is_a_tensor_of_a_type_that_fits() -> None:
    found = [(item["name"], item["datatype"]) for item in body(Protocol.V2)["inputs"]]
    assert found == [("age", "INT64"), ("plan", "BYTES"), ("vip", "BOOL"), ("score", "FP64")]


def test_with_metadata_tensors_are_as_the_server_describes_them() -> None:
    tensors = [Tensor("score", "FP32", [-1, 1]), Tensor("age", "INT32", [-1])]
    row = {**ROW, "age": 41.0}
    assert body(Protocol.V2, row, tensors=tensors) == {
        "inputs": [
            {"name": "score", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
            {"name": "age", "datatype": "INT32", "shape": [1], "data": [41]},
        ]
    }


def test_a_model_with_one_input_of_no_columns_name_gets_the_whole_row() -> None:
    tensors = [Tensor("predict", "FP32", [-1, 2])]
    assert body(Protocol.V2, {"a": 1.5, "b": 2}, tensors=tensors)["inputs"] == [
        {"name": "predict", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2]}
    ]
    with pytest.raises(InvalidInput, match="expected 2 columns, got 1"):
        body(Protocol.V2, {"a": 1.5}, tensors=tensors)


def test_a_row_without_an_input_is_refused_by_name() -> None:
    tensors = [Tensor("age", "INT64", [-1]), Tensor("income", "FP64", [-1])]
    with pytest.raises(InvalidInput, match="a column 'income', got age, plan"):
        body(Protocol.V2, tensors=tensors)


def test_a_template_gets_the_row_or_its_values() -> None:
    template = b'{"instances": [{{row}}], "list": {{values}}}'
    found = body(Protocol.JSON, {"a": 1, "b": None}, template=template)
    assert found == {"instances": [{"a": 1, "b": None}], "list": [1, None]}


def test_what_is_no_number_is_null() -> None:
    assert body(Protocol.JSON, {"a": float("nan")}) == {"a": None}


def test_a_request_has_a_length_and_is_complete() -> None:
    request = request_of("/p?q=1", host="h:1", body=b"12", headers=[("X-A", "b")])
    head, _, rest = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /p?q=1 HTTP/1.1"
    assert {"Host: h:1", "Content-Length: 2", "Content-Type: application/json"} < set(lines)
    assert lines[-1] == "X-A: b"
    assert rest == b"12"


def test_without_a_body_it_is_a_get() -> None:
    request = request_of("/p", host="h", body=None)
    assert request.startswith(b"GET /p HTTP/1.1\r\n")
    assert b"Content" not in request


def test_a_header_that_was_given_replaces_our_own() -> None:
    request = request_of("/p", host="h", body=b"", headers=[("content-type", "text/csv")])
    assert request.lower().count(b"content-type") == 1
    assert b"content-type: text/csv" in request


def test_a_header_can_be_put_into_a_whole_request() -> None:
    request = request_of("/p", host="h", body=b"1\r\n2")
    head, _, rest = with_header(request, deadline_header(0.0501)).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[:2] == ["POST /p HTTP/1.1", "X-Twofold-Deadline-Ms: 51"]
    assert rest == b"1\r\n2"


def test_keys_are_escaped() -> None:
    assert key_target("/v1/models/m/answers", "a/b c") == "/v1/models/m/answers/a%2Fb%20c"
