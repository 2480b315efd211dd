"""One row against the signature: its values in order, or the first problem in words.

The rules stand here once. Many rows are checked in bulk in `columns`, which finds the bad rows
fast and asks this module for the words, so that both speeds refuse the same rows for the same
reason.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import struct
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from twofold.errors import InvalidInput, problem
from twofold.model.kernel import kernel
from twofold.model.signature import MAX_EXACT_INT, Field, Signature, Value

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - timestamps without a zone are counted from it
EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MIN_MICROS = (datetime.min.replace(tzinfo=UTC) - EPOCH_UTC) // MICROSECOND
MAX_MICROS = (datetime.max.replace(tzinfo=UTC) - EPOCH_UTC) // MICROSECOND
"""The first and the last microsecond that a datetime, which a Python model is given, can be."""
MAX_INT64 = 2**63 - 1
MAX_SHOWN_CHARS = 60
MAX_SHOWN_CATEGORIES = 8
PANDAS_MISSING = ("NaTType", "NAType")
JSON_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}

QUICK_KINDS = ("bool", "int64", "float32", "float64", "string")
NULLABLE = 0x80
"""As src/kernel/reader.c has them."""

Check = Callable[[Any], Value]


class FieldProblem(ValueError):
    """A value doesn't fit its field.

    Attributes:
        expected: What the field admits.
        got: What came, shortened.
        fix: What to do about it.
    """

    def __init__(self, expected: str, got: str, fix: str) -> None:
        """Keep the three parts of the message."""
        super().__init__(f"expected {expected}, got {got}. {fix}")
        self.expected, self.got, self.fix = expected, got, fix


@dataclasses.dataclass(frozen=True, slots=True)
class FarTime:
    """A time of NumPy, pandas or Arrow in a year that Python has no datetime for.

    Attributes:
        is_zoned: Whether it has a time zone.
        is_late: Whether it comes after the last datetime; else it comes before the first.
    """

    is_zoned: bool
    is_late: bool


def describe(value: Any) -> str:
    """Say in a few words what a caller sent."""
    match value:
        case None:
            words = "null"
        case bool():
            words = f"boolean {str(value).lower()}"
        case bytes():
            words = f"{len(value)} bytes"
        case str():
            shown = value if len(value) <= MAX_SHOWN_CHARS else value[:MAX_SHOWN_CHARS] + "..."
            words = f"string {shown!r}"
        case int():
            words = f"integer {value}" if abs(value) <= 10**30 else "integer beyond 10^30"
        case float():
            words = f"number {value!r}" if math.isfinite(value) else JSON_WORDS[repr(value)]
        case Mapping():
            words = "an object"
        case Sequence():
            words = f"a list of {len(value)}"
        case FarTime():
            words = "a datetime"
        case _:
            words = f"a {type(value).__name__}"
    return words


class RowCheck:
    """Checks single rows against one signature; made once, used for every request.

    Attributes:
        reader: The kernel's reader of plain rows, where there is one.
    """

    def __init__(self, signature: Signature) -> None:
        """Compile one check per field."""
        self._signature = signature
        self.reader = _quick_reader(signature)
        self._read = None if self.reader is None else self.reader.read
        self._checks = [(field.name, field_check(field)) for field in signature.fields]
        self._ignored = frozenset(signature.ignored)

    def __call__(
        self, row: Mapping[str, Any] | Sequence[Any], *, where: str = "row"
    ) -> list[Value]:
        """Give the row's values in the signature's order, in canonical form.

        Args:
            row: A mapping by field name, or a list in the signature's order.
            where: How messages call the row.

        Returns:
            One value per field: numbers as declared (float32 rounded to nearest), NaN as None,
            timestamps as whole microseconds since 1970, tensors as lists of floats.

        Raises:
            InvalidInput: The first problem, in the signature's order of fields.
        """
        if self._read is not None:
            quick: list[Value] | None = self._read(row)
            if quick is not None:
                return quick
        values: list[Value] = []
        name = ""
        try:
            row = _by_name(row)
            if isinstance(row, Mapping):
                for name, check in self._checks:
                    values.append(check(row[name]))
                if len(row) != len(values):
                    self._check_extra(row, where)
            else:
                for (name, check), value in zip(self._listed(row, where), row, strict=True):  # noqa: B007 - name is for the message
                    values.append(check(value))
        except KeyError:
            raise self._missing(name, where) from None
        except FieldProblem as error:
            raise InvalidInput(f"{where}.{name}: {error}", field=name) from None
        return values

    def _listed(self, row: Any, where: str) -> list[tuple[str, Check]]:
        count = len(self._checks)
        no_row = isinstance(row, (str, bytes, AbstractSet)) or getattr(row, "ndim", 1) == 0
        if no_row or not hasattr(row, "__len__"):
            fix = "Send an object by field name, or a list in the signature's order."
            raise InvalidInput(problem(where, "one row", describe(row), fix))
        if len(row) != count:
            names = ", ".join(self._signature.names[:MAX_SHOWN_CATEGORIES])
            more = ", ..." if count > MAX_SHOWN_CATEGORIES else ""
            raise InvalidInput(
                problem(
                    where,
                    f"{count} values",
                    f"{len(row)}",
                    f"Send one value per field, in this order: {names}{more}.",
                )
            )
        return self._checks

    def _missing(self, name: str, where: str) -> InvalidInput:
        field = next(field for field in self._signature.fields if field.name == name)
        fix = f"Send {name}, null if it is not known." if field.nullable else f"Send {name}."
        return InvalidInput(problem(f"{where}.{name}", field.expects, "nothing", fix), field=name)

    def _check_extra(self, row: Mapping[str, Any], where: str) -> None:
        if self._signature.extra_fields == "ignore":
            return
        known = self._ignored.union(self._signature.names)
        for name in row:
            if name not in known:
                raise extra_field(self._signature, str(name), where)


def _quick_reader(signature: Signature) -> Any:
    """The kernel's reader of plain rows that fit; None where there is none.

    It only ever admits: whatever isn't plainly right is left to the checks here, which have the
    words.
    """
    native = kernel()
    if native is None or any(field.type not in QUICK_KINDS for field in signature.fields):
        return None
    return native.Reader(
        names=signature.names,
        fields=bytes(
            QUICK_KINDS.index(field.type) | (NULLABLE if field.nullable else 0)
            for field in signature.fields
        ),
        known=tuple(
            None
            if field.categories is None or field.unknown_categories == "allow"
            else frozenset(field.categories)
            for field in signature.fields
        ),
    )


def extra_field(signature: Signature, name: str, where: str) -> InvalidInput:
    """Say that a field isn't the model's, and which it has."""
    shown = name if len(name) <= MAX_SHOWN_CHARS else name[:MAX_SHOWN_CHARS] + "..."
    shown = shown if shown.isprintable() else repr(shown)[1:-1]
    names = ", ".join(signature.names[:MAX_SHOWN_CATEGORIES])
    more = ", ..." if len(signature.names) > MAX_SHOWN_CATEGORIES else ""
    return InvalidInput(
        problem(
            f"{where}.{shown}",
            f"only the model's fields ({names}{more})",
            "a field it does not have",
            "Remove it, or pack the model with --extra-fields ignore.",
        ),
        field=shown,
    )


@functools.lru_cache(maxsize=64)
def _row_check(signature: Signature) -> RowCheck:
    return RowCheck(signature)


def check_row(
    signature: Signature, row: Mapping[str, Any] | Sequence[Any], *, where: str = "row"
) -> list[Value]:
    """Check one row; see `RowCheck.__call__`. Keep a `RowCheck` where many rows come."""
    return _row_check(signature)(row, where=where)


def field_check(field: Field) -> Check:
    """Compile the check of one field: a function from what came to its canonical value."""
    slow = {
        "bool": _bool,
        "int64": _int64,
        "float32": _float32,
        "float64": _float64,
        "string": _string,
        "timestamp": _timestamp,
        "tensor": _tensor,
    }[field.type]
    full = functools.partial(_or_null, field, slow)
    if field.type == "float64":
        return _quick_float64(full)
    if field.type == "int64":
        return _quick_int64(full)
    if field.type == "string":
        return _quick_string(field, full)
    return full


def _quick_float64(full: Check) -> Check:
    def check(value: Any) -> Value:
        # Subtraction is zero for finite floats only: the cheapest test for NaN and infinity.
        if type(value) is float and value - value == 0.0:
            return value
        return full(value)

    return check


def _quick_int64(full: Check) -> Check:
    def check(value: Any) -> Value:
        if type(value) is int and -MAX_INT64 <= value <= MAX_INT64:
            return value
        return full(value)

    return check


def _quick_string(field: Field, full: Check) -> Check:
    closed = field.categories is not None and field.unknown_categories == "refuse"
    known: Collection[str] = frozenset(field.categories or ())

    def check(value: Any) -> Value:
        if type(value) is str and (not closed or value in known):
            return value
        return full(value)

    return check


def _or_null(field: Field, check: Callable[[Field, Any], Value], value: Any) -> Value:
    if value is not None and not isinstance(value, (str, bool, int, float, list, Mapping)):
        value = _without_library(value)
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if not missing:
        return check(field, value)
    if field.nullable:
        return None
    raise FieldProblem(
        field.expects,
        describe(value),
        f"Send a value, or pack the model with --nullable {field.name}.",
    )


def _by_name(row: Any) -> Any:
    """A row of a pandas frame as a mapping by its labels; anything else as it is."""
    is_series = hasattr(row, "to_dict") and hasattr(row, "index") and hasattr(row, "iloc")
    return row.to_dict() if is_series else row


def _without_library(value: Any) -> Any:
    """What a Python caller may have instead of plain values: those of NumPy, pandas, decimal."""
    if isinstance(value, Decimal):
        if value.is_nan():
            return math.nan
        is_whole = value.is_finite() and value == value.to_integral_value()
        return int(value) if is_whole and abs(value) <= MAX_INT64 else float(value)
    if _is_of_numpy(value, "datetime64"):
        return _time_of_numpy(value)
    if isinstance(value, datetime) and not MINYEAR <= value.year <= MAXYEAR:
        return _time_of_pandas(value)
    if type(value).__name__ in PANDAS_MISSING:
        return None
    plain = getattr(value, "tolist", None)
    return plain() if callable(plain) else value


def _is_of_numpy(value: Any, kind: str) -> bool:
    """Whether NumPy has made a value. It isn't imported for that: supervisors do without."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, getattr(numpy, kind))


def _time_of_numpy(value: Any) -> datetime | FarTime | None:
    if value != value:  # noqa: PLR0124 - NaT isn't equal to itself
        return None
    # Beyond these years its own conversions give a number, or another time.
    year = int(value.astype("datetime64[Y]").astype("int64")) + EPOCH.year
    if MINYEAR <= year <= MAXYEAR:
        return value.astype("datetime64[us]").tolist()
    return FarTime(is_zoned=False, is_late=year > MAXYEAR)


def _time_of_pandas(value: datetime) -> datetime | FarTime:
    """A datetime in a year that Python's own never has: it may still have it in UTC."""
    is_zoned = value.tzinfo is not None
    utc = value.astimezone(UTC) if is_zoned else value
    if MINYEAR <= utc.year <= MAXYEAR:
        return utc
    return FarTime(is_zoned=is_zoned, is_late=utc.year > MAXYEAR)


def _wrong_type(field: Field, value: Any) -> FieldProblem:
    articles = {"bool": "true or false", "string": "text", "int64": "a whole number"}
    noun = articles.get(field.type, "a number" if field.type != "timestamp" else "such a text")
    return FieldProblem(field.expects, describe(value), f"Send {noun}.")


def _bool(field: Field, value: Any) -> Value:
    if isinstance(value, bool):
        return value
    raise _wrong_type(field, value)


def _int64(field: Field, value: Any) -> Value:
    if isinstance(value, int) and not isinstance(value, bool):
        if -MAX_INT64 - 1 <= value <= MAX_INT64:
            return int(value)
        raise FieldProblem("an int64 (64 bits)", describe(value), "Send a smaller number.")
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT_INT:
        return int(value)
    raise _wrong_type(field, value)


def _float64(field: Field, value: Any) -> Value:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong_type(field, value)
    if isinstance(value, int):
        if abs(value) > MAX_EXACT_INT:
            raise FieldProblem(
                f"{field.expects} that holds the value exactly",
                describe(value),
                "Send an integer within 2^53, or a number with a decimal point.",
            )
        return float(value)
    if math.isinf(value):
        raise FieldProblem(f"a finite {field.expects}", describe(value), "Send a finite number.")
    return float(value)


def _float32(field: Field, value: Any) -> Value:
    number = _float64(field, value)
    try:
        # Standard size ("<"): the native one makes infinities of what is too large.
        return struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        raise FieldProblem(
            "a number within the range of float32", describe(value), "Send a smaller number."
        ) from None


def _string(field: Field, value: Any) -> Value:
    if not isinstance(value, str):
        raise _wrong_type(field, value)
    if field.categories is None or field.unknown_categories == "allow":
        return str(value)
    if value in field.categories:
        return str(value)
    shown = ", ".join(repr(item) for item in field.categories[:MAX_SHOWN_CATEGORIES])
    more = len(field.categories) - MAX_SHOWN_CATEGORIES
    shown += f" and {more} more" if more > 0 else ""
    raise FieldProblem(
        f"one of {shown}",
        describe(value).removeprefix("string "),
        "Send a known value, or pack the model with --unknown-categories allow.",
    )


def _timestamp(field: Field, value: Any) -> Value:
    instant = value
    if isinstance(value, str):
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            raise _wrong_type(field, value) from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        instant = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a date has none
    if not isinstance(instant, (datetime, FarTime)):
        raise _wrong_type(field, value)
    is_far = isinstance(instant, FarTime)
    is_zoned = instant.is_zoned if is_far else instant.tzinfo is not None
    if is_zoned != field.zoned:
        came = "one with a time zone" if is_zoned else "one without time zone"
        fix = "Send the offset, as in 2026-01-31T12:00:00Z." if field.zoned else "Leave it out."
        raise FieldProblem(field.expects, came, fix)
    if is_far:
        raise _too_far(field, value, is_late=instant.is_late)
    micros = (instant - (EPOCH_UTC if field.zoned else EPOCH)) // MICROSECOND
    # In the first and the last hours an offset may lead out of the years that there are.
    if not MIN_MICROS <= micros <= MAX_MICROS:
        raise _too_far(field, value, is_late=micros > MAX_MICROS)
    return micros


def within_years(field: Field) -> str:
    """The type of a field of timestamps in the words of an error message, and their range."""
    return f"{field.expects}, within the years {MINYEAR} to {MAXYEAR}" + (
        " of UTC" if field.zoned else ""
    )


def _too_far(field: Field, value: Any, *, is_late: bool) -> FieldProblem:
    came = f"one {'after' if is_late else 'before'} them"
    came = describe(value) if isinstance(value, str) else came
    return FieldProblem(within_years(field), came, "Send a time within these years.")


def _tensor(field: Field, value: Any) -> Value:
    if not isinstance(value, (list, tuple)) or len(value) != field.length:
        fix = f"Send exactly {field.length} numbers."
        raise FieldProblem(field.expects, describe(value), fix)
    numbers: list[float] = []
    for item in value:
        if isinstance(item, float) and math.isnan(item):
            raise FieldProblem(field.expects, "one with NaN", "Send finite numbers.")
        plain: Any = item
        if _is_of_numpy(plain, "generic"):
            plain = plain.item()
        if isinstance(plain, float) and math.isinf(plain):
            raise FieldProblem(
                f"a list of {field.length} finite numbers",
                describe(plain),
                "Send a finite number.",
            )
        number = _float64(field, plain)
        numbers.append(float(number))  # type: ignore[arg-type]
    return numbers
