"""What the commands share: exit codes, output, and flags made from settings."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeVar

import click
import msgspec

from twofold.app.settings import Settings, read
from twofold.errors import (
    BudgetExceeded,
    CommitUnknown,
    ConfigError,
    GatesShut,
    LeaseHeld,
    TwofoldError,
    problem,
)
from twofold.settings import declared_in

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])

EXIT_CODES: dict[type[TwofoldError], int] = {
    BudgetExceeded: 3,
    GatesShut: 3,
    CommitUnknown: 4,
    LeaseHeld: 5,
}
INTERRUPTED = 130
PIPED_WIDTH = 240
"""Columns of tables that are not shown on a terminal."""

# What is printed has names of files and columns in it, whatever these are.
NO_MARKUP: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
_stdout: ContextVar[IO[str] | None] = ContextVar("stdout", default=None)


@functools.cache
def talk() -> Console:
    """For people: progress, notes, errors."""
    from rich.console import Console  # noqa: PLC0415 - slow to import; a server starts without it

    return Console(stderr=True, **NO_MARKUP)


class Results:
    """For results: stdout, which is kept for them while a command runs."""

    @property
    def file(self) -> IO[str]:
        """Where results go."""
        return _stdout.get() or sys.stdout

    def print(self, *what: Any) -> None:
        """Print texts or tables; wide where nobody looks, so that nothing is cut."""
        from rich.console import Console  # noqa: PLC0415 - as above

        width = None if self.file.isatty() else PIPED_WIDTH
        Console(file=self.file, width=width, **NO_MARKUP).print(*what)


data = Results()

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
registry_option = click.option(
    "--registry", metavar="DIR", help="Folder of the packed models.  [default: registry]"
)
store_option = click.option(
    "--store",
    metavar="STORE",
    help="Where the snapshots are: a folder, redis://HOST or postgresql://HOST/DATABASE.  "
    "[default: store]",
)


def print_json(value: Any) -> None:
    """Print one JSON document, on one line, to stdout."""
    print_result(msgspec.json.encode(value).decode())


def print_result(text: str) -> None:
    """Print a result to stdout, which is for results alone while a command runs."""
    click.echo(text, file=data.file)


@contextlib.contextmanager
def results_only() -> Generator[None]:
    """Keep stdout for results: what a model or a library prints goes to stderr."""
    before = _stdout.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _stdout.reset(before)


def settings_from(flags: dict[str, Any]) -> Settings:
    """Read the settings; a wrong one is wrong usage.

    Args:
        flags: Dotted setting path to value; None means "not given".
    """
    try:
        return read(flags)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def settings_flags(section: str, cls: type, *, without: str | None = None) -> Callable[[F], F]:
    """Add a flag for each setting that a section declares, but for one the command can't take."""

    def add(function: F) -> F:
        for item in reversed(declared_in(cls, section)):
            if item.name == without:
                continue
            shown = item.doc
            if item.default != "" and item.default is not False:
                shown += f"  [default: {item.default}]"
            # A flag that is true or false may stand alone.
            alone: dict[str, Any] = {}
            if item.type is bool:
                alone = {"is_flag": False, "flag_value": "true"}
            option = click.option(item.flag, item.name, metavar="VALUE", help=shown, **alone)
            function = option(function)
        return function

    return add


def flags_of(section: str, cls: type, values: dict[str, Any]) -> dict[str, Any]:
    """Take a section's flags out of a command's parameters, by dotted path."""
    return {item.path: values.pop(item.name, None) for item in declared_in(cls, section)}


def command(function: F) -> F:
    """Turn the errors of twofold into a message and an exit code, never a traceback."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            with results_only():
                return function(*args, **kwargs)
        except TwofoldError as error:
            fail(error, as_json=bool(kwargs.get("as_json")))
        except KeyboardInterrupt:
            interrupted()
        except BrokenPipeError:
            # The reader of our output went away, as `| head` does: leave quietly.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except OSError as error:
            fail(_of_system(error), as_json=bool(kwargs.get("as_json")))

    return run  # type: ignore[return-value]


def interrupted() -> NoReturn:
    """End after Ctrl-C."""
    talk().print("interrupted; nothing is broken")
    sys.exit(INTERRUPTED)


def fail(error: TwofoldError, *, as_json: bool) -> NoReturn:
    """End with an error's message and exit code."""
    code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)
    # A path may have bytes that are no text.
    message = str(error).encode("utf-8", "replace").decode()
    if as_json:
        print_json({"error": message, "code": type(error).__name__, "exit_code": code})
    from rich.text import Text  # noqa: PLC0415 - as above

    talk().print(Text("error: ", style="red") + Text(message), soft_wrap=True)
    sys.exit(code)


def _of_system(error: OSError) -> TwofoldError:
    """What the operating system refused, in words."""
    where = error.filename if isinstance(error.filename, str) else "the system"
    got = error.strerror or str(error)
    fix = "Look at the path and at who may read and write it."
    return ConfigError(problem(where, "files that can be used", got, fix))
