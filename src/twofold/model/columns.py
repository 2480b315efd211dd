"""Many rows against the signature, in bulk: canonical Arrow columns, and the rows set aside.

The bulk checks only find which rows are bad; the words come from `rows`, value by value, so
that a row is refused for the same reason at either speed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twofold.errors import InvalidInput, problem
from twofold.model import arrow
from twofold.model.arrow import pc
from twofold.model.rows import (
    MAX_INT64,
    MAX_MICROS,
    MIN_MICROS,
    FarTime,
    FieldProblem,
    extra_field,
    field_check,
)
from twofold.model.signature import MAX_EXACT_INT, Field, FieldType, Signature, Value

if TYPE_CHECKING:
    from twofold.model.arrow import Mask, Numbers

    Converted = tuple[pa.Array, Mask]

INTEGER_TEXT = r"^[+-]?[0-9]{1,18}$"
LONG_INTEGER_TEXT = r"^[+-]?[0-9]{19}$"
"""Of which some fit 64 bits."""
NUMBER_TEXT = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
NAN_TEXT = "nan"

MICROS_PER = {"s": 1_000_000, "ms": 1_000, "us": 1}
MICROS_PER_DAY = 86_400_000_000


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why one row was set aside.

    Attributes:
        row: The row's index in the batch checked.
        field: The first field at fault.
        expected: What the field admits.
        got: What came.
        fix: What to do about it.
    """

    row: int
    field: str
    expected: str
    got: str
    fix: str

    @property
    def reason(self) -> str:
        """The problem as a sentence, without its place."""
        return f"expected {self.expected}, got {self.got}. {self.fix}"


@dataclasses.dataclass(frozen=True)
class Checked:
    """Rows after validation.

    Attributes:
        columns: The valid rows, in order: one canonical column per field (see `arrow_type`),
            NaN made null.
        valid: For each row that came, whether it is in `columns`; None if all are.
        problems: One for each row that isn't, in row order.
    """

    columns: pa.RecordBatch
    valid: Mask | None
    problems: list[Problem]


def arrow_type(field: Field) -> pa.DataType:
    """The Arrow type of a field's canonical column."""
    if field.type == "tensor":
        return pa.list_(pa.float64(), field.length or 0)
    if field.type == "timestamp":
        return pa.timestamp("us", "UTC" if field.zoned else None)
    kinds = {
        "bool": pa.bool_(),
        "int64": pa.int64(),
        "float32": pa.float32(),
        "float64": pa.float64(),
        "string": pa.string(),
    }
    return kinds[field.type]


def arrow_schema(signature: Signature) -> pa.Schema:
    """The schema of a signature's canonical columns."""
    return pa.schema([(field.name, arrow_type(field)) for field in signature.fields])


def check_names(
    signature: Signature, names: Sequence[str], *, where: str, besides: Collection[str] = ()
) -> None:
    """Check that a table has the fields of the signature and no unknown ones.

    Args:
        signature: The model's.
        names: The table's columns.
        where: How messages call the table.
        besides: Columns that have another purpose: the key, kept columns.

    Raises:
        InvalidInput: A field is missing or doubled, or a column is none of the model's.
    """
    have = set(names)
    for name in signature.names:
        if name not in have:
            shown = ", ".join(names[:20]) or "no columns"
            raise InvalidInput(
                problem(f"{where}.{name}", "a column", f"only {shown}", f"Add column {name}."),
                field=name,
            )
        if list(names).count(name) > 1:
            raise InvalidInput(
                problem(f"{where}.{name}", "one column", "several", "Rename the others."),
                field=name,
            )
    if signature.extra_fields == "refuse":
        known = have.intersection(signature.names).union(signature.ignored, besides)
        for name in names:
            if name not in known:
                raise extra_field(signature, name, where)


def check_columns(
    signature: Signature, batch: pa.RecordBatch, *, from_text: bool = False, coded: bool = False
) -> Checked:
    """Check many rows; names must have been checked before.

    Args:
        signature: The model's.
        batch: A column for each field, in any order; others are left alone.
        from_text: Text is where numbers come from (CSV): parse it into the declared types.
        coded: Whether text may come out as `arrow.CODED` columns, too: where it was hashed
            already, so that it need not be hashed again.

    Returns:
        The valid rows as canonical columns, and a problem for each other row.
    """
    columns: list[pa.Array] = []
    bad_in: dict[int, Mask] = {}
    for index, field in enumerate(signature.fields):
        column, bad = _convert(field, batch.column(field.name), from_text=from_text, coded=coded)
        if not field.nullable and column.null_count:
            bad = bad | arrow.null_mask(column)
        if bad.any():
            bad_in[index] = bad
        columns.append(column)
    checked = pa.RecordBatch.from_arrays(columns, names=list(signature.names))
    if not bad_in:
        return Checked(checked, None, [])
    valid = ~np.logical_or.reduce(list(bad_in.values()))
    problems = [_words(signature, batch, row, bad_in) for row in np.flatnonzero(~valid).tolist()]
    return Checked(arrow.filter_rows(checked, valid), valid, problems)


def columns_of(signature: Signature, rows: Sequence[Sequence[Value]]) -> pa.RecordBatch:
    """Make canonical columns from rows of canonical values (see `RowCheck`)."""
    columns: list[pa.Array] = []
    for index, field in enumerate(signature.fields):
        columns.append(_column_of(field, [row[index] for row in rows]))
    return pa.RecordBatch.from_arrays(columns, schema=arrow_schema(signature))


def _column_of(field: Field, values: list[Any]) -> pa.Array:
    if field.type == "string":
        return arrow.from_strings(values)
    nulls = np.fromiter((value is None for value in values), np.bool_, len(values))
    if field.type == "tensor":
        length = field.length or 0
        blank = [0.0] * length
        flat = np.array([value or blank for value in values], np.float64).reshape(-1)
        items = arrow.from_numbers(flat)
        validity = pa.py_buffer(np.packbits(~nulls, bitorder="little")) if nulls.any() else None
        return pa.Array.from_buffers(arrow_type(field), len(values), [validity], children=[items])
    kinds = {"bool": np.bool_, "float32": np.float32, "float64": np.float64}
    kind = kinds.get(field.type, np.int64)
    if nulls.any():
        values = [kind(0) if value is None else value for value in values]
    return arrow.from_numbers(np.array(values, kind), nulls, arrow_type(field))


def _words(
    signature: Signature, batch: pa.RecordBatch, row: int, bad_in: dict[int, Mask]
) -> Problem:
    index = next(index for index, bad in bad_in.items() if bad[row])
    field = signature.fields[index]
    value = _plain(batch.column(field.name)[row])
    try:
        field_check(field)(value)
    except FieldProblem as error:
        return Problem(row, field.name, error.expected, error.got, error.fix)
    # Only reachable if the two speeds disagree, which the property tests exist to prevent.
    return Problem(row, field.name, field.expects, repr(value), "Send another value.")


def _convert(field: Field, column: pa.Array, *, from_text: bool, coded: bool) -> Converted:
    """Give the canonical column, and which rows don't fit (nulls are judged by the caller)."""
    if isinstance(column, pa.ExtensionArray):
        is_bool = column.type.extension_name == "arrow.bool8"
        column = column.storage.cast(pa.bool_()) if is_bool else column.storage
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    if coded and field.type == "string":
        return _codes(field, column)
    column = arrow.decoded(column)
    kind = column.type
    if pa.types.is_null(kind):
        nothing = pa.nulls(len(column), arrow_type(field))
        return nothing, np.zeros(len(column), np.bool_)
    if from_text and _is_text(kind) and field.type in PARSED:
        return _parsed(field, column)
    return CONVERTERS[field.type](field, column)


def _bools(field: Field, column: pa.Array) -> Converted:
    if not pa.types.is_boolean(column.type):
        return _refused(field, column)
    return column, _none(column)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()


def _none(column: pa.Array) -> Mask:
    return np.zeros(len(column), np.bool_)


def _refused(field: Field, column: pa.Array) -> Converted:
    """Refuse every value of a column of the wrong type; NaN means null in any type."""
    bad = ~arrow.null_mask(column)
    if pa.types.is_floating(column.type):
        bad &= ~np.isnan(arrow.numbers(column))
    return pa.nulls(len(column), arrow_type(field)), bad


def _strings(field: Field, column: pa.Array) -> Converted:
    if not _is_text(column.type):
        return _refused(field, column)
    column = column.cast(pa.string())
    if _admits_all(field):
        return column, _none(column)
    known = pc.is_in(column, value_set=arrow.from_strings(field.categories or ()))
    return column, ~arrow.bits(known) & ~arrow.null_mask(column)


def _admits_all(field: Field) -> bool:
    return field.categories is None or field.unknown_categories == "allow"


def _codes(field: Field, column: pa.Array) -> Converted:
    """The same as `_strings`, coded where that saves hashing: each text is looked up once."""
    is_coded = pa.types.is_dictionary(column.type)
    if not _is_text(column.type.value_type if is_coded else column.type):
        return _convert(field, arrow.decoded(column), from_text=False, coded=False)
    if not is_coded and _admits_all(field):
        return column.cast(pa.string()), _none(column)
    column = arrow.coded(column)
    if _admits_all(field):
        return column, _none(column)
    known = pc.is_in(column.dictionary, value_set=arrow.from_strings(field.categories or ()))
    strange = ~arrow.bits(known)
    if not strange.any():
        return column, _none(column)
    nulls = arrow.null_mask(column)
    return column, strange[np.where(nulls, 0, arrow.numbers(column.indices))] & ~nulls


def _floats(field: Field, column: pa.Array) -> Converted:
    kind = column.type
    if kind == arrow_type(field) and pa.types.is_floating(kind):
        return _finite(field, column, arrow.numbers(column))
    if pa.types.is_decimal(kind):
        # Through text: Arrow's own cast isn't rounded as Python's, which one row gets, is.
        column = column.cast(pa.string()).cast(pa.float64())
    elif pa.types.is_float16(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return _refused(field, column)
    values, nulls = arrow.numbers(column), arrow.null_mask(column)
    bad = _none(column)
    if kind in (pa.int64(), pa.uint64()):
        low = values < 0 if not pa.types.is_signed_integer(kind) else values < -MAX_EXACT_INT
        bad = (low | (values > MAX_EXACT_INT)) & ~nulls
    wide = values.astype(np.float64)
    if field.type == "float64":
        converted, also = _finite(field, arrow.from_numbers(wide, nulls), wide)
        return converted, bad | also
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = wide.astype(np.float32)
    converted, also = _finite(field, arrow.from_numbers(narrow, nulls), narrow)
    return converted, bad | also


def _finite(field: Field, column: pa.Array, values: Any) -> Converted:
    """Make NaN null, and refuse infinities."""
    if np.isfinite(values).all():
        return column, _none(column)
    nulls = arrow.null_mask(column)
    missing = np.isnan(values) & ~nulls
    if missing.any():
        column = arrow.from_numbers(values, nulls | missing, arrow_type(field))
    return column, np.isinf(values) & ~nulls


def _integers(field: Field, column: pa.Array) -> Converted:
    kind = column.type
    if kind == pa.int64():
        return column, _none(column)
    nulls = arrow.null_mask(column)
    if pa.types.is_integer(kind):
        values = arrow.numbers(column)
        bad = _none(column)
        if kind == pa.uint64():
            bad = (values > MAX_INT64) & ~nulls
        return arrow.from_numbers(values.astype(np.int64), nulls), bad
    if pa.types.is_decimal(kind):
        return _one_by_one(field, column)
    if not pa.types.is_floating(kind):
        return _refused(field, column)
    values = arrow.numbers(column).astype(np.float64)
    nulls = nulls | np.isnan(values)
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(values) & (values == np.trunc(values))
        fits = whole & (np.abs(values) <= MAX_EXACT_INT)
    exact = np.where(fits, values, 0).astype(np.int64)
    return arrow.from_numbers(exact, nulls), ~fits & ~nulls


def _timestamps(field: Field, column: pa.Array) -> Converted:
    kind = column.type
    if _is_text(kind):
        return _one_by_one(field, column)
    is_naive_date = pa.types.is_date(kind) and not field.zoned
    is_alike = pa.types.is_timestamp(kind) and (kind.tz is not None) == field.zoned
    if not (is_naive_date or is_alike):
        return _refused(field, column)
    counts, micros_per = _counted(column)
    nulls = arrow.null_mask(column)
    far = (counts < MIN_MICROS // micros_per) | (counts > MAX_MICROS // micros_per)
    far &= ~nulls
    if micros_per > 1:
        # Under a null stands anything, which may be too much.
        counts = np.where(far | nulls, 0, counts) * micros_per
    return arrow.from_numbers(counts, nulls, arrow_type(field)), far


def _counted(column: pa.Array) -> tuple[Numbers, int]:
    """Dates and timestamps as numbers, and how many microseconds one of them counts."""
    kind = column.type
    if pa.types.is_date32(kind):
        return arrow.numbers(column.cast(pa.int32())).astype(np.int64), MICROS_PER_DAY
    counts = arrow.numbers(column)
    if pa.types.is_date64(kind):  # milliseconds, of whole days only
        return counts // (MICROS_PER_DAY // 1_000), MICROS_PER_DAY
    if kind.unit == "ns":
        return counts // 1_000, 1
    return counts, MICROS_PER[kind.unit]


def _one_by_one(field: Field, column: pa.Array) -> Converted:
    """Check decimals or texts of timestamps one by one, as rows are."""
    check = field_check(field)
    values = np.zeros(len(column), np.int64)
    nulls, bad = arrow.null_mask(column), _none(column)
    for row in np.flatnonzero(~nulls).tolist():
        try:
            values[row] = np.int64(check(_plain(column[row])))  # type: ignore[arg-type]
        except FieldProblem:
            bad[row] = True
    return arrow.from_numbers(values, nulls, arrow_type(field)), bad


def _plain(value: Any) -> Any:
    """An Arrow value as Python has it; a time that Python hasn't as a far one."""
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        kind = value.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            is_zoned = pa.types.is_timestamp(kind) and kind.tz is not None
            return FarTime(is_zoned=is_zoned, is_late=value.value > 0)
        return value


def _tensors(field: Field, column: pa.Array) -> Converted:
    kind, length = column.type, field.length or 0
    nested = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind)
    if not (nested or pa.types.is_large_list(kind)):
        return _refused(field, column)
    check = field_check(field)
    items = kind.value_type
    if pa.types.is_fixed_size_list(kind) and kind.list_size == length and not column.null_count:
        inner = column.flatten()
        plain = items == pa.float64() and not inner.null_count
        if plain and np.isfinite(arrow.numbers(inner)).all():
            return column.cast(arrow_type(field)), _none(column)
    rows: list[Any] = []
    nulls, bad = arrow.null_mask(column), _none(column)
    for row in range(len(column)):
        value = None if nulls[row] else column[row].as_py()
        try:
            rows.append(None if value is None else check(value))
        except FieldProblem:
            rows.append(None)
            bad[row] = True
    return _column_of(field, rows), bad


def _parsed(field: Field, text: pa.Array) -> Converted:
    """Parse the text of a CSV column into bool, int64, float32 or float64."""
    if field.type == "bool":
        text = pc.utf8_lower(pc.utf8_trim_whitespace(text))
        nulls, yes = arrow.null_mask(text), _is(text, "true")
        return arrow.from_numbers(yes, nulls), ~(yes | _is(text, "false") | nulls)
    try:
        # Most columns parse at once; the cast also reads hexadecimal, which isn't admitted.
        if not arrow.bits(pc.match_substring(text, "x", ignore_case=True)).any():
            if field.type == "int64":
                return _integers(field, text.cast(pa.int64()))
            column = text.cast(pa.float64())
            # Of the words for what is no number, "nan" alone is admitted: look at them with care.
            if not np.isnan(arrow.numbers(column)[~arrow.null_mask(column)]).any():
                return _floats(field, column)
    except pa.ArrowInvalid:
        pass
    return _parsed_with_care(field, pc.utf8_trim_whitespace(text))


def _parsed_with_care(field: Field, text: pa.Array) -> Converted:
    """Parse a column in which some text is no plain number, and say which."""
    nulls = arrow.null_mask(text)
    nulls = nulls | _is(pc.utf8_lower(text), NAN_TEXT)
    numeric = arrow.bits(pc.match_substring_regex(text, NUMBER_TEXT)) & ~nulls
    bad = ~numeric & ~nulls
    # A leading plus is fine to a reader and unknown to the cast.
    numbers = pc.replace_substring_regex(_only(text, numeric), r"^\+", "")
    if field.type == "int64":
        plain = arrow.bits(pc.match_substring_regex(text, INTEGER_TEXT)) & numeric
        long = arrow.bits(pc.match_substring_regex(text, LONG_INTEGER_TEXT)) & numeric
        floats, also = _integers(field, _only(numbers, ~plain & ~long).cast(pa.float64()))
        whole = pc.coalesce(_only(numbers, plain).cast(pa.int64()), floats)
        values, missing = arrow.numbers(whole).copy(), arrow.null_mask(whole)
        for row in np.flatnonzero(long).tolist():
            number = int(text[row].as_py())
            if -MAX_INT64 - 1 <= number <= MAX_INT64:
                values[row], missing[row] = number, False
            else:
                bad[row] = True
        return arrow.from_numbers(values, missing), bad | also
    column, also = _floats(field, numbers.cast(pa.float64()))
    return column, bad | also


def _only(text: pa.Array, keep: Mask) -> pa.Array:
    """The text where the flag is set, elsewhere null."""
    return pc.if_else(arrow.from_numbers(keep), text, pa.nulls(len(text), text.type))


def _is(text: pa.Array, word: str) -> Mask:
    same = pc.is_in(text, value_set=arrow.from_strings([word]).cast(text.type))
    return arrow.bits(same) & ~arrow.null_mask(text)


PARSED = frozenset({"bool", "int64", "float32", "float64"})
"""The types whose values are parsed where all that comes is text (CSV)."""
CONVERTERS: dict[FieldType, Callable[[Field, pa.Array], Converted]] = {
    "bool": _bools,
    "int64": _integers,
    "float32": _floats,
    "float64": _floats,
    "string": _strings,
    "timestamp": _timestamps,
    "tensor": _tensors,
}
