from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import InvalidInput
from twofold.model.rows import RowCheck
from twofold.model.signature import Field, FieldType, Output, Signature
from twofold.wire.call import Call
from twofold.wire.http import DEFAULT, Request
from twofold.wire.statuses import WireError
from twofold.wire.v2 import MAX_PLANS, V2
from twofold.wire.v2_datatypes import BYTES, DATATYPES, OF_FIELD, write

NUMBERS = Signature(
    fields=(
        Field(name="amount", type="float32", nullable=True),
        Field(name="count", type="int64"),
    )
)
MIXED = Signature(
    fields=(
        Field(name="age", type="int64"),
        Field(name="income", type="float64", nullable=True),
        Field(name="plan", type="string", categories=("basic", "pro")),
        Field(name="at", type="timestamp", zoned=True),
        Field(name="image", type="tensor", length=2),
    )
)
MAX_ROWS = 100
LENGTH = b"inference-header-content-length"


class Facts:
    """What is asked of a served version here."""

    def __init__(self, signature: Signature) -> None:
        self.name, self.version = "churn", "3"
        self.signature = signature
        self.output = Output(kind="value", type="float64")
        self.check = RowCheck(signature)


def v2(signature: Signature = NUMBERS) -> V2:
    return V2(Facts(signature), max_rows=MAX_ROWS)  # type: ignore[arg-type]


def request(body: Any, raw: bytes | None = None, **headers: bytes) -> Request:
    text = body if isinstance(body, bytes) else msgspec.json.encode(body)
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    if raw is not None:
        named = {LENGTH: str(len(text)).encode(), **named}
    target = b"/v2/models/churn/infer"
    return Request(b"POST", target, named, text + (raw or b""), DEFAULT, 0.0)


def tensor(
    name: str, datatype: str, values: Sequence[Any], shape: list[int], encoding: str
) -> tuple[Any, bytes]:
    """A tensor of flat values, as clients encode it: its JSON, and its raw bytes."""
    about: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
    if encoding == "raw":
        kind = DATATYPES[datatype]
        sent = values if kind is BYTES else [math.nan if v is None else v for v in values]
        raw = write(kind, sent)
        return about | {"parameters": {"binary_data_size": len(raw)}}, raw
    data = list(values)
    if encoding == "nested" and len(shape) == 2:
        width = shape[1]
        data = [data[at : at + width] for at in range(0, len(data), width)]
    return about | {"data": data}, b""


def infer(v2_: V2, tensors: Sequence[tuple[Any, bytes]], **more: Any) -> Call:
    raw = b"".join(part for _, part in tensors)
    body = {"inputs": [about for about, _ in tensors], **more}
    return v2_.read(request(body, raw or None))


def refused(v2_: V2, sent: Request) -> tuple[str, str]:
    with pytest.raises((WireError, InvalidInput)) as caught:
        v2_.read(sent)
    error = caught.value
    return error.code if isinstance(error, WireError) else "invalid_input", str(error)


ONE = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 2]}]}
HEADER = {
    "inputs": [
        {
            "name": "x",
            "shape": [1, 2],
            "datatype": "FP32",
            "parameters": {"binary_data_size": 8},
        }
    ],
    "parameters": {"binary_data_output": True},
}
RAW = struct.pack("<2f", 0.5, 2)


def test_request_gives_rows_and_predictions_give_the_response() -> None:
    call = v2().read(request(ONE | {"id": "7"}))
    assert repr(call.rows) == "[[0.5, 2]]"
    response = call.respond([[0.25]])
    assert (response.status, response.content_type) == (200, b"application/json")
    assert msgspec.json.decode(response.body) == {
        "model_name": "churn",
        "model_version": "3",
        "id": "7",
        "outputs": [{"name": "prediction", "datatype": "FP64", "shape": [1], "data": [0.25]}],
    }


def test_raw_request_gives_a_raw_response() -> None:
    call = v2().read(request(HEADER, RAW))
    assert repr(call.rows) == "[[0.5, 2]]"
    response = call.respond([[0.25]])
    length = int(response.headers.removeprefix(b"Inference-Header-Content-Length: "))
    assert response.content_type == b"application/octet-stream"
    (output,) = msgspec.json.decode(response.body[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 8}
    assert response.body[length:] == struct.pack("<d", 0.25)


def test_repeated_header_is_read_with_its_own_raw_bytes() -> None:
    reader = v2()
    for value in (0.5, 1.5, math.nan, 0.5):
        call = reader.read(request(HEADER, struct.pack("<2f", value, 3)))
        assert repr(call.rows) == f"[[{None if math.isnan(value) else value}, 3]]"
    code, words = refused(reader, request(HEADER, RAW[:-1]))
    assert (code, words[:52]) == (
        "bad_request",
        "body: expected 8 raw bytes behind the JSON, got 7. S",
    )
    assert refused(reader, request(HEADER, RAW + b"?"))[0] == "bad_request"
    call = reader.read(request(HEADER | {"id": "9"}, RAW))
    assert b'"id":"9"' in call.respond([[0.5]]).body


def test_headers_that_are_remembered_are_few_and_small() -> None:
    reader = v2()
    for index in range(3 * MAX_PLANS):
        reader.read(request(HEADER | {"more": index}, RAW))
        assert len(reader._plans) <= MAX_PLANS
    known = len(reader._plans)
    reader.read(request(HEADER | {"more": "x" * 5000}, RAW))
    reader.read(request(HEADER | {"id": "7"}, RAW))
    reader.read(request(ONE, b""))
    assert len(reader._plans) == known


@pytest.mark.parametrize(
    "kind",
    [
        b"application/json",
        b"Application/JSON ; charset=UTF-8",
        b'application/json;charset="utf-8"',
        b"application/octet-stream",
    ],
)
def test_content_types_that_clients_send_are_taken(kind: bytes) -> None:
    assert v2().read(request(ONE, content_type=kind)).rows == [[0.5, 2]]


def test_other_content_types_and_compressed_bodies_are_refused() -> None:
    code, words = refused(v2(), request(ONE, content_type=b"text/csv"))
    assert code == "unsupported_media_type"
    assert words.startswith("Content-Type: expected application/json in UTF-8, or application/oc")
    latin = b"application/json; charset=latin-1"
    assert refused(v2(), request(ONE, content_type=latin))[0] == "unsupported_media_type"
    code, words = refused(v2(), request(ONE, content_encoding=b"gzip"))
    assert (code, words) == (
        "unsupported_media_type",
        "Content-Encoding: expected none, got string 'gzip'. Send the body uncompressed.",
    )


@pytest.mark.parametrize(
    "length", [b"", b"0", b"-1", b"+5", b"1_0", b" 5", b"5, 5", b"x", b"9" * 9999, b"999"]
)
def test_length_of_the_header_has_to_be_one(length: bytes) -> None:
    sent = request(HEADER, RAW, inference_header_content_length=length)
    code, words = refused(v2(), sent)
    assert code == "bad_request"
    assert words.startswith("Inference-Header-Content-Length: expected the length of the JSON")


def test_header_that_ends_elsewhere_is_no_json() -> None:
    text = msgspec.json.encode(HEADER)
    for length in (1, len(text) - 1, len(text) + 1):
        sent = request(HEADER, RAW, inference_header_content_length=str(length).encode())
        assert refused(v2(), sent)[0] == "not_json"


def test_raw_bytes_without_the_length_of_the_header_are_refused() -> None:
    code, words = refused(v2(), request(HEADER))
    assert code == "bad_request"
    assert words.startswith("Inference-Header-Content-Length: expected the length of the JSON, got")
    assert refused(v2(), request(msgspec.json.encode(HEADER) + RAW))[0] == "not_json"


def test_shared_memory_is_refused_as_not_supported() -> None:
    about = HEADER["inputs"][0] | {"parameters": {"shared_memory_region": "r"}}  # type: ignore[index]
    code, words = refused(v2(), request({"inputs": [about]}))
    assert (code, words[:69]) == (
        "bad_request",
        "inputs.x.parameters.shared_memory_region: expected nothing (not suppo",
    )


def test_outputs_of_the_request_are_looked_at_before_predicting() -> None:
    code, words = refused(v2(), request(ONE | {"outputs": [{"name": "p"}]}))
    assert code == "invalid_input"
    assert words.startswith("outputs[0].name: expected one of prediction, got string 'p'.")


def test_wrong_values_are_told_where_the_caller_wrote_them() -> None:
    age = tensor("age", "INT64", [1, 2], [2], "flat")
    income = tensor("income", "FP64", [0.5, 1.5], [2], "raw")
    plan = tensor("plan", "BYTES", ["pro", "gold"], [2], "flat")
    at = tensor("at", "BYTES", ["2026-01-31T12:00:00Z"] * 2, [2], "raw")
    image = tensor("image", "FP32", [1, 2, 3, math.nan], [2, 2], "raw")
    with pytest.raises(InvalidInput) as caught:
        infer(v2(MIXED), [age, income, plan, at, image])
    assert caught.value.field == "plan"
    assert str(caught.value).startswith(
        "inputs.plan.data[1]: expected one of 'basic', 'pro', got 'gold'. Send a known value"
    )
    plan = tensor("plan", "BYTES", ["pro", "basic"], [2], "flat")
    with pytest.raises(
        InvalidInput, match=r"inputs\.image\.data\[1\]: expected a list of 2 numbers"
    ):
        infer(v2(MIXED), [age, income, plan, at, image])
    age = tensor("age", "FP32", [1, 2.5], [2], "flat")
    with pytest.raises(
        InvalidInput, match=r"inputs\.age\.data\[1\]: expected int64, got number 2\.5"
    ):
        infer(v2(MIXED), [age, income, plan, at, image])
    table = tensor("x", "FP32", [1, 2, 3, 4.5], [2, 2], "raw")
    with pytest.raises(
        InvalidInput, match=r"inputs\.x\.data\[1\]\.count: expected int64, got number"
    ):
        infer(v2(), [table])
    table = tensor("x", "FP32", [math.inf, 2], [1, 2], "raw")
    with pytest.raises(
        InvalidInput, match=r"inputs\.x\.data\[0\]\.amount: expected a finite float32"
    ):
        infer(v2(), [table])
    table = tensor("x", "FP32", [[0.5, 1], 2], [1, 2], "flat")
    with pytest.raises(InvalidInput, match=r"inputs\.x\.data: expected 1 list of 2"):
        infer(v2(), [table])
    table = tensor("x", "FP32", [0.5, [2]], [1, 2], "flat")
    with pytest.raises(
        InvalidInput, match=r"inputs\.x\.data\[0\]\.count: expected int64, got a list"
    ):
        infer(v2(), [table])


FLOATS = {
    16: st.floats(-1000, 1000, width=16),
    32: st.floats(-(2.0**100), 2.0**100, width=32),
    64: st.floats(-1e300, 1e300),
}
INTS = {
    "INT8": st.integers(-(2**7), 2**7 - 1),
    "UINT8": st.integers(0, 2**8 - 1),
    "INT16": st.integers(-(2**15), 2**15 - 1),
    "UINT16": st.integers(0, 2**16 - 1),
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "UINT32": st.integers(0, 2**32 - 1),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "UINT64": st.integers(0, 2**63 - 1),
}
TIMES = st.datetimes().map(lambda instant: instant.isoformat())
FLOAT_TYPES = {"FP16": FLOATS[16], "FP32": FLOATS[32], "FP64": FLOATS[64]}
OF_TYPE: dict[FieldType, dict[str, Any]] = {
    "bool": {"BOOL": st.booleans()},
    "int64": {**INTS, "FP16": st.integers(-1000, 1000).map(float)},
    "float32": {"FP16": FLOATS[16], "FP32": FLOATS[32], "FP64": FLOATS[32]},
    "float64": FLOAT_TYPES,
    "string": {"BYTES": st.text(max_size=5)},
    "timestamp": {"BYTES": TIMES},
    "tensor": FLOAT_TYPES,
}
"""For each type of field, the datatypes it can come in, and values that both hold exactly."""


@st.composite
def requests(draw: st.DrawFn) -> tuple[Signature, list[dict[str, Any]], list[tuple[Any, bytes]]]:
    """A signature, rows for it, and the same rows as tensors in some encoding and order."""
    count = draw(st.integers(1, 4))
    fields: list[Field] = []
    tensors: list[tuple[Any, bytes]] = []
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for index, type_ in enumerate(
        draw(st.lists(st.sampled_from(sorted(OF_TYPE)), min_size=1, max_size=6))
    ):
        datatype = draw(st.sampled_from(sorted(OF_TYPE[type_])))
        encoding = draw(st.sampled_from(["flat", "nested", "raw"]))
        nullable = type_ != "tensor" and draw(st.booleans())
        length = draw(st.integers(1, 3)) if type_ == "tensor" else None
        field = Field(name=f"f{index}", type=type_, nullable=nullable, length=length)
        fields.append(field)
        values = OF_TYPE[type_][datatype]
        # Raw bytes have a null for floats only: NaN.
        if nullable and (encoding != "raw" or DATATYPES[datatype].is_float):
            values = st.none() | values
        flat = draw(
            st.lists(values, min_size=count * (length or 1), max_size=count * (length or 1))
        )
        for number, row in enumerate(rows):
            at = number * (length or 1)
            row[field.name] = flat[at] if length is None else flat[at : at + length]
        shape = [count, length] if length else draw(st.sampled_from([[count], [count, 1]]))
        tensors.append(tensor(field.name, datatype, flat, shape, encoding))
    return Signature(fields=tuple(fields)), rows, draw(st.permutations(tensors))


@given(requests())
def test_tensors_give_the_same_rows_as_plain_json_does(
    case: tuple[Signature, list[dict[str, Any]], list[tuple[Any, bytes]]],
) -> None:
    signature, rows, tensors = case
    check, reader = RowCheck(signature), v2(signature)
    expected = repr([check(row) for row in rows])
    # Twice: the second time by what was remembered.
    assert repr(infer(reader, tensors).rows) == expected
    assert repr(infer(reader, tensors).rows) == expected


@st.composite
def tables(draw: st.DrawFn) -> tuple[Signature, list[list[Any]], str]:
    """A signature of numbers, rows for it, and a datatype that holds all of their values."""
    types = draw(
        st.lists(st.sampled_from(["bool", "int64", "float32", "float64"]), min_size=1, max_size=6)
    )
    datatype = draw(st.sampled_from(["INT8", "UINT32", "FP16", "FP32", "FP64"]))
    nullable = DATATYPES[datatype].is_float
    fields = [
        Field(name=f"f{index}", type=type_, nullable=nullable) for index, type_ in enumerate(types)
    ]
    columns: list[Any] = []
    for type_ in types:
        values = st.booleans() if type_ == "bool" else st.integers(0, 100)
        if type_.startswith("float") and nullable:
            values = FLOATS[16] if datatype == "FP16" else FLOATS[32]
        columns.append(st.none() | values if nullable else values)
    rows = draw(st.lists(st.tuples(*columns), min_size=1, max_size=4))
    return Signature(fields=tuple(fields)), [list(row) for row in rows], datatype


@given(tables(), st.sampled_from(["flat", "nested", "raw"]))
def test_one_tensor_gives_the_same_rows_as_plain_json_does(
    case: tuple[Signature, list[list[Any]], str], encoding: str
) -> None:
    signature, rows, datatype = case
    check, reader = RowCheck(signature), v2(signature)
    flat = [int(v) if isinstance(v, bool) else v for row in rows for v in row]
    table = tensor("input-0", datatype, flat, [len(rows), len(rows[0])], encoding)
    expected = repr([check(row) for row in rows])
    assert repr(infer(reader, [table]).rows) == expected
    assert repr(infer(reader, [table]).rows) == expected


@given(st.data())
def test_values_are_the_same_bits_in_json_and_raw(data: st.DataObject) -> None:
    signature = Signature(fields=(Field(name="x", type="float64"),))
    value = data.draw(st.floats(-60000, 60000))
    datatype = data.draw(st.sampled_from(["FP16", "FP32", "FP64"]))
    for name, shape in ("x", [1]), ("y", [1, 1]):
        in_json, raw = (
            infer(v2(signature), [tensor(name, datatype, [value], shape, encoding)]).rows
            for encoding in ("flat", "raw")
        )
        assert repr(in_json) == repr(raw)


BODIES = [
    (NUMBERS, HEADER, RAW),
    (NUMBERS, ONE, b""),
    (
        MIXED,
        {
            "id": "7",
            "inputs": [
                {"name": "age", "shape": [1], "datatype": "INT8", "data": [5]},
                {
                    "name": "plan",
                    "shape": [1, 1],
                    "datatype": "BYTES",
                    "parameters": {"binary_data_size": 7},
                },
                {
                    "name": "income",
                    "shape": [1],
                    "datatype": "FP16",
                    "parameters": {"binary_data_size": 2},
                },
                {"name": "at", "shape": [1], "datatype": "BYTES", "data": ["2026-01-01T00:00Z"]},
                {"name": "image", "shape": [1, 2], "datatype": "INT64", "data": [[1, 2]]},
            ],
            "outputs": [{"name": "prediction", "parameters": {"binary_data": True}}],
        },
        b"\3\0\0\0pro\0\x3c",
    ),
]
PIECES = st.sampled_from(
    [b'"', b"{", b"[", b"]", b"}", b",", b"-", b"0", b"1e999", b"null", b"true", b'"data"', b"\xff",
     b'"datatype":"BYTES",', b'"shape":[9],', b"9" * 25, b"[" * 5000]
)  # fmt: skip


@given(st.sampled_from(BODIES), st.data())
def test_mutated_requests_are_read_or_refused_in_words(case: Any, data: st.DataObject) -> None:
    signature, about, raw = case
    text = msgspec.json.encode(about)
    body = bytearray(text + raw)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(body)))
        cut = data.draw(st.integers(0, 8))
        body[at : at + cut] = data.draw(PIECES | st.binary(max_size=6))
    length = len(text) + data.draw(st.sampled_from([0, 0, 0, 1, -1]) | st.integers(-50, 50))
    headers = {LENGTH: str(length).encode()} if raw else {}
    reader = v2(signature)
    sent = Request(b"POST", b"", headers, bytes(body), DEFAULT, 0.0)
    for _ in range(2):
        words = ": expected "
        try:
            call = reader.read(sent)
        except (WireError, InvalidInput) as error:
            words = str(error)
        else:
            assert call.respond([[0.5] * len(call.rows)]).status == 200
        assert ": expected " in words


@given(st.binary(max_size=200), st.none() | st.integers(0, 210) | st.binary(max_size=12))
def test_random_bytes_are_refused_in_words(body: bytes, length: Any) -> None:
    headers = (
        {} if length is None else {LENGTH: length if isinstance(length, bytes) else b"%d" % length}
    )
    code, words = refused(v2(), Request(b"POST", b"", headers, body, DEFAULT, 0.0))
    assert code in {"not_json", "bad_request", "invalid_input"}
    assert ": expected " in words


def test_every_type_of_field_has_a_datatype() -> None:
    assert set(OF_FIELD) == set(OF_TYPE)
    assert all(OF_FIELD[type_] in OF_TYPE[type_] for type_ in OF_TYPE)
