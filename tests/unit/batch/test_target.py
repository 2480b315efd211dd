"""What targets share: the words for what they can't take."""

from __future__ import annotations

from twofold.batch.target import another_run, differing


def test_columns_that_differ_are_named_and_so_is_how() -> None:
    assert differing({"id": "text", "p": "real"}, {"p": "real", "id": "text"}) is None
    error = differing(
        {"id": "text", "p": "real", "at": "date"}, {"id": "bigint", "p": "real", "x": "text"}
    )
    assert error is not None
    assert error.got == "no at (date), x besides, id as bigint instead of text"


def test_another_run_of_the_name_is_named_with_a_way_out() -> None:
    error = another_run("night", "Choose another.")
    assert str(error) == "expected no other run night there, got one of that name. Choose another."
    assert not error.is_unknown
