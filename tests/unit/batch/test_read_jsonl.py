"""Cutting JSON Lines into lines, whatever is in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch import read_jsonl

KINDS = {
    "good": b'{"a":1}',
    "bad": b"{[",
    "blank": b" \t",
    "empty": b"",
    "spaced": b' {"b": 2}',
    "bytes": b"\xff\xfe",
}


def read(path: Any, first_row: int = 0, batch_rows: int = 1000) -> tuple[list[Any], list[int]]:
    rows: list[Any] = []
    broken: list[int] = []
    for part in read_jsonl.read(path, [""], first_row=first_row, batch_rows=batch_rows):
        assert part.columns.num_rows <= batch_rows
        broken += [len(rows) + item.row for item in part.broken]
        rows += part.columns.column(0).to_pylist()
    return rows, broken


@given(
    kinds=st.lists(st.sampled_from([*KINDS, "long", "very long"]), max_size=40),
    ending=st.sampled_from([b"\n", b"\r\n"]),
    is_ended=st.booleans(),
    is_marked=st.booleans(),
    block_bytes=st.integers(10, 40),
    batch_rows=st.integers(1, 5),
    first_row=st.integers(0, 5),
)
def test_every_line_is_accounted_for_across_blocks(
    new_bench: Callable[[], Any],
    kinds: list[str],
    ending: bytes,
    is_ended: bool,
    is_marked: bool,
    block_bytes: int,
    batch_rows: int,
    first_row: int,
) -> None:
    more = {"long": b"x" * (block_bytes + 3), "very long": b"x" * (5 * block_bytes)}
    lines = [(KINDS | more)[kind] for kind in kinds]
    text = ending.join(lines) + (ending if is_ended and lines else b"")
    path = new_bench().text((b"\xef\xbb\xbf" if is_marked else b"") + text, "in.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_jsonl, "BLOCK_BYTES", block_bytes)
        rows, broken = read(path, first_row, batch_rows)
    wanted = [line for line in lines if line.strip()][first_row:]
    assert len(rows) == len(wanted)
    assert broken == [row for row, line in enumerate(wanted) if len(line) > block_bytes]
    for row, line in enumerate(wanted):
        if row not in broken:
            assert rows[row].rstrip(b"\r\n") == line
            assert rows[row].endswith(b"\n")


def test_file_is_said_to_have_the_members_of_its_first_lines(bench: Any) -> None:
    path = bench.text(b'nonsense\n{"a":1}\n[1]\n\xff\n{"b":{"c":1},"a":"x"}', "in.jsonl")
    schema, rows = read_jsonl.describe(path)
    assert schema.names == ["a", "b"]
    assert rows is None


def test_file_without_lines_has_no_rows(bench: Any) -> None:
    for content in ("", "\n \n", "\ufeff"):
        path = bench.text(content, "in.jsonl")
        assert read_jsonl.describe(path)[0].names == []
        assert read(path) == ([], [])


def test_lines_have_no_columns(bench: Any) -> None:
    with pytest.raises(ValueError, match="no columns"):
        list(read_jsonl.read(bench.text("{}"), ["a"], first_row=0, batch_rows=1))
