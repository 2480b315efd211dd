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

from twofold.batch.deliver import check_targets, targets_of
from twofold.batch.engine import engine_of
from twofold.batch.inputs import Input, check_unchanged
from twofold.batch.layout import Layout, Stamp, lay_out
from twofold.batch.ledger import Identity, Ledger, Started, changes
from twofold.batch.local import Behind
from twofold.batch.manifest import (
    Column,
    InputEntry,
    Manifest,
    ModelEntry,
    Settings,
    read_manifest,
)
from twofold.batch.part_files import PartFormat, check_writable, part_format
from twofold.batch.predict import Predicted
from twofold.batch.quarantine import Budget, table_of
from twofold.batch.request import RunRequest
from twofold.batch.settings import BatchSettings
from twofold.batch.sight import Sight, sight_of
from twofold.batch.stage import Stage, read_ledger
from twofold.batch.take import Given, Taken, look_at, take
from twofold.batch.target import Delivery
from twofold.batch.watch import Progress, Watch
from twofold.batch.work import Work
from twofold.errors import BudgetExceeded, InvalidInput, problem
from twofold.lease import hold_lease
from twofold.model.names import check_name
from twofold.version import VERSION

if TYPE_CHECKING:
    from twofold.predictor.door import Predictor
    from twofold.predictor.load import Sample

CODE = f"twofold {VERSION}, pyarrow {pa.__version__}"


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
        deliveries: Where else it is now.
    """

    state: RunState
    folder: Path
    manifest: Manifest
    rows_resumed: int
    elapsed_s: float
    deliveries: tuple[Delivery, ...] = ()


def run(
    predictor: Predictor,
    request: RunRequest,
    settings: BatchSettings,
    watch: Watch,
    *,
    sample: Sample | None = None,
) -> RunResult:
    """Predict an input and commit the predictions, or find that this was done before.

    Where else they go is recorded, and seen to be able to take them; they aren't brought there.

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
            model, input, key, kept columns or partition size; or a target can't take it.
        BudgetExceeded: Too many rows were set aside. Nothing is committed; the message names
            the file that lists them. A higher limit resumes the run.
        LeaseHeld: Another process works on this run.
        CommitUnknown: The run is complete; whether a crash could undo its commit isn't known.
        ConfigError: The output folder can't be written to.
    """
    began_s = time.monotonic()
    run_id = check_name(request.run_id or "", what="--run-id")
    parts = part_format(request.format)
    stage = Stage(request.output, run_id, watch.step, parts, watch.clock)
    targets = targets_of(request.into)
    given = look_at(request.input, request.query, _recorded_input(stage))

    layout_of = partial(_lay_out, predictor=predictor, request=request, parts=parts)
    schema = None if given.source is None else layout_of(given.source).schema
    identity = _identity(predictor, request, settings, given)
    before = partial(_committed_before, stage, identity, given, began_s)
    if found := before():
        return found
    check_targets(targets, run_id, parts, schema)
    stage.make_folder()
    with hold_lease(stage.folder, run_id):
        _refuse_other(stage, identity, given)  # before anything of this attempt is written
        stage.take_over()
        # Another process may have committed it before; from here on none can.
        if found := before():
            return found
        started, ledger = _start(stage, identity, request, given, watch)
        answered, clock = ledger.answered, watch.clock
        taken = take(given, predictor.signature, layout_of, stage, answered=answered, clock=clock)
        sight = sight_of(predictor, sample) if settings.statistics else None
        source, sketcher = taken.source, sight and sight.sketcher
        layout = layout_of(source)
        if schema is None:
            check_targets(targets, run_id, parts, layout.schema)
        work = Work(predictor, request.registry, source, layout, settings, sketcher)
        job = _Job(work, taken, parts, sight, _names(request))
        return _Attempt(job, stage, watch, began_s, ledger).go(started)


def _identity(
    predictor: Predictor, request: RunRequest, settings: BatchSettings, given: Given
) -> Identity:
    return Identity(
        run_id=request.run_id or "",
        model=f"{predictor.name}@{predictor.version}",
        model_digest=predictor.digest,
        input_fingerprint=given.fingerprint,
        key=request.key,
        keep=request.keep,
        format=request.format,
        partition_rows=settings.partition_rows,
        as_of=_utc(request.as_of),
        code=CODE,
    )


def _committed_before(
    stage: Stage, identity: Identity, given: Given, began_s: float
) -> RunResult | None:
    manifest = read_manifest(stage.target)
    if manifest is None:
        return None
    _refuse_query(manifest.input.query, given, identity.run_id)
    _refuse_changes(_identity_of(manifest), identity)
    stage.settle()
    elapsed_s, rows = time.monotonic() - began_s, manifest.rows_in
    return RunResult(RunState.ALREADY_COMMITTED, stage.target, manifest, rows, elapsed_s)


def _lay_out(source: Input, predictor: Predictor, request: RunRequest, parts: PartFormat) -> Layout:
    layout = lay_out(
        source, predictor.signature, predictor.output, key=request.key, keep=request.keep
    )
    check_writable(parts, layout.schema)
    return layout


def _recorded_input(stage: Stage) -> str | None:
    manifest = read_manifest(stage.target)
    if manifest is not None:
        return manifest.input.given
    started = read_ledger(stage.folder).started
    return started and started.input


def _start(
    stage: Stage, identity: Identity, request: RunRequest, given: Given, watch: Watch
) -> tuple[Started, Ledger]:
    """Record the start of the run, or find it recorded by an earlier attempt."""
    before = _refuse_other(stage, identity, given)
    ledger = stage.resume()
    if before is not None:
        return before, ledger
    now = watch.clock()
    started = Started(
        identity=msgspec.structs.replace(identity, as_of=identity.as_of or now),
        registry=str(request.registry.absolute()),
        input=given.text,
        started_at=now,
        rows_total=given.source.rows_total if given.source else None,
        query=given.query.text if given.query else None,
        into=_names(request),
    )
    stage.start(started)
    return started, ledger


def _refuse_other(stage: Stage, identity: Identity, given: Given) -> Started | None:
    """Give what an earlier attempt began with, if it was the same run."""
    before = read_ledger(stage.folder).started
    if before is not None:
        _refuse_query(before.query, given, identity.run_id)
        _refuse_changes(before.identity, identity)
    return before


def _names(request: RunRequest) -> tuple[str, ...]:
    """What is recorded of the targets."""
    return tuple(target.name for target in targets_of(request.into))


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
        format=manifest.settings.format,
        partition_rows=manifest.settings.partition_rows,
        as_of=manifest.as_of,
    )


def _utc(as_of: datetime | None) -> datetime | None:
    if as_of is not None and as_of.tzinfo is None:
        fix = "Give the offset, as in 2026-01-31T00:00:00Z."
        raise InvalidInput(problem("--as-of", "an instant with a time zone", str(as_of), fix))
    return as_of and as_of.astimezone(UTC)


def _refuse_query(then: str | None, given: Given, run_id: str) -> None:
    """Of a query its words say more than its fingerprint."""
    now = given.query and given.query.text
    if then is not None and now is not None and then != now:
        raise _another(run_id, [f"query {now[:200]!r} (was {then[:200]!r})"])


def _refuse_changes(then: Identity, now: Identity) -> None:
    changed = changes(then, now)
    if changed:
        raise _another(now.run_id, changed)


def _another(run_id: str, changed: list[str]) -> InvalidInput:
    return InvalidInput(
        problem(
            f"--run-id {run_id}",
            "the same run as when it started",
            "another " + "; another ".join(changed),
            "Give the same again, or choose another --run-id.",
        )
    )


@dataclasses.dataclass(frozen=True)
class _Job:
    work: Work
    taken: Taken
    parts: PartFormat
    sight: Sight | None
    into: tuple[str, ...]


class _Attempt:
    """One attempt at a run, under its lease."""

    def __init__(
        self, job: _Job, stage: Stage, watch: Watch, began_s: float, ledger: Ledger
    ) -> None:
        self._job = job
        self._work = job.work
        self._stage = stage
        self._watch = watch
        self._began_s = began_s
        settings = job.work.settings
        self._budget = Budget(settings.max_quarantined_ratio, settings.max_quarantined_rows)
        self._finished = list(ledger.finished)  # written to while `_behind` is busy
        self._behind = Behind()
        self._partitions = len(self._finished)
        self._partition: list[Predicted] = []
        self._partition_began_at = watch.clock()
        self._rows_resumed = self._rows_done = sum(entry.rows_in for entry in self._finished)
        self._rows_quarantined = sum(entry.rows_quarantined for entry in self._finished)

    def go(self, started: Started) -> RunResult:
        run_id = started.identity.run_id
        stamp = Stamp(self._work.predictor.version, run_id, started.started_at)
        self._check_budget(self._work.source.rows_total)
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

    def _predict(self, stamp: Stamp) -> None:
        work = self._work
        self._partition_began_at = self._watch.clock()
        results = engine_of(work.settings)(work, self._rows_done)
        with contextlib.closing(results):
            for predicted in results:
                self._partition.append(predicted)
                self._rows_done += predicted.rows_in
                self._rows_quarantined += len(predicted.set_aside)
                self._check_budget(work.source.rows_total)
                if self._rows_done % work.plan.partition_rows == 0:
                    self._finish_partition(stamp)
                self._report()

    def _finish_partition(self, stamp: Stamp) -> None:
        """Have the partition written while the next one is predicted."""
        number, results = self._partitions, self._partition
        first_row = self._rows_done - sum(predicted.rows_in for predicted in results)
        began_at, self._partition_began_at = self._partition_began_at, self._watch.clock()
        self._partitions, self._partition = number + 1, []
        write = partial(self._write_partition, number, first_row, results, began_at)
        self._behind.do(partial(write, stamp))

    def _write_partition(
        self,
        number: int,
        first_row: int,
        results: list[Predicted],
        began_at: datetime,
        stamp: Stamp,
    ) -> None:
        part = self._work.layout.table([predicted.columns for predicted in results], stamp)
        sketch: bytes | None = None
        if self._job.sight is not None:
            batches = [predicted.sketch for predicted in results if predicted.sketch]
            rows = [row for predicted in results for row in predicted.set_aside]
            sketch = self._job.sight.partition(batches, rows)
        set_aside = _set_aside(results)
        entry = self._stage.finish(number, first_row, part, set_aside, sketch, began_at)
        self._finished.append(entry)

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
        check_unchanged(self._work.source)
        rows_total = self._work.source.rows_total
        if rows_total is not None and self._rows_done != rows_total:
            fix = "Write the file again."
            raise InvalidInput(
                problem(self._work.source.text, f"{rows_total} rows", str(self._rows_done), fix)
            )

    def _report(self) -> None:
        elapsed_s = time.monotonic() - self._began_s
        rate = (self._rows_done - self._rows_resumed) / max(elapsed_s, 1e-9)
        self._watch.progress(
            Progress(
                rows_done=self._rows_done,
                rows_total=self._work.source.rows_total,
                rows_quarantined=self._rows_quarantined,
                rows_per_s=rate,
                elapsed_s=elapsed_s,
            )
        )

    def _manifest(self, started: Started) -> Manifest:
        job, work, identity = self._job, self._work, started.identity
        predictor, source = work.predictor, work.source
        given = InputEntry(
            given=started.input,
            format=source.format.name,
            fingerprint=identity.input_fingerprint,
            files=job.taken.files,
            query=started.query,
            read_at=job.taken.answered.read_at if job.taken.answered else None,
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
                Column(name=field.name, type=str(field.type)) for field in work.layout.schema
            ),
            files=tuple(entry.part for entry in self._finished),
            quarantine=self._stage.merge_quarantine(self._finished),
            settings=Settings(
                partition_rows=identity.partition_rows,
                format=job.parts.name,
                compression=job.parts.compression,
            ),
            statistics=job.sight and job.sight.summary(self._finished, work.settings),
            into=job.into,
        )
