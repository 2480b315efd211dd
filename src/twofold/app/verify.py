"""Proving parity on one's own rows: batch, real time and the original, compared.

In process, and from end to end: see `verify_paths`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from twofold.app.verify_paths import Way, verify_paths
from twofold.errors import InvalidInput
from twofold.model import arrow
from twofold.model.columns import check_columns, check_names
from twofold.model.record import ModelVersion
from twofold.model.registry import Registry
from twofold.model.rows import check_row
from twofold.model.tables import is_csv, one_batch, sample_table, text_table
from twofold.predictor.door import Door
from twofold.predictor.load import open_version
from twofold.predictor.parity import compare, same_bits
from twofold.predictor.runtimes import open_runtime
from twofold.predictor.split import predict_apart

MAX_SHOWN = 3


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, and what disagreed.

    Attributes:
        model: Name and version.
        rows: Rows compared at both speeds.
        refused: Rows that don't fit the signature, or on which the model fails, at either speed.
        passed: Nothing disagreed.
        speeds: Rows whose bits differ between batch and real time.
        original: How the predictions compare with the original library's.
        examples: The first disagreements, readable.
        ways: The same from end to end: a batch run, a snapshot, a server; empty if left out.
    """

    model: str
    rows: int
    refused: int
    passed: bool
    speeds: int
    original: str
    examples: list[str]
    ways: list[Way] = []

    def text(self) -> str:
        """The report for people."""
        verdict = "equal bit for bit" if not self.speeds else f"{self.speeds} rows differ"
        lines = [
            f"{self.model}: {self.rows:,} rows compared, {self.refused:,} do not fit",
            f"batch and real time: {verdict}",
            f"original: {self.original}",
            *self.examples,
        ]
        for way in self.ways:
            verdict = "equal bit for bit" if not way.differing else f"{way.differing} rows differ"
            lines += [f"{way.name}: {way.rows:,} rows, {verdict}", *way.examples]
        return "\n".join(lines)


def verify(
    reference: str, path: str, *, registry: Path, max_rows: int, end_to_end: bool = True
) -> Report:
    """Predict rows of a file at both speeds and with the original, and compare.

    Args:
        reference: The model.
        path: A Parquet, CSV or Arrow file with the model's fields.
        registry: The registry's folder.
        max_rows: Rows compared, spread evenly over the file's first 100,000.
        end_to_end: Whether a batch run, a snapshot and a server are compared, too.

    Raises:
        InvalidInput: No row of the file fits the signature.
        ConfigError: The original can't be loaded here (its library, or an untrusted pickle).
    """
    opened = Registry(registry)
    found = opened.resolve(reference)
    record = opened.read(found.name, found.version or "")
    predictor = open_version(opened, record)
    from_text = is_csv(Path(path))
    table = text_table(Path(path)) if from_text else sample_table(path)
    names = list(record.signature.names)
    check_names(record.signature, table.column_names, where=path, besides=table.column_names)
    count = min(max_rows, table.num_rows)
    spread = np.unique(np.linspace(0, table.num_rows - 1, count).astype(np.int64))
    rows = one_batch(table.select(names).take(arrow.from_numbers(spread)))
    checked = check_columns(record.signature, rows, from_text=from_text)
    columns = checked.columns
    numbers = spread if checked.valid is None else spread[checked.valid]
    if not columns.num_rows:
        raise InvalidInput(f"{path}: {checked.problems[0].field}: {checked.problems[0].reason}")
    original = _original(opened, record)
    # What the model fails on is quarantined in batch and answered with its failure in real time.
    parts, failures = predict_apart(columns, predictor.batch_door.columns)
    if not parts:
        raise failures[0]
    predicted = np.ones(columns.num_rows, np.bool_)
    predicted[list(failures)] = False
    columns, numbers = arrow.filter_rows(columns, predicted), numbers[predicted]
    batch = [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
    difference = compare(
        original.columns(columns), batch, record.output, tolerance=record.parity.tolerance
    )
    differing: list[str] = []
    for index, row in enumerate(columns.to_pylist()):
        one = predictor.real_time_door.values(check_row(record.signature, row))
        many = [column[index : index + 1] for column in batch]
        if not all(same_bits(np.array([a], b.dtype), b) for a, b in zip(one, many, strict=True)):
            differing.append(f"row {numbers[index]}: {one} in real time, {many} in batch")
    passed = difference.passed and not differing
    # What differs in process needs no longer way to be found.
    ways = verify_paths(record, registry, columns, batch) if end_to_end and passed else []
    return Report(
        model=f"{record.name}@{record.version}",
        rows=columns.num_rows,
        refused=len(checked.problems) + len(failures),
        passed=passed and not any(way.differing for way in ways),
        speeds=len(differing),
        original=difference.reason,
        examples=differing[:MAX_SHOWN],
        ways=ways,
    )


def _original(opened: Registry, record: ModelVersion) -> Door:
    """The version as its own library predicts it."""
    artifact = record.artifacts["original"]
    opened.check_artifact(record, artifact)
    runtime = open_runtime(
        artifact,
        opened.folder(record.name, record.version),
        record.signature,
        record.output,
        trust_pickle=record.trust_pickle,
    )
    return Door(runtime, record.signature, record.output, rows_per_call=record.rows_per_call)
