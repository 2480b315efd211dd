"""Keys and buckets of a Redis store."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.stores import redis_layout
from twofold.stores.redis_layout import Buckets, Names, Window, mark_of, windows
from twofold.stores.snapshot import Pointer

sys.path.insert(0, str(Path(__file__).parent))
from made import rows_of, snapshot_of


def tag(name: str) -> str:
    found = re.search(r"\{([^}]+)\}", name)
    assert found
    return found[1]


def test_what_changes_together_is_in_one_slot_of_a_cluster() -> None:
    names = Names("churn")
    keys = [names.pointer, names.lock, names.written, names.live("7:000007-abcd")]
    assert {tag(key) for key in keys} == {"churn"}
    assert len(set(keys)) == 4


def test_buckets_are_in_slots_of_their_own() -> None:
    buckets = Buckets("churn", "000001-abcd", 1_000)
    names = [name.decode() for name in buckets.all()]
    assert len({tag(name) for name in names}) == len(names) == buckets.number == 16
    assert names[3] == "twofold:{churn:000001-abcd:3}:rows"


@pytest.mark.parametrize(
    ("rows", "number"), [(0, 1), (1, 1), (64, 1), (65, 2), (1_000_000, 15_625)]
)
def test_there_are_as_many_buckets_as_the_rows_of_a_snapshot_need(rows: int, number: int) -> None:
    assert Buckets.of(snapshot_of(1, rows)).number == number


def test_where_a_key_lies_stays_the_same_in_later_releases() -> None:
    """Readers of one release read what another has written."""
    buckets = Buckets("churn", "n", 64_000)
    found = [buckets.holding(key) for key in (b"", b"customer-7", b"\xff\0")]
    assert found == [
        b"twofold:{churn:n:138}:rows",
        b"twofold:{churn:n:432}:rows",
        b"twofold:{churn:n:319}:rows",
    ]


def test_a_bucket_is_seldom_larger_than_what_redis_packs() -> None:
    buckets = Buckets("churn", "n", 100_000)
    sizes = Counter(buckets.holding(b"%d" % n) for n in range(100_000))
    assert max(sizes.values()) < 128


@given(st.sets(st.binary(max_size=8), max_size=60), st.integers(1, 4_000))
def test_every_row_goes_to_the_bucket_that_it_is_looked_for_in(keys: set[bytes], rows: int) -> None:
    buckets, ordered = Buckets("churn", "n", rows), sorted(keys)
    seen: list[bytes] = []
    for window in windows([rows_of(ordered, range(len(ordered)))]):
        for group in window.groups(buckets):
            name, bucket, *fields = group.command
            assert name == "HSET"
            assert fields[::2] == [window.keys[row] for row in group.rows]
            assert fields[1::2] == [window.values[row] for row in group.rows]
            assert {buckets.holding(key) for key in fields[::2]} == {bucket}
            seen += fields[::2]
    assert sorted(seen) == ordered


def test_a_window_has_so_many_rows_or_bytes_and_a_command_so_many_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = [b"%04d" % n for n in range(1_000)]
    monkeypatch.setattr(redis_layout, "STEP_ROWS", 10)
    monkeypatch.setattr(redis_layout, "WINDOW_ROWS", 250)
    found = [len(window.keys) for window in windows([rows_of(keys, range(1_000))])]
    assert found == [250] * 4
    monkeypatch.setattr(redis_layout, "WINDOW_BYTES", 1_000)
    found = [len(window.keys) for window in windows([rows_of(keys, range(1_000))])]
    assert max(found) < 100
    monkeypatch.setattr(redis_layout, "MAX_COMMAND_ROWS", 7)
    (window, *_) = windows([rows_of(keys[:20], range(20))])
    groups = list(window.groups(Buckets("churn", "n", 1)))
    assert [len(group.rows) for group in groups] == [7, 7, 6]


def test_a_key_that_stands_twice_is_found_in_the_window_and_in_those_before() -> None:
    (first,) = windows([rows_of([b"a", b"b", b"c"], [1, 2, 3])])
    (second,) = windows([rows_of([b"d", b"b"], [1, 2])])
    (third,) = windows([rows_of([b"e", b"f", b"e"], [1, 2, 3])])
    for window in (first, second, third):
        list(window.groups(Buckets("churn", "n", 3)))
    assert second.twice([0, 1], [first.hashes]) == b"b"
    assert third.twice([2], [first.hashes, second.hashes]) == b"e"
    assert second.twice([0], [first.hashes]) is None
    assert first.twice([0, 1, 2], []) is None


def test_no_rows_make_no_window() -> None:
    assert list(windows([])) == []
    assert list(windows([rows_of([], [])])) == []
    assert Window().hashes.dtype == np.uint64


def test_a_mark_tells_pointers_apart() -> None:
    one = Pointer(switches=1, current=snapshot_of(1, 1))
    other = Pointer(switches=1, current=snapshot_of(1, 1, name="000001-efgh"))
    again = Pointer(switches=3, current=snapshot_of(1, 1))
    marks = [mark_of(None), mark_of(one), mark_of(other), mark_of(again)]
    assert marks == ["", "1:000001-abcd", "1:000001-efgh", "3:000001-abcd"]
    assert mark_of(Pointer()) == ""
