"""From a key to its row: natively and in Python, to the byte; and never out of the files."""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from twofold.stores import index as module
from twofold.stores.index import (
    HEADER,
    MAX_BITS,
    PlainIndex,
    bits_for,
    build_index,
    hash_key,
    index_bytes,
    open_index,
)

SEEDS = st.integers(0, 2**64 - 1)
# Short ones of few letters are often equal, or the beginning of one another; long ones are hashed
# in several words.
KEYS = st.lists(
    st.binary(max_size=3)
    | st.text("ab", max_size=9).map(str.encode)
    | st.binary(max_size=40)
    | st.integers(0, 99).map(lambda tail: b"the-same-beginning-" + b"%d" % tail)
    | st.just(b"x" * 5_000),
    max_size=60,
)
native = pytest.mark.skipif(module.native() is None, reason="needs the native index")


class Layout:
    """Keys as they lie in files."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.offsets = np.cumsum([0, *map(len, keys)]).astype("<u8").tobytes()
        self.data = b"".join(keys)
        self.rows = len(keys)

    def out(self, bits: int) -> Any:
        return memoryview(np.zeros(index_bytes(self.rows, bits), np.uint8))

    def build(self, *, bits: int | None = None, seed: int = 7, plain: bool = False) -> Any:
        bits = bits_for(self.rows) if bits is None else bits
        build, out = module._build_plain if plain else build_index, self.out(bits)
        twins = build(self.offsets, self.data, out, bits=bits, seed=seed)
        return bytes(out), twins

    def readers(self, index: bytes) -> list[Any]:
        plain = PlainIndex(index, self.offsets, self.data)
        return [plain, open_index(aligned(index), aligned(self.offsets), self.data)]


def aligned(data: bytes) -> Any:
    """The bytes, as a mapped file has them: at a place that numbers can be read from."""
    made = np.zeros(-(-len(data) // 8), np.uint64)
    view = memoryview(made).cast("B")[: len(data)]
    view[:] = data
    return view


@given(KEYS, SEEDS, st.integers(0, 8))
@example([], 0, 0)
@example([b""], 0, 0)
@example([b"a", b"b", b"b", b"a", b"b"], 0, 0)
def test_it_is_the_same_to_the_byte_whoever_builds_it(
    keys: list[bytes], seed: int, bits: int
) -> None:
    layout = Layout(keys)
    assert layout.build(bits=bits, seed=seed) == layout.build(bits=bits, seed=seed, plain=True)


@given(KEYS, SEEDS, st.lists(st.binary(max_size=12)))
@example([], 3, [b"", b"a"])
def test_every_key_is_found_in_its_row_and_no_other_is(
    keys: list[bytes], seed: int, others: list[bytes]
) -> None:
    keys = [*dict.fromkeys(keys)]
    layout = Layout(keys)
    index, twins = layout.build(seed=seed)
    assert twins is None
    row_of = {key: row for row, key in enumerate(keys)}
    for reader in layout.readers(index):
        for key in [*keys, *others, *(key + b"x" for key in keys), *(key[:-1] for key in keys)]:
            assert reader.find(key) == row_of.get(key, -1)


@given(KEYS, SEEDS)
def test_of_equal_keys_the_first_that_stands_again_is_told_with_where_it_stood(
    keys: list[bytes], seed: int
) -> None:
    seen: dict[bytes, int] = {}
    wanted = None
    for row, key in enumerate(keys):
        if seen.setdefault(key, row) != row:
            wanted = (seen[key], row)
            break
    layout = Layout(keys)
    for plain in [False, True]:
        assert layout.build(seed=seed, plain=plain)[1] == wanted


def test_keys_that_are_mostly_the_same_are_told_in_no_more_time_than_others() -> None:
    # To compare each of them with each would take hours.
    keys = [b"DE", b"FR"] * 500_000
    assert Layout(keys).build()[1] == (0, 2)


def test_buckets_have_four_rows_on_average() -> None:
    assert [bits_for(rows) for rows in [0, 1, 4, 5, 8, 9, 16, 17, 1_000_000]] == [
        *[0, 0, 0, 1, 1, 2, 2, 3, 18]
    ]
    assert bits_for(2**32 - 2) == MAX_BITS


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("offsets", "bits", "more"),
    [
        ([0, 3, 6], 0, 1),
        ([0, 3, 6], 0, -1),
        ([0, 3, 6], 31, 0),
        ([1, 3, 6], 0, 0),
        ([0, 3, 5], 0, 0),
        ([0, 3, 7], 0, 0),
        ([0, 7, 6], 0, 0),
        ([0, 2**64 - 1, 6], 0, 0),
        ([], 0, 0),
        (b"\0" * 12, 0, 0),
    ],
)
def test_keys_that_are_not_whole_or_no_room_for_the_index_are_refused(
    offsets: Any, bits: int, more: int, plain: bool
) -> None:
    build = module._build_plain if plain else build_index
    given = offsets if isinstance(offsets, bytes) else np.array(offsets, "<u8").tobytes()
    out = aligned(bytes(index_bytes(2, min(bits, 4)) + more))
    with pytest.raises(ValueError, match=r"."):
        build(given, b"abcdef", out, bits=bits, seed=0)
    assert bytes(out) == bytes(len(out))


def damaged(data: bytes, changes: Sequence[tuple[int, int]]) -> bytes:
    made = bytearray(data)
    for place, value in changes:
        if made:
            made[place % len(made)] = value
    return bytes(made)


CHANGES = st.lists(st.tuples(st.integers(0, 400), st.sampled_from([0, 1, 2, 7, 128, 255])))


@given(
    KEYS.map(lambda keys: [*dict.fromkeys(keys)][:30]),
    st.tuples(CHANGES, CHANGES, CHANGES),
    st.tuples(*[st.sampled_from([0] * 9 + [1, -1, 8, -8])] * 3),
)
def test_whatever_is_in_the_files_both_find_the_same_and_only_what_is_there(
    keys: list[bytes], changes: tuple[Any, ...], more: tuple[int, ...]
) -> None:
    layout = Layout(keys)
    files = [layout.build()[0], layout.offsets, layout.data]
    for at in range(3):
        file = damaged(files[at], changes[at])
        files[at] = file + bytes(more[at]) if more[at] >= 0 else file[: more[at]]
    index, offsets, data = files
    try:
        plain: Any = PlainIndex(index, offsets, data)
    except ValueError:
        plain = None
    try:
        opened: Any = open_index(aligned(index), aligned(offsets), data)
    except ValueError:
        opened = None
    assert (plain is None) == (opened is None)
    assume(opened is not None)
    for key in [b"", b"a", *keys]:
        row = opened.find(key)
        assert plain.find(key) == row
        if row >= 0:
            first, last = struct.unpack_from("<QQ", offsets, 8 * row)
            assert data[first:last] == key


def crafted(layout: Layout, changed: dict[str, int]) -> bytes:
    index, _ = layout.build()
    names = ["layout", "bits", "rows", "seed"]
    magic, *values = HEADER.unpack_from(index)
    header = dict(zip(names, values, strict=True)) | changed
    return HEADER.pack(magic, *header.values()) + index[HEADER.size :]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "changed",
    [
        {"layout": 2},
        {"bits": 3},
        {"bits": 31},
        {"bits": 2**32 - 1},
        {"rows": 8},
        {"rows": 2**32 + 9},
        {"rows": 2**64 - 1},
    ],
)
def test_a_header_that_says_something_else_is_refused(changed: Any, plain: bool) -> None:
    layout = Layout([b"k%d" % number for number in range(9)])
    open_it = PlainIndex if plain else open_index
    with pytest.raises(ValueError, match="not an index of these keys"):
        open_it(aligned(crafted(layout, changed)), aligned(layout.offsets), layout.data)
    open_it(aligned(crafted(layout, {})), aligned(layout.offsets), layout.data)


@pytest.mark.parametrize("plain", [False, True])
def test_what_is_no_index_at_all_is_refused(plain: bool) -> None:
    layout = Layout([b"a", b"b"])
    index = layout.build()[0]
    open_it = PlainIndex if plain else open_index
    for wrong in [b"", index[:-1], index + b"\0", b"another\1" + index[8:], index[: HEADER.size]]:
        with pytest.raises(ValueError, match="not an index of these keys"):
            open_it(aligned(wrong), aligned(layout.offsets), layout.data)
    for offsets in [b"", layout.offsets[:-1], layout.offsets[:-8]]:
        with pytest.raises(ValueError, match=r"."):
            open_it(aligned(index), aligned(offsets), layout.data)


@pytest.mark.parametrize("plain", [False, True])
def test_starts_rows_and_offsets_that_lead_out_of_the_files_find_nothing(plain: bool) -> None:
    layout = Layout([b"aa"])
    index, _ = layout.build()
    starts, entry = HEADER.size, index_bytes(0, 0)
    ways = {
        "starts behind the end": (index, starts, 2**32 - 1),
        "stops behind the end": (index, starts + 4, 2**32 - 1),
        "a row behind the last": (index, entry + 4, 1),
        "the row after all": (index, entry + 4, 2**32 - 1),
    }
    open_it = PlainIndex if plain else open_index
    for data, place, number in ways.values():
        wrong = data[:place] + struct.pack("<I", number) + data[place + 4 :]
        opened = open_it(aligned(wrong), aligned(layout.offsets), layout.data)
        assert opened.find(b"aa") == -1
    for ends in [(0, 3), (0, 1), (2, 0), (2**64 - 1, 1), (2**63, 2**63 + 2), (3, 2**64 - 1)]:
        offsets = struct.pack("<QQ", *ends)
        assert open_it(aligned(index), aligned(offsets), layout.data).find(b"aa") == -1
    assert open_it(aligned(index), aligned(layout.offsets), layout.data).find(b"aa") == 0


@native
def test_the_native_index_wants_bytes_and_memory_that_numbers_can_be_read_from() -> None:
    layout = Layout([b"a", b"b"])
    index = layout.build()[0]
    opened = open_index(aligned(index), aligned(layout.offsets), layout.data)
    for wrong in ["a", 7, None, bytearray(b"a")]:
        with pytest.raises(TypeError):
            opened.find(wrong)  # type: ignore[arg-type]
    for place in range(1, 8):
        moved = memoryview(bytearray(8 + len(index)))[place:][: len(index)]
        moved[:] = index
        offsets = memoryview(bytearray(32))[place:][: len(layout.offsets)]
        offsets[:] = layout.offsets
        with pytest.raises(ValueError, match=r"."):
            open_index(moved, aligned(layout.offsets), layout.data)
        with pytest.raises(ValueError, match="aligned"):
            open_index(aligned(index), offsets, layout.data)
    with pytest.raises(TypeError):
        module.native().Index(index, layout.offsets)
    with pytest.raises((TypeError, BufferError)):
        module.native().build(layout.offsets, layout.data, 0, 0, index)


@native
def test_the_native_index_keeps_the_memory_it_reads() -> None:
    layout = Layout([b"a", b"b"])
    memory = [bytearray(layout.build()[0]), bytearray(layout.offsets), bytearray(layout.data)]
    opened = open_index(*memory)
    for item in memory:
        with pytest.raises(BufferError):
            item.append(0)
    assert opened.find(b"b") == 1
    del opened
    for item in memory:
        item.append(0)


def test_without_a_compiler_it_is_python_that_reads_and_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = Layout([b"a", b"b"])
    index = layout.build()
    monkeypatch.setattr(module, "native", lambda: None)
    assert layout.build() == index
    assert isinstance(open_index(index[0], layout.offsets, layout.data), PlainIndex)


def test_an_extension_that_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "twofold._store", None)
    module.native.cache_clear()
    try:
        assert module.native() is None
    finally:
        monkeypatch.undo()
        module.native.cache_clear()


def test_hashes_spread_keys_by_their_seed() -> None:
    keys = [b"c%d" % number for number in range(2_000)]
    for seed in [0, 1, 2**64 - 1]:
        counts = np.bincount([hash_key(key, seed) >> 56 for key in keys], minlength=256)
        assert counts.max() < 40
    assert len({hash_key(b"a", seed) for seed in range(100)}) == 100
    assert hash_key(b"a", 0) != hash_key(b"a\0", 0)
