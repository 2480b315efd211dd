"""The datatypes of the Open Inference Protocol: what each admits, and its values as raw bytes.

Raw bytes are little-endian and row-major, without padding; a BYTES element has its length before
it, in 4 bytes (Triton's binary tensor data extension).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from twofold.errors import InvalidInput, problem
from twofold.model.signature import FieldType, OutputType

FLOAT16_BOUND = 65520.0
"""The least number that rounds to infinity as a float16."""
FLOAT32_BOUND = float.fromhex("0x1.ffffffp127")
"""The least number that rounds to infinity as a float32."""
LENGTH_BYTES = 4
"""Of the length before each element of BYTES."""

Unpack = Callable[[bytes, int], Sequence[Any]]


class Datatype(msgspec.Struct, frozen=True, kw_only=True):
    """One datatype.

    Attributes:
        name: As requests have it.
        expects: What it admits, in the words of an error message.
        code: Of the `struct` module; empty for BYTES.
        item_bytes: The size of one value; 0 for BYTES, where it varies.
        low: The least whole number admitted.
        high: The greatest whole number admitted.
        bound: Floats lie between it and its negative, both excluded.
    """

    name: str
    expects: str
    code: str = ""
    item_bytes: int = 0
    low: int | None = None
    high: int | None = None
    bound: float | None = None

    @property
    def is_float(self) -> bool:
        """Whether values are floats."""
        return self.bound is not None


def _whole(name: str, code: str, bits: int, *, signed: bool) -> Datatype:
    low = -(2 ** (bits - 1)) if signed else 0
    high = 2 ** (bits - signed) - 1
    expects = f"a whole number from {low} to {high} ({name})"
    return Datatype(name=name, expects=expects, code=code, item_bytes=bits // 8, low=low, high=high)


def _float(name: str, code: str, bits: int, bound: float) -> Datatype:
    expects = f"a number within the range of float{bits} ({name})"
    return Datatype(name=name, expects=expects, code=code, item_bytes=bits // 8, bound=bound)


BOOL = Datatype(name="BOOL", expects="true or false (BOOL)", code="?", item_bytes=1)
BYTES = Datatype(name="BYTES", expects="text (BYTES)")

DATATYPES: dict[str, Datatype] = {
    kind.name: kind
    for kind in (
        BOOL,
        _whole("UINT8", "B", 8, signed=False),
        _whole("UINT16", "H", 16, signed=False),
        _whole("UINT32", "I", 32, signed=False),
        _whole("UINT64", "Q", 64, signed=False),
        _whole("INT8", "b", 8, signed=True),
        _whole("INT16", "h", 16, signed=True),
        _whole("INT32", "i", 32, signed=True),
        _whole("INT64", "q", 64, signed=True),
        _float("FP16", "e", 16, FLOAT16_BOUND),
        _float("FP32", "f", 32, FLOAT32_BOUND),
        _float("FP64", "d", 64, math.inf),
        BYTES,
    )
}
"""Every datatype that is understood, by name."""

OF_FIELD: dict[FieldType, str] = {
    "bool": "BOOL",
    "int64": "INT64",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
    "timestamp": "BYTES",
    "tensor": "FP64",
}
"""The datatype that holds every value of a field's type."""

OF_OUTPUT: dict[OutputType, Datatype] = {
    "bool": DATATYPES["BOOL"],
    "int64": DATATYPES["INT64"],
    "float32": DATATYPES["FP32"],
    "float64": DATATYPES["FP64"],
    "string": DATATYPES["BYTES"],
}
"""The datatype of an output's type."""


def unpack_from(kind: Datatype, count: int) -> Unpack:
    """Prepare to read `count` raw values of a fixed size as they are, NaN, too."""
    return struct.Struct(f"<{count}{kind.code}").unpack_from


def unpacker(kind: Datatype, count: int) -> Unpack:
    """Prepare to read `count` raw values of a fixed size, from an offset in a body."""
    unpack = unpack_from(kind, count)
    if not kind.is_float:
        return unpack

    # One NaN makes the sum one, and a sum costs less than to look at every value.
    def floats(body: bytes, offset: int) -> Sequence[Any]:
        values = unpack(body, offset)
        return nulls(values) if math.isnan(sum(values)) else values

    return floats


def nulls(values: Sequence[float]) -> Sequence[float | None]:
    """The same numbers, None for every NaN: the two mean the same."""
    return [None if value != value else value for value in values]  # noqa: PLR0124


def check_bools(body: bytes, offset: int, count: int, where: str) -> None:
    """Refuse raw bytes that are neither true nor false.

    Raises:
        InvalidInput: One of them is neither 0 nor 1.
    """
    wrong = body[offset : offset + count].translate(None, b"\0\1")
    if wrong:
        raise InvalidInput(
            problem(where, "bytes 0 or 1 (BOOL)", f"a byte {wrong[0]}", "Send 1 for true.")
        )


def read_texts(body: bytes, start: int, end: int, count: int, where: str) -> list[str]:
    """Read raw BYTES.

    Args:
        body: Where they are.
        start: The first byte.
        end: Behind the last byte; within the body.
        count: How many elements there should be.
        where: How messages call the tensor.

    Raises:
        InvalidInput: Their lengths don't fit, or one isn't text in UTF-8.
    """
    texts: list[str] = []
    at = start
    for index in range(count):
        size = int.from_bytes(body[at : at + LENGTH_BYTES], "little")
        at += LENGTH_BYTES
        if at + size > end:
            left = max(end - at, 0)
            raise InvalidInput(
                problem(
                    f"{where}.data[{index}]",
                    f"{LENGTH_BYTES} bytes of length and as many bytes as they say",
                    f"the end of the tensor {left} bytes behind them",
                    f"Send {count} elements, each with its length before it.",
                )
            )
        try:
            texts.append(body[at : at + size].decode())
        except UnicodeDecodeError:
            raise InvalidInput(
                problem(
                    f"{where}.data[{index}]",
                    "text in UTF-8 (BYTES)",
                    f"{size} bytes that are not",
                    "Encode it as UTF-8.",
                )
            ) from None
        at += size
    if at != end:
        raise InvalidInput(
            problem(
                f"{where}.data",
                f"{count} elements like its shape",
                f"{end - at} bytes more",
                "Send as many elements as the shape says.",
            )
        )
    return texts


def write_texts(texts: Sequence[str]) -> bytes:
    """Text as raw BYTES."""
    parts: list[bytes] = []
    for text in texts:
        raw = text.encode()
        parts += (len(raw).to_bytes(LENGTH_BYTES, "little"), raw)
    return b"".join(parts)


def write(kind: Datatype, values: Sequence[Any]) -> bytes:
    """Values as raw bytes."""
    if kind is BYTES:
        return write_texts(values)
    return struct.pack(f"<{len(values)}{kind.code}", *values)


_SINGLE = {name: struct.Struct(f"<{kind.code}") for name, kind in DATATYPES.items()}


def rounded(kind: Datatype, values: Sequence[Any]) -> Sequence[Any]:
    """Numbers of JSON as the datatype holds them, so that both encodings give the same bits."""
    single = _SINGLE[kind.name]
    try:
        if len(values) == 1:
            return single.unpack(single.pack(values[0]))
        form = f"<{len(values)}{kind.code}"
        return struct.unpack(form, struct.pack(form, *values))
    except struct.error:
        # There are nulls among them, or lists, which the check of the rows refuses.
        return [single.unpack(single.pack(v))[0] if type(v) is float else v for v in values]
