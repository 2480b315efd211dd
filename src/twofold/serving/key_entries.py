"""What a keys file says: text to entries, with all problems at once, and entries to text.

    [[key]]
    name = "support-desk"
    sha256 = "..."                      # of the key, 64 hex digits; a list while keys are rotated
    priority = "interactive"            # the highest it may ask for; normal when absent
    max_requests_per_s = 50.0           # no quota when absent
    burst_requests = 100                # two seconds' worth when absent
    models = ["churn"]                  # all when absent
    expires_at = 2027-01-31T00:00:00Z   # never when absent

Nothing here ever shows a hash, nor a text in a hash's place: that may be a key.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from twofold.errors import ConfigError, InvalidInput, problem
from twofold.model.names import is_name
from twofold.model.rows import describe
from twofold.serving.priority import WORDS, Priority
from twofold.serving.quotas import (
    MAX_BURST_REQUESTS,
    MAX_KEYS,
    MAX_PER_S,
    MIN_PER_S,
    Quota,
    default_burst,
)

MAX_HASHES = 4
"""Keys of one name that are in force at once, while they are rotated."""
HEX = re.compile(r"[0-9a-fA-F]{64}")
KEY_START = "tf_"
"""What keys begin with, so that people and scanners for secrets know them."""
HEADER = "# Keys of `twofold serve`: their hashes alone. `twofold keys new` adds one.\n"
VALUE_OF_HASHES = re.compile(r"(?<![\w.-])sha256\s*=\s*(\"[^\"\n]*\"|'[^'\n]*'|\[[^\]]*\])")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One `[[key]]` of a keys file.

    Attributes:
        name: Whose key it is; its quota is counted under it.
        sha256: Hashes of the keys in force, hexadecimal, the newest last.
        priority: The highest it may ask for.
        max_requests_per_s: None without a quota.
        burst_requests: None where the file leaves it to the default.
        models: None for all.
        expires_at: UTC; None for never.
    """

    name: str
    sha256: tuple[str, ...]
    priority: Priority = Priority.NORMAL
    max_requests_per_s: float | None = None
    burst_requests: int | None = None
    models: tuple[str, ...] | None = None
    expires_at: datetime | None = None

    @property
    def quota(self) -> Quota | None:
        """The quota, if there is one."""
        rate = self.max_requests_per_s
        if rate is None:
            return None
        return Quota(rate, self.burst_requests or default_burst(rate))


def read_entries(text: str, *, file: str) -> tuple[Entry, ...]:
    """Read a keys file's text.

    Args:
        text: TOML.
        file: How messages call the file.

    Raises:
        ConfigError: With every problem of the file.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(problem(file, "TOML", str(error), "Mend that line.")) from error
    problems = [
        problem(f"{file}: {name[:80]}", "only [[key]]", "another member", "Remove it.")
        for name in document
        if name != "key"
    ]
    raw = document.get("key", [])
    if not isinstance(raw, list):
        problems.append(problem(f"{file}: key", "[[key]]", describe(raw), "Double the brackets."))
        raw = []
    if len(raw) > MAX_KEYS:
        problems.append(
            problem(f"{file}: key", f"at most {MAX_KEYS}", str(len(raw)), "Remove the others.")
        )
    entries = [
        entry
        for number, item in enumerate(raw[:MAX_KEYS], start=1)
        if (entry := _entry(item, number, file, problems)) is not None
    ]
    problems += _shared(entries, file)
    if problems:
        raise ConfigError("\n".join(problems), problems)
    return tuple(entries)


def _entry(raw: Any, number: int, file: str, problems: list[str]) -> Entry | None:
    """Read one entry; None if it has problems, which are added to the others."""
    where = f"{file}: key {number}"
    if not isinstance(raw, dict):
        problems.append(problem(where, "a table", describe(raw), "Write [[key]] above it."))
        return None
    members: dict[str, Any] = raw
    before = len(problems)
    if _is_name(members.get("name")):
        where = f"{file}: {members['name']}"
    values: dict[str, Any] = {}
    for member, value in members.items():
        read = _MEMBERS.get(member)
        if read is None:
            known = ", ".join(_MEMBERS)
            fix = "Remove it or mend its spelling."
            problems.append(problem(f"{where}.{member[:80]}", f"one of {known}", "another", fix))
            continue
        try:
            values[member] = read(value)
        except ValueError as error:
            problems.append(f"{where}.{member}: {error}")
    problems += [
        problem(f"{where}.{member}", what, "nothing", "`twofold keys new` writes whole entries.")
        for member, what in (("name", "a name"), ("sha256", "the hash of a key"))
        if member not in members
    ]
    if "burst_requests" in members and "max_requests_per_s" not in members:
        fix = "Add it, or remove burst_requests."
        problems.append(
            problem(f"{where}.burst_requests", "max_requests_per_s beside it", "none", fix)
        )
    return Entry(**values) if len(problems) == before else None


def _shared(entries: Sequence[Entry], file: str) -> list[str]:
    """The problems of entries that would be good each by itself."""
    problems: list[str] = []
    names: set[str] = set()
    owners: dict[str, str] = {}
    for entry in entries:
        if entry.name in names:
            fix = "Choose another name; for a second key of one name, give a list of sha256."
            problems.append(problem(f"{file}: {entry.name}.name", "it once", "it twice", fix))
        names.add(entry.name)
        for digest in entry.sha256:
            owner = owners.setdefault(digest, entry.name)
            if owner != entry.name or entry.sha256.count(digest) > 1:
                fix = "Remove one of them."
                message = problem(
                    f"{file}: {entry.name}.sha256",
                    "hashes that no other has",
                    f"one of {owner}",
                    fix,
                )
                if message not in problems:
                    problems.append(message)
    return problems


def _wrong(expected: str, got: str, fix: str) -> ValueError:
    return ValueError(f"expected {expected}, got {got}. {fix}")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and is_name(value)


def _name(value: Any) -> str:
    if _is_name(value):
        return value
    expected = "1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"
    raise _wrong(expected, describe(value), "Choose such a name.")


def _hashes(value: Any) -> tuple[str, ...]:
    several: list[Any] = value if isinstance(value, list) else [value]
    if not 1 <= len(several) <= MAX_HASHES:
        fix = "Put old ones out of force with `twofold keys retire`."
        raise _wrong(f"1 to {MAX_HASHES} hashes", str(len(several)), fix)
    for item in several:
        if not isinstance(item, str) or not HEX.fullmatch(item):
            # What stands there may be the key itself: it must not get into a log.
            got = f"{len(item)} characters" if isinstance(item, str) else "no text"
            fix = "Make a key with `twofold keys new`."
            if isinstance(item, str) and item.startswith(KEY_START):
                got = "what looks like the key itself"
                fix = "Whoever read this file knows it: make another with `twofold keys new`."
            raise _wrong("64 hex digits", got, fix)
    return tuple(item.lower() for item in several)


def _priority(value: Any) -> Priority:
    priority = Priority.parse(value) if isinstance(value, str) else None
    if priority is None:
        raise _wrong(f"one of {WORDS}", describe(value), "Name one of them.")
    return priority


def _rate(value: Any) -> float:
    # NaN is in no range.
    if _is_number(value) and MIN_PER_S <= value <= MAX_PER_S:
        return float(value)
    expected = f"a number from {MIN_PER_S:f} to {MAX_PER_S:,.0f}"
    raise _wrong(expected, _number(value), "Leave it out for no quota.")


def _burst(value: Any) -> int:
    if _is_number(value) and isinstance(value, int) and 1 <= value <= MAX_BURST_REQUESTS:
        return value
    expected = f"a whole number from 1 to {MAX_BURST_REQUESTS:,}"
    raise _wrong(expected, _number(value), "Leave it out for two seconds' worth.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return describe(value)


def _models(value: Any) -> tuple[str, ...]:
    several: list[Any] = value if isinstance(value, list) else []
    wrong = [item for item in several if not _is_name(item)]
    if several and not wrong:
        return tuple(dict.fromkeys(several))
    got = describe(wrong[0] if wrong else value)
    raise _wrong("a list of models' names", got, "Leave it out for all models.")


def _expiry(value: Any) -> datetime:
    if not isinstance(value, datetime):
        fix = "Write it like 2027-01-31T00:00:00Z."
        raise _wrong("an instant", describe(value), fix)
    if value.tzinfo is None:
        raise _wrong("an instant with its zone", f"{value} without", "Add Z for UTC.")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise _wrong("an instant", f"{value}", "Leave it out for never.") from None


_MEMBERS: Mapping[str, Callable[[Any], Any]] = {
    "name": _name,
    "sha256": _hashes,
    "priority": _priority,
    "max_requests_per_s": _rate,
    "burst_requests": _burst,
    "models": _models,
    "expires_at": _expiry,
}


def with_new(text: str, entry: Entry, *, file: str) -> str:
    """Give the text of a keys file with one more entry.

    Raises:
        ConfigError: The file is broken, or full.
        InvalidInput: It has an entry of that name.
    """
    entries = read_entries(text, file=file)
    if any(item.name == entry.name for item in entries):
        fix = "Add --rotate to give it one more key, or choose another name."
        raise InvalidInput(problem(entry.name, f"a name that is not in {file}", "one that is", fix))
    before = text.rstrip() + "\n\n" if text.strip() else HEADER + "\n"
    return _saying((*entries, entry), before + render(entry), file=file)


def with_hashes(text: str, name: str, sha256: tuple[str, ...], *, file: str) -> str:
    """Give the text of a keys file with other hashes for one name.

    Raises:
        ConfigError: The file is broken, or these are too many hashes.
        InvalidInput: It has no entry of that name.
    """
    entries = read_entries(text, file=file)
    found = entry_of(entries, name, file=file)
    changed = tuple(
        dataclasses.replace(item, sha256=sha256) if item is found else item for item in entries
    )

    def put(match: re.Match[str]) -> str:
        return _hashes_line(sha256) if found.sha256[0] in match[1].lower() else match[0]

    return _saying(changed, VALUE_OF_HASHES.sub(put, text), file=file)


def entry_of(entries: Sequence[Entry], name: str, *, file: str) -> Entry:
    """The entry of a name.

    Raises:
        InvalidInput: There is none.
    """
    for entry in entries:
        if entry.name == name:
            return entry
    known = ", ".join(item.name for item in entries) or "none"
    fix = "See `twofold keys list`."
    raise InvalidInput(problem(file, f"a key among: {known}", repr(name[:80]), fix))


def _saying(entries: Sequence[Entry], text: str, *, file: str) -> str:
    """Give a text that says just these entries: the one given, with its comments, if it does.

    The text was changed without regard to its grammar, which allows other ways to write the
    same; then it is written anew.
    """
    try:
        if read_entries(text, file=file) == tuple(entries):
            return text
    except ConfigError:
        pass
    anew = "\n".join([HEADER, *(render(entry) for entry in entries)])
    # What is against the rules is against them however it is written.
    read_entries(anew, file=file)
    return anew


def render(entry: Entry) -> str:
    """Write one entry."""
    lines = ["[[key]]", f'name = "{entry.name}"', _hashes_line(entry.sha256)]
    lines.append(f'priority = "{entry.priority.word}"')
    if entry.max_requests_per_s is not None:
        lines.append(f"max_requests_per_s = {entry.max_requests_per_s!r}")
    if entry.burst_requests is not None:
        lines.append(f"burst_requests = {entry.burst_requests}")
    if entry.models is not None:
        lines.append(f"models = {_texts(entry.models)}")
    if entry.expires_at is not None:
        lines.append(f"expires_at = {entry.expires_at.isoformat().replace('+00:00', 'Z')}")
    return "\n".join(lines) + "\n"


def _hashes_line(sha256: tuple[str, ...]) -> str:
    return f'sha256 = "{sha256[0]}"' if len(sha256) == 1 else f"sha256 = {_texts(sha256)}"


def _texts(values: Sequence[str]) -> str:
    """Render names or hashes, which need no escapes, as a TOML list."""
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
