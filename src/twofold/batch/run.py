"""A run: from the input to the committed output, or to where the next attempt goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from twofold.batch.inputs import (
    Input,
    check_unchanged,
    describe_files,
    fingerprint,
    open_input,
    read_chunks,
)
from twofold.batch.layout import Layout, Stamp, lay_out
from twofold.batch.lease import hold_lease
from twofold.batch.ledger import Finished, Identity, Started, changes
from twofold.batch.local import Behind, cores, predict_in_order
from twofold.batch.manifest import (
    Column,
    InputEntry,
    InputFile,
    Manifest,
    ModelEntry,
    Settings,
    read_manifest,
)
from twofold.batch.plan import Plan
from twofold.batch.predict import Predicted, predict_chunk
from twofold.batch.quarantine import Budget, table_of
from twofold.batch.request import RunRequest
from twofold.batch.settings import BatchSettings
from twofold.batch.sight import Sight, sight_of
from twofold.batch.stage import COMPRESSION, Stage, read_ledger
from twofold.batch.watch import Progress, Watch
from twofold.errors import BudgetExceeded, InvalidInput, problem
from twofold.model.names import check_name

if TYPE_CHECKING:
    from twofold.predictor.door import Predictor
    from twofold.predictor.load import Sample


class RunState(enum.StrEnum):
    """What a call to `run` found or did."""

    COMMITTED = "committed"
    ALREADY_COMMITTED = "already committed"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """A committed run.

    Attributes:
        state: Whether this call committed it.
        folder: Where it lies.
        manifest: What it is.
        rows_resumed: Of its rows, those that earlier attempts had finished.
        elapsed_s: Time this call took.
    """

    state: RunState
    folder: Path
    manifest: Manifest
    rows_resumed: int
    elapsed_s: float


def run(
    predictor: Predictor,
    request: RunRequest,
    settings: BatchSettings,
    watch: Watch,
    *,
    sample: Sample | None = None,
) -> RunResult:
    """Predict an input and commit the predictions, or find that this was done before.

    Args:
        predictor: The model of the request.
        request: What to do; its `run_id` must be given.
        settings: How.
        watch: What looks on.
        sample: The model's, with which statistics are compared.

    Returns:
        The committed run.

    Raises:
        InvalidInput: The input can't be read or doesn't fit; or the run exists with another
            model, input, key, kept columns or partition size.
        BudgetExceeded: Too many rows were set aside. Nothing is committed; the message names
            the file that lists them. A higher limit resumes the run.
        LeaseHeld: Another process works on this run.
        CommitUnknown: The run is complete; whether a crash could undo its commit isn't known.
        ConfigError: The output folder can't be written to.
    """
    began_s = time.monotonic()
    run_id = check_name(request.run_id or "", what="--run-id")
    source = open_input(request.input)
    layout = lay_out(
        source, predictor.signature, predictor.output, key=request.key, keep=request.keep
    )
    files = describe_files(source)
    identity = Identity(
        run_id=run_id,
        model=f"{predictor.name}@{predictor.version}",
        model_digest=predictor.digest,
        input_fingerprint=fingerprint(files),
        key=request.key,
        keep=request.keep,
        partition_rows=settings.partition_rows,
        as_of=_utc(request.as_of),
    )
    stage = Stage(request.output, run_id, watch.step)

    def committed_before() -> RunResult | None:
        manifest = read_manifest(stage.target)
        if manifest is None:
            return None
        _refuse_changes(_identity_of(manifest), identity)
        stage.settle()
        elapsed_s = time.monotonic() - began_s
        rows = manifest.rows_in
        return RunResult(RunState.ALREADY_COMMITTED, stage.target, manifest, rows, elapsed_s)

    if before := committed_before():
        return before
    stage.make_folder()
    with hold_lease(stage.folder, run_id):
        # Another process may have committed it before this one got the lease.
        if before := committed_before():
            return before
        sight = sight_of(predictor, sample) if settings.statistics else None
        job = _Job(predictor, source, files, layout, settings, sight)
        return _Attempt(job, stage, watch, began_s).go(identity, request.registry)


def _set_aside(results: list[Predicted]) -> pa.Table:
    return table_of([row for predicted in results for row in predicted.set_aside])


def _identity_of(manifest: Manifest) -> Identity:
    return Identity(
        run_id=manifest.run_id,
        model=f"{manifest.model.name}@{manifest.model.version}",
        model_digest=manifest.model.digest,
        input_fingerprint=manifest.input.fingerprint,
        key=manifest.key,
        keep=manifest.keep,
        partition_rows=manifest.settings.partition_rows,
        as_of=manifest.as_of,
    )


def _utc(as_of: datetime | None) -> datetime | None:
    if as_of is not None and as_of.tzinfo is None:
        fix = "Give the offset, as in 2026-01-31T00:00:00Z."
        raise InvalidInput(problem("--as-of", "an instant with a time zone", str(as_of), fix))
    return as_of and as_of.astimezone(UTC)


def _refuse_changes(then: Identity, now: Identity) -> None:
    changed = changes(then, now)
    if changed:
        raise InvalidInput(
            problem(
                f"--run-id {now.run_id}",
                "the same run as when it started",
                "another " + "; another ".join(changed),
                "Give the same again, or choose another --run-id.",
            )
        )


@dataclasses.dataclass(frozen=True)
class _Job:
    predictor: Predictor
    source: Input
    files: tuple[InputFile, ...]
    layout: Layout
    settings: BatchSettings
    sight: Sight | None


class _Attempt:
    """One attempt at a run, under its lease."""

    def __init__(self, job: _Job, stage: Stage, watch: Watch, began_s: float) -> None:
        self._job = job
        self._stage = stage
        self._watch = watch
        self._began_s = began_s
        self._budget = Budget(job.settings.max_quarantined_ratio, job.settings.max_quarantined_rows)
        self._finished: list[Finished] = []  # written to while `_behind` is busy
        self._behind = Behind()
        self._partitions = 0
        self._partition: list[Predicted] = []
        self._rows_resumed = 0
        self._rows_done = 0
        self._rows_quarantined = 0

    def go(self, identity: Identity, registry: Path) -> RunResult:
        started = self._start(identity, registry)
        stamp = Stamp(self._job.predictor.version, identity.run_id, started.started_at)
        self._check_budget(self._job.source.rows_total)
        self._report()
        with self._behind:
            self._predict(stamp)
            if self._partition or not self._partitions:
                self._finish_partition(stamp)  # the last, shorter one; or the only, empty one
            self._behind.wait()
        self._check_complete()
        self._check_budget(self._rows_done)
        manifest = self._manifest(started)
        self._stage.commit(manifest)
        elapsed_s = time.monotonic() - self._began_s
        target, rows = self._stage.target, self._rows_resumed
        return RunResult(RunState.COMMITTED, target, manifest, rows, elapsed_s)

    def _start(self, identity: Identity, registry: Path) -> Started:
        before = read_ledger(self._stage.folder).started
        if before is not None:
            _refuse_changes(before.identity, identity)
        ledger = self._stage.resume()
        self._finished = list(ledger.finished)
        self._partitions = len(self._finished)
        self._rows_resumed = self._rows_done = sum(entry.rows_in for entry in self._finished)
        self._rows_quarantined = sum(entry.rows_quarantined for entry in self._finished)
        if before is not None:
            return before
        now = self._watch.clock()
        started = Started(
            identity=msgspec.structs.replace(identity, as_of=identity.as_of or now),
            registry=str(registry.absolute()),
            input=str(Path(self._job.source.text).absolute()),
            started_at=now,
            rows_total=self._job.source.rows_total,
        )
        self._stage.start(started)
        return started

    def _predict(self, stamp: Stamp) -> None:
        job = self._job
        plan = Plan(job.settings.partition_rows, job.settings.batch_rows)
        workers = (job.settings.workers or cores()) if job.predictor.concurrent else 1
        predict = partial(
            predict_chunk,
            job.predictor,
            job.layout,
            from_text=job.source.format.is_text,
            sketcher=job.sight and job.sight.sketcher,
        )
        layout = job.layout
        chunks = read_chunks(
            job.source, layout.read, plan, codable=layout.texts, first_row=self._rows_done
        )
        results = predict_in_order(
            chunks, predict, workers=workers, max_waiting=job.settings.max_waiting_batches
        )
        with contextlib.closing(chunks), contextlib.closing(results):
            for predicted in results:
                self._partition.append(predicted)
                self._rows_done += predicted.rows_in
                self._rows_quarantined += len(predicted.set_aside)
                self._check_budget(job.source.rows_total)
                if self._rows_done % plan.partition_rows == 0:
                    self._finish_partition(stamp)
                self._report()

    def _finish_partition(self, stamp: Stamp) -> None:
        """Have the partition written while the next one is predicted."""
        number, results = self._partitions, self._partition
        first_row = self._rows_done - sum(predicted.rows_in for predicted in results)
        self._partitions, self._partition = number + 1, []
        self._behind.do(partial(self._write_partition, number, first_row, results, stamp))

    def _write_partition(
        self, number: int, first_row: int, results: list[Predicted], stamp: Stamp
    ) -> None:
        part = self._job.layout.table([predicted.columns for predicted in results], stamp)
        sketch: bytes | None = None
        if self._job.sight is not None:
            batches = [predicted.sketch for predicted in results if predicted.sketch]
            rows = [row for predicted in results for row in predicted.set_aside]
            sketch = self._job.sight.partition(batches, rows)
        set_aside = _set_aside(results)
        self._finished.append(self._stage.finish(number, first_row, part, set_aside, sketch))

    def _check_budget(self, rows_total: int | None) -> None:
        limit = self._budget.overdrawn(self._rows_quarantined, rows_total)
        if limit is None:
            return
        self._behind.wait()
        shown = self._stage.show_quarantine(self._finished, _set_aside(self._partition))
        raise BudgetExceeded(
            problem(
                self._stage.target.name,
                limit,
                f"{self._rows_quarantined} among the first {self._rows_done}",
                f"Nothing was committed. See {shown} for the reasons; mend the input, or raise "
                "the limit and run again.",
            )
        )

    def _check_complete(self) -> None:
        check_unchanged(self._job.source)
        rows_total = self._job.source.rows_total
        if rows_total is not None and self._rows_done != rows_total:
            fix = "Write the file again."
            raise InvalidInput(
                problem(self._job.source.text, f"{rows_total} rows", str(self._rows_done), fix)
            )

    def _report(self) -> None:
        elapsed_s = time.monotonic() - self._began_s
        rate = (self._rows_done - self._rows_resumed) / max(elapsed_s, 1e-9)
        self._watch.progress(
            Progress(
                rows_done=self._rows_done,
                rows_total=self._job.source.rows_total,
                rows_quarantined=self._rows_quarantined,
                rows_per_s=rate,
                elapsed_s=elapsed_s,
            )
        )

    def _manifest(self, started: Started) -> Manifest:
        job, identity = self._job, started.identity
        predictor, source = job.predictor, job.source
        given = InputEntry(
            given=started.input,
            format=source.format.name,
            fingerprint=identity.input_fingerprint,
            files=job.files,
        )
        return Manifest(
            run_id=identity.run_id,
            model=ModelEntry(
                name=predictor.name, version=predictor.version, digest=predictor.digest
            ),
            input=given,
            as_of=identity.as_of or started.started_at,
            started_at=started.started_at,
            finished_at=self._watch.clock(),
            predicted_at=started.started_at,
            rows_in=self._rows_done,
            rows_predicted=sum(entry.part.rows for entry in self._finished),
            rows_quarantined=self._rows_quarantined,
            key=identity.key,
            keep=identity.keep,
            columns=tuple(
                Column(name=field.name, type=str(field.type)) for field in job.layout.schema
            ),
            files=tuple(entry.part for entry in self._finished),
            quarantine=self._stage.merge_quarantine(self._finished),
            settings=Settings(partition_rows=identity.partition_rows, compression=COMPRESSION),
            statistics=job.sight and job.sight.summary(self._finished, job.settings),
        )
