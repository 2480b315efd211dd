from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import InvalidInput
from twofold.wire.statuses import WireError
from twofold.wire.v2_datatypes import DATATYPES
from twofold.wire.v2_request import head_of, read_head, where_of


def body(**changes: Any) -> dict[str, Any]:
    """A request of one tensor."""
    tensor = {"name": "x", "shape": [1], "datatype": "FP64", "data": [0.5]}
    return {"inputs": [tensor | changes]}


def words_of(value: Any) -> str | None:
    """Why a request is refused; None if it isn't."""
    try:
        read_head(msgspec.json.encode(value))
    except (InvalidInput, WireError) as error:
        return str(error)
    return None


def plain(head: Any) -> Any:
    return msgspec.to_builtins(head), [tensor.kind.name for tensor in head.inputs]


def test_request_is_read_with_what_means_something_here() -> None:
    head = read_head(
        msgspec.json.encode(
            {
                "id": "7",
                "parameters": {"binary_data_output": True, "priority": 1, "more": {"a": [1]}},
                "inputs": [
                    {
                        "name": "x",
                        "shape": [2, 1],
                        "datatype": "INT32",
                        "data": [[1], [None]],
                        "parameters": {"content_type": "np"},
                        "more": 1,
                    },
                    {
                        "name": "y",
                        "shape": [2],
                        "datatype": "BOOL",
                        "parameters": {"binary_data_size": 2},
                    },
                ],
                "outputs": [{"name": "p", "parameters": {"binary_data": False}}],
            }
        )
    )
    x, y = head.inputs
    assert (head.id, x.kind.name, x.shape, x.data) == ("7", "INT32", [2, 1], [[1], [None]])
    assert (x.raw_bytes, y.raw_bytes, y.data, y.kind.name) == (None, 2, None, "BOOL")
    assert head.parameters is not None
    assert head.parameters.binary_data_output is True
    assert head.outputs is not None
    assert head.outputs[0].parameters is not None
    assert head.outputs[0].parameters.binary_data is False


def test_members_that_are_null_count_as_left_out() -> None:
    value = body(parameters=None) | {"id": None, "parameters": None, "outputs": None}
    head = read_head(msgspec.json.encode(value))
    assert (head.id, head.parameters, head.outputs) == (None, None, None)
    assert plain(head_of(value)) == plain(head)


def test_numbers_may_look_odd_if_they_fit() -> None:
    head = read_head(b'{"inputs": [{"name":"x","shape":[2],"datatype":"INT8","data":[3.0, -1e2]}]}')
    assert repr(head.inputs[0].data) == "[3, -100]"
    head = read_head(b'{"inputs": [{"name":"x","shape":[2],"datatype":"FP32","data":[3, null]}]}')
    assert repr(head.inputs[0].data) == "[3.0, None]"


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-300, 300).map(float),
    st.text(max_size=3),
)
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
)


@given(
    kind=st.sampled_from(sorted(DATATYPES)),
    data=st.lists(VALUES | st.lists(VALUES, max_size=3), max_size=4),
)
def test_the_slow_reading_gives_what_the_quick_one_gives(kind: str, data: list[Any]) -> None:
    value = body(datatype=kind, data=data)
    try:
        slow = head_of(msgspec.json.decode(msgspec.json.encode(value)))
    except InvalidInput as error:
        words = str(error)
    else:
        assert repr(plain(slow)) == repr(plain(read_head(msgspec.json.encode(value))))
        return
    # The typed decoder has no bound that great, and leaves it to the check of the rows.
    assert words_of(value) == words or kind == "UINT64"


@given(JSON, st.sampled_from(["inputs", "outputs", "id", "parameters"]))
def test_whatever_stands_for_a_member_is_read_or_refused(value: Any, name: str) -> None:
    assert ": expected " in (words_of(body() | {name: value}) or ": expected ")


@given(JSON, st.sampled_from(["name", "shape", "datatype", "data", "parameters"]))
def test_whatever_stands_for_a_part_of_a_tensor_is_read_or_refused(value: Any, name: str) -> None:
    assert ": expected " in (words_of(body(**{name: value})) or ": expected ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": None}, r"inputs\[0\]\.name: expected text, got null"),
        ({"datatype": "BF16"}, r"inputs\.x\.datatype: expected one of BOOL, .*, got string 'BF16'"),
        ({"datatype": None}, r"inputs\.x\.datatype: expected one of BOOL, .*, got null"),
        ({"datatype": []}, r"inputs\.x\.datatype: expected one of BOOL, .*, got a list of 0"),
        ({"shape": 3}, r"inputs\.x\.shape: expected a list of sizes, got integer 3"),
        ({"shape": [1, -1]}, r"inputs\.x\.shape\[1\]: expected a whole number, .* got integer -1"),
        ({"shape": [1.0]}, r"inputs\.x\.shape\[0\]: expected a whole number, .* got number 1\.0"),
        ({"shape": [True]}, r"inputs\.x\.shape\[0\]: expected a whole number, .* got boolean true"),
        ({"data": 5}, r"inputs\.x\.data: expected a list of values, got integer 5"),
        ({"data": ["a"]}, r"inputs\.x\.data\[0\]: expected a number .*\(FP64\), got string 'a'"),
        ({"data": [[0.5, True]]}, r"inputs\.x\.data\[0\]\[1\]: .*\(FP64\), got boolean true"),
        ({"data": [[[1]]]}, r"inputs\.x\.data\[0\]\[0\]: .*\(FP64\), got a list of 1"),
        ({"data": [{}]}, r"inputs\.x\.data\[0\]: .*\(FP64\), got an object"),
        (
            {"datatype": "FP32", "data": [1e300]},
            r"expected a number within the range of float32 \(FP32\), got number 1e\+300",
        ),
        ({"datatype": "FP16", "data": [70000]}, r"float16 \(FP16\), got integer 70000"),
        (
            {"datatype": "UINT8", "data": [1, 300]},
            r"data\[1\]: expected a whole number from 0 to 255 \(UINT8\), got integer 300",
        ),
        ({"datatype": "INT32", "data": [1.5]}, r"\(INT32\), got number 1\.5"),
        ({"datatype": "INT64", "data": [2**63]}, r"\(INT64\), got integer 9223372036854775808"),
        ({"datatype": "BOOL", "data": [1]}, r"expected true or false \(BOOL\), got integer 1"),
        ({"datatype": "BYTES", "data": [1]}, r"expected text \(BYTES\), got integer 1"),
        ({"parameters": []}, r"inputs\.x\.parameters: expected a JSON object, got a list of 0"),
        (
            {"parameters": {"binary_data_size": -1}},
            r"inputs\.x\.parameters\.binary_data_size: expected a number of bytes, got integer -1",
        ),
    ],
)
def test_what_does_not_fit_a_tensor_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read_head(msgspec.json.encode(body(**changes)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": 5}, "id: expected text, got integer 5"),
        ({"inputs": None}, "inputs: expected a list of tensors, got nothing"),
        ({"inputs": {}}, "inputs: expected a list of tensors, got an object"),
        ({"inputs": [5]}, r"inputs\[0\]: expected a tensor \(a JSON object\), got integer 5"),
        ({"outputs": 5}, "outputs: expected a list of outputs, got integer 5"),
        ({"outputs": ["p"]}, r"outputs\[0\]: expected an output .* got string 'p'"),
        ({"outputs": [{}]}, r"outputs\[0\]\.name: expected text, got null"),
        (
            {"outputs": [{"name": "p", "parameters": {"binary_data": 1}}]},
            r"outputs\[0\]\.parameters\.binary_data: expected true or false, got integer 1",
        ),
        (
            {"parameters": {"binary_data_output": "yes"}},
            r"parameters\.binary_data_output: expected true or false, got string 'yes'",
        ),
    ],
)
def test_what_does_not_fit_a_request_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read_head(msgspec.json.encode(body() | changes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "body: expected a JSON object, got nothing"),
        (b" \n", "body: expected a JSON object, got nothing"),
        (b"{", "body: expected JSON, got Input data was truncated"),
        (b'{"inputs": [Infinity]}', "body: expected JSON"),
        (b'{"inputs": [NaN, Infinity]}', "body: expected JSON"),
        (b'{"inputs": [NaN, 1e999]}', "body: expected JSON"),
        (b'{"inputs": [NaN, ' + b"9" * 5_000 + b"]}", "body: expected JSON"),
        (b'{"inputs": [NaN, "\\ud800"]}', "body: expected JSON"),
        (b'{"inputs": [NaN, ' + b"[" * 100_000, "nested too deep"),
        (b'{"inputs": [{"name": "\xff"}]}', "body: expected JSON, got text that isn't UTF-8"),
        (b"[1]", "body: expected a JSON object, got a list of 1"),
        (b'{"inputs": ' + b"[" * 100_000, "nested too deep"),
        (b'{"more": ' + b"[" * 100_000, "nested too deep"),
        (b'{"inputs": [], "id": 5, "x": ' + b"[" * 100_000, "nested too deep"),
    ],
)
def test_what_is_no_json_object_is_refused_as_such(text: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words) as caught:
        read_head(text)
    assert caught.value.code == "not_json"


def test_nan_in_json_is_null() -> None:
    text = b'{"inputs": [{"name":"NaN","shape":[3],"datatype":"FP64","data":[NaN, 0.1, 1e-3]}]}'
    [tensor] = read_head(text).inputs
    assert (tensor.name, tensor.data) == ("NaN", [None, 0.1, 0.001])
    with pytest.raises(InvalidInput, match=r"inputs\[0\]: expected a tensor .*, got null"):
        read_head(b'{"inputs": [NaN]}')


def test_numbers_beyond_all_ranges_are_refused() -> None:
    with pytest.raises(InvalidInput, match="expected numbers within the range of float64"):
        read_head(b'{"inputs": [{"name":"x","shape":[1],"datatype":"FP64","data":[1e999]}]}')
    text = b'{"inputs": [{"name":"x","shape":[1],"datatype":"FP64","data":[1%b]}]}' % (b"0" * 400)
    with pytest.raises(InvalidInput, match=r"data\[0\]: .*\(FP64\), got integer beyond"):
        read_head(text)
    text = text.replace(b"0" * 400, b"0" * 6000)
    with pytest.raises((InvalidInput, WireError)):
        read_head(text)


def test_names_are_shown_short_and_printable() -> None:
    assert where_of("age") == "inputs.age"
    assert where_of("a\nb") == r"inputs.a\nb"
    assert where_of("x" * 99) == f"inputs.{'x' * 60}..."


def test_smallest_and_greatest_numbers_are_admitted() -> None:
    for kind in DATATYPES.values():
        if kind.low is not None:
            data = [kind.low, kind.high]
            head = read_head(msgspec.json.encode(body(datatype=kind.name, data=data)))
            assert head.inputs[0].data == data
        elif kind.bound is not None and math.isfinite(kind.bound):
            data = [math.nextafter(kind.bound, 0), -math.nextafter(kind.bound, 0)]
            head = read_head(msgspec.json.encode(body(datatype=kind.name, data=data)))
            assert head.inputs[0].data == data
