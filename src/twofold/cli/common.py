"""What the commands share: exit codes, output, and flags made from settings."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console

from twofold.app.settings import Settings, read
from twofold.errors import (
    BudgetExceeded,
    CommitUnknown,
    ConfigError,
    LeaseHeld,
    TwofoldError,
)
from twofold.settings import declared_in

F = TypeVar("F", bound=Callable[..., Any])

EXIT_CODES: dict[type[TwofoldError], int] = {BudgetExceeded: 3, CommitUnknown: 4, LeaseHeld: 5}
INTERRUPTED = 130
PIPED_WIDTH = 240
"""Columns of tables that are not shown on a terminal."""

talk = Console(stderr=True, highlight=False)
"""For people: progress, notes, errors."""
data = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
"""For results."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
registry_option = click.option(
    "--registry", metavar="DIR", help="Folder of the packed models.  [default: registry]"
)


def print_json(value: Any) -> None:
    """Print one JSON document, on one line, to stdout."""
    click.echo(msgspec.json.encode(value).decode())


def settings_from(flags: dict[str, Any]) -> Settings:
    """Read the settings; a wrong one is wrong usage.

    Args:
        flags: Dotted setting path to value; None means "not given".
    """
    try:
        return read(flags)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def settings_flags(section: str, cls: type) -> Callable[[F], F]:
    """Add a flag for each setting that a section declares."""

    def add(function: F) -> F:
        for item in reversed(declared_in(cls, section)):
            shown = f"{item.doc}  [default: {item.default}]"
            option = click.option(item.flag, item.name, metavar="VALUE", help=shown)
            function = option(function)
        return function

    return add


def flags_of(section: str, cls: type, values: dict[str, Any]) -> dict[str, Any]:
    """Take a section's flags out of a command's parameters, by dotted path."""
    return {item.path: values.pop(item.name) for item in declared_in(cls, section)}


def command(function: F) -> F:
    """Turn the errors of twofold into a message and an exit code, never a traceback."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TwofoldError as error:
            _fail(error, as_json=bool(kwargs.get("as_json")))
        except KeyboardInterrupt:
            talk.print("interrupted; nothing is broken")
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output went away, as `| head` does: leave quietly.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)

    return run  # type: ignore[return-value]


def _fail(error: TwofoldError, *, as_json: bool) -> None:
    code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)
    if as_json:
        print_json({"error": str(error), "code": type(error).__name__, "exit_code": code})
    talk.print(f"[red]error:[/red] {_escaped(str(error))}", soft_wrap=True)
    sys.exit(code)


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
