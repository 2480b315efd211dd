"""`twofold pack`, `models`, `alias`, `predict`, `verify`."""

from __future__ import annotations

from typing import Any, get_args

import click
import msgspec
from rich.table import Table

from twofold.cli.common import (
    command,
    data,
    json_option,
    print_json,
    print_result,
    registry_option,
    settings_from,
    talk,
)
from twofold.errors import InvalidInput
from twofold.model.kernel import kernel
from twofold.model.record import Candidate, ModelVersion, RuntimeName
from twofold.model.registry import Registry
from twofold.model.signature import Field, FieldType

MAX_SHOWN_CATEGORIES = 4
MILLISECOND_S = 1e-3
MICROSECONDS = 1e6
FEW = 10
NO_KERNEL = (
    "the native kernel was not built here: models run in other runtimes, slower. Install a wheel, "
    "or a C compiler and then twofold again."
)


@click.command()
@click.argument("model_file")
@click.option("--name", required=True, help="The model's name in the registry.")
@click.option(
    "--sample",
    required=True,
    metavar="FILE",
    help="Rows like those to be predicted: .parquet, .csv or .arrow.",
)
@click.option("--drop", multiple=True, metavar="COL", help="A column that is not an input.")
@click.option(
    "--output",
    type=click.Choice(["probability", "label", "value"]),
    help="What to predict.  [default: a classifier's probability, else the value]",
)
@click.option(
    "--type", "types", multiple=True, metavar="COL=TYPE", help="A field's type, declared."
)
@click.option("--nullable", multiple=True, metavar="COL", help="A field that may be null.")
@click.option(
    "--unknown-categories",
    type=click.Choice(["refuse", "allow"]),
    default="refuse",
    show_default=True,
    help="What happens to strings that the sample does not show.",
)
@click.option(
    "--extra-fields",
    type=click.Choice(["refuse", "ignore"]),
    default="refuse",
    show_default=True,
    help="What happens to fields that are none of the model's.",
)
@click.option("--batch-wise", is_flag=True, help="The Python callable takes a whole table.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1e-5,
    show_default=True,
    help="Largest difference from the original admitted.",
)
@click.option(
    "--runtime",
    type=click.Choice(get_args(RuntimeName)),
    help="The runtime to use.  [default: the fastest of those that are proven]",
)
@click.option("--trust-pickle", is_flag=True, help="Loading the version may run a pickle.")
@registry_option
@json_option
@command
def pack(model_file: str, registry: str | None, as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Pack a model: signature, parity proof, a new version.

    MODEL_FILE is a scikit-learn .joblib, .pkl or .skops, a LightGBM .txt, an XGBoost .json or
    .ubj, an .onnx file, or a Python function as module:attribute.
    """
    # Only packing needs the readers and converters of model files.
    from twofold.app.pack import pack as pack_model  # noqa: PLC0415

    options["types"] = _types(options["types"])
    options["call"] = "batch" if options.pop("batch_wise") else "row"
    root = settings_from({"registry": registry}).registry
    with talk().status("packing") as status:
        predictor = pack_model(
            model_file,
            registry=root,
            say=lambda step: status.update(f"packing: {step}"),
            **options,
        )
    record = predictor.record
    if as_json:
        print_json(record)
        return
    talk().print(f"packed {record.name}@{record.version} in {root}")
    show_version(record)


def _types(given: tuple[str, ...]) -> dict[str, str]:
    types: dict[str, str] = {}
    for item in given:
        name, equals, kind = item.partition("=")
        if not equals or kind not in get_args(FieldType):
            known = ", ".join(get_args(FieldType))
            raise click.UsageError(f"--type {item}: expected COL=TYPE with a type of {known}.")
        types[name] = kind
    return types


@click.command()
@click.argument("model", required=False, metavar="[NAME[@VERSION]]")
@registry_option
@json_option
@command
def models(model: str | None, registry: str | None, as_json: bool) -> None:  # noqa: FBT001
    """List the models, or show one: signature, runtimes, parity, timings."""
    opened = Registry(settings_from({"registry": registry}).registry)
    if kernel() is None:
        talk().print(NO_KERNEL)
    if model is not None:
        found = opened.resolve(model)
        record = opened.read(found.name, found.version or "")
        if as_json:
            print_json(record)
        else:
            show_version(record)
        return
    listed = [
        (opened.read(name, version), _aliases_of(opened, name, version))
        for name in opened.names()
        for version in opened.versions(name)
    ]
    if as_json:
        print_json([_summary(record, aliases) for record, aliases in listed])
        return
    if not listed:
        talk().print(f"no models in {opened.root}; pack one with `twofold pack`")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("model", "version", "aliases", "framework", "batch", "real time", "created"):
        table.add_column(title)
    for record, aliases in listed:
        table.add_row(
            record.name,
            record.version,
            ", ".join(aliases),
            record.framework,
            record.runtimes.batch,
            record.runtimes.real_time,
            record.created_at[:19],
        )
    data.print(table)


def _aliases_of(registry: Registry, name: str, version: str) -> list[str]:
    aliases = registry.aliases(name)
    return sorted(alias for alias, target in aliases.items() if target == version)


def _summary(record: ModelVersion, aliases: list[str]) -> dict[str, Any]:
    return {
        "name": record.name,
        "version": record.version,
        "aliases": aliases,
        "digest": record.digest,
        "framework": record.framework,
        "runtimes": record.runtimes,
        "created_at": record.created_at,
    }


def show_version(record: ModelVersion) -> None:
    """Print one version for people."""
    data.print(
        f"{record.name}@{record.version}  {record.framework}  "
        f"packed {record.created_at[:19]} UTC  digest {record.digest[:12]}"
    )
    libraries = ", ".join(f"{name} {version}" for name, version in record.libraries.items())
    data.print(f"made with {libraries or 'Python alone'}\n")
    fields = Table(box=None, pad_edge=False, title="inputs", title_justify="left")
    for title in ("field", "type", "null", "values"):
        fields.add_column(title)
    for field in record.signature.fields:
        nullable = "yes" if field.nullable else "no"
        fields.add_row(field.name, field.type, nullable, _values(field))
    data.print(fields)
    if record.signature.ignored:
        data.print(f"ignored when sent: {', '.join(record.signature.ignored)}")
    output = record.output
    data.print(f"\noutput: {output.kind} ({output.type}): {', '.join(output.names)}\n")
    data.print(runtimes_table(record))
    parity = record.parity
    data.print(
        f"parity checked on {parity.sample_rows} sample rows and {parity.edge_rows} edge rows; "
        "batch and real time give equal bits"
    )


def _values(field: Field) -> str:
    if field.categories is None:
        return ""
    shown = ", ".join(field.categories[:MAX_SHOWN_CATEGORIES])
    more = len(field.categories) - MAX_SHOWN_CATEGORIES
    tail = f", {more} more" if more > 0 else ""
    return shown + tail + (" (others allowed)" if field.unknown_categories == "allow" else "")


def runtimes_table(record: ModelVersion) -> Table:
    """The runtimes tried: what was proven, how fast they are, which are used."""
    table = Table(box=None, pad_edge=False, title="runtimes", title_justify="left")
    table.add_column("runtime")
    table.add_column("used for")
    table.add_column("one row", justify="right")
    table.add_column("rows/s", justify="right")
    table.add_column("parity with the original")
    for candidate in record.parity.candidates:
        modes = {"batch": record.runtimes.batch, "real time": record.runtimes.real_time}
        used = [mode for mode, runtime in modes.items() if runtime == candidate.runtime]
        table.add_row(
            candidate.runtime,
            ", ".join(used),
            _time(candidate.one_row_s),
            f"{candidate.batch_rows_per_s:,.0f}" if candidate.batch_rows_per_s else "",
            _verdict(candidate),
        )
    return table


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < MILLISECOND_S:
        digits = 1 if seconds * MICROSECONDS < FEW else 0
        return f"{seconds * MICROSECONDS:,.{digits}f} µs"
    return f"{seconds * 1e3:,.1f} ms"


def _verdict(candidate: Candidate) -> str:
    return candidate.reason if candidate.passed else f"not used: {candidate.reason}"


@click.command()
@click.argument("name")
@click.argument("alias_name", metavar="ALIAS")
@click.argument("version")
@registry_option
@json_option
@command
def alias(name: str, alias_name: str, version: str, registry: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Point ALIAS of the model NAME at VERSION; `champion` is the default of `NAME` alone."""
    opened = Registry(settings_from({"registry": registry}).registry)
    opened.set_alias(name, alias_name, version)
    if as_json:
        print_json({"name": name, "aliases": opened.aliases(name)})
    else:
        talk().print(f"{name}:{alias_name} is now version {version}")


@click.command()
@click.argument("model")
@click.option("--row", required=True, metavar="JSON", help="The row: an object or a list.")
@registry_option
@json_option
@command
def predict(model: str, row: str, registry: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Predict one row with MODEL (NAME, NAME@VERSION or NAME:ALIAS)."""
    from twofold.app.load import load  # noqa: PLC0415 - the numeric libraries

    try:
        values = msgspec.json.decode(row)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise click.UsageError(f"--row: expected JSON, got {error}.") from error
    if not isinstance(values, (dict, list)):
        raise InvalidInput(
            f"--row: expected an object or a list, got {row[:60]}. "
            "Send the fields of one row by name."
        )
    predictor = load(model, registry=settings_from({"registry": registry}).registry)
    prediction = predictor.predict_one(values)
    if as_json:
        print_json(
            {
                "prediction": prediction,
                "model": predictor.name,
                "version": predictor.version,
                "source": "live",
            }
        )
    else:
        is_plain = not isinstance(prediction, dict)
        print_result(str(prediction) if is_plain else msgspec.json.encode(prediction).decode())


@click.command()
@click.argument("model")
@click.argument("input_file", metavar="INPUT")
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Rows compared, spread over the first 100,000 of the input.",
)
@click.option(
    "--in-process", is_flag=True, help="Leave the batch run, the snapshot and the server out."
)
@registry_option
@json_option
@command
def verify(
    model: str,
    input_file: str,
    rows: int,
    in_process: bool,  # noqa: FBT001
    registry: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Prove parity on your own data: batch and real time, bit for bit, and the original.

    In this process, and from end to end: a batch run of the rows, a snapshot of it, and
    a server that is asked by row and by key.
    """
    from twofold.app.verify import verify as verify_rows  # noqa: PLC0415 - the numeric libraries

    root = settings_from({"registry": registry}).registry
    report = verify_rows(model, input_file, registry=root, max_rows=rows, end_to_end=not in_process)
    if as_json:
        print_json(report)
    else:
        print_result(report.text())
    if not report.passed:
        raise SystemExit(1)
