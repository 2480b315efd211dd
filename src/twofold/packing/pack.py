"""Packing a model: read it, tell its signature, prove its runtimes, store it as a version."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from twofold.errors import DeclarationError, problem
from twofold.model.columns import check_columns
from twofold.model.infer import Overrides, infer_signature
from twofold.model.names import check_name
from twofold.model.record import Artifact, ModelVersion, Parity, RuntimeName
from twofold.model.registry import Registry, content_digest, file_digest
from twofold.model.signature import Output, OutputKind, Signature
from twofold.model.tables import one_batch, sample_table
from twofold.packing.choose import choose
from twofold.packing.convert import NotConvertible, to_onnx
from twofold.packing.sources import Source, read_source
from twofold.packing.trial import Proof, Trial, failed, try_runtime
from twofold.predictor.door import Door, output_columns
from twofold.predictor.edge_rows import boundary_rows, special_rows
from twofold.predictor.load import EXPECTED
from twofold.predictor.parity import TOLERANCE
from twofold.predictor.runtimes import open_runtime
from twofold.predictor.split import predict_apart

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column

MAX_PROOF_ROWS = 10_000
MAX_BOUNDARY_BASE_ROWS = 2_000
KEPT_SAMPLE_ROWS = 64
ONNX_FILE = "model.onnx"
SAMPLE_FILE = "sample.arrow"

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What is to be packed, and how.

    Attributes:
        model: A file's path, `module:attribute`, an estimator or booster, or a callable.
        name: The model's name in the registry.
        sample: Rows like those to be predicted: a file, a table, a list of dicts.
        output: What to predict; None for the model's natural output.
        call: For Python callables: whether one takes one row or a whole table.
        overrides: Corrections to the signature the sample tells.
        tolerance: Largest difference from the original admitted (see `parity.compare`).
        trust_pickle: Whether loading the version may run a pickle.
    """

    model: Any
    name: str
    sample: Any
    output: OutputKind | None = None
    call: Literal["row", "batch"] = "row"
    overrides: Overrides = dataclasses.field(default_factory=Overrides)
    tolerance: float = TOLERANCE
    trust_pickle: bool = False


@dataclasses.dataclass(frozen=True)
class Packed:
    """The outcome of a pack: the version, and whether it was there already."""

    record: ModelVersion
    existed: bool


def pack(
    declaration: Declaration, *, registry: Registry, now: datetime, say: Say = lambda _: None
) -> Packed:
    """Pack a model as a new version, or find the version that has the same content.

    Args:
        declaration: What to pack.
        registry: Where to.
        now: The instant of packing, for the record.
        say: Told each step as it begins.

    Raises:
        DeclarationError: The model can't be read, doesn't fit its sample, fails on every row,
            or no runtime gives equal bits at both speeds. Nothing is stored.
    """
    check_name(declaration.name)
    say("reading the model")
    source = read_source(declaration.model, output=declaration.output, call=declaration.call)
    say("reading the sample")
    table = sample_table(declaration.sample)
    signature = infer_signature(
        table, inputs=source.feature_names, overrides=declaration.overrides
    )
    rows = _valid_rows(signature, table).slice(0, MAX_PROOF_ROWS)
    with registry.staging(declaration.name) as staged:
        say("storing the original")
        artifacts: dict[RuntimeName, Artifact] = {
            "original": source.write_original(staged, trust_pickle=declaration.trust_pickle)
        }
        output = source.describe_output(signature, rows, artifacts["original"], staged)
        say("converting to ONNX")
        reason = _convert(source, signature, output, staged, artifacts)
        work = _Work(declaration, source, signature, output, staged, artifacts)
        proof = _prove(work, rows, say)
        trials = _try_all(work, proof, say)
        if reason:
            trials.append(failed("onnx", reason))
        record = _record(work, proof, trials, now)
        existing = registry.find(declaration.name, record.digest)
        if existing:
            return Packed(existing, existed=True)
        committed = registry.commit(
            declaration.name,
            staged,
            lambda version: dataclasses_replace(record, version),
        )
        return Packed(committed, existed=False)
