"""Arrays to and from plain memory: offsets, nulls and empty arrays change nothing."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.model import arrow

FLOATS = {pa.float16(): 16, pa.float32(): 32, pa.float64(): 64}


def numbers_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if kind in FLOATS:
        return st.floats(width=FLOATS[kind])
    limits = np.iinfo(arrow.NUMPY_TYPES[kind])
    return st.integers(int(limits.min), int(limits.max))


@st.composite
def sliced(
    draw: st.DrawFn, kind: pa.DataType, values: st.SearchStrategy[Any]
) -> tuple[pa.Array, list[Any]]:
    """A slice of a longer array with nulls in it, and the plain values of the slice."""
    whole = draw(st.lists(values | st.none(), max_size=40))
    start = draw(st.integers(0, len(whole)))
    stop = draw(st.integers(start, len(whole)))
    array = pa.array(whole, kind, from_pandas=False)
    return array.slice(start, stop - start), whole[start:stop]


KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    **{kind: numbers_of(kind) for kind in arrow.NUMPY_TYPES},
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=3),
    pa.large_string(): st.text(max_size=3),
    pa.timestamp("us"): st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    pa.list_(pa.float64()): st.lists(st.floats(allow_nan=False), max_size=2),
    pa.list_(pa.int64(), 2): st.lists(st.integers(0, 9), min_size=2, max_size=2),
    pa.decimal128(9, 0): st.decimals(-999, 999, places=0),
    pa.dictionary(pa.int8(), pa.string()): st.sampled_from("abc"),
}


@given(kind=st.sampled_from(list(KINDS)), data=st.data())
def test_nulls_are_found_in_any_slice_of_any_type(kind: pa.DataType, data: st.DataObject) -> None:
    array, values = data.draw(sliced(kind, KINDS[kind]))
    found = arrow.null_mask(array)
    assert found.dtype == np.bool_
    assert found.tolist() == [value is None for value in values]


@pytest.mark.parametrize("start", [0, 1, 7, 8, 9])
def test_every_value_of_the_null_type_is_null(start: int) -> None:
    assert arrow.null_mask(pa.nulls(10)[start:]).tolist() == [True] * (10 - start)


def test_a_null_outside_a_slice_is_not_in_its_mask() -> None:
    array = pa.array([None, 1, 2, None])
    assert arrow.null_mask(array[1:3]).tolist() == [False, False]
    assert arrow.null_mask(array[1:]).tolist() == [False, False, True]


@given(data=st.data())
def test_booleans_are_read_from_any_slice(data: st.DataObject) -> None:
    array, values = data.draw(sliced(pa.bool_(), st.booleans()))
    found = arrow.bits(array)
    assert found.dtype == np.bool_
    assert len(found) == len(values)
    present = [index for index, value in enumerate(values) if value is not None]
    assert [found[index] for index in present] == [values[index] for index in present]


@given(kind=st.sampled_from(list(arrow.NUMPY_TYPES)), data=st.data())
def test_numbers_are_read_from_any_slice_bit_for_bit(
    kind: pa.DataType, data: st.DataObject
) -> None:
    array, values = data.draw(sliced(kind, numbers_of(kind)))
    found = arrow.numbers(array)
    assert found.dtype == arrow.NUMPY_TYPES[kind]
    assert len(found) == len(values)
    for index, value in enumerate(values):
        if value is not None:
            assert found[index].tobytes() == found.dtype.type(value).tobytes()


@pytest.mark.parametrize("kind", list(arrow.NUMPY_TYPES), ids=str)
def test_the_limits_of_every_type_are_read_and_made(kind: pa.DataType) -> None:
    width = arrow.NUMPY_TYPES[kind]
    limits = np.finfo(width) if kind in FLOATS else np.iinfo(width)
    values = [width(0), width(limits.min), width(limits.max)]
    array = pa.array(values, kind)
    assert arrow.numbers(array[1:]).tolist() == [limits.min, limits.max]
    assert arrow.from_numbers(np.array(values)).equals(array)


@pytest.mark.parametrize("start", [1, 7, 8, 9, 63, 64, 65])
def test_masks_and_booleans_are_read_past_whole_bytes_of_bits(start: int) -> None:
    values = [None if index % 3 == 0 else index % 2 == 0 for index in range(130)]
    array = pa.array(values, pa.bool_()).slice(start, 60)
    part = values[start : start + 60]
    nulls = arrow.null_mask(array)
    assert nulls.tolist() == [value is None for value in part]
    assert arrow.bits(array)[~nulls].tolist() == [value for value in part if value is not None]


def test_numbers_are_a_view_of_the_arrays_own_memory() -> None:
    array = pa.array(range(100), pa.int64())[3:]
    found = arrow.numbers(array)
    assert found.ctypes.data == array.buffers()[1].address + 3 * 8


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_are_read_as_whole_numbers_of_their_unit(unit: str) -> None:
    array = pa.array([-1, None, 2**40], pa.timestamp(unit, "UTC"))[0:3:1][2:]
    assert arrow.numbers(array).tolist() == [2**40]


@pytest.mark.parametrize("kind", [*arrow.NUMPY_TYPES, pa.timestamp("us")], ids=str)
def test_no_values_are_read_from_an_array_without_any(kind: pa.DataType) -> None:
    without_memory = pa.Array.from_buffers(kind, 0, [None, None])
    for array in (pa.array([], kind), pa.array([1, 2], kind)[2:], without_memory):
        assert arrow.numbers(array).tolist() == []
        assert arrow.null_mask(array).tolist() == []


def test_no_booleans_are_read_from_an_array_without_any() -> None:
    for array in (pa.array([], pa.bool_()), pa.array([True, None])[2:]):
        assert arrow.bits(array).tolist() == []
        assert arrow.null_mask(array).tolist() == []


@given(kind=st.sampled_from(list(arrow.NUMPY_TYPES)), data=st.data())
def test_numbers_make_an_array_that_reads_back_as_they_were(
    kind: pa.DataType, data: st.DataObject
) -> None:
    values = np.array(data.draw(st.lists(numbers_of(kind), max_size=20)), arrow.NUMPY_TYPES[kind])
    size = len(values)
    nulls = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), np.bool_)
    made = arrow.from_numbers(values, nulls)
    made.validate(full=True)
    assert made.type == kind
    assert arrow.null_mask(made).tolist() == nulls.tolist()
    assert made.null_count == nulls.sum()
    assert arrow.numbers(made)[~nulls].tobytes() == values[~nulls].tobytes()


@given(values=st.lists(st.booleans() | st.none(), max_size=20))
def test_booleans_make_an_array_that_reads_back_as_they_were(values: list[bool | None]) -> None:
    nulls = np.array([value is None for value in values], np.bool_)
    made = arrow.from_numbers(np.array([bool(value) for value in values], np.bool_), nulls)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.bool_()))


def test_an_array_is_made_over_the_memory_of_its_numbers() -> None:
    values = np.arange(10, dtype=np.float32)
    assert arrow.from_numbers(values).buffers()[1].address == values.ctypes.data


def test_the_memory_of_an_array_outlives_the_name_of_its_numbers() -> None:
    made = arrow.from_numbers(np.arange(1000) * 3)
    filler = [np.full(1000, -1) for _ in range(50)]
    assert len(filler) == 50
    assert made.to_pylist() == list(range(0, 3000, 3))


def test_numbers_with_gaps_between_them_are_closed_up() -> None:
    grid = np.arange(12, dtype=np.int32).reshape(3, 4)
    assert arrow.from_numbers(grid[:, 1]).to_pylist() == [1, 5, 9]
    assert arrow.from_numbers(grid[0, ::-1]).to_pylist() == [3, 2, 1, 0]


def test_no_mask_and_a_mask_of_no_nulls_make_the_same_array() -> None:
    values = np.arange(3.0)
    made = arrow.from_numbers(values, np.zeros(3, np.bool_))
    assert made.buffers()[0] is None
    assert made.equals(arrow.from_numbers(values))


def test_a_declared_type_says_what_whole_numbers_count() -> None:
    kind = pa.timestamp("us", "UTC")
    made = arrow.from_numbers(np.array([0, 1_000_000]), np.array([True, False]), kind)
    assert made.type == kind
    assert made.to_pylist() == [None, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)]


@given(values=st.lists(st.text(max_size=5) | st.none(), max_size=20))
def test_strings_make_an_array_that_reads_back_as_they_were(values: list[str | None]) -> None:
    made = arrow.from_strings(values)
    made.validate(full=True)
    assert made.type == pa.string()
    assert made.to_pylist() == values
    assert made.equals(pa.array(values, pa.string()))


def test_an_empty_string_is_not_null() -> None:
    made = arrow.from_strings(["", None, ""])
    assert arrow.null_mask(made).tolist() == [False, True, False]


def test_half_a_character_becomes_a_question_mark_and_leaves_its_neighbours() -> None:
    assert arrow.from_strings(["é\ud83d!", "né"]).to_pylist() == ["é?!", "né"]


@given(data=st.data())
def test_rows_are_kept_by_their_flags_in_order(data: st.DataObject) -> None:
    array, values = data.draw(sliced(pa.int64(), st.integers(0, 9)))
    size = len(values)
    keep = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    batch = pa.RecordBatch.from_arrays([array, arrow.from_strings(["x"] * size)], names=["n", "s"])
    kept = arrow.filter_rows(batch, np.array(keep, np.bool_))
    expected = [value for value, flag in zip(values, keep, strict=True) if flag]
    assert kept.column("n").to_pylist() == expected
    assert kept.column("s").to_pylist() == ["x"] * len(expected)
    assert kept.schema == batch.schema


def test_an_array_is_its_own_one_chunk() -> None:
    array = pa.array([1, 2])
    assert arrow.one_chunk(array) is array


def test_a_lone_chunk_is_not_copied() -> None:
    array = pa.array([1, 2, 3])[1:]
    only = arrow.one_chunk(pa.chunked_array([array]))
    assert only.to_pylist() == [2, 3]
    assert only.buffers()[1].address == array.buffers()[1].address


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.timestamp("us"), pa.null()], ids=str)
def test_no_chunk_at_all_is_an_empty_array_of_its_type(kind: pa.DataType) -> None:
    made = arrow.one_chunk(pa.chunked_array([], kind))
    assert isinstance(made, pa.Array)
    assert (made.type, len(made)) == (kind, 0)


def test_chunks_are_joined_in_order_with_their_offsets_and_nulls() -> None:
    parts = [pa.array([9, 1, None])[1:], pa.array([], pa.int64()), pa.array([3, 9])[:1]]
    assert arrow.one_chunk(pa.chunked_array(parts)).to_pylist() == [1, None, 3]


def test_chunks_with_dictionaries_of_their_own_keep_their_values() -> None:
    parts = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()]
    assert arrow.one_chunk(pa.chunked_array(parts)).to_pylist() == ["a", "b", "c", "a"]


def test_none_of_this_imports_pandas() -> None:
    script = """
import sys
import numpy as np
import pyarrow as pa
from twofold.model import arrow
numbers = arrow.from_numbers(np.arange(4.0), np.array([True, False, False, True]))
strings = arrow.from_strings(["a", None, "b", "c"])
batch = pa.RecordBatch.from_arrays([numbers, strings], names=["n", "s"])
kept = arrow.filter_rows(batch, ~arrow.null_mask(strings))
joined = arrow.one_chunk(pa.chunked_array([numbers, kept.column("n")]))
print(arrow.numbers(joined)[1:3].tolist(), arrow.bits(arrow.pc.is_null(strings)).tolist())
print("pandas" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[1.0, 2.0] [False, True, False, False]", "False"]


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        ([0, 1, None, 1], ["a", "b"]),
        ([1, 0, 0], ["a", "a"]),
        ([0, 2, 1], ["a", None, "b"]),
        ([5], ["a", "b", "c", "d", "e", "f"]),
        ([], ["a"]),
        ([], []),
    ],
)
@pytest.mark.parametrize("kind", [pa.int8(), pa.int32(), pa.int64(), pa.uint16()], ids=str)
@pytest.mark.parametrize("text", [pa.string(), pa.large_string()], ids=str)
def test_any_dictionary_of_text_is_coded_with_a_dictionary_no_longer_than_the_column(
    indices: list[int | None], words: list[str | None], kind: pa.DataType, text: pa.DataType
) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array(indices, kind), pa.array(words, text))
    found = arrow.coded(column)
    found.validate(full=True)
    assert found.type == arrow.CODED
    assert found.to_pylist() == column.to_pylist()
    assert found.dictionary.null_count == 0
    assert len(found.dictionary) <= len(column)
    assert arrow.decoded(found).equals(pa.array(column.to_pylist(), pa.string()))


def test_what_is_no_dictionary_is_decoded_already() -> None:
    column = pa.array([1, 2])
    assert arrow.decoded(column) is column
