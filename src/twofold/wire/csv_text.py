"""CSV without I/O (RFC 4180): cells and their values out of a request, lines into an answer.

The rules are those of batch runs: an empty cell is null, `""` is the empty string, and text
becomes numbers as in `twofold.model.columns`. Beyond them, a cell may hold a tensor as JSON,
as `pandas.DataFrame.to_csv` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from twofold.errors import problem
from twofold.model.columns import INTEGER_TEXT, LONG_INTEGER_TEXT, NAN_TEXT, NUMBER_TEXT
from twofold.model.signature import Field
from twofold.wire.statuses import WireError

MAX_COLUMNS = 16_384
"""Cells of one line: as many as spreadsheets have."""

# Python's own reader can't tell `""` from nothing. The quantifiers are possessive and the last
# branch takes what fits nowhere, so that each character is looked at once, whatever comes.
CELL = re.compile(r'(?:("[^"]*+(?:""[^"]*+)*+")|([^,\r\n"][^,\r\n]*+))?(,|[\r\n]++|\Z)|[\s\S]')
IS_NUMBER = re.compile(NUMBER_TEXT).fullmatch
IS_INTEGER = re.compile(f"{INTEGER_TEXT}|{LONG_INTEGER_TEXT}").fullmatch
LINE_ENDS = re.compile(r"[\r\n]+")
LINE_BREAK = re.compile(r"\r\n|\r|\n")
BOOLS = {"true": True, "false": False}
TO_QUOTE = re.compile(r'[",\r\n]').search

Parse = Callable[[str], Any]


def records(text: str) -> Iterator[list[str | None]]:
    """Split text into records; lines without anything are none.

    Raises:
        WireError: A quote stands where none may, or a line has too many cells.
    """
    if '"' in text:
        yield from _quoted(text)
        return
    # Numbers only, as a rule: ten times as fast.
    for line in LINE_ENDS.split(text):
        if line:
            if line.count(",") >= MAX_COLUMNS:
                raise _too_many_cells()
            yield [cell or None for cell in line.split(",")]


def _quoted(text: str) -> Iterator[list[str | None]]:
    cells: list[str | None] = []
    for match in CELL.finditer(text):
        quoted, plain, mark = match.groups()
        if mark is None:
            raise _stray_quote(text[: match.start()])
        cells.append(plain if quoted is None else quoted[1:-1].replace('""', '"'))
        if mark != ",":
            if cells != [None]:
                yield cells
            cells = []
        elif len(cells) == MAX_COLUMNS:
            raise _too_many_cells()


def _too_many_cells() -> WireError:
    expected = f"at most {MAX_COLUMNS} cells in a line"
    return WireError(
        "bad_request", problem("body", expected, "more", "Send the model's fields only.")
    )


def _stray_quote(before: str) -> WireError:
    line = len(LINE_BREAK.findall(before)) + 1
    fix = "Put text with a quote in double quotes, and write each quote inside it twice."
    got = f"a double quote out of place in line {line}"
    return WireError("bad_request", problem("body", "CSV", got, fix))


def parser(field: Field) -> Parse:
    """Give the function that makes a field's value of a cell's text.

    What isn't such a value stays text, so that the field's own check has the words.
    """
    parsers: dict[str, Parse] = {
        "bool": lambda text: BOOLS.get(text.strip().lower(), text),
        "int64": _integer,
        "float32": number,
        "float64": number,
        "tensor": _tensor,
    }
    return parsers.get(field.type, str)


def _integer(text: str) -> Any:
    plain = text.strip()
    return int(plain) if IS_INTEGER(plain) else number(plain)


def number(text: str) -> Any:
    """Give the number that a cell's text is, None for `nan`, else the text."""
    plain = text.strip()
    if IS_NUMBER(plain):
        return float(plain)
    return None if plain.lower() == NAN_TEXT else text


def _tensor(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return text


def lines(outputs: Sequence[Sequence[Any]]) -> bytes:
    """Write predictions, one line per row and one cell per output, without a header.

    Args:
        outputs: For each output, one value per row.
    """
    rows = zip(*outputs, strict=True)
    return "".join(",".join(map(_cell, row)) + "\n" for row in rows).encode()


def _cell(value: Any) -> str:
    if isinstance(value, str):
        is_plain = value and not TO_QUOTE(value)
        return value if is_plain else '"' + value.replace('"', '""') + '"'
    if isinstance(value, bool):
        return str(value).lower()
    is_missing = value is None or value != value  # noqa: PLR0124 - only NaN is unlike itself
    return "" if is_missing else repr(value)
