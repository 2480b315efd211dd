from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
import pytest

from twofold.errors import InvalidInput
from twofold.model.signature import Output
from twofold.wire.statuses import WireError
from twofold.wire.v2_answer import Answers
from twofold.wire.v2_request import Head, OutputParameters, RequestedOutput, RequestParameters

RAW = RequestParameters(binary_data_output=True)


def answer(
    predictions: list[list[Any]],
    *,
    type: str = "float64",  # noqa: A002 - as `Output` has it
    names: tuple[str, ...] = ("prediction",),
    **head: Any,
) -> tuple[Any, bytes]:
    """The JSON of a response, and its raw bytes."""
    output = Output(kind="value", type=type, names=names)  # type: ignore[arg-type]
    answers = Answers('chu"rn', "3", output)
    respond = answers.respond(Head(inputs=[], **head), len(predictions[0]))
    response = respond(predictions)
    assert respond(predictions) == response
    assert response.status == 200
    end = len(response.body)
    if response.content_type == b"application/octet-stream":
        name, _, length = response.headers.removesuffix(b"\r\n").partition(b": ")
        assert name == b"Inference-Header-Content-Length"
        end = int(length)
    else:
        assert (response.content_type, response.headers) == (b"application/json", b"")
    value = msgspec.json.decode(response.body[:end])
    assert (value.pop("model_name"), value.pop("model_version")) == ('chu"rn', "3")
    return value, response.body[end:]


@pytest.mark.parametrize(
    ("type_", "datatype", "values", "raw"),
    [
        ("float64", "FP64", [0.1, -2.0], struct.pack("<2d", 0.1, -2)),
        ("float32", "FP32", [0.5, 2.0], struct.pack("<2f", 0.5, 2)),
        ("int64", "INT64", [7, -(2**63)], struct.pack("<2q", 7, -(2**63))),
        ("bool", "BOOL", [True, False], b"\1\0"),
        ("string", "BYTES", ["ä", ""], b"\2\0\0\0\xc3\xa4\0\0\0\0"),
    ],
)
def test_predictions_are_sent_in_json_or_as_raw_bytes(
    type_: str, datatype: str, values: list[Any], raw: bytes
) -> None:
    about = {"name": "prediction", "datatype": datatype, "shape": [2]}
    assert answer([values], type=type_) == ({"outputs": [about | {"data": values}]}, b"")
    size = {"parameters": {"binary_data_size": len(raw)}}
    assert answer([values], type=type_, parameters=RAW) == ({"outputs": [about | size]}, raw)
    one = about | {"shape": [1], "data": values[:1]}
    assert answer([values[:1]], type=type_) == ({"outputs": [one]}, b"")


def test_id_is_given_back_as_it_was_sent() -> None:
    assert answer([[0.5]], id='"7"')[0]["id"] == '"7"'
    assert answer([[0.5]], id="")[0]["id"] == ""
    assert "id" not in answer([[0.5]])[0]
    value, raw = answer([[0.5]], id="7", parameters=RAW)
    assert (value["id"], raw) == ("7", struct.pack("<d", 0.5))


def test_outputs_come_as_they_are_asked_for() -> None:
    names = ("low", "mid", "high")
    predictions = [[0.1], [0.2], [0.7]]

    def asked(*names_: str, raw: str = "", more: Any = None) -> Any:
        outputs = [
            RequestedOutput(n, OutputParameters(binary_data=True) if n in raw else None)
            for n in names_
        ]
        value, body = answer(predictions, names=names, outputs=outputs, parameters=more)
        return [(o["name"], o.get("data")) for o in value["outputs"]], body

    everything = [("low", [0.1]), ("mid", [0.2]), ("high", [0.7])]
    assert asked() == (everything, b"")
    assert asked(*names) == (everything, b"")
    assert asked("high", "low") == ([("high", [0.7]), ("low", [0.1])], b"")
    assert asked("mid") == ([("mid", [0.2])], b"")
    assert asked("mid", raw="mid") == ([("mid", None)], struct.pack("<d", 0.2))
    assert asked("high", "mid", "low", raw="high low") == (
        [("high", None), ("mid", [0.2]), ("low", None)],
        struct.pack("<2d", 0.7, 0.1),
    )
    assert asked("high", "low", more=RAW) == (
        [("high", None), ("low", None)],
        struct.pack("<2d", 0.7, 0.1),
    )
    assert asked(more=RAW) == ([(n, None) for n in names], struct.pack("<3d", 0.1, 0.2, 0.7))


def test_what_an_output_asks_for_goes_before_what_the_request_does() -> None:
    outputs = [RequestedOutput("prediction", OutputParameters(binary_data=False))]
    value, raw = answer([[0.5]], outputs=outputs, parameters=RAW)
    assert (value["outputs"][0]["data"], raw) == ([0.5], b"")


def test_a_prediction_that_is_no_number_is_null_in_json() -> None:
    assert answer([[math.nan]])[0]["outputs"][0]["data"] == [None]
    assert math.isnan(*struct.unpack("<d", answer([[math.nan]], parameters=RAW)[1]))


def test_outputs_that_the_model_does_not_have_are_refused() -> None:
    many = tuple(f"class_{index}" for index in range(9))
    for names, shown in (("low", "high"), "low, high"), (many, "class_6, class_7, ...,"):
        with pytest.raises(InvalidInput, match=r"outputs\[0\]\.name: expected one of ") as caught:
            answer([[0.5]] * 9, names=names, outputs=[RequestedOutput("mid")])
        assert shown in str(caught.value)
        assert "got string 'mid'" in str(caught.value)
    with pytest.raises(InvalidInput, match=r"outputs\[1\]\.name: .* got prediction again"):
        answer([[0.5]], outputs=[RequestedOutput("prediction")] * 2)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (OutputParameters(classification=2), r"outputs\[0\]\.parameters\.classification: "),
        (
            OutputParameters(shared_memory_region="r"),
            r"outputs\[0\]\.parameters\.shared_memory_region: ",
        ),
    ],
)
def test_what_is_not_supported_is_said(parameters: OutputParameters, words: str) -> None:
    with pytest.raises(WireError, match=words + r"expected nothing \(not supported\)") as caught:
        answer([[0.5]], outputs=[RequestedOutput("prediction", parameters)])
    assert caught.value.code == "bad_request"
