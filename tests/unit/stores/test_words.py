"""Two numbers that all processes see at once."""

from __future__ import annotations

import multiprocessing
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from twofold.stores.words import Words


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "words"


@pytest.fixture
def words(path: Path) -> Iterator[Words]:
    made = Words(path, make=True)
    yield made
    made.close()


def test_those_that_were_just_made_say_nothing(words: Words) -> None:
    assert (words.switches, words.live, words.live_bytes(0)) == (0, 0, 0)


def test_what_one_says_the_other_sees_at_once_and_so_do_those_that_come_later(
    path: Path, words: Words
) -> None:
    other = Words(path)
    words.begin_switch(1)
    assert other.switches == 1
    words.end_switch(1)
    assert other.switches == 2
    other.set_live_bytes(1, 70)
    assert words.live_bytes(1) == 70
    other.close()
    again = Words(path, make=True)
    assert (again.switches, again.live_bytes(1)) == (2, 70)
    again.close()


def switch_elsewhere(path: Path) -> None:
    Words(path).end_switch(4)


def test_another_process_sees_them_too(path: Path, words: Words) -> None:
    child = multiprocessing.get_context("fork").Process(target=switch_elsewhere, args=(path,))
    child.start()
    child.join()
    assert words.switches == 8


def test_they_lack_until_somebody_makes_them_whole(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Words(path)
    assert not path.exists()
    path.write_bytes(b"\0" * 15)  # they are being made just now
    with pytest.raises(FileNotFoundError):
        Words(path)
    Words(path, make=True).close()
    assert path.stat().st_size == 16


def test_what_is_no_file_cannot_be_mapped(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        Words(tmp_path)


def test_they_are_odd_exactly_while_a_switch_is_under_way(words: Words) -> None:
    for switches in range(1, 5):
        words.begin_switch(switches)
        assert words.switches == 2 * switches - 1
        words.end_switch(switches)
        assert words.switches == 2 * switches


def test_a_switch_ends_what_was_kept_before_it(words: Words) -> None:
    words.end_switch(3)
    words.set_live_bytes(3, 70)
    words.end_switch(3)
    assert words.live_bytes(3) == 70
    words.begin_switch(4)
    words.end_switch(4)
    assert (words.live, words.live_bytes(3), words.live_bytes(4)) == (0, 0, 0)


def test_a_switch_that_was_begun_and_not_made_ends_nothing(words: Words) -> None:
    words.end_switch(3)
    words.set_live_bytes(3, 70)
    words.begin_switch(4)
    words.end_switch(3)
    assert (words.switches, words.live_bytes(3)) == (6, 70)


def test_what_is_kept_late_counts_for_its_own_switch_only(words: Words) -> None:
    words.end_switch(4)
    words.set_live_bytes(3, 70)
    assert (words.live_bytes(4), words.live_bytes(3)) == (0, 70)
    words.set_live_bytes(2**32 + 4, 2**32 - 1)
    assert (words.live_bytes(4), words.live_bytes(5)) == (2**32 - 1, 0)


def test_numbers_that_were_lost_are_said_once_more(path: Path, words: Words) -> None:
    words.end_switch(3)
    path.write_bytes(b"")
    path.write_bytes(struct.pack("<QQ", 0, 0))
    again = Words(path, make=True)
    again.end_switch(3)
    assert again.switches == 6
    again.close()
