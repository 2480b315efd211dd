"""`twofold lab`: its commands, each imported when it is used."""

from __future__ import annotations

import importlib

import click

COMMANDS: dict[str, str] = {
    "compare": "twofold.cli.lab_compare",
    "load": "twofold.cli.lab_load",
    "advise": "twofold.cli.lab_advise",
}


class LazyLab(click.Group):
    """Imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All commands, in the order one needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        return getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)


@click.group(cls=LazyLab)
def lab() -> None:
    """Measure both speeds of a model, and learn which to use."""
