"""`twofold demo`."""

from __future__ import annotations

from pathlib import Path

import click

from twofold.cli.common import command, json_option, print_json

MILLION = 1_000_000


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("twofold-demo"),
    show_default=True,
    help="Where the demo keeps its files; it replaces those of an earlier demo.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1000),
    default=MILLION,
    show_default=True,
    help="Customers to predict in the batch.",
)
@click.option("--no-wait", is_flag=True, help="Stop the server at the end, also on a terminal.")
@json_option
@command
def demo(folder: Path, rows: int, no_wait: bool, as_json: bool) -> None:  # noqa: FBT001
    """Pack a churn model, predict a million customers, serve one, compare the bits."""
    from twofold.demo.run import run_demo  # noqa: PLC0415 - the numeric libraries

    report = run_demo(folder, rows=rows, wait=not no_wait and not as_json)
    if as_json:
        print_json(report)
