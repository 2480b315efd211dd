"""An object as a file, in few requests."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch import object_reader
from twofold.batch.object_reader import ObjectReader, Span, joined, pieces


class Store:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[Span] = []

    def fetch(self, span: Span) -> bytes:
        self.asked.append(span)
        return self.data[span[0] : span[1]]

    def reader(self) -> ObjectReader:
        return ObjectReader(len(self.data), self.fetch)


DATA = bytes(range(256)) * 4096  # 1 MiB


@given(st.lists(st.tuples(st.integers(0, len(DATA) + 9), st.integers(0, 300_000)), max_size=5))
def test_whatever_is_read_is_what_the_object_has(reads: list[tuple[int, int]]) -> None:
    reader = Store(DATA).reader()
    reader.plan([(100, 5000), (200_000, 600_000)])
    for at, size in reads:
        reader.seek(at)
        assert reader.read(size) == DATA[at : at + size]


def test_reading_on_takes_larger_and_larger_pieces() -> None:
    store = Store(DATA)
    assert io.BufferedReader(store.reader(), 4096).read() == DATA
    assert [stop - start for start, stop in store.asked] == [256 << 10, 512 << 10, 256 << 10]


def test_an_end_is_fetched_at_once() -> None:
    store = Store(DATA)
    reader = store.reader()
    for back in (8, 5000, 60_000):
        reader.seek(-back, io.SEEK_END)
        assert reader.read(back) == DATA[-back:]
    assert store.asked == [(len(DATA) - (64 << 10), len(DATA))]


def test_planned_parts_are_fetched_together_and_nothing_between_them() -> None:
    store = Store(DATA)
    reader = store.reader()
    reader.plan([(0, 10), (20, 30), (500_000, 500_010)])
    assert sorted(store.asked) == [(0, 30), (500_000, 500_010)]
    reader.seek(500_005)
    assert reader.read(5) == DATA[500_005:500_010]
    assert len(store.asked) == 2


def test_parts_beyond_what_may_be_held_come_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(object_reader, "MAX_HELD_BYTES", 200_000)
    monkeypatch.setattr(object_reader, "FIRST_PIECE_BYTES", 50_000)
    store = Store(DATA)
    reader = store.reader()
    reader.plan([(0, 300_000), (400_000, 700_000)])
    assert store.asked == []
    for at in range(0, 300_000, 10_000):  # in turns, as columns are read
        for start in (0, 400_000):
            reader.seek(start + at)
            assert reader.read(10_000) == DATA[start + at : start + at + 10_000]
    assert len(store.asked) == 6


def test_a_store_that_gives_less_than_asked_for_is_an_error() -> None:
    with pytest.raises(OSError, match="9 bytes were asked for, 3 came"):
        ObjectReader(9, lambda _: b"abc").read(1)


@given(st.lists(st.tuples(st.integers(0, 10**8), st.integers(1, 10**7)), max_size=9))
def test_joined_and_cut_parts_have_all_of_them(starts: list[tuple[int, int]]) -> None:
    parts = [(start, start + size) for start, size in starts]
    spans = joined(parts)
    assert spans == sorted(spans)
    for start, stop in parts:
        assert any(one <= start and stop <= other for one, other in spans)
    for span in spans:
        cut = pieces(span)
        assert (cut[0][0], cut[-1][1]) == span
        assert all(stop - start <= object_reader.MAX_PIECE_BYTES for start, stop in cut)
