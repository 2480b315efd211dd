"""What is said of the models is what they are, and the example is a row they take."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twofold.model.record import Modes
from twofold.model.signature import Field, Output, Signature
from twofold.serving.service import Service
from twofold.wire.describe import describe_model, describe_models, example_row

NAMES = st.text(min_size=1, max_size=8)
CATEGORIES = st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple)
UNKNOWN = st.sampled_from(["refuse", "allow"])


def fields_of(name: str) -> st.SearchStrategy[Field]:
    """Any field of this name."""
    given_name, nullable = st.just(name), st.booleans()
    numbers = st.sampled_from(["bool", "int64", "float32", "float64"])
    return st.one_of(
        st.builds(Field, name=given_name, nullable=nullable, type=numbers),
        st.builds(
            Field,
            name=given_name,
            nullable=nullable,
            type=st.just("string"),
            categories=st.none() | CATEGORIES,
            unknown_categories=UNKNOWN,
        ),
        st.builds(
            Field,
            name=given_name,
            nullable=nullable,
            type=st.just("timestamp"),
            zoned=st.booleans(),
        ),
        st.builds(
            Field,
            name=given_name,
            nullable=nullable,
            type=st.just("tensor"),
            length=st.integers(1, 4),
        ),
    )


FIELDS = st.lists(NAMES, min_size=1, max_size=5, unique=True).flatmap(
    lambda names: st.tuples(*map(fields_of, names))
)


def test_versions_are_listed_in_the_order_given_and_the_first_of_a_name_is_its_default(
    bench: Any,
) -> None:
    assert describe_models(bench.service) == {
        "models": [
            {"name": "churn", "version": "3", "default": True},
            {"name": "churn", "version": "2", "default": False},
            {"name": "risk", "version": "1", "default": True},
            {"name": "image", "version": "1", "default": True},
        ]
    }


def test_server_without_models_lists_none(bench: Any) -> None:
    empty = Service([], bench.metrics, clock=lambda: 0.0)
    assert describe_models(empty) == {"models": []}


def test_model_is_described_with_all_its_facts_and_no_others(bench: Any) -> None:
    assert describe_model(bench.service.find("churn", "2")) == {
        "name": "churn",
        "version": "2",
        "digest": "d1g3st",
        "framework": "python",
        "created_at": "2026-01-31T12:00:00+00:00",
        "runtimes": {"batch": "original", "real_time": "original"},
        "inputs": [
            {"name": "amount", "type": "float64", "nullable": False},
            {
                "name": "plan",
                "type": "string",
                "nullable": True,
                "categories": ["<basic>", "pro"],
                "unknown_categories": "refuse",
            },
        ],
        "ignored": ["note"],
        "extra_fields": "refuse",
        "output": {"kind": "value", "type": "float64", "names": ["prediction"], "classes": None},
    }


def test_runtimes_of_both_speeds_are_told_apart(bench: Any) -> None:
    modes = Modes(batch="original", real_time="onnx")
    facts = describe_model(bench.other(Signature(fields=()), runtimes=modes))
    assert facts["runtimes"] == {"batch": "original", "real_time": "onnx"}


def test_inputs_are_described_with_what_belongs_to_their_type(bench: Any) -> None:
    fields = (
        Field(name="free", type="string"),
        Field(name="open", type="string", categories=("a",), unknown_categories="allow"),
        Field(name="at", type="timestamp", nullable=True),
        Field(name="zoned", type="timestamp", zoned=True),
        Field(name="x", type="tensor", length=3),
        Field(name="flag", type="bool"),
    )
    classes = Output(kind="probability", type="float32", names=("low", "high"), classes=("0", "1"))
    signature = Signature(fields=fields, extra_fields="ignore")
    facts = describe_model(bench.other(signature, classes))
    assert facts["inputs"] == [
        {"name": "free", "type": "string", "nullable": False},
        {
            "name": "open",
            "type": "string",
            "nullable": False,
            "categories": ["a"],
            "unknown_categories": "allow",
        },
        {"name": "at", "type": "timestamp", "nullable": True, "zoned": False},
        {"name": "zoned", "type": "timestamp", "nullable": False, "zoned": True},
        {"name": "x", "type": "tensor", "nullable": False, "length": 3},
        {"name": "flag", "type": "bool", "nullable": False},
    ]
    assert (facts["ignored"], facts["extra_fields"]) == ([], "ignore")
    assert facts["output"] == {
        "kind": "probability",
        "type": "float32",
        "names": ["low", "high"],
        "classes": ["0", "1"],
    }


def test_example_is_the_row_of_the_sample_where_there_is_one(bench: Any) -> None:
    row = {"amount": 17.25}
    signature = Signature(fields=(Field(name="amount", type="float64"),))
    assert example_row(bench.other(signature, example=row)) == row


def test_example_made_up_shows_the_form_of_each_type(bench: Any) -> None:
    assert example_row(bench.service.find("churn")) == {"amount": 0.5, "plan": "<basic>"}
    assert example_row(bench.service.find("image")) == {
        "x": [0.5, 0.5],
        "at": "2026-01-31T12:00:00Z",
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=FIELDS)
def test_example_made_up_is_a_row_the_model_takes_even_through_json(
    bench: Any, fields: tuple[Field, ...]
) -> None:
    item = bench.other(Signature(fields=fields))
    row = example_row(item)
    assert list(row) == [field.name for field in fields]
    sent = msgspec.json.decode(msgspec.json.encode(row))
    assert item.check(sent) == item.check(row)
    assert None not in item.check(row)
