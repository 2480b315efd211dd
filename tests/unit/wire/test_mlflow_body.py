from __future__ import annotations

import json
import math
from typing import Any

import pytest

from twofold.errors import InvalidInput
from twofold.wire.mlflow_body import Body, Split, decode, decode_lines, names
from twofold.wire.statuses import WireError

SPLIT = 'Send {"dataframe_split": {"columns": [...], "data": [[...], ...]}}.'
MEMBERS = "dataframe_split, dataframe_records, instances, inputs"


def refused(body: bytes) -> tuple[str, str]:
    with pytest.raises(WireError) as caught:
        decode(body)
    return caught.value.code, str(caught.value)


def split(body: str) -> Split:
    decoded = decode(f'{{"dataframe_split": {body}, "params": null}}'.encode()).dataframe_split
    assert isinstance(decoded, Split)
    return decoded


def test_a_table_is_decoded_with_or_without_its_columns() -> None:
    table = split('{"columns": ["a"], "index": [3], "data": [[1]]}')
    assert (table.data, names(bytes(table.columns))) == ([[1]], ["a"])
    table = split('{"data": [[1]]}')
    assert (table.data, names(bytes(table.columns))) == ([[1]], None)


def test_what_only_python_writes_is_decoded_alike() -> None:
    table = split('{"columns": ["\u00e9"], "data": [[-Infinity], [NaN]]}')
    assert names(bytes(table.columns)) == ["\u00e9"]
    assert table.data[0] == [-math.inf]
    assert math.isnan(table.data[1][0])


def test_a_byte_order_mark_is_no_fault() -> None:
    assert decode(b'\xef\xbb\xbf{"inputs": [1]}') == Body(inputs=[1])


def test_numbers_for_names_are_no_names() -> None:
    assert names(b"[0, 1]") is None
    assert names(b"[]") is None


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (b'"a"', f": expected a list of names, got string 'a'. {SPLIT}"),
        (b'["a", ["b"]]', "[1]: expected a name, got a list of 1. Name each column."),
        (b"[1, 2]", "[0]: expected a name, got integer 1. Name each column."),
    ],
)
def test_columns_are_a_list_of_names(columns: bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        names(columns)
    assert str(caught.value) == f"dataframe_split.columns{words}"


@pytest.mark.parametrize("columns", [b'["\xff"]', b'["\\ud800"]', b"[" * 100_000])
def test_columns_that_are_no_json_at_all_are_refused_as_such(columns: bytes) -> None:
    with pytest.raises(WireError, match=r"dataframe_split\.columns: expected JSON, got ") as caught:
        names(columns)
    assert caught.value.code == "not_json"


def test_column_beyond_the_numbers_is_no_name() -> None:
    with pytest.raises(InvalidInput, match=r"columns\[0\]: expected a name, got Infinity"):
        names(b"[1e999]")


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ([], f'dataframe_split: expected an object with "data", got a list of 0. {SPLIT}'),
        (None, f'dataframe_split: expected an object with "data", got null. {SPLIT}'),
        ({"columns": []},
         ('dataframe_split: expected "data", "columns" if they have names, and nothing else but '
          f"\"index\", got 'columns'. {SPLIT}")),
        ({"data": [], "dtypes": []},
         ('dataframe_split: expected "data", "columns" if they have names, and nothing else but '
          f"\"index\", got 'data', 'dtypes'. {SPLIT}")),
        ({"data": 5}, f"dataframe_split.data: expected a list of rows, got integer 5. {SPLIT}"),
        ({"data": [[], 5]},
         f"dataframe_split.data[1]: expected a list of values, got integer 5. {SPLIT}"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_told_with_its_place(split: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode(json.dumps({"dataframe_split": split}).encode())
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("body", "got"),
    [
        (b"", f"nothing. {SPLIT}"),
        (b" \n", f"nothing. {SPLIT}"),
        (b'{"inputs": }', "a fault in line 1, column 12: Expecting value. Mend the text."),
        (b'{"inputs": "\xff"}', "text that isn't UTF-8. Send UTF-8."),
        (b'{"inputs": "\\ud800"}', "half of a surrogate pair. Mend the text."),
        (b"[" * 100_000, "JSON nested too deep. Send rows of plain values."),
        (b"[NaN, " + b"1" * 5_000 + b"]", "an integer of too many digits. Send a smaller number."),
    ],
)
def test_what_is_no_json_is_told_why(body: bytes, got: str) -> None:
    assert refused(body) == ("not_json", f"body: expected JSON, got {got}")


def test_a_whole_surrogate_pair_is_fine() -> None:
    assert decode(b'{"inputs": ["\\ud83d\\ude00", NaN]}').inputs[0] == "\U0001f600"


def test_a_body_is_an_object() -> None:
    assert refused(b"5") == (
        "not_json",
        f"body: expected an object with one of {MEMBERS}, got integer 5. {SPLIT}",
    )


def test_lines_are_decoded_one_by_one() -> None:
    assert decode_lines(b'[1]\n\n{"a": 2}\r\n"b"', "lines") == [[1], {"a": 2}, "b"]
    assert decode_lines(b'[Infinity]\n\n{"a": 2}\r\n', "lines") == [[math.inf], {"a": 2}]
    assert decode_lines(b"", "lines") == []


def test_a_line_that_is_no_json_is_told_by_its_number() -> None:
    with pytest.raises(WireError) as caught:
        decode_lines(b"[1]\n\n[2\n[3]\n", "lines")
    assert str(caught.value) == (
        "lines[1]: expected JSON, got a fault in line 1, column 3: Expecting ',' delimiter. "
        "Mend the text."
    )
