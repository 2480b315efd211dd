"""The signature: names, types and nullability of a model's inputs and outputs.

Field types and what each admits, at both speeds alike:

=========== ============================================= ==============================
type        one row (JSON or Python)                      many rows (Arrow)
=========== ============================================= ==============================
bool        true, false                                   bool
int64       whole number, or a float without fraction     any integer or integral float
float32     number                                        any integer or float
float64     number                                        any integer or float
string      text                                          string or dictionary of string
timestamp   ISO 8601 text or a datetime                   timestamp or date
tensor      list of exactly `length` numbers              list of that length
=========== ============================================= ==============================
"""

from __future__ import annotations

from typing import Literal

import msgspec

FieldType = Literal["bool", "int64", "float32", "float64", "string", "timestamp", "tensor"]
OutputKind = Literal["probability", "label", "value"]
OutputType = Literal["bool", "int64", "float32", "float64", "string"]
Value = None | bool | int | float | str | list[float]
"""One canonical value; a timestamp is an int: microseconds since 1970, UTC if zoned."""

MAX_EXACT_INT = 2**53
"""Integers beyond this can't be held exactly as float64."""


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a model.

    Attributes:
        name: The input's name, unique in the signature.
        type: One of the types of this module's table.
        nullable: Whether null (or NaN, which means the same) is admitted.
        categories: For strings: the values seen in the sample, sorted; None means free text.
        unknown_categories: Whether a string outside `categories` is refused or allowed.
        categorical: The library was given this field as a categorical column, not as text.
        zoned: For timestamps: whether values carry a time zone (stored as UTC).
        length: For tensors: how many numbers.
    """

    name: str
    type: FieldType
    nullable: bool = False
    categories: tuple[str, ...] | None = None
    unknown_categories: Literal["refuse", "allow"] = "refuse"
    categorical: bool = False
    zoned: bool = False
    length: int | None = None

    @property
    def expects(self) -> str:
        """The field's type in the words of an error message."""
        if self.type == "tensor":
            return f"a list of {self.length} numbers"
        if self.type == "timestamp":
            return "an ISO 8601 timestamp " + ("with" if self.zoned else "without") + " time zone"
        return self.type


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What a model predicts for one row.

    Attributes:
        kind: A class probability, a class label, or any other value.
        type: The type of every output column.
        names: The output columns: `prediction`, or one name per class of a multiclass model.
        classes: The model's classes as text, in the order of its probabilities, if known.
    """

    kind: OutputKind
    type: OutputType
    names: tuple[str, ...] = ("prediction",)
    classes: tuple[str, ...] | None = None


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes, in the order in which it takes it.

    Attributes:
        fields: The inputs.
        ignored: Names that callers may send and the model doesn't use (dropped at pack time).
        extra_fields: Whether names that are neither inputs nor ignored are refused or ignored.
    """

    fields: tuple[Field, ...]
    ignored: tuple[str, ...] = ()
    extra_fields: Literal["refuse", "ignore"] = "refuse"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        return tuple(field.name for field in self.fields)
