"""A line of JSON is admitted or refused as the same row is in real time, on the quick way too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch import json_lines
from twofold.batch.chunks import Rows
from twofold.batch.json_lines import JsonLines
from twofold.batch.read_jsonl import LINE
from twofold.errors import InvalidInput
from twofold.model.columns import check_columns, columns_of
from twofold.model.rows import RowCheck
from twofold.model.signature import Field, Signature

FIELDS = {
    "b": Field(name="b", type="bool", nullable=True),
    "i": Field(name="i", type="int64"),
    "f": Field(name="f", type="float32"),
    "d": Field(name="d", type="float64", nullable=True),
    "s": Field(name="s", type="string", categories=("No", "Yes")),
    "o": Field(name="o", type="string", nullable=True),
    "t": Field(name="t", type="timestamp", nullable=True),
    "z": Field(name="z", type="timestamp", zoned=True),
    "v": Field(name="v", type="tensor", length=2, nullable=True),
}
GOOD = {
    "b": ["true", "false", "null"],
    "i": ["7", "0", "-9223372036854775808", "9007199254740993"],
    "f": ["1.5", "3", "0.1", "1e-45", "16777217.0"],
    "d": ["1.5", "3", "null", "0.1", "-0.0", "123456789012345680.0"],
    "s": ['"No"', '"Yes"'],
    "o": ['"a:b"', '"null"', "null", '"\u00e9"', '"\\u00e9\\""', '"\\\\"', '"{}"', '","', '""'],
    "t": ['"2026-01-31"', '"2026-01-31T12:00:00"', "null"],
    "z": ['"2026-01-31T12:00:00Z"', '"2026-01-31T12:00:00.123456+05:00"'],
    "v": ["[1,2.5]", "[0.1, -3]", "null"],
}
ODD = [
    *("null", "true", "7", "7.0", "1.5", "-0", "-0.0", "1e3", "1e400", "3.5e38", "-1e-400"),
    *("9007199254740992", "9007199254740993", "9223372036854775808", "1" * 40, "01", "1.", ".5"),
    *("NaN", "Infinity", "-Infinity", "nul", "'x'", '"', '"x', "1 2", "1,", "", " 7 ", "\t7"),
    *('"12"', '"No"', '"no"', '""', '"\\ud800"', '"\\u0000"', '"\\x"', '"a\tb"', '"2026-01-31"'),
    *('"9999-12-31T23:00:00-10:00"', "[1,2]", "[1]", "[1,null]", "[1,NaN]", "[9007199254740993,1]"),
    *("[1,-0]", "[[1,2]]", "[]", "{}", '{"a":1,"a":2}', '{"a":{}}', "1}{", '1,"i":2', '1,"q":2'),
    *('1,"\\u0069":2', "1//", "1/**/", "\r", "1\r"),
]
LINES = ["", "{}", "[]", "null", "7", '"x"', "{", "}", "{}{}", '{"a":1} x', "nonsense", "\ufeff{}"]


def one_line(line: bytes) -> Any:
    """The row of a line as real time has it, for which any fault in the JSON is the same."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    try:
        row = msgspec.json.decode(line)
        json.loads(line, object_pairs_hook=unique)
    except (msgspec.MsgspecError, ValueError):
        return None
    return row if isinstance(row, dict) else None


def lines_of(lines: Sequence[bytes]) -> Rows:
    column = pa.array([line + b"\n" for line in lines], pa.large_binary())
    return Rows(pa.RecordBatch.from_arrays([column], names=[LINE]))


def plain(value: Any) -> Any:
    """A value with its bits, so that -0.0 and 0.0 can be told apart."""
    if isinstance(value, float):
        return np.float64(value).tobytes()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def check_both_speeds(signature: Signature, lines: Sequence[bytes]) -> None:
    parsed = JsonLines(signature, (), ()).parse(lines_of(lines))
    assert parsed.columns.num_rows == len(lines)
    reasons = {item.row: (item.field, item.reason) for item in parsed.broken}
    keep = [row for row in range(len(lines)) if row not in reasons]
    checked = check_columns(signature, parsed.columns.take(pa.array(keep, pa.int64())))
    for item in checked.problems:
        reasons[keep[item.row]] = (item.field, item.reason)

    check = RowCheck(signature)
    refused: dict[int, Any] = {}
    admitted: list[Any] = []
    for number, line in enumerate(lines):
        row = one_line(line)
        if row is None:
            assert reasons.pop(number)[0] == ""
            continue
        try:
            admitted.append(check(row))
        except InvalidInput as error:
            refused[number] = (error.field, str(error).removeprefix(f"row.{error.field}: "))
    assert reasons == refused
    wanted = columns_of(signature, admitted)
    for name in signature.names:
        found = checked.columns.column(name).to_pylist()
        assert plain(found) == plain(wanted.column(name).to_pylist())


@st.composite
def some_lines(draw: st.DrawFn, names: Sequence[str]) -> list[bytes]:
    """Mostly good lines, because one bad line sends all of them the careful way."""
    odd_from = draw(st.sampled_from([0, 6, 40]))
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 5))):
        members = {name: draw(st.sampled_from(GOOD[name])) for name in names}
        how = draw(st.integers(0, 40))
        if how > odd_from:
            members[draw(st.sampled_from([*names, "q"]))] = draw(st.sampled_from(ODD))
        if how == odd_from + 2:
            del members[draw(st.sampled_from(list(members)))]
        line = "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"
        lines.append(draw(st.sampled_from(LINES)) if how == odd_from + 3 else line)
    if draw(st.integers(0, 20)) == 7:
        lines = (
            "\n".join(lines).replace(",", draw(st.sampled_from([",\n", "}{", ""])), 1).split("\n")
        )
    return [line.encode() for line in lines]


@pytest.mark.parametrize("extra", ["refuse", "ignore"])
@given(data=st.data())
def test_a_line_is_admitted_or_refused_as_the_row_is_in_real_time(
    extra: Any, data: st.DataObject
) -> None:
    names = ["i", *data.draw(st.sets(st.sampled_from([name for name in FIELDS if name != "i"])))]
    signature = Signature(fields=tuple(FIELDS[name] for name in names), extra_fields=extra)
    check_both_speeds(signature, data.draw(some_lines(names)))


@pytest.mark.parametrize("beside", [["1"], []])
@pytest.mark.parametrize("name", FIELDS)
def test_each_odd_value_alone_and_beside_a_good_line(name: str, beside: list[str]) -> None:
    names = ("i", name) if name != "i" else ("i",)
    signature = Signature(fields=tuple(FIELDS[name] for name in names))
    for odd in ODD:
        for good in GOOD[name] if beside else ["1"]:
            lines = [
                "{" + ",".join([f'"i":{first}'] * (name != "i") + [f'"{name}":{value}']) + "}"
                for first, value in [*(("1", good) for _ in beside), ("2", odd)]
            ]
            check_both_speeds(signature, [line.encode() for line in lines])


@pytest.mark.parametrize(
    "text",
    [
        b'{"i":1,"d":1}{"i":2,"d":1}\n{"i":3,\n"d":4}',
        b'{"i":0,"d":1}\n{"i":1,"d":1}{"i":2,"d":1}\n{"i":3,\n"d":4}',
        b'{"i":1}\n{"i":2,"d":1,"d":1}',
        b'{"i":1,"d":null}\n{"i":2}',
        b'{"i":1,"d":1,"q":"x"}\n{"i":2,"q":"d"}',
        b'{"i":1,"d":NaN}\n{"i":2,"d":2}',
        b'{"i":1,"d":1\r}\r\n{"i":2,"d":\r2}\r',
        b'{"i":1,"d":1}\n{"i":2,"d":1,"q":"\xff"}',
    ],
)
@pytest.mark.parametrize("extra", ["refuse", "ignore"])
def test_lines_that_arrow_would_read_otherwise(text: bytes, extra: Any) -> None:
    signature = Signature(fields=(FIELDS["i"], FIELDS["d"]), extra_fields=extra)
    check_both_speeds(signature, text.split(b"\n"))


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"id":"a","i":1,"d":0.5}', b'{"id":"b","i":2,"d":null}'],
        [b'{"id":10,"d":0.5,"i":1}', b'{"i":2,"id":null,"d":-0.5}'],
        [b'{"id":"\\u00e9","i":1,"d":0.5}\r', b'{"id":"\\"","i":2,"d":1}\r'],
        [b'{"id":true,"i":1,"d":0.5}', b'{"id":false,"i":2,"d":1}'],
    ],
)
def test_plain_lines_are_read_at_once_and_as_one_by_one(
    lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = JsonLines(Signature(fields=(FIELDS["i"], FIELDS["d"])), ("id", "d"), ())
    careful = rules.parse(lines_of([*lines, b"[]"])).columns.slice(0, len(lines))
    monkeypatch.setattr(JsonLines, "_one_by_one", None)
    assert rules.parse(lines_of(lines)).columns.equals(careful)


def test_what_is_copied_is_text_or_the_json_as_it_was_written() -> None:
    lines = [b'{"i":1,"id":1.50}', b'{"id":-0,"i":1}', b'{"i":1,"id":{"a": [1]}}', b'{"i":1}']
    rules = JsonLines(Signature(fields=(FIELDS["i"],)), ("id",), ())
    found = [rules.parse(lines_of([line])).columns.column("id")[0].as_py() for line in lines]
    assert found == ["1.50", "-0", '{"a": [1]}', None]
    assert rules.parse(lines_of(lines)).columns.column("id").to_pylist() == found


def test_row_set_aside_keeps_its_key() -> None:
    rules = JsonLines(Signature(fields=(FIELDS["i"], FIELDS["d"])), ("id", "i"), ())
    found = rules.parse(lines_of([b'{"id":"a","i":1,"d":"x"}', b'{"id":"b","i":"x"}']))
    assert found.columns.to_pydict() == {"id": ["a", "b"], "i": [1, None], "d": [None, None]}
    assert [(item.row, item.field) for item in found.broken] == [(0, "d"), (1, "i")]


def test_column_of_a_folder_is_not_asked_of_a_line_which_may_not_say_another() -> None:
    signature = Signature(fields=(FIELDS["i"], Field(name="day", type="string")))
    rules = JsonLines(signature, ("day",), ("day",))
    lines = lines_of([b'{"i":1}', b'{"i":2,"day":"1"}', b'{"i":3,"day":1}', b'{"i":4,"day":"2"}'])
    beside = lines.columns.append_column("day", pa.array(["1"] * 4))
    found = rules.parse(Rows(beside))
    assert found.columns.column("day").to_pylist() == ["1"] * 4
    assert [(item.row, item.field) for item in found.broken] == [(3, "day")]
    assert found.broken[0].reason.startswith("expected string '1' like the folder, got string '2'.")


def test_many_bytes_are_read_with_care(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = JsonLines(Signature(fields=(FIELDS["i"],)), (), ())
    monkeypatch.setattr(json_lines, "MAX_QUICK_BYTES", 5)
    assert rules.parse(lines_of([b'{"i":1}'])).columns.to_pydict() == {"i": [1]}


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_line_nested_too_deep_is_broken_alone(opening: bytes) -> None:
    signature = Signature(fields=(FIELDS["i"],), extra_fields="ignore")
    rules = JsonLines(signature, (), ())
    closing = b"]" if opening == b"[" else b"}"
    deep = b'{"i":1,"q":' + opening * 100_000 + b"1" + closing * 100_000 + b"}"
    found = rules.parse(lines_of([b'{"i":1}', deep, b"nonsense"]))
    assert found.columns.column("i").to_pylist() == [1, None, None]
    assert [(item.row, item.field) for item in found.broken] == [(1, ""), (2, "")]
    assert "got a line that can't be read (too deep). " in found.broken[0].reason
