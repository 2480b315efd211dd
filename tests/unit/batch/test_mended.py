"""Mended rows go where the input had them, if they are rows of the quarantine."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.mended import check_places, place, row_numbers
from twofold.errors import InvalidInput


def rows_as_table(rows: list[int]) -> pa.Table:
    label = pa.DictionaryArray.from_arrays(pa.array([0] * len(rows), pa.int32()), pa.array(["3"]))
    return pa.table({"id": pa.array(rows, pa.int64()), "version": label})


def test_row_numbers_are_read_from_text() -> None:
    assert row_numbers(["7", "0"], "fix.csv") == [7, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "got null"), ("", "got ''"), ("-1", "got '-1'"), ("1.5", "got '1.5'"), ("x", "got 'x'")],
)
def test_what_is_no_row_number_is_refused(text: str | None, said: str) -> None:
    with pytest.raises(InvalidInput, match=r"^fix.csv: row: expected the number of a row") as caught:
        row_numbers([text], "fix.csv")
    assert said in str(caught.value)


def test_row_that_comes_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^fix.csv: row 7: expected each row once, got it twice"):
        row_numbers(["7", "8", "7"], "fix.csv")


def test_rows_of_the_quarantine_with_their_keys_have_a_place() -> None:
    check_places({3: "c3", 4: None, 5: "c5"}, {3: "c3", 4: "c4", 5: None, 6: "c6"}, "fix.csv")


def test_row_that_was_predicted_has_none() -> None:
    with pytest.raises(InvalidInput, match=r"^fix.csv: row 9: expected a row of the quarantine"):
        check_places({9: None}, {3: "c3"}, "fix.csv")


def test_row_with_the_key_of_another_has_none() -> None:
    with pytest.raises(InvalidInput, match=r"^fix.csv: row 3: expected the key 'c3', got 'c4'\."):
        check_places({3: "c4"}, {3: "c3", 4: "c4"}, "fix.csv")


@given(
    st.lists(st.sampled_from(["predicted", "mended", "aside"]), max_size=30),
    st.integers(0, 1000),
    st.randoms(use_true_random=False),
)
def test_mended_rows_stand_where_the_input_had_them(kinds: list[str], first: int, random: object) -> None:
    rows = {kind: [first + at for at, is_ in enumerate(kinds) if is_ == kind] for kind in set(kinds)}
    mended = rows.get("mended", [])
    random.shuffle(mended)  # type: ignore[attr-defined]
    found = place(
        rows_as_table(rows.get("predicted", [])),
        first,
        [*rows.get("aside", []), *mended],
        rows_as_table(mended),
        mended,
    )
    assert found.column("id").to_pylist() == sorted([*rows.get("predicted", []), *mended])
    assert found.column("version").to_pylist() == ["3"] * found.num_rows
    assert all(column.num_chunks <= 1 for column in found.columns)
