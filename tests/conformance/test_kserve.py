"""The REST client of KServe's SDK talks to a server as if KServe had deployed it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foreign import Raised
from models import people, visits

import twofold

KINDS = {
    "churn": {"age": "INT64", "spent": "FP64", "plan": "BYTES"},
    "visits": {
        "is_first": "BOOL",
        "people": "INT64",
        "weight": "FP64",
        "note": "BYTES",
        "since": "BYTES",
        "booked": "BYTES",
    },
}


@pytest.fixture(scope="module")
def kserve(client: Callable[[str], Any]) -> Any:
    return client("kserve")


def inputs_of(name: str, rows: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    missing = None if more.get("listed") else math.nan
    return [
        {
            "name": field,
            "datatype": kind,
            "shape": [len(rows)],
            "data": [missing if row[field] is None else row[field] for row in rows],
            **more,
        }
        for field, kind in KINDS[name].items()
    ]


def flower(*values: float) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": "FP64", "shape": [1], "data": [value]}
        for name, value in zip("abcd", values, strict=True)
    ]


def test_server_and_model_are_live_and_ready_and_a_model_that_is_not_served_is_not(
    kserve: Any,
) -> None:
    assert kserve("look", model="species") == {
        "live": True, "ready": True, "model_ready": True, "other_ready": False,
    }  # fmt: skip


@pytest.mark.parametrize("how", ["raw", "numpy as JSON", "lists as JSON"])
@pytest.mark.parametrize(("name", "make"), [("churn", people), ("visits", visits)])
def test_tensors_are_predicted_with_the_bits_of_the_door(
    kserve: Any, registry: Path, name: str, make: Any, how: str
) -> None:
    rows = make(20)
    more = {"listed": True} if how == "lists as JSON" else {}
    answer = kserve(
        "infer", model=name, inputs=inputs_of(name, rows, **more), binary=how == "raw",
        request_id="first",
    )  # fmt: skip
    expected = twofold.load(name, registry=registry).predict(rows).tolist()
    assert answer == {
        "id": "first",
        "model": name,
        "values": {"prediction": expected},
        "kinds": {"prediction": "BYTES" if name == "visits" else "FP64"},
        "content_type": "application/json",
    }


def test_outputs_are_chosen_and_come_as_raw_bytes_when_asked_for(
    kserve: Any, registry: Path
) -> None:
    model = twofold.load("species", registry=registry)
    [expected] = model.predict([{"a": 0.25, "b": -1.5, "c": 3.0, "d": 0.5}]).tolist()
    inputs = flower(0.25, -1.5, 3.0, 0.5)
    every = kserve("infer", model="species", inputs=inputs)
    assert [value for [value] in every["values"].values()] == expected
    for parameters in ({"binary_data_output": True}, None):
        asked = {"prediction_virginica": True}
        answer = kserve(
            "infer", model="species", inputs=inputs, outputs=asked, parameters=parameters
        )
        assert answer["values"] == {"prediction_virginica": [expected[2]]}
        assert answer["content_type"] == "application/octet-stream"


def test_requests_at_once_are_all_answered(kserve: Any) -> None:
    answers = kserve("infer_at_once", times=60, model="species", inputs=flower(1, 2, 3, 4))
    assert len(answers) == 60
    assert answers == [answers[0]] * 60


def test_refusal_is_the_clients_own_exception_with_the_servers_words(kserve: Any) -> None:
    with pytest.raises(Raised, match="HTTPStatusError") as caught:
        kserve("infer", model="species", inputs=flower(1, 2, 3, 4)[1:])
    assert "inputs.a: expected a tensor of shape [rows]" in caught.value.words
    assert "422" in caught.value.words
    with pytest.raises(Raised, match="HTTPStatusError") as caught:
        kserve("infer", model="nobody", inputs=flower(1, 2, 3, 4))
    assert "model: expected one of 'churn'" in caught.value.words
