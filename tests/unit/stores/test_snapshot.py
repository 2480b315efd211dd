"""How a pointer moves, and what a key is."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import AS_OF, snapshot_of

from twofold.errors import InvalidInput
from twofold.stores.snapshot import (
    GateResult,
    Pointer,
    Spread,
    decode_pointer,
    encode_pointer,
    key_of,
    next_number,
    rolled_back,
    switched,
)


def moved(*ways: str) -> Pointer:
    """A pointer that was switched to new snapshots, and rolled back."""
    pointer = Pointer()
    number = 0
    for way in ways:
        if way == "back":
            pointer = rolled_back(pointer, "churn")
        else:
            number += 1
            pointer = switched(pointer, snapshot_of(number))
    return pointer


def numbers(pointer: Pointer) -> tuple[int, ...]:
    return tuple(item.number for item in pointer.kept)


def test_at_first_it_leads_nowhere_and_the_first_snapshot_is_the_first() -> None:
    assert Pointer().kept == ()
    assert next_number(Pointer()) == 1
    assert moved("new") == Pointer(switches=1, current=snapshot_of(1))


def test_a_new_snapshot_is_current_and_what_was_current_is_the_previous() -> None:
    pointer = moved("new", "new", "new")
    assert numbers(pointer) == (3, 2)
    assert (pointer.switches, next_number(pointer)) == (3, 4)


def test_rolled_back_twice_it_is_where_it_was_but_for_its_moves() -> None:
    once = moved("new", "new", "back")
    assert numbers(once) == (1, 2)
    assert once.previous is not None
    assert once.previous.is_rolled_back
    assert once.current == snapshot_of(1)
    twice = rolled_back(once, "churn")
    assert numbers(twice) == (2, 1)
    assert twice.current == snapshot_of(2)
    assert twice.previous == msgspec.structs.replace(snapshot_of(1), is_rolled_back=True)
    assert (once.switches, twice.switches) == (3, 4)


def test_what_was_rolled_back_is_not_come_back_to() -> None:
    pointer = switched(moved("new", "new", "back"), snapshot_of(3))
    assert numbers(pointer) == (3, 1)
    assert not any(item.is_rolled_back for item in pointer.kept)
    assert next_number(moved("new", "new", "back")) == 3


@pytest.mark.parametrize(("ways", "got"), [((), "got none"), (("new",), "got one")])
def test_where_there_is_no_previous_there_is_no_way_back(ways: tuple[str, ...], got: str) -> None:
    with pytest.raises(
        InvalidInput, match=rf"churn: expected a snapshot before .* {got}\. Publish"
    ):
        rolled_back(moved(*ways), "churn")


@given(st.lists(st.sampled_from(["new", "back"]), max_size=12))
def test_however_it_moves_it_never_stands_where_it_stood_and_numbers_only_rise(
    ways: list[str],
) -> None:
    pointer, newest = Pointer(), 0
    for way in ways:
        before = pointer
        if way == "new":
            assert next_number(pointer) > max(numbers(pointer), default=0)
            pointer = switched(pointer, snapshot_of(next_number(pointer)))
            assert pointer.previous == (before.current or before.previous)
        elif pointer.previous is None:
            continue
        else:
            pointer = rolled_back(pointer, "churn")
            assert set(numbers(pointer)) == set(numbers(before))
        newest = max(newest, *numbers(pointer))
        assert pointer.switches == before.switches + 1
        assert pointer.current is not None
        assert not pointer.current.is_rolled_back


def test_a_pointer_is_read_as_it_was_written() -> None:
    gate = GateResult(gate="min_rows_ratio", limit="at least 1", got="2", passed=True)
    spreads = (Spread(edges=(-1.5, 2.0), rows=(1, 2, 3)), Spread(labels=("ja", "nein"), rows=(1,)))
    first = snapshot_of(1, gates=(gate,), spreads=spreads, features=("amount",), is_forced=True)
    pointer = Pointer(switches=7, current=first, previous=snapshot_of(2, is_rolled_back=True))
    again = decode_pointer(encode_pointer(pointer), "there")
    assert again == pointer
    assert again.current is not None
    assert again.current.as_of == AS_OF
    assert decode_pointer(encode_pointer(Pointer()), "there") == Pointer()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"switches": "x"}', b"\xff", b"\0" * 40])
def test_what_is_no_pointer_is_told_with_its_place(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"s3/pointer: expected a pointer to snapshots, got .*"):
        decode_pointer(data, "s3/pointer")


def test_a_whole_number_is_found_as_the_text_of_its_digits() -> None:
    assert key_of(17) == key_of("17") == key_of(b"17") == b"17"
    assert key_of(-3) == b"-3"
    assert key_of("Zoë/ü") == "Zoë/ü".encode()
    assert key_of("") == b""


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.integers())
def test_every_text_and_number_is_a_key(key: str | int) -> None:
    assert key_of(key).decode() == str(key)


@pytest.mark.parametrize("key", [None, 1.0, True, [], {"key": 1}])
def test_what_is_neither_text_nor_whole_number_is_no_key(key: object) -> None:
    with pytest.raises(InvalidInput, match=r"key: expected a text or a whole number, got \w+\."):
        key_of(key)


def test_texts_and_numbers_that_cannot_be_written_are_no_keys() -> None:
    with pytest.raises(InvalidInput, match="key: expected text in UTF-8"):
        key_of("\ud800")
    with pytest.raises(InvalidInput, match="key: expected a shorter number"):
        key_of(10**5_000)
