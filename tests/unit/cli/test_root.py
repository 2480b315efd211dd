"""The command `twofold` itself: its groups, its help, and what is imported when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from twofold import __version__
from twofold.cli import main as exported
from twofold.cli.common import EXIT_CODES
from twofold.cli.root import GROUPS, HOMES, main

CONTEXT = click.Context(main, info_name="twofold")


def called(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="twofold")


def leaves(command: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by how it is typed."""
    if isinstance(command, click.Group):
        for name in command.list_commands(CONTEXT):
            child = command.get_command(CONTEXT, name)
            assert child is not None
            yield from leaves(child, *path, name)
    else:
        yield " ".join(path), command


LEAVES = dict(leaves(main))


def test_the_commands_are_those_of_the_design() -> None:
    assert list(LEAVES) == [
        "pack",
        "models",
        "alias",
        "predict",
        "verify",
        "batch deliver",
        "batch list",
        "batch quarantine",
        "batch repair",
        "batch report",
        "batch resume",
        "batch run",
        "batch status",
        "schedule list",
        "schedule run",
        "snapshot get",
        "snapshot list",
        "snapshot publish",
        "snapshot rollback",
        "serve",
        "top",
        "doctor",
        "keys list",
        "keys new",
        "keys retire",
        "lab compare",
        "lab load",
        "lab advise",
        "demo",
    ]


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_every_command_once_in_the_order_of_the_groups(flag: str) -> None:
    result = called(flag)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    titles = [line.rstrip(":") for line in lines if line.rstrip(":") in GROUPS]
    assert titles == list(GROUPS)
    shown = [line.split()[0] for line in lines if line.startswith("  ") and line.split()]
    assert [name for name in shown if name in HOMES] == list(HOMES)


def test_help_says_what_every_exit_code_means() -> None:
    said = " ".join(called("--help").stdout.split())
    for code in [0, 1, 2, *EXIT_CODES.values()]:
        assert f" {code} " in said.partition("Exit codes:")[2]


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_says_what_it_does_and_takes_json(name: str) -> None:
    result = called(*name.split(), "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: twofold {name} [OPTIONS]")
    assert "--json" in result.stdout
    assert LEAVES[name].get_short_help_str(200).endswith(".")


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_says_what_it_is_for(name: str) -> None:
    options = [item for item in LEAVES[name].params if isinstance(item, click.Option)]
    assert [item.name for item in options if not item.help] == []


@pytest.mark.parametrize("arguments", [(), ("batch",), ("keys",)])
def test_a_group_alone_is_wrong_usage_that_shows_its_commands(arguments: tuple[str, ...]) -> None:
    result = called(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    for name in LEAVES:
        if arguments and name.startswith(arguments):
            assert f"  {name.split()[-1]} " in result.stderr
    assert result.stderr.startswith(" ".join(["Usage: twofold", *arguments, "[OPTIONS] COMMAND"]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["MODELS"], "No such command 'MODELS'."),
        ([""], "No such command ''."),
        (["batch", "nonsense"], "No such command 'nonsense'."),
        (["--registry", "x"], "No such option '--registry'."),
    ],
)
def test_what_is_no_command_is_wrong_usage(arguments: list[str], words: str) -> None:
    result = called(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert "--help' for help." in result.stderr


def test_a_private_name_of_a_command_module_is_no_command() -> None:
    assert main.get_command(CONTEXT, "show_version") is None
    assert main.get_command(CONTEXT, "__doc__") is None


def test_the_version_is_the_package_s() -> None:
    result = called("--version")
    assert (result.exit_code, result.stdout) == (0, f"twofold, version {__version__}\n")


def test_the_package_exports_the_command() -> None:
    assert exported is main


@pytest.mark.parametrize(
    ("name", "home"), [("models", "twofold.cli.models"), ("serve", "twofold.cli.serve")]
)
def test_a_command_s_module_is_imported_when_that_command_is_asked_for(
    name: str, home: str
) -> None:
    code = (
        "import sys; from twofold.cli.root import main; main.list_commands(None); "
        "before = {n for n in sys.modules if n.startswith('twofold.cli.')}; "
        f"assert before == {{'twofold.cli.root'}}, before; main.get_command(None, {name!r}); "
        "print(*sorted({n for n in sys.modules if n.startswith('twofold.cli.')} - before))"
    )
    done: Any = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["twofold.cli.common", home]
