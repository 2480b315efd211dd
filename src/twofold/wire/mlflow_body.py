"""The JSON bodies of MLflow's scoring protocol: decoded, or what is wrong with them in words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from twofold.errors import InvalidInput, problem
from twofold.model.rows import describe
from twofold.wire.statuses import WireError

PAYLOADS = ("dataframe_split", "dataframe_records", "instances", "inputs")
MEMBERS = frozenset({*PAYLOADS, "params", "signature_name"})
SPLIT_MEMBERS = frozenset({"columns", "data", "index"})
MAX_SHOWN_MEMBERS = 8
SPLIT = 'Send {"dataframe_split": {"columns": [...], "data": [[...], ...]}}.'
NULL = msgspec.Raw(b"null")
HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """A table as pandas splits it; its columns as they stand, to be decoded by `names`."""

    data: list[list[Any]]
    columns: msgspec.Raw = NULL
    index: msgspec.Raw = NULL


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What a body may have: one of `PAYLOADS`."""

    dataframe_split: Split | msgspec.UnsetType = msgspec.UNSET
    dataframe_records: Any = msgspec.UNSET
    instances: Any = msgspec.UNSET
    inputs: Any = msgspec.UNSET
    # Both are ignored, as MLflow does for a model that declares no parameters.
    params: Any = None
    signature_name: Any = None


_decode = msgspec.json.Decoder(Body).decode
_decode_lines = msgspec.json.Decoder().decode_lines


def decode(body: bytes) -> Body:
    """Decode a body; which member it has, and what is in it, is for the caller to check.

    Raises:
        WireError: It isn't JSON, or no object.
        InvalidInput: It has other members.
    """
    try:
        return _decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _decode_with_care(body)


def decode_lines(body: bytes, where: str) -> list[Any]:
    """Decode a value per line; lines without anything are none.

    Args:
        body: The lines.
        where: How messages call them.

    Raises:
        WireError: One of them isn't JSON.
    """
    try:
        return _decode_lines(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        texts = [line for line in body.splitlines() if line.strip()]
        return [_loads(text, f"{where}[{index}]") for index, text in enumerate(texts)]


def names(columns: bytes) -> list[str] | None:
    """Decode the columns of a table; None if its values are in the signature's order.

    Raises:
        WireError: They aren't JSON in UTF-8, which nobody has looked at before.
        InvalidInput: They aren't names.
    """
    where = "dataframe_split.columns"
    given: Any
    try:
        given = msgspec.json.decode(columns)
    except (msgspec.DecodeError, ValueError, RecursionError):
        given = _loads(columns, where)
    if given is None:
        return None
    if not isinstance(given, list):
        raise InvalidInput(problem(where, "a list of names", describe(given), SPLIT))
    if given == list(range(len(given))):
        return None  # A pandas frame without names numbers its columns.
    for index, name in enumerate(given):
        if not isinstance(name, str):
            words = problem(f"{where}[{index}]", "a name", describe(name), "Name each column.")
            raise InvalidInput(words)
    return given


def _decode_with_care(body: bytes) -> Body:
    """Decode what is JSON to Python only, with its NaN, or find the words for what is wrong."""
    value = _loads(body, "body")
    if not isinstance(value, dict):
        raise _unwrapped(value)
    if not MEMBERS.issuperset(value):
        raise wrong_members(list(value))
    if "dataframe_split" in value:
        value["dataframe_split"] = _split_with_care(value["dataframe_split"])
    return Body(**value)


def _split_with_care(split: Any) -> Split:
    where = "dataframe_split"
    if not isinstance(split, dict):
        raise InvalidInput(problem(where, 'an object with "data"', describe(split), SPLIT))
    if "data" not in split or not SPLIT_MEMBERS.issuperset(split):
        expected = '"data", "columns" if they have names, and nothing else but "index"'
        raise InvalidInput(problem(where, expected, _members(list(split)), SPLIT))
    data = split["data"]
    if not isinstance(data, list):
        raise InvalidInput(problem(f"{where}.data", "a list of rows", describe(data), SPLIT))
    for index, row in enumerate(data):
        if not isinstance(row, list):
            place = f"{where}.data[{index}]"
            raise InvalidInput(problem(place, "a list of values", describe(row), SPLIT))
    return Split(data, msgspec.Raw(msgspec.json.encode(split.get("columns"))))


def _loads(body: bytes, where: str) -> Any:
    """Decode JSON, and NaN and Infinity as Python's encoder writes them."""
    fix = "Mend the text."
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(text)
        if HALF_PAIR.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        got, fix = "JSON nested too deep", "Send rows of plain values."
    except UnicodeDecodeError:
        got, fix = "text that isn't UTF-8", "Send UTF-8."
    except UnicodeEncodeError:
        got = "half of a surrogate pair"
    except json.JSONDecodeError as error:
        fault = f"a fault in line {error.lineno}, column {error.colno}: {error.msg}"
        got, fix = (fault, fix) if error.doc.strip() else ("nothing", SPLIT)
    except ValueError:
        got, fix = "an integer of too many digits", "Send a smaller number."
    else:
        return value
    raise WireError("not_json", problem(where, "JSON", got, fix))


def _members(names: Sequence[str]) -> str:
    shown = ", ".join(describe(name).removeprefix("string ") for name in names[:MAX_SHOWN_MEMBERS])
    more = len(names) - MAX_SHOWN_MEMBERS
    return (shown or "none") + (f" and {more} more" if more > 0 else "")


def wrong_members(names: Sequence[str]) -> InvalidInput:
    """Say which members a body should have, and which it has."""
    fix = SPLIT
    if "data" in names and SPLIT_MEMBERS.issuperset(names):
        # MLflow before 2.0 took the frame without its wrapper.
        fix = 'Wrap it: {"dataframe_split": {...}}.'
    expected = f"exactly one of {', '.join(PAYLOADS)} (and params)"
    return InvalidInput(problem("body", expected, _members(names), fix))


def _unwrapped(value: Any) -> WireError | InvalidInput:
    expected = f"an object with one of {', '.join(PAYLOADS)}"
    if not isinstance(value, list):
        return WireError("not_json", problem("body", expected, describe(value), SPLIT))
    is_records = value and isinstance(value[0], dict)
    fix = f'Wrap it: {{"{"dataframe_records" if is_records else "instances"}": [...]}}.'
    return InvalidInput(problem("body", expected, describe(value), fix))
