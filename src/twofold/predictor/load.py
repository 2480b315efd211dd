"""Loading a version: digests checked, runtimes opened, the sample predicted at both speeds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from twofold.errors import ConfigError, problem
from twofold.model.arrow import bits, numbers
from twofold.model.record import ModelVersion, RuntimeName
from twofold.model.registry import Registry
from twofold.model.rows import check_row
from twofold.model.tables import one_batch
from twofold.predictor.door import Predictor
from twofold.predictor.parity import compare, same_bits
from twofold.predictor.runtime import Runtime
from twofold.predictor.runtimes import open_runtime

SELF_TEST_ROWS = 16
"""Rows of the sample that are predicted at both speeds whenever a version is loaded."""

EXPECTED = "twofold:"
"""Prefix of the columns of `sample.arrow` that hold the original's predictions."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """Canonical rows, and the original's predictions for them, one column per output."""

    rows: pa.RecordBatch
    expected: pa.RecordBatch

    def first(self, count: int) -> Sample:
        """The first rows only."""
        return Sample(self.rows.slice(0, count), self.expected.slice(0, count))


def load(reference: str, *, registry: Path | str = "registry") -> Predictor:
    """Load a version of a model.

    Args:
        reference: `churn` (alias champion, else the newest), `churn@3` or `churn:canary`.
        registry: The registry's folder.

    Returns:
        The version's door, warmed up and self-tested.

    Raises:
        UnknownModel: No such model, version or alias.
        ConfigError: A file was changed since it was packed, the library it needs is missing,
            loading it would run a pickle that wasn't trusted, or the self-test failed.
    """
    opened = Registry(registry)
    found = opened.resolve(reference)
    record = opened.read(found.name, found.version or "")
    predictor = open_version(opened, record)
    self_test(predictor, read_sample(opened, record).first(SELF_TEST_ROWS))
    return predictor


def open_version(registry: Registry, record: ModelVersion) -> Predictor:
    """Open the runtimes a version was packed to use, without the self-test."""
    runtimes: dict[RuntimeName, Runtime] = {}
    used: set[RuntimeName] = {record.runtimes.batch, record.runtimes.real_time}
    for name in used:
        artifact = record.artifacts[name]
        registry.check_artifact(record, artifact)
        runtimes[name] = open_runtime(
            artifact,
            registry.folder(record.name, record.version),
            record.signature,
            record.output,
            trust_pickle=record.trust_pickle,
        )
    return Predictor(record, runtimes[record.runtimes.batch], runtimes[record.runtimes.real_time])


def read_sample(registry: Registry, record: ModelVersion) -> Sample:
    """The rows a version keeps for its self-test, with what the original predicted for them."""
    path = registry.check_artifact(record, record.sample)
    with pa.memory_map(str(path)) as source:
        table = one_batch(pa.ipc.open_file(source).read_all())
    names = [EXPECTED + name for name in record.output.names]
    return Sample(rows=table.select(list(record.signature.names)), expected=table.select(names))


def self_test(predictor: Predictor, sample: Sample) -> None:
    """Predict a few rows at both speeds: equal bits, and still what the original predicted.

    It also warms the model up: the first request is as quick as the others.

    Raises:
        ConfigError: They differ here: another library version or processor than where the
            version was packed.
    """
    rows = sample.rows
    many = predictor.predict_columns(rows)
    where = f"{predictor.name}@{predictor.version}"
    fix = "Install the library versions of its record, or pack the model again here."
    wanted = [_array(column) for column in sample.expected.columns]
    found = [_array(column) for column in many.columns]
    difference = compare(wanted, found, predictor.output, tolerance=predictor.parity.tolerance)
    if not difference.passed:
        raise ConfigError(problem(where, "its sample's predictions", difference.reason, fix))
    for index, row in enumerate(rows.to_pylist()):
        one = predictor.predict_values(check_row(predictor.signature, row))
        ones = list(one.values()) if isinstance(one, dict) else [one]
        many_bits = [column[index].as_py() for column in many.columns]
        pairs = zip(ones, many_bits, strict=True)
        if not all(same_bits(np.array([one]), np.array([other])) for one, other in pairs):
            got = f"{ones} in real time and {many_bits} in batch for row {index} of its sample"
            raise ConfigError(problem(where, "equal bits at both speeds", got, fix))


def _array(column: pa.Array) -> Any:
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), object)
    return bits(column) if pa.types.is_boolean(column.type) else numbers(column)
