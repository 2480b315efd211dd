"""Reading CSV, the dirty parts of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch import read_csv


def read(path: Any, columns: list[str]) -> tuple[list[Any], list[tuple[int, str, str]]]:
    rows: list[Any] = []
    broken: list[tuple[int, str, str]] = []
    for part in read_csv.read(path, columns, first_row=0, batch_rows=1000):
        broken += [(len(rows) + item.row, item.field, item.reason) for item in part.broken]
        rows += [tuple(row.values()) for row in part.columns.to_pylist()]
    return rows, broken


def test_empty_cell_is_null_and_quoted_empty_is_text(bench: Any) -> None:
    path = bench.text('\ufeffa,b\n1,\n"",x\n')
    assert read(path, ["a", "b"]) == ([("1", None), ("", "x")], [])


def test_ragged_rows_keep_their_number_and_harm_no_neighbour(bench: Any) -> None:
    path = bench.text('a,b\n1,2\n3\n\n"x\ny",4\n5,6,7\n8,9\n10\n')
    rows, broken = read(path, ["b", "a"])
    assert rows == [
        ("2", "1"),
        (None, None),
        ("4", "x\ny"),
        (None, None),
        ("9", "8"),
        (None, None),
    ]
    assert [row for row, _, _ in broken] == [1, 3, 5]
    assert broken[1][2].startswith("expected 2 cells like the header, got 3. ")


def test_bytes_that_are_not_utf8_break_their_row_only(bench: Any) -> None:
    path = bench.text(b"a,b\ncaf\xc3\xa9,1\ncaf\xe9,2\n3\nx,\xff\n")
    rows, broken = read(path, ["a", "b"])
    assert rows == [("caf\u00e9", "1"), (None, "2"), (None, None), ("x", None)]
    assert [(row, field) for row, field, _ in broken] == [(1, "a"), (2, ""), (3, "b")]


@pytest.mark.parametrize("content", ["a,b\n", "a,b", "a,b\n\n\n"])
def test_header_alone_is_an_input_without_rows(bench: Any, content: str) -> None:
    path = bench.text(content)
    assert read_csv.describe(path)[1] == 0
    assert read(path, ["a"]) == ([], [])


def test_rows_broken_at_the_very_end_of_a_file_without_good_ones_are_kept(bench: Any) -> None:
    rows, broken = read(bench.text("a,b\n1\n2\n"), ["a"])
    assert rows == [(None,), (None,)]
    assert len(broken) == 2


@given(flags=st.lists(st.sampled_from(["good", "short", "long", "blank", "bytes"]), max_size=60))
def test_every_line_is_accounted_for_across_blocks(new_bench: Any, flags: list[str]) -> None:
    lines = {"good": b'%d,"t\nu"', "short": b"%d", "long": b"%d,2,3", "bytes": b"%d,\xff"}
    content, wanted = b"a,b\n", []
    for number, flag in enumerate(flags):
        content += (lines[flag] % number if flag != "blank" else b"") + b"\n"
        if flag != "blank":
            wanted.append((flag, number))
    path = new_bench().text(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_csv, "BLOCK_BYTES", 32)
        rows, broken = read(path, ["a"])
        _, broken_b = read(path, ["b"])
    assert len(rows) == len(wanted)
    for row, (flag, number) in zip(rows, wanted, strict=True):
        assert row == ((str(number),) if flag in ("good", "bytes") else (None,))
    ragged = [index for index, (flag, _) in enumerate(wanted) if flag in ("short", "long")]
    assert [row for row, _, _ in broken] == ragged
    undecodable = [index for index, (flag, _) in enumerate(wanted) if flag == "bytes"]
    assert [row for row, _, _ in broken_b] == sorted(ragged + undecodable)
