"""The first rows of an input, as the model sees them."""

from __future__ import annotations

from typing import Any

import pytest

from twofold.batch.head import head
from twofold.batch.inputs import open_input
from twofold.errors import InvalidInput


def test_valid_rows_are_read_and_others_left_out_whatever_the_format(bench: Any) -> None:
    table = bench.table([1.0, None, *map(float, range(2, 20))]).select(["amount", "plan"])
    for path in (bench.parquet(table), bench.csv(table), bench.arrow(table)):
        found = head(open_input(str(path)), bench.predictor, 5)
        assert found.to_pydict() == {"amount": [1.0, 2.0, 3.0, 4.0, 5.0], "plan": ["basic"] * 5}


def test_broken_lines_are_left_out(bench: Any) -> None:
    lines = '{"amount":1.5,"plan":null}\n{"amount":\n{"amount":2.5,"plan":"pro"}\n'
    found = head(open_input(str(bench.text(lines, "in.jsonl"))), bench.predictor, 10)
    assert found.to_pydict() == {"amount": [1.5, 2.5], "plan": [None, "pro"]}


def test_the_key_is_no_field_and_is_left_out(bench: Any) -> None:
    source = open_input(str(bench.parquet(bench.table([1.0, 2.0]))))
    assert head(source, bench.predictor, 9, key="id").column_names == ["amount", "plan"]
    with pytest.raises(InvalidInput, match="id: expected only the model's fields"):
        head(source, bench.predictor, 9)


def test_an_empty_input_has_no_rows(bench: Any) -> None:
    source = open_input(str(bench.parquet(bench.table([]).select(["amount", "plan"]))))
    found = head(source, bench.predictor, 9)
    assert (found.num_rows, found.column_names) == (0, ["amount", "plan"])
