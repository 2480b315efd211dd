"""The reference pages of the documentation, made from the code they describe.

`python -m twofold.cli.reference FOLDER` writes them; a test holds the committed pages to this.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from twofold.app.settings import SECTIONS, TABLES
from twofold.cli.root import main
from twofold.settings import REQUIRED, declared_in


def settings_page() -> str:
    """The page of all settings."""
    lines = [
        "# Settings",
        "",
        "Every setting can stand in `twofold.toml` in the current folder, in an environment",
        "variable, or on the command line; later ones win. All problems of all sources are",
        "reported at once.",
    ]
    for section, cls in SECTIONS.items():
        title = f"`[{section}]`" if section else "Top level"
        lines += ["", f"## {title}", "", "| setting | default | variable | flag | meaning |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for item in declared_in(cls, section):
            place = f"`{item.environment}` | `{item.flag}`"
            lines.append(
                f"| `{item.path}` | {_default(item.default)} | {place} | "
                f"{item.doc}{_bounds(item.minimum, item.maximum)} |"
            )
    for array, cls in TABLES.items():
        lines += ["", f"## `[[{array}]]`", "", "In `twofold.toml` alone, as often as needed."]
        lines += ["", "| setting | default | meaning |", "| --- | --- | --- |"]
        for item in declared_in(cls, array):
            default = "none" if item.default is REQUIRED else _default(item.default)
            lines.append(
                f"| `{item.path}` | {default} | {item.doc}{_bounds(item.minimum, item.maximum)} |"
            )
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    shown = "[]" if value == () else repr(value)
    return f"`{shown}`".replace("'", '"')


def _bounds(minimum: float | None, maximum: float | None) -> str:
    if minimum is None and maximum is None:
        return ""
    if maximum is None:
        return f" At least {minimum:g}."
    return f" {minimum or 0:g} to {maximum:,.10g}."


def command_page() -> str:
    """The page of all commands."""
    lines = ["# Commands", "", *_exit_codes()]
    context = click.Context(main, info_name="twofold", **main.context_settings)
    for name in main.list_commands(context):
        lines += _command(context, name, main.get_command(context, name))
    return "\n".join(lines) + "\n"


def _exit_codes() -> list[str]:
    return [
        "Results go to stdout, progress and errors to stderr. Every command takes `--json`.",
        "",
        "| exit code | meaning |",
        "| --- | --- |",
        "| 0 | done |",
        "| 1 | failed |",
        "| 2 | wrong usage |",
        "| 3 | error budget exceeded, nothing committed; or a gate shut, nothing published |",
        "| 4 | commit unknown: look at the output before any retry |",
        "| 5 | another process holds the lease of this run, or publishes this model |",
    ]


def _command(parent: click.Context, name: str, command: click.Command | None) -> list[str]:
    if command is None:
        return []
    context = click.Context(command, info_name=name, parent=parent)
    if isinstance(command, click.Group):
        lines: list[str] = []
        for child in command.list_commands(context):
            lines += _command(context, child, command.get_command(context, child))
        return lines
    usage = " ".join(command.collect_usage_pieces(context))
    lines = ["", f"## `{context.command_path}`", "", "```text", f"{context.command_path} {usage}"]
    lines += ["```", "", _prose(command.help or ""), ""]
    lines += ["| option | meaning |", "| --- | --- |"]
    for option in command.get_params(context):
        if isinstance(option, click.Option) and (record := option.get_help_record(context)):
            flags, text = (part.replace("|", "\\|") for part in record)
            lines.append(f"| `{flags}` | {text} |")
    return lines


def _prose(text: str) -> str:
    return " ".join(text.split())


def pages() -> dict[str, str]:
    """The reference pages: file name to text."""
    return {"settings.md": settings_page(), "commands.md": command_page()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
