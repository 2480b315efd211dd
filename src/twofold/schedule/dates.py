"""The day that a run is about: `{date}` in its paths, query and targets, and its id.

`{date}` is 2026-01-31; `{date:%Y/%m/%d}` writes it another way.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from datetime import UTC, date, datetime, time

from twofold.model.names import parse_reference

DEFAULT = "%Y-%m-%d"
FORMAT = re.compile(r"(?:[^%{}]|%[YymdjHMSGVu%])*")
"""Numbers only: names of days and months depend on the machine."""
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def check_path(path: str) -> None:
    """See that a path has no placeholder but `{date}`.

    Raises:
        ValueError: With `expected X, got Y. Fix.` as its text.
    """
    if not path:
        raise ValueError("expected a path, got ''. Name a file or a folder.")
    for _ in _parts(path):
        pass


def expand(path: str, as_of: datetime) -> str:
    """Put the day, in its own zone, in the place of `{date}`.

    Raises:
        ValueError: Another placeholder stands in the path.
    """
    return "".join(
        text if form is None else text + as_of.strftime(form) for text, form in _parts(path)
    )


def parse_as_of(text: str) -> datetime:
    """Read a day, which means its beginning in UTC, or an instant with its offset.

    Raises:
        ValueError: It is neither.
    """
    try:
        if DAY.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        found = datetime.fromisoformat(text)
        found.astimezone(UTC)
    except (ValueError, OverflowError):
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError(
            f"expected a day such as 2026-01-31, or an instant such as 2026-01-31T02:00:00+01:00, "
            f"got {text[:80]!r}. Give one of them."
        )
    return found


def run_id_for(model: str, as_of: str) -> str:
    """Name a run after its model and the day or instant it is about, always the same.

    Args:
        model: `churn`, `churn@3` or `churn:canary`.
        as_of: As given, and already read once.
    """
    reference = parse_reference(model)
    which = [part for part in (reference.version, reference.alias) if part is not None]
    written = as_of.replace("-", "") if DAY.fullmatch(as_of) else stamp(parse_as_of(as_of))
    return "-".join([reference.name, *which, written])


def stamp(instant: datetime) -> str:
    """Write an instant (aware) so that it can stand in a name: 20260131T235959Z."""
    return instant.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _parts(path: str) -> Iterator[tuple[str, str | None]]:
    """The texts of a path, each with the format of the date behind it."""
    try:
        parsed = list(string.Formatter().parse(path))
    except ValueError as error:
        raise ValueError(
            f"expected every brace to belong to {{date}}, got {path!r} ({error}). Write braces "
            f"that stand for themselves twice."
        ) from error
    for text, name, form, conversion in parsed:
        if name is None:
            yield text, None
        elif name != "date" or conversion:
            raise ValueError(
                f"expected no placeholder but {{date}}, got {{{name}}}. Write braces that stand "
                f"for themselves twice."
            )
        elif not FORMAT.fullmatch(form or ""):
            raise ValueError(
                f"expected a format of the date such as %Y/%m/%d, got {form!r}. Of the letters "
                f"behind %, Y y m d j H M S G V u are known."
            )
        else:
            yield text, form or DEFAULT
