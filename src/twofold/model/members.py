"""Names in JSON objects: each may stand once.

Parsers keep the last of several values: who reads another one sees another row.
"""

from __future__ import annotations

import json
from typing import Any


class _TwiceError(Exception):
    """A name stands twice; it is the text."""


def name_twice(text: bytes, *, members: int) -> str | None:
    """The first name that stands twice in an object of a JSON text; None if none does.

    Args:
        text: JSON that was parsed before.
        members: How many members its objects have, as it was parsed.
    """
    # Outside of texts a colon stands after every name and nowhere else.
    if text.count(b":") == members:
        return None
    try:
        # Numbers don't matter, and some would take long.
        json.loads(text, object_pairs_hook=_check, parse_int=str, parse_float=str)
    except _TwiceError as twice:
        return str(twice)
    return None


def _check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise _TwiceError(name)
        members[name] = value
    return members
