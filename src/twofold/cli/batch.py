"""`twofold batch run`, `resume`, `deliver`, `quarantine`, `repair`, `report`, `list`, `status`."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from twofold.batch.settings import BatchSettings
from twofold.cli.common import (
    command,
    data,
    flags_of,
    json_option,
    print_json,
    print_result,
    registry_option,
    settings_flags,
    settings_from,
    store_option,
    talk,
)
from twofold.cli.sight import html_option, print_statistics, show_sight, write_html
from twofold.cli.snapshot import show_published
from twofold.errors import InvalidInput, TwofoldError, problem

if TYPE_CHECKING:
    from twofold.app.batch import RunResult, RunStatus
    from twofold.app.settings import Settings
    from twofold.app.snapshot import PublishResult
    from twofold.batch.watch import Progress as RunProgress

output_option = click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder the run is committed to, as DIR/RUN_ID.",
)

INTO = (
    "delta:PATH, postgresql://USER@HOST/DB?table=NAME, sqlite:FILE?table=NAME, "
    "duckdb:FILE?table=NAME, or s3://, gs:// or az://BUCKET/FOLDER."
)


publish_option = click.option(
    "--publish",
    is_flag=True,
    help="Publish the committed run, as `twofold snapshot publish` does: from then on its "
    "predictions are read by key.",
)
features_option = click.option(
    "--with-features",
    is_flag=True,
    help="Publish the model's fields, too, for live predictions of rows that changed a little.",
)


@dataclasses.dataclass(frozen=True)
class Publish:
    """How a committed run is published."""

    settings: Settings
    with_features: bool = False

    def do(self, result: RunResult) -> PublishResult:
        """Publish it.

        Raises:
            TwofoldError: It isn't published; the message says that it is committed all the same.
        """
        from twofold.app.snapshot import publish_run  # noqa: PLC0415 - heavy

        try:
            return publish_run(result.folder, self.settings, with_features=self.with_features)
        except TwofoldError as error:
            done = f"the run is committed to {result.folder}, but couldn't be published"
            error.args = (f"{done}. {error}", *error.args[1:])
            raise


@click.group()
def batch() -> None:
    """Predict many rows, from files to files: all of them or none, resumable."""


@batch.command()
@click.argument("model")
@click.argument("input_path", metavar="INPUT")
@output_option
@click.option("--key", metavar="COL", help="Column that identifies a row.")
@click.option("--keep", multiple=True, metavar="COL", help="Column to pass through.")
@click.option("--keep-features", is_flag=True, help="Pass all fields of the model through.")
@click.option(
    "--format",
    "part_format",
    type=click.Choice(["parquet", "csv", "arrow"]),
    default="parquet",
    show_default=True,
    help="Of the files written.",
)
@click.option("--query", metavar="SQL", help="What to ask INPUT, if it is a database.")
@click.option(
    "--into",
    multiple=True,
    metavar="TARGET",
    help=f"Where else the committed run goes; may be given several times: {INTO}",
)
@click.option(
    "--run-id",
    metavar="ID",
    help="The run's name.  [default: made from the model and --as-of, or from the time]",
)
@click.option(
    "--as-of",
    metavar="DATE",
    help="What the run is about: a day, beginning in UTC, or an instant with its offset. "
    "INPUT, --output, --query and --into may have {date}, or {date:%Y/%m/%d}, in the place of "
    "this day.",
)
@publish_option
@features_option
@html_option()
@settings_flags("batch", BatchSettings)
@registry_option
@store_option
@json_option
@command
def run(model: str, input_path: str, as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Predict every row of INPUT with MODEL and commit the predictions.

    INPUT is a Parquet, CSV, JSON Lines or Arrow file, a folder of such files, or a
    glob, on disk or as s3://, gs:// or az://BUCKET/...; a Delta table
    (delta:PATH@VERSION, or the path alone for its newest version); or a database
    (postgresql://USER@HOST/DB, sqlite:FILE, duckdb:FILE) with a --query. The same
    INPUT and --run-id after an interruption resume the run, and its deliveries.
    """
    from twofold.app.batch import RunRequest, Watch, dated, run_batch  # noqa: PLC0415 - heavy

    flags = flags_of("batch", BatchSettings, options)
    named = {"registry": options["registry"], "store": options["store"]}
    settings = settings_from({**named, **flags})
    with_features = options["with_features"]
    if (options["publish"] or with_features) and options["key"] is None:
        # Before the run, which may take hours.
        raise click.UsageError("a run is published by key: name its column with --key COL.")
    request = RunRequest(
        model=model,
        input=input_path,
        registry=settings.registry,
        output=options["output"],
        key=options["key"],
        keep=options["keep"],
        keep_features=options["keep_features"] or with_features,
        format=options["part_format"],
        run_id=options["run_id"],
        query=options["query"],
        into=options["into"],
    )
    if options["as_of"] is not None:
        request = dated(request, options["as_of"])
    with progress_bar(f"predicting with {model}") as show:
        result = run_batch(request, settings=settings.batch, watch=Watch(progress=show))
    publish = Publish(settings, with_features) if options["publish"] or with_features else None
    _show_all(result, options["html"], publish, as_json=as_json)


@batch.command()
@click.argument("run_id")
@output_option
@publish_option
@features_option
@html_option()
@settings_flags("batch", BatchSettings, without="partition_rows")
@store_option
@json_option
@command
def resume(run_id: str, output: Path, as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Go on with an interrupted run, with its own model, input and partition size.

    Of a committed run, finish the deliveries it was started with.
    """
    from twofold.app.batch import Watch, resume_run  # noqa: PLC0415 - heavy

    flags = flags_of("batch", BatchSettings, options)
    settings = settings_from({"store": options["store"], **flags})
    with progress_bar(f"resuming {run_id}") as show:
        result = resume_run(output, run_id, settings=settings.batch, watch=Watch(progress=show))
    with_features = options["with_features"]
    publish = Publish(settings, with_features) if options["publish"] or with_features else None
    _show_all(result, options["html"], publish, as_json=as_json)


@batch.command()
@click.argument("run_id")
@output_option
@click.option(
    "--into",
    multiple=True,
    metavar="TARGET",
    help=f"Where to; may be given several times: {INTO}  [default: where the run was to go]",
)
@json_option
@command
def deliver(run_id: str, output: Path, into: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """Bring a committed run to a table or an object store, once however often asked.

    A run that was repaired since takes the place of what was delivered of it.
    """
    from twofold.app.batch import Watch, deliver_run  # noqa: PLC0415 - heavy

    with progress_bar(f"delivering {run_id}") as show:
        result = deliver_run(output, run_id, into, watch=Watch(progress=show))
    _show_result(result, as_json=as_json)


@batch.command()
@click.argument("run_id")
@output_option
@html_option(required=True)
@json_option
@command
def report(run_id: str, output: Path, html: Path, as_json: bool) -> None:  # noqa: FBT001
    """Write the report of a committed run, one page of HTML."""
    from twofold.app.batch import run_status  # noqa: PLC0415 - heavy

    found = run_status(output, run_id)
    if found.manifest is None:
        fix = "Finish it with `twofold batch resume`."
        raise InvalidInput(problem(run_id, "a committed run", f"one {found.phase}", fix))
    write_html(found.manifest, html)
    if as_json:
        print_json({"file": str(html)})


@batch.command()
@click.argument("run_id")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@output_option
@registry_option
@json_option
@command
def quarantine(run_id: str, file: Path, output: Path, registry: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Write the rows that a run set aside to FILE, as its input has them, to be mended.

    FILE ends in .parquet, .csv, .jsonl or .arrow. Before the input's columns it has
    each row's number (row) and what is wrong (field, reason). Mend the rows and give
    the file to `twofold batch repair`.
    """
    from twofold.app.batch import ExportRequest, export_quarantine  # noqa: PLC0415 - heavy

    settings = settings_from({"registry": registry})
    request = ExportRequest(output=output, run_id=run_id, file=file)
    rows = export_quarantine(request, registry=settings.registry, settings=settings.batch)
    if as_json:
        print_json({"file": str(file), "rows": rows})
        return
    then = f"twofold batch repair {run_id} {file} --output {output}"
    talk().print(f"{rows:,} rows to mend; then: {then}", soft_wrap=True)
    print_result(str(file))


@batch.command()
@click.argument("run_id")
@click.argument("input_path", metavar="INPUT")
@output_option
@registry_option
@json_option
@command
def repair(run_id: str, input_path: str, output: Path, registry: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Predict mended rows of a run's quarantine and put them into their places.

    INPUT has the mended rows, with their numbers in a column `row`, as in the
    quarantine. Rows that are still bad stay there.
    """
    from twofold.app.batch import RepairRequest, Watch, repair_run  # noqa: PLC0415 - heavy

    settings = settings_from({"registry": registry})
    request = RepairRequest(
        input=input_path, output=output, run_id=run_id, registry=settings.registry
    )
    with progress_bar(f"repairing {run_id}") as show:
        result = repair_run(request, settings=settings.batch, watch=Watch(progress=show))
    last = result.manifest.repairs[-1]
    mended = f"{last.rows_predicted:,} of {last.rows_in:,} mended rows predicted"
    _show_result(result, mended, as_json=as_json)
    if result.manifest.into:
        again = shlex.join(["twofold", "batch", "deliver", run_id, "--output", str(output)])
        into = ", ".join(result.manifest.into)
        talk().print(f"what was delivered to {into} isn't repaired yet: {again}", soft_wrap=True)


@batch.command("list")
@output_option
@json_option
@command
def list_(output: Path, as_json: bool) -> None:  # noqa: FBT001
    """List the runs of an output folder."""
    from twofold.app.batch import list_runs  # noqa: PLC0415 - heavy

    runs = list_runs(output)
    if as_json:
        print_json([summary(status) for status in runs])
        return
    if not runs:
        talk().print(f"no runs in {output}")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("run", "state", "model", "started", "rows", "quarantined"):
        table.add_column(title)
    for status in runs:
        started = status.started_at.strftime("%Y-%m-%d %H:%M:%S")
        rows = f"{status.rows_done:,}"
        quarantined = f"{status.rows_quarantined:,}"
        table.add_row(status.run_id, str(status.phase), status.model, started, rows, quarantined)
    data.print(table)


@batch.command()
@click.argument("run_id")
@output_option
@json_option
@command
def status(run_id: str, output: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show one run: how far it is, or its manifest."""
    from twofold.app.batch import run_status  # noqa: PLC0415 - heavy

    found = run_status(output, run_id)
    if as_json:
        print_json(summary(found))
        return
    total = "" if found.rows_total is None else f" of {found.rows_total:,}"
    data.print(f"{found.run_id}  {found.phase}  {found.model}")
    data.print(f"rows {found.rows_done:,}{total}, quarantined {found.rows_quarantined:,}")
    data.print(f"in {found.folder}")
    for target in found.into:
        data.print(f"to be delivered to {target}")
    if found.manifest and found.manifest.statistics:
        print_statistics(found.manifest.statistics)


def summary(status: RunStatus) -> dict[str, Any]:
    """One run, for machines."""
    return {
        "run_id": status.run_id,
        "state": str(status.phase),
        "folder": str(status.folder),
        "model": status.model,
        "started_at": status.started_at,
        "rows_done": status.rows_done,
        "rows_total": status.rows_total,
        "rows_quarantined": status.rows_quarantined,
        "into": status.into,
        "manifest": status.manifest,
    }


def _show_all(
    result: RunResult, html: Path | None, publish: Publish | None, *, as_json: bool
) -> None:
    """Say that a run is committed, what is seen of it, and publish it."""
    if not as_json:
        _show_result(result, as_json=False)
    show_sight(result.manifest)
    write_html(result.manifest, html)
    published = publish.do(result) if publish else None
    if as_json:
        _show_result(result, published=published, as_json=True)
    elif published is not None:
        show_published(published, as_json=False)


def _show_result(
    result: RunResult,
    done: str = "",
    *,
    published: PublishResult | None = None,
    as_json: bool,
) -> None:
    """Say what a command did: by default, that it ran."""
    manifest = result.manifest
    if as_json:
        print_json(
            {
                "state": str(result.state),
                "folder": str(result.folder),
                "elapsed_s": result.elapsed_s,
                "rows_resumed": result.rows_resumed,
                "deliveries": [dataclasses.asdict(done) for done in result.deliveries],
                "published": None
                if published is None
                else {"state": str(published.state), "snapshot": published.snapshot},
                "manifest": msgspec.to_builtins(manifest),
            }
        )
        return
    resumed = (
        f", {result.rows_resumed:,} of them by earlier attempts" if result.rows_resumed else ""
    )
    done = done or (f"{manifest.rows_predicted:,} of {manifest.rows_in:,} rows predicted{resumed}")
    talk().print(
        f"{result.state}: {done}, {manifest.rows_quarantined:,} quarantined, "
        f"in {result.elapsed_s:.1f} s",
        soft_wrap=True,
    )
    for delivery in result.deliveries:
        talk().print(f"{delivery.state}: {delivery.rows:,} rows, {delivery.target}", soft_wrap=True)
    print_result(str(result.folder))


class _Rate(ProgressColumn):
    """Rows a second, and rows set aside if there are any."""

    def render(self, task: Task) -> Text:
        rate = task.fields.get("rows_per_s") or 0.0
        quarantined = task.fields.get("rows_quarantined") or 0
        text = f"{task.completed:,.0f} rows  {rate:,.0f} rows/s"
        return Text(text + (f"  {quarantined:,} quarantined" if quarantined else ""))


@contextlib.contextmanager
def progress_bar(title: str) -> Generator[Callable[[RunProgress], None]]:
    """Show a run's progress on a terminal; elsewhere nothing is drawn."""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=talk(),
        disable=not talk().is_terminal,
    )
    with bar:
        task = bar.add_task(title, total=None)

        def show(progress: RunProgress) -> None:
            bar.update(
                task,
                description=f"delivering to {progress.target}" if progress.target else title,
                total=progress.rows_total,
                completed=progress.rows_done,
                rows_per_s=progress.rows_per_s,
                rows_quarantined=progress.rows_quarantined,
            )

        yield show
