"""What `twofold batch` shows of a run's statistics: warnings, the fields that drifted, a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from twofold.cli.common import F, data, talk

if TYPE_CHECKING:
    from twofold.batch.manifest import Manifest
    from twofold.batch.statistics import ColumnStatistics, Statistics

SHOWN_COLUMNS = 5
SHOWN_WARNINGS = 20


def _writable(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a place for the page before the run, not after it."""
    if path is not None and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"{path.parent} is no folder. Make it first.")
    return path


def html_option(*, required: bool = False) -> Callable[[F], F]:
    """The flag that names the page to write."""
    return click.option(
        "--html",
        required=required,
        type=click.Path(path_type=Path, dir_okay=False),
        callback=_writable,
        metavar="FILE",
        help="Write the run's report there, one page of HTML.",
    )


def write_html(manifest: Manifest, path: Path | None) -> None:
    """Write a run's page, if one was asked for."""
    from twofold.app.batch import write_report  # noqa: PLC0415 - heavy

    if path is not None:
        write_report(manifest, path)
        talk().print(f"report: {path}", soft_wrap=True)


def show_sight(manifest: Manifest) -> None:
    """Tell people of a run's warnings, and what drifted most; quiet where nobody looks."""
    statistics = manifest.statistics
    if statistics is None:
        return
    for warning in statistics.warnings[:SHOWN_WARNINGS]:
        talk().print(Text("warning: ", style="yellow") + Text(warning), soft_wrap=True)
    more = len(statistics.warnings) - SHOWN_WARNINGS
    if more > 0:
        talk().print(f"and {more} more warnings; see the manifest")
    drifted = [item for item in statistics.columns if item.psi is not None]
    if drifted and (statistics.warnings or talk().is_terminal):
        talk().print(_table(drifted[:SHOWN_COLUMNS]))


def print_statistics(statistics: Statistics) -> None:
    """Print a run's columns, those that drifted most first, its reasons and warnings."""
    data.print(_table(statistics.columns))
    for reason in statistics.quarantined:
        where = f"{reason.field}: " if reason.field else ""
        data.print(f"quarantined {reason.rows:,}: {where}{reason.reason}")
    for warning in statistics.warnings:
        data.print(f"warning: {warning}")


def _table(columns: list[ColumnStatistics]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("column", overflow="fold")
    for title in ("PSI", "by chance", "nulls", "in sample", "unseen", "mean", "in sample"):
        table.add_column(title, justify="right")
    for item in columns:
        table.add_row(
            Text(item.name),
            _shown(item.psi),
            _shown(item.psi_by_chance),
            f"{item.null_ratio:.2%}",
            f"{item.sample_null_ratio:.2%}" if item.sample_rows else "-",
            f"{item.unseen_ratio:.2%}",
            _shown(item.numbers.mean if item.numbers else None),
            _shown(item.sample_numbers.mean if item.sample_numbers else None),
        )
    return table


def _shown(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}"
