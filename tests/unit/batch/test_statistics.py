"""Sketches add up the same in any order, and come back from the ledger as they went."""

from __future__ import annotations

import zlib
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.statistics import (
    MAX_REASONS,
    MAX_UNSEEN,
    OTHER_REASONS,
    NumberSketch,
    Sketch,
    TextSketch,
    added_up,
    count_reasons,
    decode_sketch,
    encode_sketch,
    most_frequent,
)


def number_sketch(counts: dict[int, int], nulls: int, total: float) -> NumberSketch:
    keys = sorted(counts)
    return NumberSketch(
        np.array(keys, np.int32),
        np.array([counts[key] for key in keys], np.int64),
        nulls,
        min(keys, default=float("inf")),
        max(keys, default=float("-inf")),
        Fraction(total),
        Fraction(abs(total)),
    )


WORDS = st.text("ab\x00é😀", max_size=2)
NUMBERS = st.builds(
    number_sketch,
    st.dictionaries(st.integers(-8160, 8160), st.integers(1, 2**40), max_size=5),
    st.integers(0, 9),
    st.floats(-1e30, 1e30),
)
TEXTS = st.builds(
    TextSketch,
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.dictionaries(WORDS, st.integers(1, 9), max_size=4),
    st.integers(0, 9),
    st.integers(0, 9),
)
REASONS = st.dictionaries(st.tuples(WORDS, WORDS), st.integers(1, 9), max_size=3)
SKETCHES = st.builds(Sketch, st.integers(0, 99), st.tuples(NUMBERS, TEXTS), REASONS)


def facts(sketch: Sketch) -> Any:
    numbers, texts = sketch.columns
    assert isinstance(numbers, NumberSketch)
    held = dict(zip(numbers.keys.tolist(), numbers.counts.tolist(), strict=True))
    sums = (numbers.nulls, numbers.minimum, numbers.maximum, numbers.total, numbers.squares)
    return sketch.rows, held, sums, texts, sketch.reasons


@given(SKETCHES, SKETCHES, SKETCHES)
def test_adding_up_is_associative_and_commutative(a: Sketch, b: Sketch, c: Sketch) -> None:
    whole = facts(added_up([a, b, c]))
    assert facts(added_up([added_up([a, b]), c])) == whole
    assert facts(added_up([a, added_up([b, c])])) == whole
    assert facts(added_up([c, b, a])) == whole


@given(NUMBERS, NUMBERS)
def test_counts_of_one_key_are_added(a: NumberSketch, b: NumberSketch) -> None:
    (found,) = added_up([Sketch(0, (a,), {}), Sketch(0, (b,), {})]).columns
    assert isinstance(found, NumberSketch)
    expected: Counter[int] = Counter()
    for part in (a, b):
        expected.update(dict(zip(part.keys.tolist(), part.counts.tolist(), strict=True)))
    assert found.keys.tolist() == sorted(expected)
    assert found.counts.tolist() == [expected[key] for key in sorted(expected)]
    assert (found.keys.dtype, found.counts.dtype) == (np.int32, np.int64)


@given(SKETCHES)
def test_a_sketch_comes_back_from_the_ledger(sketch: Sketch) -> None:
    data = encode_sketch(sketch)
    found = decode_sketch(data)
    assert found is not None
    assert facts(found) == facts(sketch)
    assert encode_sketch(found) == data


def test_what_is_no_sketch_is_none() -> None:
    assert decode_sketch(b"") is None
    assert decode_sketch(zlib.compress(b"\x94\x02\x00\x90\x90")) is None
    assert decode_sketch(encode_sketch(Sketch(0, (), {}))[:-3]) is None


def test_only_the_most_frequent_texts_are_kept_and_the_rest_is_counted() -> None:
    assert most_frequent({"a": 1, "b": 3, "c": 1}, 2) == ({"b": 3, "a": 1}, 1)
    many = TextSketch((), {str(number): 1 for number in range(MAX_UNSEEN)}, 0, 0)
    more = TextSketch((), {"new": 5}, 2, 0)
    (both,) = added_up([Sketch(0, (many,), {}), Sketch(0, (more,), {})]).columns
    assert isinstance(both, TextSketch)
    assert len(both.unseen) == MAX_UNSEEN
    assert both.unseen["new"] == 5
    assert both.unseen_values == MAX_UNSEEN + 7


def test_rare_reasons_are_counted_by_field() -> None:
    pairs = [("amount", f"got {number}") for number in range(MAX_REASONS + 5)] + [
        ("", "failed")
    ] * 3
    found = count_reasons(pairs)
    assert found["", "failed"] == 3
    assert found["amount", OTHER_REASONS] == 6
    assert sum(found.values()) == len(pairs)
    assert count_reasons([]) == Counter()
