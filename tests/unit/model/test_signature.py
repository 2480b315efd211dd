"""The signature as a value: what it says of itself, and how it is stored."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.model.signature import (
    MAX_EXACT_INT,
    Field,
    FieldType,
    Output,
    Signature,
)

FIELDS = st.builds(
    Field,
    name=st.text(min_size=1),
    type=st.sampled_from(get_args(FieldType)),
    nullable=st.booleans(),
    categories=st.none() | st.lists(st.text(), max_size=3).map(tuple),
    unknown_categories=st.sampled_from(["refuse", "allow"]),
    categorical=st.booleans(),
    zoned=st.booleans(),
    length=st.none() | st.integers(0, 2**31),
)
SIGNATURES = st.builds(
    Signature,
    fields=st.lists(FIELDS, max_size=4).map(tuple),
    ignored=st.lists(st.text(), max_size=3).map(tuple),
    extra_fields=st.sampled_from(["refuse", "ignore"]),
)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (Field(name="x", type="bool"), "bool"),
        (Field(name="x", type="int64"), "int64"),
        (Field(name="x", type="float32"), "float32"),
        (Field(name="x", type="float64"), "float64"),
        (Field(name="x", type="string"), "string"),
        (Field(name="x", type="timestamp"), "an ISO 8601 timestamp without time zone"),
        (Field(name="x", type="timestamp", zoned=True), "an ISO 8601 timestamp with time zone"),
        (Field(name="x", type="tensor", length=3), "a list of 3 numbers"),
    ],
)
def test_a_field_says_what_it_expects(field: Field, words: str) -> None:
    assert field.expects == words


def test_names_stand_in_the_order_of_the_fields() -> None:
    fields = tuple(Field(name=name, type="bool") for name in ("b", "a", "c"))
    assert Signature(fields=fields, ignored=("z",)).names == ("b", "a", "c")
    assert Signature(fields=()).names == ()


def test_all_that_is_not_declared_is_strict() -> None:
    stored = b'{"fields":[{"name":"x","type":"string"}]}'
    field = Field(
        name="x",
        type="string",
        nullable=False,
        categories=None,
        unknown_categories="refuse",
        categorical=False,
        zoned=False,
        length=None,
    )
    expected = Signature(fields=(field,), ignored=(), extra_fields="refuse")
    assert msgspec.json.decode(stored, type=Signature) == expected


@given(signature=SIGNATURES)
def test_a_signature_is_stored_and_read_back_whole(signature: Signature) -> None:
    again = msgspec.json.decode(msgspec.json.encode(signature), type=Signature)
    assert again == signature
    # A signature is the key under which its compiled checks are kept.
    assert hash(again) == hash(signature)


@pytest.mark.parametrize(
    ("stored", "place"),
    [
        ({"fields": [{"name": "x", "type": "int32"}]}, "$.fields[0].type"),
        ({"fields": [{"name": "x"}]}, "`type` - at `$.fields[0]`"),
        ({"fields": [{"type": "bool"}]}, "`name` - at `$.fields[0]`"),
        ({"fields": [{"name": "x", "type": "bool", "nullable": 1}]}, "$.fields[0].nullable"),
        (
            {"fields": [{"name": "x", "type": "string", "unknown_categories": "drop"}]},
            "$.fields[0].unknown_categories",
        ),
        (
            {"fields": [{"name": "x", "type": "string", "categories": [None]}]},
            "$.fields[0].categories[0]",
        ),
        ({"fields": [], "extra_fields": "allow"}, "$.extra_fields"),
        ({}, "`fields`"),
    ],
)
def test_a_stored_signature_that_breaks_its_form_is_refused_at_its_place(
    stored: dict[str, Any], place: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(stored), type=Signature)
    assert place in str(caught.value)


def test_a_signature_does_not_change_after_it_is_made() -> None:
    field = Field(name="x", type="float64")
    for value, attribute in ((field, "nullable"), (Signature(fields=(field,)), "fields")):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(value, attribute, True)


def test_signatures_that_admit_other_rows_are_not_equal() -> None:
    strict = Signature(fields=(Field(name="x", type="float64"),))
    lenient = Signature(fields=(Field(name="x", type="float64", nullable=True),))
    assert len({strict, lenient, Signature(fields=strict.fields)}) == 2


def test_an_output_is_one_column_named_prediction_unless_declared() -> None:
    stored = b'{"kind":"value","type":"float64"}'
    output = msgspec.json.decode(stored, type=Output)
    assert output == Output(kind="value", type="float64", names=("prediction",), classes=None)


@pytest.mark.parametrize(
    ("stored", "place"),
    [
        (b'{"kind":"score","type":"float64"}', "$.kind"),
        (b'{"kind":"value","type":"tensor"}', "$.type"),
        (b'{"kind":"value","type":"timestamp"}', "$.type"),
    ],
)
def test_an_output_of_a_kind_or_type_that_no_model_has_is_refused(
    stored: bytes, place: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(stored, type=Output)
    assert place in str(caught.value)


@given(value=st.integers(-MAX_EXACT_INT, MAX_EXACT_INT))
def test_every_whole_number_within_the_limit_is_held_by_a_float(value: int) -> None:
    assert int(float(value)) == value


def test_the_first_whole_number_beyond_the_limit_is_not_held_by_a_float() -> None:
    assert int(float(MAX_EXACT_INT + 1)) == MAX_EXACT_INT
