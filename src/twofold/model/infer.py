"""The signature of a sample: names, types, nullability and known strings, told from rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import pyarrow as pa

from twofold.errors import DeclarationError, problem
from twofold.model import arrow
from twofold.model.arrow import pc
from twofold.model.signature import Field, FieldType, Signature
from twofold.model.tables import pandas_categoricals

MAX_CATEGORIES = 1000
"""Distinct strings beyond which a field is free text."""
MIN_REPEATS = 2
"""Rows per distinct string below which a field is free text (an id, a comment)."""
FEW_ROWS = 20


@dataclasses.dataclass(frozen=True)
class Overrides:
    """What the author declares where the sample doesn't tell it right.

    Attributes:
        drop: Columns that are not inputs (the target, an id); callers may still send them.
        types: Field name to type.
        nullable: Fields that may be null although the sample has no null in them.
        unknown_categories: What happens to strings the sample didn't show.
        extra_fields: What happens to fields that are none of the model's.
    """

    drop: Sequence[str] = ()
    types: Mapping[str, FieldType] = dataclasses.field(default_factory=dict)
    nullable: Sequence[str] = ()
    unknown_categories: Literal["refuse", "allow"] = "refuse"
    extra_fields: Literal["refuse", "ignore"] = "refuse"


def infer_signature(
    table: pa.Table, *, inputs: Sequence[str] | None = None, overrides: Overrides | None = None
) -> Signature:
    """Tell the signature from a sample.

    Args:
        table: The sample.
        inputs: The model's own names of its inputs, in its order, if it has any; other columns
            of the sample are dropped.
        overrides: What the author declares.

    Raises:
        DeclarationError: A column has a type that no field has, the model's inputs are not all
            in the sample, or an override names no column.
    """
    overrides = overrides or Overrides()
    _check_overrides(table, overrides)
    names = [name for name in table.column_names if name not in overrides.drop]
    if inputs is not None:
        lacking = [name for name in inputs if name not in names]
        if lacking:
            raise DeclarationError(
                problem(
                    "sample",
                    f"the model's inputs, among them {', '.join(lacking)}",
                    f"columns {', '.join(names)}",
                    "Give a sample of the rows the model was trained on.",
                )
            )
        names = list(inputs)
    if not names:
        raise DeclarationError(
            problem("sample", "at least one input", "none", "Drop fewer columns.")
        )
    categoricals = pandas_categoricals(table.schema)
    fields = tuple(
        _field(name, arrow.one_chunk(table[name]), name in categoricals, overrides)
        for name in names
    )
    return Signature(
        fields=fields,
        ignored=tuple(name for name in table.column_names if name not in names),
        extra_fields=overrides.extra_fields,
    )


def _check_overrides(table: pa.Table, overrides: Overrides) -> None:
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise DeclarationError(
            problem("sample", "distinct columns", f"{sorted(twice)} twice", "Rename one.")
        )
    named = {"drop": overrides.drop, "type": overrides.types, "nullable": overrides.nullable}
    for option, names in named.items():
        for name in names:
            if name not in table.column_names:
                raise DeclarationError(
                    problem(
                        f"--{option} {name}",
                        f"one of {', '.join(table.column_names)}",
                        f"{name!r}",
                        "Name a column of the sample.",
                    )
                )


def _field(name: str, column: pa.Array, categorical: bool, overrides: Overrides) -> Field:  # noqa: FBT001
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    decoded = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    kind = overrides.types.get(name) or field_type(name, decoded.type)
    if kind not in get_args(FieldType):
        known = ", ".join(get_args(FieldType))
        raise DeclarationError(
            problem(f"--type {name}={kind}", f"one of {known}", kind, "Name such a type.")
        )
    nan = pa.types.is_floating(decoded.type) and bool(pc.any(pc.is_nan(decoded)).as_py())
    nullable = name in overrides.nullable or decoded.null_count > 0 or nan
    zoned = pa.types.is_timestamp(decoded.type) and decoded.type.tz is not None
    is_text = kind == "string" and not pa.types.is_null(decoded.type)
    return Field(
        name=name,
        type=kind,
        nullable=nullable,
        categories=_categories(column, decoded) if is_text else None,
        unknown_categories=overrides.unknown_categories if is_text else "refuse",
        categorical=categorical and kind == "string",
        zoned=zoned,
        length=_length(name, decoded) if kind == "tensor" else None,
    )


def field_type(name: str, kind: pa.DataType) -> FieldType:
    """The field type of an Arrow type.

    Raises:
        DeclarationError: No field type holds it.
    """
    types = pa.types
    rules: list[tuple[FieldType, bool]] = [
        ("bool", types.is_boolean(kind)),
        ("int64", types.is_integer(kind)),
        ("float32", types.is_float32(kind) or types.is_float16(kind)),
        ("float64", types.is_float64(kind) or types.is_decimal(kind)),
        ("string", types.is_string(kind) or types.is_large_string(kind)),
        ("string", kind == pa.string_view()),
        ("timestamp", types.is_timestamp(kind) or types.is_date(kind)),
        ("tensor", _is_numbers(kind)),
    ]
    for field, holds in rules:
        if holds:
            return field
    raise DeclarationError(
        problem(
            f"sample.{name}",
            f"a type that fits one of {', '.join(get_args(FieldType))}",
            f"{kind}",
            f"Drop it (--drop {name}), convert it, or declare it (--type {name}=float64).",
        )
    )


def _is_numbers(kind: pa.DataType) -> bool:
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not (listed or pa.types.is_fixed_size_list(kind)):
        return False
    return pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)


def _length(name: str, column: pa.Array) -> int:
    if not _is_numbers(column.type):
        fix = "Leave the type out, or give lists of numbers."
        raise DeclarationError(
            problem(f"--type {name}=tensor", "lists of numbers", str(column.type), fix)
        )
    if pa.types.is_fixed_size_list(column.type):
        return int(column.type.list_size)
    lengths = pc.unique(pc.list_value_length(column).drop_null()).to_pylist()
    if len(lengths) != 1:
        raise DeclarationError(
            problem(
                f"sample.{name}",
                "lists of one length",
                f"lengths {sorted(lengths)[:5]}",
                "Pad them to one length.",
            )
        )
    return int(lengths[0])


def _categories(column: pa.Array, decoded: pa.Array) -> tuple[str, ...] | None:
    if pa.types.is_dictionary(column.type):
        # The order is part of a categorical's meaning: libraries see the codes.
        return tuple(column.dictionary.to_pylist())
    seen = pc.unique(decoded.drop_null())
    many = len(decoded) > FEW_ROWS and len(seen) * MIN_REPEATS > len(decoded)
    if many or not len(seen) or len(seen) > MAX_CATEGORIES:
        return None
    return tuple(sorted(seen.to_pylist()))
