"""Arrow arrays to and from plain memory.

pyarrow's own `pa.array`, `to_numpy` and `to_pandas` import pandas on first use where it is
installed, which costs half a second of every process; these functions go through the buffers.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]
    Numbers = np.ndarray[tuple[int], np.dtype[Any]]


class _Compute:
    """Gives the functions of pyarrow.compute, which it imports when the first is asked for."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(importlib.import_module("pyarrow.compute"), name)
        setattr(self, name, found)
        return found


pc: Any = _Compute()
"""Arrow's compute functions. Importing them takes more memory and time than all else of a worker
that predicts single rows, and never calls one."""

NUMPY_TYPES: dict[pa.DataType, Any] = {
    pa.float64(): np.float64,
    pa.float32(): np.float32,
    pa.float16(): np.float16,
    pa.int64(): np.int64,
    pa.int32(): np.int32,
    pa.int16(): np.int16,
    pa.int8(): np.int8,
    pa.uint64(): np.uint64,
    pa.uint32(): np.uint32,
    pa.uint16(): np.uint16,
    pa.uint8(): np.uint8,
}
CODED = pa.dictionary(pa.int32(), pa.string())
"""Text as numbers of the entries of a dictionary, which are no nulls. An entry may be double."""
ARROW_TYPES = {np.dtype(number): arrow for arrow, number in NUMPY_TYPES.items()}


def null_mask(array: pa.Array) -> Mask:
    """Say for each value whether it is null."""
    if array.null_count == 0:
        return np.zeros(len(array), np.bool_)
    validity = array.buffers()[0]
    if validity is None:  # the null type, or a dictionary whose values are null
        return bits(array.is_null())
    return ~_unpack(validity, array.offset, len(array))


def bits(array: pa.Array) -> Mask:
    """Read a boolean array without nulls (nulls read as anything)."""
    buffer = array.buffers()[1]
    if buffer is None or len(array) == 0:
        return np.zeros(len(array), np.bool_)
    return _unpack(buffer, array.offset, len(array))


def _unpack(buffer: pa.Buffer, offset: int, length: int) -> Mask:
    first, last = offset // 8, (offset + length + 7) // 8
    packed = np.frombuffer(buffer, np.uint8)[first:last]
    start = offset - first * 8
    return np.unpackbits(packed, bitorder="little")[start : start + length].astype(np.bool_)


def numbers(array: pa.Array) -> Numbers:
    """View the values of a numeric or timestamp array; under a null stands anything."""
    kind = NUMPY_TYPES.get(array.type, np.int64)
    buffer = array.buffers()[1]
    if buffer is None:
        return np.zeros(len(array), kind)
    return np.frombuffer(buffer, kind)[array.offset : array.offset + len(array)]


def from_numbers(
    values: Numbers, nulls: Mask | None = None, kind: pa.DataType | None = None
) -> pa.Array:
    """Make an Arrow array over the memory of a contiguous NumPy array.

    Args:
        values: Numbers, or booleans.
        nulls: Which of them are null.
        kind: The Arrow type; told from `values` by default.
    """
    validity = None
    if nulls is not None and nulls.any():
        validity = pa.py_buffer(np.packbits(~nulls, bitorder="little"))
    if values.dtype == np.bool_:
        data = pa.py_buffer(np.packbits(values, bitorder="little"))
        return pa.Array.from_buffers(pa.bool_(), len(values), [validity, data])
    kind = kind or ARROW_TYPES[values.dtype]
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [validity, data])


def from_strings(values: Sequence[str | None]) -> pa.Array:
    """Make a string array; None becomes null."""
    encoded = [b"" if value is None else value.encode("utf-8", "replace") for value in values]
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(item) for item in encoded], out=offsets[1:])
    nulls = np.fromiter((value is None for value in values), np.bool_, len(values))
    validity = pa.py_buffer(np.packbits(~nulls, bitorder="little")) if nulls.any() else None
    data = pa.py_buffer(b"".join(encoded))
    return pa.Array.from_buffers(pa.string(), len(values), [validity, pa.py_buffer(offsets), data])


def coded(column: pa.Array) -> pa.Array:
    """Give a text column, or a dictionary of text of any kind, as CODED.

    The dictionary is no longer than the column, whatever part of a longer one it is.
    """
    if not pa.types.is_dictionary(column.type):
        return column.cast(pa.string()).dictionary_encode()
    words = column.dictionary
    if words.null_count or len(words) > len(column):
        return column.dictionary_decode().cast(pa.string()).dictionary_encode()
    if column.type == CODED:
        return column
    indices = column.indices.cast(pa.int32())
    return pa.DictionaryArray.from_arrays(indices, words.cast(pa.string()))


def decoded(column: pa.Array) -> pa.Array:
    """Give a dictionary's values as a plain column; any other column as it is."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def filter_rows(batch: pa.RecordBatch, keep: Mask) -> pa.RecordBatch:
    """Keep the rows whose flag is set, in order."""
    return batch.filter(from_numbers(keep))


def one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Give a column as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
