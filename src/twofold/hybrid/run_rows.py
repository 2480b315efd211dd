"""The rows of a committed run, as a store takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from twofold.batch.committed import Committed
from twofold.batch.layout import CONSTANTS
from twofold.batch.manifest import Manifest
from twofold.batch.part_files import part_format
from twofold.errors import InvalidInput, TwofoldError, problem
from twofold.model.columns import check_columns
from twofold.model.signature import OutputType, Signature
from twofold.stores.store import Rows

INSTANT = pa.timestamp("us", "UTC")
TEXT_FORMAT = "csv"
"""The format of inputs whose columns are kept as the text that they are."""


def output_names(manifest: Manifest) -> tuple[str, ...]:
    """The columns of a run that are predictions."""
    passed = {manifest.key, *manifest.keep, *CONSTANTS}
    return tuple(column.name for column in manifest.columns if column.name not in passed)


def check_publishable(manifest: Manifest, features: Sequence[str]) -> None:
    """Check that a run can be read by key.

    Args:
        manifest: The run's.
        features: Fields that are wanted beside the predictions.

    Raises:
        InvalidInput: It can't; the message says how to run it so that it can.
    """
    where = manifest.run_id
    if manifest.key is None:
        fix = "Run it again with --key COL, and another --run-id."
        raise InvalidInput(problem(where, "a run with a key", "one without", fix))
    if part_format(manifest.settings.format).read is None:
        fix = "Run it again with --format parquet, and another --run-id."
        got = f"{manifest.settings.format}, which doesn't say its types"
        raise InvalidInput(problem(where, "parts of Parquet or Arrow", got, fix))
    columns = {manifest.key, *manifest.keep}
    missing = [name for name in features if name not in columns]
    if missing:
        shown = ", ".join(repr(name) for name in missing[:5])
        fix = "Run it again with --keep-features, and another --run-id."
        raise InvalidInput(
            problem(where, "every field among the kept columns", f"none of {shown}", fix)
        )


def output_type(column: pa.Field) -> OutputType:
    """The type of a prediction, from its column.

    Raises:
        InvalidInput: It has none of these types.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        return "float32" if kind == pa.float32() else "float64"
    if pa.types.is_integer(kind):
        return "int64"
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string"
    fix = "Publish a run of a model that predicts numbers, booleans or labels."
    raise InvalidInput(problem(column.name, "a prediction", str(kind), fix))


def run_rows(
    run: Committed, outputs: Sequence[str], kind: OutputType, features: Signature | None
) -> Iterator[Rows]:
    """Read a committed run, a part at a time, each part's checksum compared with the manifest.

    Args:
        run: The run.
        outputs: Its predictions.
        kind: Their type.
        features: The model's signature, whose fields are published in their canonical types, too.

    Raises:
        InvalidInput: A key is null, or of a type that no key can have.
        TwofoldError: A part isn't as it was written.
    """
    type_of = {"string": pa.string(), "bool": pa.bool_(), "int64": pa.int64()}
    wanted = type_of.get(kind, pa.float64())
    for table in run.tables():
        for batch in table.combine_chunks().to_batches():
            predictions = tuple(batch.column(name).cast(wanted) for name in outputs)
            yield Rows(
                _keys(run.manifest, batch),
                predictions,
                batch.column(CONSTANTS[2]).cast(INSTANT),
                None if features is None else _features(run.manifest, features, batch),
            )


def _features(manifest: Manifest, signature: Signature, batch: pa.RecordBatch) -> pa.RecordBatch:
    """What the model was given: the fields as the run kept them, made canonical once more."""
    kept = batch.select(list(signature.names))
    checked = check_columns(signature, kept, from_text=manifest.input.format == TEXT_FORMAT)
    if checked.problems:
        first = checked.problems[0]
        where = f"{manifest.run_id}: {first.field}"
        raise TwofoldError(problem(where, first.expected, first.got, "Run it again."))
    return checked.columns


def _keys(manifest: Manifest, batch: pa.RecordBatch) -> pa.Array:
    name = manifest.key or ""
    column = batch.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        fix = "Give every row a key, and run it again."
        got = f"{column.null_count} nulls in one part"
        raise InvalidInput(problem(name, "a key in every row", got, fix))
    kind = column.type
    if pa.types.is_integer(kind):
        column = column.cast(pa.string())
    elif not (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or kind == pa.string_view()
    ):
        fix = "Run it with a key of text or whole numbers."
        raise InvalidInput(problem(name, "a key of text or whole numbers", str(kind), fix))
    return column.cast(pa.large_binary())
