"""Triton's own HTTP client, sync and asyncio, talks to a server as if it were Triton's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foreign import Raised
from models import SERVED, forest_names, people, visits

import twofold

# Each call has two forms: with threads, and with asyncio.
FORMS = ("", "_aio")


@pytest.fixture(scope="module")
def triton(client: Callable[[str], Any]) -> Any:
    return client("triton")


@pytest.fixture(params=FORMS, ids=["sync", "asyncio"])
def form(request: pytest.FixtureRequest) -> str:
    return request.param


def predictions(registry: Path, name: str, rows: list[dict[str, Any]]) -> Any:
    """What the door gives, at the other speed."""
    return twofold.load(name, registry=registry).predict(rows).tolist()


def column(name: str, kind: str, data: list[Any], *, binary: bool = True) -> dict[str, Any]:
    return {
        "name": name, "datatype": kind, "shape": [len(data)], "data": data, "binary": binary,
    }  # fmt: skip


def columns(
    rows: list[dict[str, Any]], kinds: dict[str, str], *, binary: bool = True
) -> list[dict[str, Any]]:
    """A tensor per field, NaN where a number is missing."""
    return [
        column(name, kind, [_value(row[name]) for row in rows], binary=binary)
        for name, kind in kinds.items()
    ]


def _value(value: Any) -> Any:
    return math.nan if value is None else value


CHURN = {"age": "INT64", "spent": "FP64", "plan": "BYTES"}
VISITS = {
    "is_first": "BOOL",
    "people": "INT64",
    "weight": "FP64",
    "note": "BYTES",
    "since": "BYTES",
    "booked": "BYTES",
}
FLOWER = {"a": 0.25, "b": -1.5, "c": 3.0, "d": 1e-3}
SPECIES = dict.fromkeys(FLOWER, "FP64")
CLASSES = ["prediction_setosa", "prediction_versicolor", "prediction_virginica"]


def test_server_and_models_present_themselves(triton: Any, form: str) -> None:
    told = triton(f"look{form}", model="churn", version="")
    assert (told["live"], told["ready"], told["model_ready"]) == (True, True, True)
    assert told["server"]["name"] == "twofold"
    assert "binary_tensor_data" in told["server"]["extensions"]
    assert [(item["name"], item["state"]) for item in told["index"]] == [
        (name, "READY") for name in SERVED
    ]
    assert told["metadata"]["versions"] == ["1"]
    assert {item["name"]: item["datatype"] for item in told["metadata"]["inputs"]} == CHURN
    assert [item["name"] for item in told["metadata"]["outputs"]] == ["prediction"]
    config = {item["name"]: item["data_type"] for item in told["config"]["input"]}
    assert config == {"age": "TYPE_INT64", "spent": "TYPE_FP64", "plan": "TYPE_STRING"}
    assert triton(f"look{form}", model="species", version="1")["model_ready"]


def test_model_that_is_not_served_is_not_ready_and_has_no_metadata(triton: Any, form: str) -> None:
    with pytest.raises(Raised, match=r"\[404\] model: expected one of 'churn', .* got 'nobody'"):
        triton(f"look{form}", model="nobody", version="")
    with pytest.raises(Raised, match=r"\[404\] churn\.version: expected one of '1', got '7'"):
        triton(f"look{form}", model="churn", version="7")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize(
    ("name", "kinds", "make"), [("churn", CHURN, people), ("visits", VISITS, visits)]
)
@pytest.mark.parametrize("count", [1, 20])
def test_numbers_text_and_truth_are_predicted_with_the_bits_of_the_door(
    triton: Any,
    registry: Path,
    form: str,
    name: str,
    kinds: dict[str, str],
    make: Any,
    count: int,
    binary_in: bool,
    binary_out: bool,
) -> None:
    rows = make(count)
    answer = triton(
        f"infer{form}",
        model_name=name,
        inputs=columns(rows, kinds, binary=binary_in),
        outputs={"prediction": binary_out},
        request_id="first",
    )
    assert answer["response"] == {"model_name": name, "model_version": "1", "id": "first"}
    assert answer["values"] == {"prediction": predictions(registry, name, rows)}
    assert answer["dtypes"] == {"prediction": "object" if name == "visits" else "float64"}
    assert answer["raw"] == (["prediction"] if binary_out else [])


@pytest.mark.parametrize("kind", ["FP32", "FP64"])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_twenty_floats_come_in_a_tensor_each_or_all_in_one(
    triton: Any, registry: Path, form: str, kind: str, binary: bool, count: int
) -> None:
    names = forest_names()
    # Exact in float32, so that both datatypes hold the same numbers.
    rows = [{name: (i * 7 + j) % 33 / 8 - 2 for i, name in enumerate(names)} for j in range(count)]
    expected = predictions(registry, "forest", rows)
    table = {
        "name": "features",
        "datatype": kind,
        "shape": [count, len(names)],
        "data": [list(row.values()) for row in rows],
        "binary": binary,
    }
    single = columns(rows, dict.fromkeys(names, kind), binary=binary)
    for inputs in ([table], single, single[::-1]):
        answer = triton(f"infer{form}", model_name="forest", inputs=inputs, model_version="1")
        assert answer["values"] == {"prediction": expected}
        assert answer["shapes"] == {"prediction": [count]}


def test_float32_in_json_is_rounded_as_raw_bytes_are(triton: Any, registry: Path) -> None:
    rows = [dict.fromkeys(forest_names(), 0.1)]
    kinds = dict.fromkeys(forest_names(), "FP32")
    answers = [
        triton("infer", model_name="forest", inputs=columns(rows, kinds, binary=binary))["values"]
        for binary in (True, False)
    ]
    assert answers[0] == answers[1] == {"prediction": predictions(registry, "forest", rows)}


def test_model_of_several_outputs_gives_those_that_are_asked_for(
    triton: Any, registry: Path, form: str
) -> None:
    inputs = columns([FLOWER, FLOWER], SPECIES)
    # One list per output; the door gives one row per row.
    expected = dict(
        zip(CLASSES, zip(*predictions(registry, "species", [FLOWER] * 2), strict=True), strict=True)
    )
    expected = {name: list(values) for name, values in expected.items()}
    answer = triton(f"infer{form}", model_name="species", inputs=inputs)
    assert answer["values"] == expected
    assert answer["raw"] == CLASSES
    asked = {CLASSES[2]: True, CLASSES[0]: False}
    answer = triton(f"infer{form}", model_name="species", inputs=inputs, outputs=asked)
    assert answer["values"] == {name: expected[name] for name in asked}
    assert list(answer["values"]) == list(asked)
    assert answer["raw"] == [CLASSES[2]]


@pytest.mark.parametrize("name", ["churn", "species"])
def test_requests_at_once_are_each_answered_with_their_own_id(
    triton: Any, registry: Path, form: str, name: str
) -> None:
    kinds, row = (CHURN, people(1)[0]) if name == "churn" else (SPECIES, FLOWER)
    answers = triton(
        f"infer_at_once{form}", times=100, model_name=name, inputs=columns([row], kinds)
    )
    assert [answer["response"]["id"] for answer in answers] == [str(i) for i in range(100)]
    alone = triton(f"infer{form}", model_name=name, inputs=columns([row], kinds))
    assert all(answer["values"] == alone["values"] for answer in answers)


def wrong(place: int, **changes: Any) -> list[dict[str, Any]]:
    inputs = columns(people(2), CHURN)
    inputs[place] |= changes
    return inputs


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"inputs": wrong(0, name="years")}, "[422] inputs.years: expected only the model's"),
        ({"inputs": wrong(0)[:2]}, "[422] inputs.plan: expected a tensor of shape [rows]"),
        ({"inputs": wrong(0, shape=[1, 2])}, "[422] inputs.age.shape: expected [rows] or"),
        (
            {"inputs": wrong(0, shape=[1], data=[20])},
            "[422] inputs.spent: expected 1 row like the other inputs, got 2.",
        ),
        (
            {"inputs": wrong(2, data=["basic", "gold"])},
            "[422] inputs.plan.data[1]: expected one of 'basic', 'pro', 'team', got 'gold'.",
        ),
        (
            {"inputs": wrong(0, datatype="FP64", data=[20.0, 1.5])},
            "[422] inputs.age.data[1]: expected int64, got number 1.5.",
        ),
        (
            {"inputs": wrong(0), "outputs": {"score": True}},
            "[422] outputs[0].name: expected one of prediction, got string 'score'.",
        ),
        ({"inputs": wrong(0), "model_version": "7"}, "[404] churn.version: expected one of '1'"),
        (
            {"inputs": wrong(0), "request_compression_algorithm": "gzip"},
            "[415] Content-Encoding: expected none, got string 'gzip'. Send the body uncompressed.",
        ),
        (
            {"inputs": wrong(0), "request_compression_algorithm": "deflate"},
            "[415] Content-Encoding: expected none, got string 'deflate'.",
        ),
        (
            {"inputs": wrong(0), "headers": {"X-Twofold-Deadline-Ms": "soon"}},
            "[400] X-Twofold-Deadline-Ms: expected a positive number of milliseconds",
        ),
    ],
)
def test_refusal_is_the_clients_own_exception_with_the_servers_words(
    triton: Any, form: str, how: dict[str, Any], words: str
) -> None:
    with pytest.raises(Raised, match="InferenceServerException") as caught:
        triton(f"infer{form}", **{"model_name": "churn", **how})
    assert words in caught.value.words
    # The connection isn't spoiled.
    good = triton(f"infer{form}", model_name="churn", inputs=columns(people(2), CHURN))
    assert len(good["values"]["prediction"]) == 2


def test_client_that_takes_compressed_answers_takes_plain_ones(triton: Any, form: str) -> None:
    inputs = columns(people(2), CHURN)
    how = {"model_name": "churn", "inputs": inputs}
    plain = triton(f"infer{form}", **how)
    assert triton(f"infer{form}", **how, response_compression_algorithm="gzip") == plain


def test_parameters_that_mean_nothing_here_are_ignored(triton: Any, form: str) -> None:
    inputs = columns(people(2), CHURN)
    how = {"model_name": "churn", "inputs": inputs}
    plain = triton(f"infer{form}", **how)
    more = {"sequence_id": 7, "sequence_start": True, "priority": 3, "timeout": 1_000}
    assert triton(f"infer{form}", **how, **more, parameters={"mood": "good"}) == plain
