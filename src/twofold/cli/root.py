"""The command `twofold`: its groups of commands, each imported when it is used."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from twofold import __version__

GROUPS = {
    "Models": {
        "pack": "twofold.cli.models",
        "models": "twofold.cli.models",
        "alias": "twofold.cli.models",
        "predict": "twofold.cli.models",
        "verify": "twofold.cli.models",
    },
    "Two speeds": {
        "batch": "twofold.cli.batch",
        "schedule": "twofold.cli.schedule",
        "snapshot": "twofold.cli.snapshot",
        "serve": "twofold.cli.serve",
        "top": "twofold.cli.top",
        "doctor": "twofold.cli.doctor",
        "keys": "twofold.cli.keys",
    },
    "Which to use": {"lab": "twofold.cli.lab"},
    "First steps": {"demo": "twofold.cli.demo"},
}
HOMES = {name: module for group in GROUPS.values() for name, module in group.items()}


class LazyGroup(click.Group):
    """Imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All commands, in the order of `GROUPS`."""
        return list(HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if cmd_name not in HOMES:
            return None
        return getattr(importlib.import_module(HOMES[cmd_name]), cmd_name)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run, and answer wrong usage as JSON where `--json` was asked for."""
        if not options.pop("standalone_mode", True):
            return super().main(*args, standalone_mode=False, **options)
        from twofold.cli.common import interrupted, print_json  # noqa: PLC0415 - with any command

        given = options.get("args", args[0] if args else None) or sys.argv[1:]
        try:
            sys.exit(super().main(*args, standalone_mode=False, **options) or 0)
        except click.Abort:
            interrupted()
        except click.ClickException as error:
            if "--json" in given:
                message = error.format_message().encode("utf-8", "replace").decode()
                code = type(error).__name__
                print_json({"error": message, "code": code, "exit_code": error.exit_code})
            error.show()
            sys.exit(error.exit_code)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the commands by group."""
        for title, names in GROUPS.items():
            with formatter.section(title):
                rows = [
                    (name, command.get_short_help_str(70))
                    for name in names
                    if (command := self.get_command(ctx, name))
                ]
                formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="twofold")
def main() -> None:
    """One model, two speeds: pack a model once, predict in batch and in real time.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 error budget exceeded
    or a gate shut, 4 commit unknown, 5 another holds the lease.
    """
