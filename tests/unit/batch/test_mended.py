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
    ("text", "said"), [(None, "null"), ("", "''"), ("-1", "'-1'"), ("1.5", "'1.5'"), ("x", "'x'")]
)
def test_what_is_no_row_number_is_refused(text: str | None, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        row_numbers([text], "fix.csv")
    wanted = f"fix.csv: row: expected the number of a row, got {said}. "
    assert str(caught.value).startswith(wanted)


def test_row_that_comes_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="row 7: expected each row once, got it twice"):
        row_numbers(["7", "8", "7"], "fix.csv")


def test_rows_of_the_quarantine_with_their_keys_have_a_place() -> None:
    check_places({3: "c3", 4: None, 5: "c5"}, {3: "c3", 4: "c4", 5: None, 6: "c6"}, "fix.csv")


def test_row_that_was_predicted_has_none() -> None:
    with pytest.raises(InvalidInput, match=r"^fix.csv: row 9: expected a row of the quarantine"):
        check_places({9: None}, {3: "c3"}, "fix.csv")


def test_row_with_the_key_of_another_has_none() -> None:
    with pytest.raises(InvalidInput, match=r"^fix.csv: row 3: expected the key 'c3', got 'c4'\."):
        check_places({3: "c4"}, {3: "c3", 4: "c4"}, "fix.csv")


@given(st.data(), st.integers(0, 1000))
def test_mended_rows_stand_where_the_input_had_them(data: st.DataObject, first: int) -> None:
    kinds = data.draw(st.lists(st.sampled_from(["predicted", "mended", "aside"]), max_size=30))

    def rows_of(kind: str) -> list[int]:
        return [first + at for at, found in enumerate(kinds) if found == kind]

    mended = data.draw(st.permutations(rows_of("mended")))
    predicted = rows_of("predicted")
    found = place(
        rows_as_table(predicted),
        first,
        [*rows_of("aside"), *mended],
        rows_as_table(mended),
        mended,
    )
    assert found.column("id").to_pylist() == sorted([*predicted, *mended])
    assert found.column("version").to_pylist() == ["3"] * found.num_rows
    assert all(column.num_chunks <= 1 for column in found.columns)
