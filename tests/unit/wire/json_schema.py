"""Whether a JSON Schema admits a value: the part of it (2020-12) that the documents use."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

Admits = Callable[[Any, Any], bool]


def is_a(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, float) and name == "integer":
        return value.is_integer()
    kinds: dict[str, Any] = {
        "array": list,
        "boolean": bool,
        "integer": int,
        "null": type(None),
        "number": (int, float),
        "object": dict,
        "string": str,
    }
    return isinstance(value, kinds[name])


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def bound(kind: str, holds: Callable[[Any, Any], bool], of: Callable[[Any], Any]) -> Any:
    return lambda wanted, value, _: not is_a(value, kind) or holds(of(value), wanted)


def itself(value: Any) -> Any:
    return value


# Any other keyword is an error here.
KEYWORDS: dict[str, Callable[[Any, Any, Admits], bool]] = {
    "type": lambda wanted, value, _: any(
        is_a(value, name) for name in ([wanted] if isinstance(wanted, str) else wanted)
    ),
    "enum": lambda wanted, value, _: any(same(item, value) for item in wanted),
    "const": lambda wanted, value, _: same(wanted, value),
    "anyOf": lambda wanted, value, admits: any(admits(item, value) for item in wanted),
    "not": lambda wanted, value, admits: not admits(wanted, value),
    "pattern": lambda wanted, value, _: (
        not is_a(value, "string") or re.search(wanted, value) is not None
    ),
    "oneOf": lambda wanted, value, admits: sum(admits(item, value) for item in wanted) == 1,
    "minimum": bound("number", operator.ge, itself),
    "maximum": bound("number", operator.le, itself),
    "minItems": bound("array", operator.ge, len),
    "maxItems": bound("array", operator.le, len),
    "required": lambda wanted, value, _: not is_a(value, "object") or set(wanted) <= value.keys(),
    "items": lambda wanted, value, admits: (
        not is_a(value, "array") or all(admits(wanted, item) for item in value)
    ),
    "prefixItems": lambda wanted, value, admits: (
        not is_a(value, "array") or all(map(admits, wanted, value))
    ),
    "properties": lambda wanted, value, admits: (
        not is_a(value, "object")
        or all(admits(wanted[name], value[name]) for name in wanted.keys() & value.keys())
    ),
    "description": lambda *_: True,
    "format": lambda *_: True,
}


def admits(schema: dict[str, Any], value: Any, document: Any = None) -> bool:
    """Say whether a schema admits a JSON value."""
    if "$ref" in schema:
        node = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part]
        return admits(node, value, document)
    closed = schema.get("additionalProperties", True) is False and is_a(value, "object")
    if closed and value.keys() - schema["properties"].keys():
        return False
    return all(
        KEYWORDS[keyword](wanted, value, lambda inner, item: admits(inner, item, document))
        for keyword, wanted in schema.items()
        if keyword != "additionalProperties"
    )
