"""A class of requests has one word, and a place among the others."""

from __future__ import annotations

import pytest

from twofold.serving.priority import WORDS, Priority


@pytest.mark.parametrize("priority", list(Priority))
def test_word_of_a_class_is_read_back_from_header_and_file(priority: Priority) -> None:
    assert Priority.parse(priority.word) is priority
    assert Priority.parse(priority.word.encode()) is priority
    assert priority.word in WORDS.split(", ")


@pytest.mark.parametrize("word", ["", "urgent", "Normal", "NORMAL", " normal", "0", b"", b"\xff"])
def test_other_words_are_no_class(word: bytes | str) -> None:
    assert Priority.parse(word) is None


def test_classes_are_ordered_from_the_last_to_be_shed_to_the_first() -> None:
    assert sorted(Priority) == [Priority.INTERACTIVE, Priority.NORMAL, Priority.BACKGROUND]
    assert WORDS == "interactive, normal, background"
