"""Bodies of JSON: what is wrong with one that isn't, in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import msgspec

from twofold.errors import InvalidInput, problem
from twofold.model.members import name_twice
from twofold.model.rows import describe
from twofold.wire.http import JSON, Request
from twofold.wire.statuses import WireError

T = TypeVar("T")

JSON_UTF8 = re.compile(rb"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?", re.IGNORECASE)


def read_body(
    request: Request, decode: Callable[[bytes], T], names: Collection[str], fix: str
) -> T:
    """Read a body.

    Args:
        request: It.
        decode: Decodes an object of JSON with members of any kind; raises as msgspec does.
        names: The members it may have.
        fix: What to send instead of a wrong one.

    Raises:
        WireError: It is no JSON, or said to be something else.
        InvalidInput: It is no object, or has other members.
    """
    kind = request.headers.get(b"content-type")
    if kind is not None and kind != JSON:
        _check_kind(kind)
    if b"content-encoding" in request.headers:
        shown = describe(request.headers[b"content-encoding"].decode("latin-1"))
        raise WireError(
            "unsupported_media_type",
            problem("Content-Encoding", "none", shown, "Send the body uncompressed."),
        )
    try:
        return decode(request.body)
    except RecursionError:
        raise _too_deep(fix) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _why(request.body, error, names, fix) from None


def check_twice(text: bytes, members: int) -> None:
    """Refuse a name that stands twice in an object: who reads the other value sees another row.

    Args:
        text: The JSON.
        members: How many members were read of all its objects.

    Raises:
        InvalidInput: One does.
    """
    twice = name_twice(text, members=members)
    if twice is not None:
        raise InvalidInput(
            problem("body", "each name once in an object", f"{describe(twice)} twice", "Send one.")
        )


def _check_kind(kind: bytes) -> None:
    if not JSON_UTF8.fullmatch(kind):
        raise WireError(
            "unsupported_media_type",
            problem(
                "Content-Type",
                "application/json in UTF-8",
                describe(kind.decode("latin-1")),
                "Send JSON, with the header Content-Type: application/json.",
            ),
        )


def _too_deep(fix: str) -> WireError:
    return WireError("not_json", problem("body", "plain values", "JSON nested too deep", fix))


def _no_json(error: Exception) -> WireError | InvalidInput:
    if isinstance(error, msgspec.ValidationError):
        expected = "numbers within the range of float64"
        return InvalidInput(problem("body", expected, "one beyond it", "Send smaller numbers."))
    got = "text that isn't UTF-8" if isinstance(error, UnicodeDecodeError) else f"{error}"
    return WireError("not_json", problem("body", "JSON", got, "Mend the text."))


def _why(
    body: bytes, error: Exception, names: Collection[str], fix: str
) -> WireError | InvalidInput:
    """Say what is wrong with a body; it was refused already, so time doesn't matter."""
    if not body.strip():
        return WireError("not_json", problem("body", "a JSON object", "nothing", fix))
    if not isinstance(error, msgspec.ValidationError):
        return _no_json(error)
    # What comes first has the wrong type; what follows may be no JSON at all.
    try:
        value: Any = msgspec.json.decode(body)
    except RecursionError:
        return _too_deep(fix)
    except (msgspec.MsgspecError, UnicodeDecodeError) as later:
        return _no_json(later)
    if not isinstance(value, dict):
        return WireError("not_json", problem("body", "a JSON object", describe(value), fix))
    unknown = min(value.keys() - set(names))
    listed = [f'"{name}"' for name in names]
    known = f"only {', '.join(listed[:-1])} or {listed[-1]}"
    return InvalidInput(problem("body", known, f"a member {describe(unknown)}", fix))
