"""The kernel's reader admits what the checks admit, with the same values, and refuses nothing."""

from __future__ import annotations

import gc
import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import InvalidInput
from twofold.model.kernel import kernel
from twofold.model.rows import RowCheck
from twofold.model.signature import Field, Signature

SIGNATURE = Signature(
    fields=(
        Field(name="b", type="bool"),
        Field(name="i", type="int64", nullable=True),
        Field(name="f", type="float32"),
        Field(name="d", type="float64", nullable=True),
        Field(name="s", type="string", categories=("No", "Yes")),
        Field(name="o", type="string", categories=("No",), unknown_categories="allow"),
    )
)
GOOD = {"b": True, "i": 3, "f": 0.1, "d": 2.5, "s": "Yes", "o": "other"}
ODD = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([2**53, 2**53 + 1, -(2**53), 2**63 - 1, 2**63, -(2**63)])
    | st.floats()
    | st.sampled_from([3.4028235e38, 3.5e38, -3.5e38, 1e-45, 1e-46, -0.0, 0.1])
    | st.sampled_from(["No", "Yes", "no", ""])
    | st.just([1.0])
    | st.just({})
    | st.floats(allow_nan=False).map(np.float64)
    | st.integers(-5, 5).map(np.int64)
)


def slow_check() -> RowCheck:
    check = RowCheck(SIGNATURE)
    check._read = None
    return check


QUICK, SLOW = RowCheck(SIGNATURE), slow_check()


def outcome(check: RowCheck, row: Any) -> Any:
    try:
        values = check(row)
    except InvalidInput as error:
        return str(error)
    return [(type(v), np.float64(v).tobytes() if isinstance(v, float) else v) for v in values]


@given(changes=st.dictionaries(st.sampled_from([*GOOD, "extra"]), ODD, max_size=3))
def test_a_row_has_the_same_values_or_the_same_refusal_either_way(changes: dict[str, Any]) -> None:
    row = GOOD | changes
    assert outcome(QUICK, row) == outcome(SLOW, row)
    if "extra" not in row:
        values = [row[name] for name in SIGNATURE.names]
        assert outcome(QUICK, values) == outcome(SLOW, values)
        assert outcome(QUICK, tuple(values)) == outcome(SLOW, tuple(values))


def test_plain_rows_take_the_quick_way() -> None:
    read = QUICK._read
    assert read(GOOD) == [True, 3, float(np.float32(0.1)), 2.5, "Yes", "other"]
    assert read(list(GOOD.values())) == read(tuple(GOOD.values())) == read(GOOD)
    assert read(GOOD | {"i": None, "d": 4}) == [
        True,
        None,
        float(np.float32(0.1)),
        4.0,
        "Yes",
        "other",
    ]


@pytest.mark.parametrize(
    "row",
    [
        {**GOOD, "more": 1},
        {name: GOOD[name] for name in list(GOOD)[:-1]},
        [1, 2],
        "text",
        None,
        5,
        {**GOOD, "d": math.nan},
        {**GOOD, "d": math.inf},
        {**GOOD, "i": True},
        {**GOOD, "f": 1e39},
        {**GOOD, "s": "Maybe"},
        {**GOOD, "b": None},
    ],
)
def test_everything_else_is_left_to_the_slow_way(row: Any) -> None:
    assert QUICK._read(row) is None


def test_reading_keeps_no_references() -> None:
    value = object.__new__(type("Odd", (), {}))
    row = [True, 3, 0.1, 2.5, "Yes", value]
    before = sys.getrefcount(value), sys.getrefcount(row)
    for _ in range(50):
        assert QUICK._read(row) is None
    gc.collect()
    assert (sys.getrefcount(value), sys.getrefcount(row)) == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"names": ("a",), "fields": b"", "known": (None,)},
        {"names": ("a",), "fields": b"\x00\x00", "known": (None,)},
        {"names": ("a",), "fields": b"\x07", "known": (None,)},
        {"names": (1,), "fields": b"\x00", "known": (None,)},
        {"names": ("a",), "fields": b"\x00", "known": ({"x"},)},
        {"names": ("a",), "fields": b"\x00", "known": ()},
    ],
)
def test_a_reader_of_parts_that_do_not_fit_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="don't fit each other"):
        kernel().Reader(**arguments)


def test_the_instructions_are_those_of_the_processor_or_fewer() -> None:
    best = kernel().instructions()
    assert best in ("avx512", "avx2", "plain")
    assert kernel().use("plain")
    assert kernel().instructions() == "plain"
    assert not kernel().use("sse9")
    assert kernel().use(best)
