from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from twofold.errors import InvalidInput
from twofold.model.signature import Field, Output, Signature
from twofold.serving.service import Service
from twofold.wire import v2_describe
from twofold.wire.statuses import WireError

FIELDS = (
    Field(name="age", type="int64"),
    Field(name="member", type="bool"),
    Field(name="income", type="float32"),
    Field(name="debt", type="float64"),
    Field(name="plan", type="string"),
    Field(name="at", type="timestamp"),
    Field(name="image", type="tensor", length=3),
)


def served(version: str = "3", *, is_ready: bool = True, **output: Any) -> Any:
    """What is asked of a served version here."""
    return SimpleNamespace(
        name="churn",
        version=version,
        signature=Signature(fields=FIELDS),
        output=Output(kind="value", **{"type": "float32", **output}),
        record=SimpleNamespace(framework="lightgbm"),
        is_ready=is_ready,
    )


def test_health_is_told_as_the_protocol_has_it() -> None:
    assert v2_describe.server_live() == {"live": True}
    assert v2_describe.server_ready(is_ready=False) == {"ready": False}
    assert v2_describe.model_ready("churn", is_ready=True) == {"name": "churn", "ready": True}


def test_server_tells_what_it_supports() -> None:
    assert v2_describe.server_metadata("9.9") == {
        "name": "twofold",
        "version": "9.9",
        "extensions": ["binary_tensor_data", "model_configuration"],
    }


def test_metadata_has_a_tensor_per_field_and_output() -> None:
    facts = v2_describe.model_metadata(served(names=("low", "high")), ("3", "2"))
    assert facts == {
        "name": "churn",
        "versions": ["3", "2"],
        "platform": "twofold_lightgbm",
        "inputs": [
            {"name": "age", "datatype": "INT64", "shape": [-1]},
            {"name": "member", "datatype": "BOOL", "shape": [-1]},
            {"name": "income", "datatype": "FP32", "shape": [-1]},
            {"name": "debt", "datatype": "FP64", "shape": [-1]},
            {"name": "plan", "datatype": "BYTES", "shape": [-1]},
            {"name": "at", "datatype": "BYTES", "shape": [-1]},
            {"name": "image", "datatype": "FP64", "shape": [-1, 3]},
        ],
        "outputs": [
            {"name": "low", "datatype": "FP32", "shape": [-1]},
            {"name": "high", "datatype": "FP32", "shape": [-1]},
        ],
    }


def test_config_has_types_and_sizes_as_triton_has_them() -> None:
    facts = v2_describe.model_config(served(type="string"), max_rows=100)
    assert {name: facts[name] for name in ("name", "platform", "max_batch_size")} == {
        "name": "churn",
        "platform": "twofold_lightgbm",
        "max_batch_size": 100,
    }
    assert [(i["name"], i["data_type"], i["dims"]) for i in facts["input"]] == [
        ("age", "TYPE_INT64", [1]),
        ("member", "TYPE_BOOL", [1]),
        ("income", "TYPE_FP32", [1]),
        ("debt", "TYPE_FP64", [1]),
        ("plan", "TYPE_STRING", [1]),
        ("at", "TYPE_STRING", [1]),
        ("image", "TYPE_FP64", [3]),
    ]
    assert facts["output"] == [{"name": "prediction", "data_type": "TYPE_STRING", "dims": [1]}]


def test_index_lists_versions_with_their_state() -> None:
    items = [served("3"), served("2", is_ready=False)]
    service = Service(items, None, clock=lambda: 0.0)  # type: ignore[arg-type]

    def states(*, is_ready_only: bool = False) -> list[tuple[str, str, str]]:
        index = v2_describe.repository_index(service, is_ready_only=is_ready_only)
        assert all(item["name"] == "churn" for item in index)
        return [(item["version"], item["state"], item["reason"]) for item in index]

    starting, stopping = "the server is starting", "the server is stopping"
    assert states() == [("3", "LOADING", starting), ("2", "LOADING", starting)]
    service.ready()
    assert states() == [("3", "READY", ""), ("2", "UNAVAILABLE", "its process is not there")]
    assert states(is_ready_only=True) == [("3", "READY", "")]
    service.drain()
    assert states() == [("3", "UNLOADING", stopping), ("2", "UNLOADING", stopping)]
    assert states(is_ready_only=True) == []


def test_index_may_be_asked_for_with_an_empty_body() -> None:
    read = v2_describe.read_ready_only
    assert [read(body) for body in (b"", b" ", b"{}", b'{"ready": false, "x": 1}')] == [False] * 4
    assert read(b'{"ready": true}')
    assert not read(b'{"ready": null}')
    for body in (b"[]", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000):
        with pytest.raises(WireError, match="body: expected ") as caught:
            read(body)
        assert caught.value.code == "not_json"
    with pytest.raises(InvalidInput, match="ready: expected true or false, got integer 1"):
        read(b'{"ready": 1}')
