from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import InvalidInput
from twofold.wire.v2_datatypes import (
    BYTES,
    DATATYPES,
    FLOAT16_BOUND,
    FLOAT32_BOUND,
    check_bools,
    read_texts,
    rounded,
    unpacker,
    write,
)

NUMBERS = [kind for kind in DATATYPES.values() if kind.low is not None]


@pytest.mark.parametrize("kind", NUMBERS, ids=lambda kind: kind.name)
def test_whole_numbers_keep_their_bounds_as_raw_bytes(kind: object) -> None:
    values = (kind.low, kind.high, 0)
    raw = write(kind, values)
    assert len(raw) == 3 * kind.item_bytes
    assert unpacker(kind, 3)(b"??" + raw, 2) == values
    with pytest.raises(struct.error):
        write(kind, [kind.high + 1])


def test_raw_bytes_are_little_endian() -> None:
    assert write(DATATYPES["UINT16"], [1]) == b"\1\0"
    assert write(DATATYPES["FP32"], [1.0]) == b"\0\0\x80\x3f"
    assert write(BYTES, ["ä", ""]) == b"\2\0\0\0\xc3\xa4\0\0\0\0"


@pytest.mark.parametrize(("name", "bound"), [("FP16", FLOAT16_BOUND), ("FP32", FLOAT32_BOUND)])
def test_the_bound_of_a_float_is_where_it_would_become_infinite(name: str, bound: float) -> None:
    form = f"<{DATATYPES[name].code}"
    with pytest.raises(OverflowError):
        struct.pack(form, bound)
    below = struct.unpack(
        "<d", struct.pack("<q", struct.unpack("<q", struct.pack("<d", bound))[0] - 1)
    )
    assert struct.pack(form, *below) == struct.pack(form, -below[0])[:-1] + bytes(
        [struct.pack(form, *below)[-1]]
    )


@given(st.lists(st.floats(width=32)))
def test_nan_is_null_and_other_floats_keep_their_bits(values: list[float]) -> None:
    raw = struct.pack(f"<{len(values)}f", *values)
    read = list(unpacker(DATATYPES["FP32"], len(values))(raw, 0))
    assert repr(read) == repr([None if value != value else value for value in values])  # noqa: PLR0124


def test_raw_bools_are_zero_or_one() -> None:
    check_bools(b"\2\0\1\2", 1, 2, "inputs.x")
    with pytest.raises(InvalidInput, match=r"inputs\.x: expected bytes 0 or 1 .* got a byte 2\."):
        check_bools(b"\0\1\2", 0, 3, "inputs.x")


@given(st.lists(st.text()), st.binary(max_size=3))
def test_texts_are_read_as_they_were_written(texts: list[str], before: bytes) -> None:
    body = before + write(BYTES, texts)
    assert read_texts(body, len(before), len(body), len(texts), "inputs.x") == texts


@pytest.mark.parametrize(
    ("raw", "count", "words"),
    [
        (b"", 1, r"inputs\.x\.data\[0\]: expected 4 bytes of length"),
        (b"\1\0", 1, r"inputs\.x\.data\[0\]: expected 4 bytes of length"),
        (b"\1\0\0\0a\2\0\0\0b", 2, r"data\[1\]: .* got the end of the tensor 1 bytes behind"),
        (b"\xff\xff\xff\xffa", 1, r"data\[0\]: .* got the end of the tensor 1 bytes behind"),
        (b"\1\0\0\0ab", 1, r"inputs\.x\.data: expected 1 elements like its shape, got 1 bytes"),
        (b"\1\0\0\0\xff", 1, r"data\[0\]: expected text in UTF-8 \(BYTES\), got 1 bytes that"),
    ],
)
def test_texts_whose_lengths_do_not_fit_are_refused(raw: bytes, count: int, words: str) -> None:
    # What lies behind the tensor is another's.
    with pytest.raises(InvalidInput, match=words):
        read_texts(raw + b"abcdef", 0, len(raw), count, "inputs.x")


def test_json_numbers_are_rounded_as_raw_ones_are() -> None:
    half, single = DATATYPES["FP16"], DATATYPES["FP32"]
    assert list(rounded(single, [0.1, 2.0])) == [0.10000000149011612, 2.0]
    assert rounded(single, [0.1, None, [0.1]]) == [0.10000000149011612, None, [0.1]]
    assert list(rounded(half, [0.1])) == [0.0999755859375]
