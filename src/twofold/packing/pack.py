"""Packing a model: read it, tell its signature, prove its runtimes, store it as a version."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
import numpy as np
import pyarrow as pa

from twofold.errors import DeclarationError, PredictionFailed, TwofoldError, problem
from twofold.model import arrow
from twofold.model.columns import check_columns
from twofold.model.infer import Overrides, infer_signature
from twofold.model.names import check_name
from twofold.model.record import Artifact, ModelVersion, Modes, Parity, RuntimeName
from twofold.model.registry import Registry, content_digest, file_digest
from twofold.model.signature import Output, OutputKind, OutputType, Signature
from twofold.model.tables import one_batch, sample_table
from twofold.packing.choose import choose
from twofold.packing.compile import NotCompilable, compile_model
from twofold.packing.convert import NotConvertible, write_onnx
from twofold.packing.sources import Source, read_source, versions_of
from twofold.packing.sources.given import is_pandas, take_given
from twofold.packing.trial import Proof, Trial, failed, try_runtime
from twofold.predictor.door import Door, column_type, output_columns, raised
from twofold.predictor.edge_rows import boundary_rows, edge_rows, special_rows
from twofold.predictor.load import EXPECTED
from twofold.predictor.parity import TOLERANCE, compare
from twofold.predictor.program import Program, write_program
from twofold.predictor.runtime import Runtime
from twofold.predictor.runtimes import open_runtime
from twofold.predictor.split import predict_apart

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column

MAX_PROOF_ROWS = 10_000
MAX_BOUNDARY_BASE_ROWS = 2_000
KEPT_SAMPLE_ROWS = 2048
"""Enough that chance makes a drift (PSI) of 0.01 in a batch run's comparison, not of 0.4."""
SAMPLE_FILE = "sample.arrow"
COMPILED_FILE = "compiled.twofold"
PROBED_ROWS = 64
MAX_REASON_CHARS = 160

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
        runtime: The runtime to use; None for the fastest that passes.
    """

    model: Any
    name: str
    sample: Any
    output: OutputKind | None = None
    call: Literal["row", "batch"] = "row"
    overrides: Overrides = dataclasses.field(default_factory=Overrides)
    tolerance: float = TOLERANCE
    trust_pickle: bool = False
    runtime: RuntimeName | None = None


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
        now: The instant of packing (aware), for the record.
        say: Told each step as it begins.

    Raises:
        DeclarationError: The model can't be read, doesn't fit its sample, fails on every row,
            or no runtime gives equal bits at both speeds. Nothing is stored.
        ConfigError: A library the model needs isn't installed.
    """
    check_name(declaration.name)
    if not 0 <= declaration.tolerance < math.inf:
        shown = str(declaration.tolerance)
        raise DeclarationError(
            problem("tolerance", "a finite number of at least 0", shown, "Give such a one.")
        )
    say("reading the model")
    source = read_source(declaration.model, output=declaration.output, call=declaration.call)
    say("reading the sample")
    types = declaration.overrides.types
    texts = [name for name, kind in types.items() if kind == "string"]
    table = sample_table(declaration.sample, texts=texts)
    inputs = _named_as(table, source.feature_names)
    signature = infer_signature(table, inputs=inputs, overrides=declaration.overrides)
    sample = _valid_rows(signature, declaration.sample, table)
    with registry.staging(declaration.name) as staged:
        work = _Work(declaration, source, signature, staged)
        return work.pack(sample, registry, now, say)


def _named_as(table: pa.Table, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """A model's inputs in the sample's names: LightGBM puts underscores where they have spaces."""
    if names is None:
        return None
    plain = {re.sub(r"\s", "_", name): name for name in table.column_names}
    return tuple(name if name in table.column_names else plain.get(name, name) for name in names)


@dataclasses.dataclass(frozen=True)
class _Sample:
    """The rows of a sample that fit their own signature, the first `MAX_PROOF_ROWS` of them.

    Attributes:
        rows: In canonical form.
        given: The same as their author gave them, for the model itself.
    """

    rows: pa.RecordBatch
    given: Any


def _valid_rows(signature: Signature, sample: Any, table: pa.Table) -> _Sample:
    batch = one_batch(table.select(list(signature.names)))
    checked = check_columns(signature, batch)
    if not checked.columns.num_rows:
        first = checked.problems[0]
        raise DeclarationError(f"sample.{first.field}: {first.reason}")
    valid = np.ones(table.num_rows, np.bool_) if checked.valid is None else checked.valid
    places = np.flatnonzero(valid)[:MAX_PROOF_ROWS]
    given = sample if is_pandas(sample) else table
    return _Sample(
        checked.columns.slice(0, MAX_PROOF_ROWS), take_given(given, signature.names, places)
    )


class _Work:
    """One pack on its way: files are staged, runtimes are opened from the staged files."""

    def __init__(
        self, declaration: Declaration, source: Source, signature: Signature, staged: Path
    ) -> None:
        self._declaration = declaration
        self._source = source
        self._signature = signature
        self._staged = staged
        self._artifacts: dict[RuntimeName, Artifact] = {}

    def pack(self, sample: _Sample, registry: Registry, now: datetime, say: Say) -> Packed:
        rows = sample.rows
        say("storing the original")
        self._artifacts["original"] = self._source.write_original(
            self._staged, self._signature, trust_pickle=self._declaration.trust_pickle
        )
        output = self._probe(rows)
        # Opened from the stored file, not the live object: what is proven is what will run.
        original = self._open("original", output)
        self._check_stored(original, output, sample)
        say("compiling")
        program, uncompiled = self._compile()
        say("converting to ONNX")
        unconverted = self._convert()
        say("predicting the sample and its edge rows with the original")
        others = not (uncompiled and unconverted)
        proof = self._prove(original, output, rows, program if others else None, bounds=others)
        trials: list[Trial] = []
        reasons: dict[RuntimeName, str] = {"compiled": uncompiled, "onnx": unconverted}
        for name, reason in reasons.items():
            say(f"proving and timing {name}")
            trials.append(failed(name, reason) if reason else self._try(name, proof))
        say("proving and timing the original")
        trials.append(try_runtime("original", original, proof))
        record = self._record(proof, trials, now)
        if existing := registry.find(record.name, record.digest):
            return Packed(existing, existed=True)
        say("storing the version")
        committed = registry.commit(
            record.name,
            self._staged,
            lambda version: msgspec.structs.replace(record, version=version),
        )
        return Packed(committed, existed=False)

    def _open(self, name: RuntimeName, output: Output) -> Runtime:
        trusted = self._declaration.trust_pickle
        artifact = self._artifacts[name]
        return open_runtime(artifact, self._staged, self._signature, output, trust_pickle=trusted)

    def _compile(self) -> tuple[Program | None, str]:
        """Stage a compiled form; gives it, or the reason if there is none."""
        try:
            program = compile_model(self._source, self._signature)
        except NotCompilable as error:
            return None, str(error)
        # What a version of a library that isn't known here has may surprise the compiler; that
        # must not fail a pack.
        except Exception as error:  # noqa: BLE001
            text = " ".join(str(error).split())[:MAX_REASON_CHARS]
            return None, f"the compiler failed ({type(error).__name__}: {text})"
        path = self._staged / COMPILED_FILE
        write_program(program, path)
        self._artifacts["compiled"] = Artifact(
            file=path.name,
            format="program",
            sha256=file_digest(path),
            size_bytes=path.stat().st_size,
        )
        return program, ""

    def _convert(self) -> str:
        """Stage an ONNX form; gives the reason if there is none."""
        try:
            self._artifacts["onnx"] = write_onnx(self._source, self._signature, self._staged)
        except NotConvertible as error:
            return str(error)
        return ""

    def _probe(self, rows: pa.RecordBatch) -> Output:
        """Learn the output's type from a few predictions."""
        declared = self._source.output
        first = rows.slice(0, PROBED_ROWS)
        tried: list[tuple[int, Output, list[Any]]] = []
        failures: dict[int, PredictionFailed] = {}
        for kind in self._types_to_try():
            output = Output(
                kind=declared.kind, type=kind, names=declared.names, classes=declared.classes
            )
            results, failures = predict_apart(first, _raising(self._open("original", output)))
            if results:
                tried.append((len(failures), output, results[0]))
        if not tried:
            raise DeclarationError(
                f"the model fails on the first rows of its sample: {failures[0]}"
            )
        # The type that most rows have; the first of equals, for True is also an int.
        _, output, found = min(tried, key=lambda item: item[0])
        names = declared.names
        if declared.kind == "value" and len(names) == 1 and len(found) > 1:
            names = tuple(f"{names[0]}_{index}" for index in range(len(found)))  # targets
        if len(found) != len(names):
            fix = "Pack a model of one target."
            raise DeclarationError(problem("model", f"{len(names)} outputs", str(len(found)), fix))
        return msgspec.structs.replace(output, names=names, type=_type_of(found[0]))

    def _check_stored(self, original: Runtime, output: Output, sample: _Sample) -> None:
        """Hold the stored original against the model itself, on the sample as it was given.

        They may differ where the signature can't say what the model was trained with: nulls of
        another kind, categories that are numbers.

        Raises:
            DeclarationError: They do.
        """
        try:
            found = self._source.predict_given(sample.given)
        except Exception:  # noqa: BLE001 - the sample may have rows that the model refuses
            return
        if found is None:
            return
        try:
            stored = Door(original, self._signature, output).columns(sample.rows)
        except PredictionFailed:
            return
        live = [np.asarray(column).astype(column_type(output)) for column in found]
        difference = compare(live, stored, output, tolerance=TOLERANCE)
        if not difference.passed:
            row = difference.first_row or 0
            fix = "Train it on rows like those of the sample: nulls as NaN, categories as text."
            got = f"{difference.reason}, the first in row {row}"
            raise DeclarationError(
                problem("sample", "the model's own predictions from the stored model", got, fix)
            )

    def _types_to_try(self) -> tuple[OutputType, ...]:
        # Libraries say their type themselves; a Python function only by what it returns.
        if self._source.framework == "python":
            return ("bool", "int64", "float64", "string")
        return ("float64",)

    def _prove(
        self,
        original: Runtime,
        output: Output,
        rows: pa.RecordBatch,
        program: Program | None,
        *,
        bounds: bool,
    ) -> Proof:
        """Gather the rows to agree on, and what the original says of them.

        Args:
            original: The original library.
            output: What it predicts.
            rows: The sample's.
            program: The compiled form, whose own edges are to be looked at.
            bounds: Whether to look for the original's decision boundaries.
        """
        door = Door(original, self._signature, output)
        kept_rows, kept = _accepted(rows, door)
        if not kept_rows.num_rows:
            _, failures = predict_apart(rows.slice(0, 1), door.columns)
            raise DeclarationError(f"the model fails on every row of the sample: {failures[0]}")
        edges = [special_rows(self._signature, kept_rows)]
        if bounds:
            last = kept_rows.num_rows - 1
            spread = np.linspace(0, last, MAX_BOUNDARY_BASE_ROWS).astype(np.int64)
            base = kept_rows.take(arrow.from_numbers(np.unique(spread)))
            edges.append(boundary_rows(self._signature, base, door.columns))
        if program is not None:
            edges.append(edge_rows(self._signature, kept_rows, program))
        parts = [(kept_rows, kept)] + [_accepted(edge, door) for edge in edges]
        parts = [part for part in parts if part[0].num_rows]
        together = one_batch(pa.Table.from_batches([part for part, _ in parts]))
        reference = [
            np.concatenate(columns) for columns in zip(*(found for _, found in parts), strict=True)
        ]
        return Proof(
            signature=self._signature,
            output=output,
            rows=together,
            reference=reference,
            sample_rows=kept_rows.num_rows,
            tolerance=self._declaration.tolerance,
        )

    def _try(self, name: RuntimeName, proof: Proof) -> Trial:
        try:
            runtime = self._open(name, proof.output)
        except TwofoldError as error:
            return failed(name, str(error))
        return try_runtime(name, runtime, proof)

    def _record(self, proof: Proof, trials: list[Trial], now: datetime) -> ModelVersion:
        choice = choose(trials, only=self._declaration.runtime)
        used: set[RuntimeName] = {choice.modes.batch, choice.modes.real_time, "original"}
        for name in set(self._artifacts) - used:
            (self._staged / self._artifacts.pop(name).file).unlink()
        record = ModelVersion(
            name=self._declaration.name,
            version="0",
            digest="",
            framework=self._source.framework,
            libraries=versions_of(self._libraries(choice.modes)),
            signature=self._signature,
            output=proof.output,
            runtimes=choice.modes,
            rows_per_call=choice.rows_per_call,
            artifacts=dict(self._artifacts),
            sample=self._write_sample(proof),
            parity=Parity(
                sample_rows=proof.sample_rows,
                edge_rows=proof.rows.num_rows - proof.sample_rows,
                tolerance=proof.tolerance,
                same_bits=True,
                candidates=tuple(trial.candidate for trial in trials),
            ),
            created_at=now.isoformat(timespec="seconds"),
            trust_pickle=self._declaration.trust_pickle,
        )
        return msgspec.structs.replace(record, digest=content_digest(record))

    def _libraries(self, modes: Modes) -> tuple[str, ...]:
        used = {modes.batch, modes.real_time}
        return (*self._source.libraries, *(("onnxruntime",) if "onnx" in used else ()))

    def _write_sample(self, proof: Proof) -> Artifact:
        spread = np.unique(np.linspace(0, proof.sample_rows - 1, KEPT_SAMPLE_ROWS).astype(np.int64))
        rows = proof.rows.take(arrow.from_numbers(spread))
        expected = output_columns(proof.output, [column[spread] for column in proof.reference])
        names = [*rows.schema.names, *(EXPECTED + name for name in proof.output.names)]
        batch = pa.RecordBatch.from_arrays([*rows.columns, *expected.columns], names=names)
        path = self._staged / SAMPLE_FILE
        with pa.ipc.new_file(path, batch.schema) as writer:
            writer.write_batch(batch)
        return Artifact(
            file=path.name,
            format="arrow",
            sha256=file_digest(path),
            size_bytes=path.stat().st_size,
        )


def _accepted(rows: pa.RecordBatch, door: Door) -> tuple[pa.RecordBatch, list[Column]]:
    """The rows the original predicts, and its predictions; it may refuse others by raising."""
    results, refused = predict_apart(rows, door.columns)
    if refused:
        accepts = np.ones(rows.num_rows, np.bool_)
        accepts[list(refused)] = False
        rows = arrow.filter_rows(rows, accepts)
    if not results:
        return rows, []
    return rows, [np.concatenate(parts) for parts in zip(*results, strict=True)]


def _raising(runtime: Runtime) -> Callable[[pa.RecordBatch], list[Any]]:
    """A runtime's call, whose every failure is a PredictionFailed."""

    def predict(columns: pa.RecordBatch) -> list[Any]:
        try:
            return runtime.predict_columns(columns)
        except TwofoldError:
            raise
        except Exception as error:
            raise raised(error) from error

    return predict


def _type_of(column: Any) -> OutputType:
    if column.dtype.kind in "OUS":
        return "string"
    name = str(column.dtype)
    if name in get_args(OutputType):
        return name  # type: ignore[return-value]
    return "int64" if column.dtype.kind in "iu" else "float64"
