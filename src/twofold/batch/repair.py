"""Repairing a committed run: rows it had set aside, mended, take their places in it.

The parts they belong to are written anew, with these rows where the input had them; the others are
linked. The new folder is exchanged for the run's in one step, so that a reader sees the run before
the repair or after it, and never rows of both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from twofold.batch import quarantine
from twofold.batch.engine import engine_of
from twofold.batch.inputs import (
    Input,
    check_unchanged,
    describe_files,
    fingerprint,
    open_input,
)
from twofold.batch.layout import Layout, Stamp, lay_out
from twofold.batch.manifest import FileEntry, InputEntry, Manifest, Repair, read_manifest
from twofold.batch.mended import NOTES, ROW, check_places, place, row_numbers
from twofold.batch.part_files import part_format
from twofold.batch.plan import repaired_name
from twofold.batch.predict import Predicted, texts
from twofold.batch.run import RunResult, RunState
from twofold.batch.settings import BatchSettings
from twofold.batch.stage import Stage
from twofold.batch.watch import Progress, Watch
from twofold.batch.work import Work
from twofold.errors import InvalidInput, problem
from twofold.lease import hold_lease
from twofold.model.names import check_name

if TYPE_CHECKING:
    from twofold.predictor.door import Predictor


@dataclasses.dataclass(frozen=True)
class RepairRequest:
    """Which rows to put into which run.

    Attributes:
        input: What `batch run` takes: mended rows with a column `row`, their number in the run's
            input, beside the key, the kept columns and the model's fields.
        output: The folder the run was committed to.
        run_id: The run.
        registry: The folder the model was loaded from.
    """

    input: str
    output: Path
    run_id: str
    registry: Path


def repair(
    predictor: Predictor, request: RepairRequest, settings: BatchSettings, watch: Watch
) -> RunResult:
    """Predict rows that a committed run had set aside, and commit them into it.

    Rows that are still bad stay in the quarantine, with their new reasons; rows that aren't given
    stay as they are. A crash at any instant leaves the run as it was, or repaired; the same input
    again changes nothing.

    Args:
        predictor: The model version of the run.
        request: What to do.
        settings: How; partitions stay the run's own.
        watch: What looks on.

    Returns:
        The run as it is now.

    Raises:
        InvalidInput: There is no such committed run; the model isn't the run's; the input doesn't
            fit, or has a row that isn't in the quarantine, has another key there, or comes twice.
        LeaseHeld: Another process works on this run.
        CommitUnknown: The repair is complete; whether a crash could undo it isn't known.
        TwofoldError: The disk failed, or can't exchange two folders.
    """
    began_s = time.monotonic()
    run_id = check_name(request.run_id, what="run id")
    target = request.output / run_id
    parts = part_format(_committed(target, predictor).settings.format)
    if parts.read is None:
        got = f"{parts.name}, whose files don't say the types of their columns"
        fix = "Run the mended input again, under a new run id."
        raise InvalidInput(problem(str(target), "parts in parquet or arrow", got, fix))
    stage = Stage(request.output, run_id, watch.step, parts)
    source = open_input(request.input)
    stage.make_folder()
    with hold_lease(stage.folder, run_id):
        stage.take_over()
        before = _committed(target, predictor)  # from here on nobody else changes it
        layout = _lay_out(source, predictor, before)
        work = Work(predictor, request.registry, source, layout, settings)
        mending = _Repair(work, before, watch)
        if mending.was_done:
            stage.settle()
            state, after = RunState.ALREADY_COMMITTED, before
        else:
            state, after = RunState.COMMITTED, mending.commit(stage)
        stage.forget()
    rows = before.rows_predicted
    return RunResult(state, target, after, rows, time.monotonic() - began_s)


def _committed(target: Path, predictor: Predictor) -> Manifest:
    manifest = read_manifest(target)
    if manifest is None:
        fix = "Resume it with `twofold batch resume`, or mend its name."
        raise InvalidInput(problem(str(target), "a committed run", "none", fix))
    if manifest.model.digest != predictor.digest:
        name = f"{manifest.model.name}@{manifest.model.version}"
        fix = "Repair the run with the version that predicted it."
        raise InvalidInput(problem(name, "the version of the run", "another content", fix))
    return manifest


def _lay_out(source: Input, predictor: Predictor, run: Manifest) -> Layout:
    """The columns of the input, among which the number of a row is the key."""
    signature = predictor.signature
    passed = [name for name in (run.key, *run.keep) if name is not None]
    if ROW in (*signature.names, *passed):
        got = "a column of the model or of the run"
        fix = "Run the mended input again, under a new run id."
        raise InvalidInput(problem(ROW, "a name that only numbers rows", got, fix))
    have = {name for file in source.files for name in file.schema.names}
    notes = [name for name in NOTES if name in have and name not in signature.names]
    keep = list(dict.fromkeys([*passed, *notes]))
    return lay_out(source, signature, predictor.output, key=ROW, keep=keep)


class _Repair:
    """The mended rows of an input, and the run they go into."""

    def __init__(self, work: Work, before: Manifest, watch: Watch) -> None:
        self._work = work
        self._source = work.source
        self._before = before
        self._watch = watch
        self._files = describe_files(work.source)
        self._fingerprint = fingerprint(self._files)

    @property
    def was_done(self) -> bool:
        return any(done.input.fingerprint == self._fingerprint for done in self._before.repairs)

    def commit(self, stage: Stage) -> Manifest:
        """Put the rows in, and make that visible."""
        before, now = self._before, self._watch.clock()
        aside = self._read_quarantine(stage.target)
        results = self._predict()
        check_unchanged(self._source)
        stamp = Stamp(before.model.version, before.run_id, now)
        table = self._work.layout.table([result.columns for result in results], stamp)
        still = {row.key: (row.field, row.reason) for r in results for row in r.set_aside}
        rows = row_numbers([*texts(table.column(ROW)), *still], self._source.text)
        mended = rows[: table.num_rows]
        self._check(rows, table, aside)
        again = dict(zip(rows[table.num_rows :], still.values(), strict=True))
        stage.begin_again()
        files = self._write_parts(stage, table, mended, aside)
        left = quarantine.without(aside, mended, again)
        kept = stage.write_quarantine(left) if left.num_rows else None
        given = InputEntry(
            given=self._source.given,
            format=self._source.format.name,
            fingerprint=self._fingerprint,
            files=self._files,
        )
        done = Repair(input=given, repaired_at=now, rows_in=len(rows), rows_predicted=len(mended))
        after = msgspec.structs.replace(
            before,
            rows_predicted=before.rows_predicted + len(mended),
            rows_quarantined=before.rows_quarantined - len(mended),
            files=files,
            quarantine=kept,
            repairs=(*before.repairs, done),
        )
        stage.exchange(after)
        return after

    def _read_quarantine(self, target: Path) -> pa.Table:
        entry = self._before.quarantine
        if entry is None:
            fix = "There is nothing to repair."
            raise InvalidInput(problem(self._before.run_id, "rows set aside", "none", fix))
        return quarantine.read(target / entry.name)

    def _predict(self) -> list[Predicted]:
        results = engine_of(self._work.settings)(self._work, 0)
        found: list[Predicted] = []
        began_s = time.monotonic()
        done = aside = 0
        with contextlib.closing(results):
            for predicted in results:
                found.append(predicted)
                done, aside = done + predicted.rows_in, aside + len(predicted.set_aside)
                elapsed_s = time.monotonic() - began_s
                rate = done / max(elapsed_s, 1e-9)
                total = self._source.rows_total
                self._watch.progress(Progress(done, total, aside, rate, elapsed_s))
        return found

    def _check(self, rows: Sequence[int], table: pa.Table, aside: pa.Table) -> None:
        key = self._before.key
        keys = None if key is None else texts(table.column(key))
        given = dict.fromkeys(rows) | dict(zip(rows, keys or (), strict=False))
        numbers, known = aside.column("row").to_pylist(), aside.column("key").to_pylist()
        check_places(given, dict(zip(numbers, known, strict=True)), self._source.text)

    def _write_parts(
        self, stage: Stage, table: pa.Table, rows: Sequence[int], aside: pa.Table
    ) -> tuple[FileEntry, ...]:
        """Write the parts that rows go into; the others are taken over as they are."""
        before = self._before
        size = before.settings.partition_rows
        out = _by_partition(aside.column("row").to_pylist(), size)
        into = _by_partition(rows, size)
        columns = table.select([column.name for column in before.columns])
        at = {row: index for index, row in enumerate(rows)}
        files: list[FileEntry] = []
        for partition, entry in enumerate(before.files):
            mended = into.get(partition)
            if mended is None:
                files.append(stage.take(entry))
                continue
            part = stage.read_part(entry)
            new = columns.take([at[row] for row in mended])
            whole = place(part, partition * size, out[partition], new, mended)
            suffix = Path(entry.name).suffix
            name = repaired_name(partition, len(before.repairs) + 1, suffix)
            files.append(stage.write_part(name, whole))
        return tuple(files)


def _by_partition(rows: Sequence[int], partition_rows: int) -> Mapping[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row // partition_rows, []).append(row)
    return found
