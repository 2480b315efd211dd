"""Sketching columns: NumPy's answers, the same with and without the kernel, and however cut."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch import buckets
from twofold.batch import sketch as module
from twofold.batch.sketch import Sketcher, sketcher_of
from twofold.batch.statistics import NumberSketch, TextSketch, encode_sketch
from twofold.model.kernel import kernel
from twofold.model.signature import Field, Output, Signature

SIGNATURE = Signature(
    fields=(
        Field(name="single", type="float32", nullable=True),
        Field(name="double", type="float64", nullable=True),
        Field(name="whole", type="int64", nullable=True),
        Field(name="time", type="timestamp", nullable=True),
        Field(name="flag", type="bool", nullable=True),
        Field(name="word", type="string", nullable=True),
        Field(name="list", type="tensor", length=2, nullable=True),
    )
)
TYPES = [
    pa.float32(),
    pa.float64(),
    pa.int64(),
    pa.timestamp("us"),
    pa.bool_(),
    pa.string(),
    pa.list_(pa.float64(), 2),
    pa.float64(),
]
ROW = st.tuples(
    st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.integers(0, 2**52),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["a", "b", "new", "x" * 200]),
    st.none() | st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=2),
    st.floats(-1e6, 1e6),
)


def some_rows(count: int) -> list[tuple[Any, ...]]:
    """Rows of all magnitudes and their limits."""
    choice = random.Random(7)  # noqa: S311 - test data

    def number(limit: float) -> float:
        return choice.choice([-1, 1]) * limit ** choice.uniform(-1, 1)

    return [
        tuple(
            None if choice.random() < 0.1 and at < 7 else value
            for at, value in enumerate(
                (
                    float(np.float32(choice.choice([number(1e37), 0.0, -0.0, 1e-45, 3.4e38]))),
                    choice.choice([number(1e307), 0.0, -0.0, 5e-324, 1.7e308]),
                    choice.choice([choice.randrange(-(2**63), 2**63), 2**53 + 1, 7, -(2**63)]),
                    choice.randrange(2**52),
                    choice.random() < 0.5,
                    choice.choice(["a", "b", "new", "x" * 200]),
                    [number(1e9), number(1e9)],
                    number(1e6),
                )
            )
        )
        for _ in range(count)
    ]


MADE = some_rows(200)
# Mostly ready-made ones: drawing dozens of rows value by value takes its time.
ROWS = st.builds(
    lambda made, drawn: [*(MADE[at] for at in made), *drawn],
    st.lists(st.integers(0, len(MADE) - 1), max_size=40),
    st.lists(ROW, max_size=2),
)
SAMPLE = [
    (1.5, 2.5, 7, 10**15, True, "a", [0.0, 1.0], 3.0),
    (2.5, 1e6, 9, 10**15 + 1, False, "b", [0.5, 1.5], 4.0),
    (None, -3.0, 8, 10**15 + 2, True, "a", [0.5, 2.5], 5.0),
]


def columns(rows: Sequence[tuple[Any, ...]]) -> list[pa.Array]:
    return [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(TYPES)]


def sketcher() -> Sketcher:
    return sketcher_of(SIGNATURE, Output(kind="value", type="float64"), columns(SAMPLE))


def partition(cuts: Sequence[list[pa.Array]]) -> bytes:
    made = sketcher()
    return encode_sketch(made.partition([made.sketch(cut) for cut in cuts], ()))


def sliced(found: list[pa.Array], start: int, stop: int) -> list[pa.Array]:
    return [column.slice(start, stop - start) for column in found]


@given(ROWS, st.integers(0, 40), st.integers(0, 40))
def test_batches_of_any_cut_and_order_make_the_same_partition(
    rows: list[tuple[Any, ...]], first: int, second: int
) -> None:
    found = columns(rows)
    first, second = sorted((min(first, len(rows)), min(second, len(rows))))
    cuts = [sliced(found, *pair) for pair in ((0, first), (first, second), (second, len(rows)))]
    assert partition(cuts) == partition(cuts[::-1]) == partition([found])


@pytest.mark.skipif(kernel() is None, reason="the kernel wasn't built")
@given(ROWS, st.integers(0, 9))
def test_the_kernel_counts_as_numpy_does(rows: list[tuple[Any, ...]], start: int) -> None:
    cut = min(start, len(rows))
    every = columns(rows)
    # Sketched in two, so that they are merged, too.
    cuts = [sliced(every, 0, cut), sliced(every, cut, len(rows))]
    native = partition(cuts)
    with pytest.MonkeyPatch.context() as patch:
        for one in (module, buckets):
            patch.setattr(one, "kernel", lambda: None)
        assert partition(cuts) == native


@pytest.mark.skipif(kernel() is None, reason="the kernel wasn't built")
@pytest.mark.parametrize(
    "numbers", [[buckets.BUCKETS, 5], [5, 2 * buckets.BUCKETS], [2 * buckets.BUCKETS]]
)
def test_sketches_whose_columns_are_not_sorted_or_too_many_are_refused(numbers: list[int]) -> None:
    entries = np.zeros(len(numbers), buckets.ENTRY)
    entries["bucket"], entries["count"] = numbers, 1
    with pytest.raises(ValueError, match="isn't sorted, or has more columns"):
        kernel().merge((entries.tobytes(),), 2)


@given(ROWS.filter(len))
def test_counts_limits_and_means_are_those_of_the_values(rows: list[tuple[Any, ...]]) -> None:
    made = sketcher()
    found = made.partition([made.sketch(columns(rows))], ())
    for at in (0, 1, 2, 3, 7):
        values = np.array([row[at] for row in rows if row[at] is not None], np.float64)
        sketch = found.columns[at]
        assert isinstance(sketch, NumberSketch)
        assert sketch.nulls == len(rows) - len(values)
        assert sketch.values == len(values)
        if len(values) and np.abs(values).max() < 1e30:
            assert (sketch.minimum, sketch.maximum) == (values.min(), values.max())
            origin = made.columns[at].origin
            spread = np.abs(values - origin).max()
            mean = origin + float(sketch.total / len(values))
            assert mean == pytest.approx(values.mean(), rel=1e-6, abs=spread * 1e-6)
    flags, words = found.columns[4], found.columns[5]
    assert isinstance(flags, TextSketch)
    assert isinstance(words, TextSketch)
    assert flags.known == tuple(sum(row[4] is flag for row in rows) for flag in (False, True))
    assert words.known == tuple(sum(row[5] == word for row in rows) for word in "ab")
    assert words.unseen_values == sum(row[5] in ("new", "x" * 200) for row in rows)
    assert all(len(word) <= 80 for word in words.unseen)


def test_text_is_counted_the_same_coded_or_plain_with_entries_that_no_row_has() -> None:
    plain = columns([(*SAMPLE[0][:5], word, *SAMPLE[0][6:]) for word in ("a", None, "new", "a")])
    coded = list(plain)
    words = pa.array(["zzz", "a", "new", "a"])
    coded[5] = pa.DictionaryArray.from_arrays(pa.array([1, None, 2, 3], pa.int32()), words)
    assert partition([coded]) == partition([plain])


def test_without_a_sample_all_is_counted_from_zero() -> None:
    made = sketcher_of(SIGNATURE, Output(kind="value", type="float64"), None)
    found = made.partition([made.sketch(columns(SAMPLE))], [("word", "bad")])
    assert found.reasons == {("word", "bad"): 1}
    texts = found.columns[5]
    assert isinstance(texts, TextSketch)
    assert texts.unseen == {"a": 2, "b": 1}


def test_times_are_told_apart_by_what_tells_the_samples_apart() -> None:
    start = int(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000
    day = 86_400_000_000
    signature = Signature(fields=(Field(name="time", type="timestamp"),))
    times = pa.array([start + day * at for at in range(30)], pa.timestamp("us"))
    none = pa.array([0.0] * 30)
    made = sketcher_of(signature, Output(kind="value", type="float64"), [times, none])
    found = made.partition([made.sketch([times, none])], ())
    sketch = found.columns[0]
    assert isinstance(sketch, NumberSketch)
    assert len(sketch.keys) == 30


@pytest.mark.skipif(kernel() is None, reason="the kernel wasn't built")
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kinds": b"\x04"}, "only numbers"),
        ({"rows": 5}, "fewer values"),
        ({"rows": -1}, "too many rows"),
        ({"rows": 1 << 30}, "too many rows"),
        ({"table": np.zeros(5, np.uint64)}, "wrong size"),
        ({"limits": np.zeros(1)}, "don't fit"),
        ({"inputs": ()}, "don't fit"),
        ({"inputs": ((np.zeros(4), 2, 1, None, None),)}, "fewer values"),
        ({"inputs": ((np.zeros(4), 0, 2, None, None),)}, "fewer values"),
        ({"inputs": ((np.zeros(8), 0, 2, None, None),)}, "every value"),
    ],
)
def test_the_kernel_refuses_what_lies_outside_its_buffers(changed: Any, said: str) -> None:
    given: dict[str, Any] = {
        "kinds": b"\x00",
        "origins": np.zeros(1),
        "inputs": ((np.zeros(4), 0, 1, None, None),),
        "rows": 4,
        "table": np.zeros(1 << 14, np.uint64),
        "limits": np.zeros(2),
    }
    native = kernel()
    assert native.sketch(*given.values())
    with pytest.raises(ValueError, match=said):
        native.sketch(*(given | changed).values())
