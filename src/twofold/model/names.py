"""Names of models, versions and aliases, and references to them: `churn@3`, `churn:canary`."""

from __future__ import annotations

import dataclasses
import re

from twofold.errors import InvalidInput, problem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
VERSION = re.compile(r"[1-9][0-9]{0,8}")
CHAMPION = "champion"
"""The alias that a bare model name means, when it is set."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """A model, and which of its versions: by number, by alias, or as the defaults say."""

    name: str
    version: str | None = None
    alias: str | None = None


def is_name(text: str) -> bool:
    """Whether a text may be the name of a model, an alias or a run."""
    return NAME.fullmatch(text) is not None and ".." not in text


def is_version(text: str) -> bool:
    """Whether a text may be the number of a version."""
    return VERSION.fullmatch(text) is not None


def check_name(name: str, *, what: str = "model name") -> str:
    """Give the name back if it is one; it can't leave the registry's folder.

    Raises:
        InvalidInput: It isn't.
    """
    if is_name(name):
        return name
    raise InvalidInput(
        problem(
            what,
            "1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit",
            repr(name[:80]),
            "Choose such a name.",
        )
    )


def check_version(version: str) -> str:
    """Give the version back if it is a positive whole number.

    Raises:
        InvalidInput: It isn't.
    """
    if is_version(version):
        return version
    raise InvalidInput(
        problem("version", "a number such as 3", repr(version[:80]), "See `twofold models`.")
    )


def parse_reference(text: str) -> Reference:
    """Read `churn`, `churn@3` or `churn:canary`.

    Raises:
        InvalidInput: It is none of these.
    """
    name, at, version = text.partition("@")
    if at:
        return Reference(check_name(name), version=check_version(version))
    name, colon, alias = text.partition(":")
    if colon:
        return Reference(check_name(name), alias=check_name(alias, what="alias"))
    return Reference(check_name(name))
