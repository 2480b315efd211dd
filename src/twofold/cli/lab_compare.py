"""`twofold lab compare`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twofold.cli.common import (
    command,
    data,
    json_option,
    print_json,
    registry_option,
    settings_from,
    talk,
)

if TYPE_CHECKING:
    from twofold.lab.compare_costs import Derived
    from twofold.lab.findings import Findings

MS = 1e-3


def _writable(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a place for a report before minutes of measuring, not after them."""
    if path is not None and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"{path.parent} is no folder. Make it first.")
    return path


def _report_option(name: str, what: str) -> Callable[[Any], Any]:
    return click.option(
        name,
        type=click.Path(path_type=Path, dir_okay=False),
        callback=_writable,
        metavar="FILE",
        help=what,
    )


@click.command()
@click.argument("model")
@click.argument("input_path", metavar="INPUT")
@click.option("--quick", is_flag=True, help="Within half a minute: rough figures.")
@_report_option("--html", "Write the report there, one page of HTML.")
@_report_option("--markdown", "Write the report there as Markdown.")
@click.option(
    "--cost-per-core-hour",
    type=click.FloatRange(min=0.0, max=1_000.0),
    default=0.04,
    show_default=True,
    metavar="COST",
    help="What a core costs in an hour, in any currency.",
)
@click.option(
    "--rows-per-day",
    type=click.IntRange(min=1, max=100_000_000_000),
    default=1_000_000,
    show_default=True,
    metavar="ROWS",
    help="Rows that could be asked for in a day, for the costs against freshness.",
)
@click.option(
    "--asked-ratio",
    type=click.FloatRange(min=0.0, max=1.0),
    default=0.1,
    show_default=True,
    metavar="SHARE",
    help="Which share of them is, once a day.",
)
@click.option(
    "--slo-ms",
    type=click.FloatRange(min=0.1, max=60_000.0),
    default=50.0,
    show_default=True,
    metavar="MS",
    help="What 99 of 100 answers may take, in milliseconds.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0, max=256),
    default=0,
    metavar="N",
    help="Processes of the server; 0 means one per core.  [default: 0]",
)
@click.option(
    "--key",
    metavar="COL",
    help="The input's key column, for stored answers; without one, rows get their number.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep runs and snapshots there, in a new or empty folder; else they are removed.",
)
@registry_option
@json_option
@command
def compare(model: str, input_path: str, as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Measure batch, real-time and stored answers of MODEL over INPUT, side by side.

    INPUT is a file, a folder or a glob, as of `twofold batch run`. Runs and a server
    are started as whole processes in a folder of their own, on this machine, with
    default settings. It takes three minutes at most, unless the runs are long. The
    JSON is what `twofold lab advise` reads.
    """
    from twofold.app.compare.report import write_reports  # noqa: PLC0415 - heavy
    from twofold.app.compare.run import CompareRequest, compare  # noqa: PLC0415
    from twofold.lab.compare_costs import Assumed, derive  # noqa: PLC0415

    settings = settings_from({"registry": options["registry"]})
    request = CompareRequest(
        model=model,
        input=input_path,
        registry=settings.registry,
        slo_s=options["slo_ms"] * MS,
        workers=options["workers"],
        key=options["key"],
        is_quick=options["quick"],
        keep=options["keep"],
    )
    with _progress(f"comparing {model}") as say:
        found = compare(request, say)
    assumed = Assumed(
        cost_per_core_hour=options["cost_per_core_hour"],
        rows_per_day=options["rows_per_day"],
        asked_ratio=options["asked_ratio"],
    )
    derived = derive(found, assumed)
    write_reports(found, derived, html=options["html"], markdown=options["markdown"])
    if as_json:
        print_json(found)
    else:
        _show(found, derived)
    for path in (options["html"], options["markdown"]):
        if path is not None:
            talk().print(f"report: {path}", soft_wrap=True)


def _show(found: Findings, derived: Derived) -> None:
    """Print the modes side by side."""
    from rich.table import Table  # noqa: PLC0415 - slow to import
    from rich.text import Text  # noqa: PLC0415

    from twofold.lab.compare_tables import (  # noqa: PLC0415
        batch_split,
        break_evens,
        overhead,
        side_by_side,
    )

    sides = side_by_side(found, derived)
    for shown in (sides, batch_split(found), overhead(found), break_evens(derived)):
        table = Table(box=None, pad_edge=False, title=shown.title, title_justify="left")
        for head in shown.heads:
            table.add_column(head, overflow="fold")
        for row in shown.rows:
            table.add_row(*map(Text, row))
        data.print(table)
        data.print("")
    for note in found.notes:
        talk().print(f"note: {note}", soft_wrap=True)


@contextlib.contextmanager
def _progress(title: str) -> Generator[Callable[[str, float], None]]:
    """Show what is being measured: a bar on a terminal; elsewhere a line for each step."""
    from rich.progress import (  # noqa: PLC0415 - slow to import
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
    )
    before = ""
    with Progress(*columns, console=talk(), disable=not talk().is_terminal) as bar:
        task = bar.add_task(title, total=1.0)

        def say(words: str, share: float) -> None:
            nonlocal before
            bar.update(task, description=words, completed=share)
            if words != before and not talk().is_terminal:
                talk().print(words, soft_wrap=True)
            before = words

        yield say
