from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from twofold.stores.copy_format import (
    HEADER,
    MAX_KEY_BYTES,
    TRAILER,
    checksum,
    copy_rows,
    key_array,
    shown_key,
    stored_key,
    stored_keys,
)


def rows_in(data: bytes) -> list[tuple[bytes, ...]]:
    """Read rows as the documentation of COPY has them."""
    found, at = [], 0
    while at < len(data):
        (columns,) = struct.unpack_from(">h", data, at)
        at += 2
        row = []
        for _ in range(columns):
            (count,) = struct.unpack_from(">i", data, at)
            row.append(data[at + 4 : at + 4 + count])
            at += 4 + count
        found.append(tuple(row))
    return found


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40))))
def test_rows_are_written_as_copy_reads_them(rows: list[tuple[bytes, bytes]]) -> None:
    keys, values = [key for key, _ in rows], [value for _, value in rows]
    assert rows_in(copy_rows(keys, iter(values))) == rows


def test_a_checksum_tells_where_a_key_ends_and_not_which_row_came_first() -> None:
    assert checksum([b"a", b"bc"], [b"1", b"2"]) == checksum([b"bc", b"a"], [b"2", b"1"])
    assert checksum([b"a"], [b"bc"]) != checksum([b"ab"], [b"c"])
    assert checksum([], []) == 0


@given(st.lists(st.binary(max_size=40)))
def test_keys_are_an_array_of_one_dimension_without_nulls(keys: list[bytes]) -> None:
    data = key_array(keys)
    assert struct.unpack_from(">iiIii", data) == (1, 0, 17, len(keys), 1)
    at, found = 20, []
    while at < len(data):
        (count,) = struct.unpack_from(">i", data, at)
        found.append(data[at + 4 : at + 4 + count])
        at += 4 + count
    assert found == keys


def test_a_copy_begins_and_ends_as_the_documentation_says() -> None:
    assert HEADER.hex() == "5047434f50590aff0d0a00" + 2 * "00000000"
    assert TRAILER.hex() == "ffff"


def test_a_short_key_is_written_as_it_is_and_a_long_one_is_longer_than_any_of_those() -> None:
    longest = b"k" * MAX_KEY_BYTES
    assert stored_key(longest) is longest
    written = {stored_key(longest + end) for end in (b"a", b"b", b"a" * 10_000)}
    assert len(written) == 3
    assert {len(key) for key in written} == {MAX_KEY_BYTES + 32}


def test_keys_are_written_one_by_one_only_where_one_is_long() -> None:
    keys = [b"a", b"b"]
    assert stored_keys(keys) is keys
    assert stored_keys([]) == []
    long = b"x" * 2_000
    assert stored_keys([b"a", long]) == [b"a", stored_key(long)]


def test_a_key_is_shown_in_short() -> None:
    assert shown_key(b"c7") == "'c7'"
    assert shown_key(b"\xff" * 200) == repr("\N{REPLACEMENT CHARACTER}" * 80)
