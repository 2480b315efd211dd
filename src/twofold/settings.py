"""How a setting is declared, once, and read from file, environment and flags.

A floor declares its settings as a frozen dataclass whose fields are made by `setting`. File,
environment variables, command-line flags and the reference page all derive from that one
declaration. Later sources win: `twofold.toml`, then `TWOFOLD_*`, then flags. What there may be
several of, as `[[schedule]]`, is declared the same way and stands in the file alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

from twofold.errors import ConfigError

T = TypeVar("T")
Check = Callable[[Any], None]
"""Raises ValueError with `expected X, got Y. Fix.` if a value of the right type is a wrong one."""
REQUIRED: Any = dataclasses.MISSING
"""The default of a setting that has none."""
TRUE_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def setting(
    default: Any,
    doc: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    check: Check | None = None,
) -> Any:
    """Declare one setting: its default, what it means, its bounds (inclusive) or its choices.

    Args:
        default: Its value where none is given; REQUIRED if one must be.
        doc: What it means.
        minimum: The least it may be.
        maximum: The most it may be.
        choices: The texts it may be.
        check: What else must hold.
    """
    facts = {"minimum": minimum, "maximum": maximum, "choices": choices, "check": check}
    return dataclasses.field(default=default, metadata={"doc": doc, **facts})


@dataclasses.dataclass(frozen=True)
class Declared:
    """One setting as declared: what the readers and the reference page need to know of it."""

    section: str
    name: str
    type: type
    default: Any
    doc: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] = ()
    check: Check | None = None

    @property
    def path(self) -> str:
        """Where it stands in twofold.toml, dotted."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def environment(self) -> str:
        """The environment variable that sets it."""
        return "TWOFOLD_" + self.path.upper().replace(".", "_")

    @property
    def flag(self) -> str:
        """The command-line flag that sets it."""
        return "--" + self.name.replace("_", "-")


def declared_in(cls: type, section: str = "") -> list[Declared]:
    """List the settings a dataclass declares, in order."""
    types = get_type_hints(cls)
    return [
        Declared(
            section=section,
            name=field.name,
            type=types[field.name],
            default=field.default,
            doc=field.metadata["doc"],
            minimum=field.metadata["minimum"],
            maximum=field.metadata["maximum"],
            choices=field.metadata["choices"],
            check=field.metadata["check"],
        )
        for field in dataclasses.fields(cls)
        if "doc" in field.metadata
    ]


def read_settings(
    sections: Mapping[str, type],
    *,
    file: Mapping[str, Any],
    environment: Mapping[str, str],
    flags: Mapping[str, Any],
    tables: Mapping[str, type] = MappingProxyType({}),
    file_name: str = "twofold.toml",
) -> dict[str, Any]:
    """Read every section from file, environment and flags; later sources win.

    Args:
        sections: Section name ("" for the top level) to the dataclass that declares it.
        file: The parsed settings file.
        environment: Environment variables; those not starting with `TWOFOLD_` are ignored.
        flags: Dotted setting path to value; None means "not given".
        tables: Name of an array of tables to the dataclass that declares one; it has a `name`.
        file_name: How messages call the file.

    Returns:
        One instance of its dataclass for each section, a tuple of them for each array.

    Raises:
        ConfigError: Any value is unknown, of the wrong type or out of range. All problems of
            all sources are reported at once.
    """
    known = [d for section, cls in sections.items() for d in declared_in(cls, section)]
    plain = {key: value for key, value in file.items() if key not in tables}
    problems = _unknown_names(known, sections, plain, environment, file_name)
    result: dict[str, Any] = {}
    for array, cls in tables.items():
        result[array] = _read_tables(array, cls, file.get(array, []), file_name, problems)
    for section, cls in sections.items():
        values: dict[str, Any] = {}
        for item in declared_in(cls, section):
            for where, raw in _sources(item, file, environment, flags, file_name):
                try:
                    values[item.name] = coerce(item, raw)
                except ValueError as error:
                    problems.append(f"{where}: {error}")
        if not problems:
            result[section] = cls(**values)
    if problems:
        raise ConfigError("\n".join(problems), problems)
    return result


def coerce(item: Declared, raw: Any) -> Any:
    """Turn a raw value (TOML, text or flag) into the declared type, within its bounds or choices.

    Raises:
        ValueError: With `expected X, got Y. Fix.` as its text.
    """
    value = _typed(item, raw)
    low, high = item.minimum, item.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"expected {span}, got {value}. {item.doc}")
    if item.choices and value not in item.choices:
        raise ValueError(f"expected {' or '.join(item.choices)}, got {value!r}. {item.doc}")
    if item.check is not None:
        item.check(value)
    return value


def _typed(item: Declared, raw: Any) -> Any:
    wanted = item.type
    if wanted is bool:
        value = TRUE_WORDS.get(raw.lower()) if isinstance(raw, str) else raw
        if isinstance(value, bool):
            return value
    elif wanted in (int, float):
        number = _number(raw)
        if math.isfinite(number) and (wanted is float or number.is_integer()):
            return wanted(number)
    elif wanted is not str:
        if isinstance(raw, list) and all(isinstance(text, str) for text in raw):
            return tuple(raw)
    elif isinstance(raw, str):
        return raw
    raise ValueError(f"expected {_word(wanted)}, got {raw!r}. {item.doc}")


def _number(raw: Any) -> float:
    """A number, or a text of one; NaN if it is neither."""
    try:
        return math.nan if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _word(wanted: type) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number"}
    return words.get(wanted, "text" if wanted is str else "a list of texts")


def _sources(
    item: Declared,
    file: Mapping[str, Any],
    environment: Mapping[str, str],
    flags: Mapping[str, Any],
    file_name: str,
) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    table: Any = file.get(item.section, {}) if item.section else file
    if isinstance(table, dict) and item.name in table:
        found.append((f"{file_name}: {item.path}", table[item.name]))
    if item.environment in environment:
        found.append((item.environment, environment[item.environment]))
    if flags.get(item.path) is not None:
        found.append((item.flag, flags[item.path]))
    return found


def _read_tables(
    array: str, cls: type, raw: Any, file_name: str, problems: list[str]
) -> tuple[Any, ...]:
    """Read an array of tables; what is wrong is added to the problems."""
    if not isinstance(raw, list) or not all(isinstance(table, dict) for table in raw):
        problems.append(
            f"{file_name}: {array}: expected tables that each begin with [[{array}]], got "
            f"something else. Write two brackets."
        )
        return ()
    found: list[Any] = []
    places: list[str] = []
    for number, table in enumerate(raw, start=1):
        name = table.get("name")
        called = repr(name) if isinstance(name, str) and name else str(number)
        place = f"{file_name}: {array} {called}"
        if place in places:
            problems.append(
                f"{place}.name: expected a name of its own, got one that stands twice. "
                f"Choose another."
            )
        places.append(place)
        before = len(problems)
        values = _read_table(declared_in(cls, array), table, place, problems)
        if len(problems) == before:
            found.append(cls(**values))
    return tuple(found)


def _read_table(
    known: list[Declared], table: Mapping[str, Any], place: str, problems: list[str]
) -> dict[str, Any]:
    names = [item.name for item in known]
    problems += [
        f"{place}.{name}: expected one of {', '.join(names)}, got an unknown setting. Remove it "
        f"or mend its spelling."
        for name in table
        if name not in names
    ]
    values: dict[str, Any] = {}
    for item in known:
        if item.name in table:
            try:
                values[item.name] = coerce(item, table[item.name])
            except ValueError as error:
                problems.append(f"{place}.{item.name}: {error}")
        elif item.default is REQUIRED:
            problems.append(f"{place}.{item.name}: expected a value, got none. {item.doc}")
    return values


def _unknown_names(
    known: list[Declared],
    sections: Mapping[str, type],
    file: Mapping[str, Any],
    environment: Mapping[str, str],
    file_name: str,
) -> list[str]:
    paths = {item.path for item in known}
    variables = {item.environment for item in known}
    problems: list[str] = []
    for key, value in file.items():
        if key in sections and isinstance(value, dict):
            names = [f"{key}.{name}" for name in value]
        else:
            names = [key]
        problems += [
            f"{file_name}: {name}: expected one of {', '.join(sorted(paths))}, got an unknown "
            f"setting. Remove it or mend its spelling."
            for name in names
            if name not in paths
        ]
    problems += [
        f"{name}: expected a known setting, got an unknown one. Unset it or mend its spelling; "
        f"known are {', '.join(sorted(variables))}."
        for name in environment
        if name.startswith("TWOFOLD_") and name not in variables
    ]
    return problems
