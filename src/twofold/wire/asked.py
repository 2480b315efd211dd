"""What a request asks for by key: read from its body, or from the query of its path."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from twofold.errors import InvalidInput, problem
from twofold.hybrid.ask import Ask
from twofold.model.rows import describe
from twofold.stores.snapshot import key_of
from twofold.wire.http import Request
from twofold.wire.json_body import check_twice, read_body
from twofold.wire.statuses import WireError

ONE = 'Send {"key": ...} for one key, with "row" or "changes" if they are known.'
FLAGS = {"true": True, "false": False}
MANY = 'Send {"keys": [...]} for many keys.'


class Asked(NamedTuple):
    """What a request asks for.

    Attributes:
        asks: For each key.
        keys: The bytes of each.
        is_many: Whether a list was asked for, and is answered.
    """

    asks: list[Ask]
    keys: list[bytes]
    is_many: bool


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    key: Any = msgspec.UNSET
    keys: Any = msgspec.UNSET
    row: Any = msgspec.UNSET
    changes: Any = msgspec.UNSET
    max_age_s: Any = msgspec.UNSET
    row_as_of: Any = msgspec.UNSET
    keep: Any = msgspec.UNSET
    features: Any = msgspec.UNSET

    def given(self, name: str) -> Any:
        """A member; None if it is null, or isn't there."""
        value = getattr(self, name)
        return None if value is msgspec.UNSET else value


NAMES = _Body.__struct_fields__
_decode = msgspec.json.Decoder(_Body).decode


def read_asked(request: Request, *, max_keys: int) -> Asked:
    """Read the body of a request.

    Raises:
        WireError: It is no JSON, or asks for too many keys.
        InvalidInput: It doesn't say which key, or something that it can't.
    """
    body = read_body(request, _decode, NAMES, f"{ONE} {MANY}")
    _check_twice(request.body, body)
    max_age_s = body.given("max_age_s")
    max_age_s = None if max_age_s is None else _max_age_s(max_age_s)
    if body.keys is not msgspec.UNSET:
        return _many(body, max_age_s, max_keys)
    if body.key is msgspec.UNSET:
        raise InvalidInput(problem("body", '"key" or "keys"', "neither", f"{ONE} {MANY}"))
    row, changes = body.given("row"), body.given("changes")
    if row is not None and not isinstance(row, (dict, list)):
        raise InvalidInput(problem("row", "one row", describe(row), ONE))
    if changes is not None and not isinstance(changes, dict):
        fix = 'Send {"changes": {"field": value}}.'
        raise InvalidInput(problem("changes", "an object by field name", describe(changes), fix))
    keep, features = _flag(body, "keep"), _flag(body, "features")
    as_of = body.given("row_as_of")
    row_as_of = None if as_of is None else _instant(as_of)
    ask = Ask(body.key, max_age_s, row, changes, row_as_of, keep, features)
    return Asked([ask], [key_of(body.key)], is_many=False)


def _many(body: _Body, max_age_s: float | None, max_keys: int) -> Asked:
    for name in ("key", "row", "changes", "row_as_of", "keep"):
        if getattr(body, name) is not msgspec.UNSET:
            fix = "Ask for each key in a request of its own."
            raise InvalidInput(problem("body", f'"keys" without "{name}"', "both", fix))
    keys: Any = body.keys
    if not isinstance(keys, list):
        raise InvalidInput(problem("keys", "a list of keys", describe(keys), MANY))
    count = len(keys)  # type: ignore[arg-type] - a list of anything
    if count > max_keys:
        fix = "Ask for them in several requests."
        raise WireError(
            "too_many_rows", problem("keys", f"at most {max_keys} keys", str(count), fix)
        )
    features = _flag(body, "features")
    asks = [Ask(key, max_age_s, features=features) for key in keys]
    return Asked(asks, [key_of(key) for key in keys], is_many=True)


def _flag(body: _Body, name: str) -> bool:
    value = body.given(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidInput(problem(name, "true or false", describe(value), "Send true."))
    return bool(value)


def _check_twice(text: bytes, body: _Body) -> None:
    members = 0
    for name in NAMES:
        value: Any = getattr(body, name)
        members += value is not msgspec.UNSET
        members += len(value) if isinstance(value, dict) else 0
    check_twice(text, members)


def read_query(query: Iterable[tuple[str, str]]) -> tuple[float | None, bool]:
    """Read the query of a path: the age it takes, and whether it wants the features.

    Raises:
        InvalidInput: It has something else, or a value that can't be.
    """
    max_age_s, features = None, False
    given: set[str] = set()
    for name, value in query:
        if name in given:
            raise InvalidInput(problem(f"query.{name}", "it once", "it twice", "Send one."))
        given.add(name)
        if name == "features":
            if value not in FLAGS:
                fix = "Send features=true."
                raise InvalidInput(problem("features", "true or false", describe(value), fix))
            features = FLAGS[value]
        elif name != "max_age_s":
            fix = "Leave it out; POST takes more."
            raise InvalidInput(
                problem(f"query.{name[:80]}", "max_age_s or features", "another", fix)
            )
        else:
            try:
                max_age_s = _max_age_s(float(value))
            except ValueError:
                max_age_s = _max_age_s(value)
    return max_age_s, features


def _max_age_s(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        age_s = float(value) if is_number else math.nan
    except OverflowError:
        age_s = math.nan
    # It is false of what is no number, too.
    if not age_s >= 0.0:
        fix = "Send a number such as 86400."
        raise InvalidInput(
            problem("max_age_s", "a number of seconds of at least 0", describe(value), fix)
        )
    return age_s


def _instant(value: Any) -> datetime:
    fix = "Send one with its offset, as in 2026-01-31T00:00:00Z."
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InvalidInput(problem("row_as_of", "an instant with its offset", describe(value), fix))
