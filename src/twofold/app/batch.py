"""Batch runs: load the model, run, deliver, look at runs, resume them."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path

from twofold.batch.deliver import deliver, targets_of
from twofold.batch.export import ExportRequest, export
from twofold.batch.manifest import Manifest, read_manifest
from twofold.batch.repair import RepairRequest, repair
from twofold.batch.report import render_report
from twofold.batch.request import RunRequest, new_run_id
from twofold.batch.run import RunResult, RunState, run
from twofold.batch.runs import Phase, RunStatus, list_runs, run_status
from twofold.batch.settings import BatchSettings
from twofold.batch.stage import Stage, read_ledger, staging_folder
from twofold.batch.target import Delivery, DeliveryState
from twofold.batch.watch import Progress, Step, Watch
from twofold.errors import InvalidInput, problem
from twofold.model.names import check_name
from twofold.model.registry import Registry
from twofold.predictor.load import load, read_sample
from twofold.schedule.dates import expand, parse_as_of, run_id_for

__all__ = [
    "BatchSettings",
    "Delivery",
    "DeliveryState",
    "ExportRequest",
    "Phase",
    "Progress",
    "RepairRequest",
    "RunRequest",
    "RunResult",
    "RunState",
    "RunStatus",
    "Step",
    "Watch",
    "dated",
    "deliver_run",
    "export_quarantine",
    "list_runs",
    "repair_run",
    "resume_run",
    "run_batch",
    "run_status",
    "write_report",
]


def run_batch(
    request: RunRequest, *, settings: BatchSettings | None = None, watch: Watch | None = None
) -> RunResult:
    """Predict an input with a packed model, commit the predictions, and deliver them.

    A committed run goes to the targets it was committed with and to those of the request; one
    that isn't yet to those of the request or, if that has none, to those it was started with.

    Args:
        request: What to do. Without a run id, one is made from the time.
        settings: How; the declared defaults if None.
        watch: What looks on.

    Returns:
        The committed run.

    Raises:
        UnknownModel: No such model, version or alias.
        DeliveryFailed: The run is committed, but isn't in some target.
        DeliveryUnknown: The run is committed; whether some target has it isn't known.
        TwofoldError: See `twofold.batch.run.run`.
    """
    watch = watch or Watch()
    if request.run_id is None:
        taken = {status.run_id for status in list_runs(request.output)}
        request = dataclasses.replace(request, run_id=new_run_id(watch.clock(), taken))
    else:
        into = _wanted(request, check_name(request.run_id, what="--run-id"))
        request = dataclasses.replace(request, into=into)
    targets_of(request.into)  # or a model would be loaded for nothing
    predictor = load(request.model, registry=request.registry)
    if request.keep_features:
        others = (name for name in predictor.signature.names if name != request.key)
        keep = tuple(dict.fromkeys((*request.keep, *others)))
        request = dataclasses.replace(request, keep=keep)
    sample = read_sample(Registry(request.registry), predictor.record)
    result = run(predictor, request, settings or BatchSettings(), watch, sample=sample)
    return _delivered(result, request.into, watch)


def _wanted(request: RunRequest, run_id: str) -> tuple[str, ...]:
    """Where a run goes that may have been started before."""
    manifest = read_manifest(request.output / run_id)
    if manifest is not None:
        # What is given comes first: it may have the password that what is recorded hasn't.
        return (*request.into, *manifest.into)
    started = read_ledger(staging_folder(request.output, run_id)).started
    return request.into or (started.into if started else ())


def _delivered(result: RunResult, into: Sequence[str], watch: Watch) -> RunResult:
    """Deliver a committed run."""
    if not into:
        return result
    began_s = time.monotonic()
    done = deliver(result.folder, result.manifest, targets_of(into), watch)
    elapsed_s = result.elapsed_s + time.monotonic() - began_s
    return dataclasses.replace(result, deliveries=done, elapsed_s=elapsed_s)


def deliver_run(
    output: Path, run_id: str, into: Sequence[str] = (), *, watch: Watch | None = None
) -> RunResult:
    """Bring a committed run to targets: also after a repair, which it brings there, too.

    Args:
        output: The folder the run was committed to.
        run_id: The run.
        into: The targets; those that it was committed with if there are none.
        watch: What looks on.

    Returns:
        The run, and where it is now.

    Raises:
        InvalidInput: There is no such run, it isn't committed, or has nowhere to go.
        DeliveryFailed: It isn't in some target.
        DeliveryUnknown: Whether some target has it isn't known.
    """
    watch = watch or Watch()
    targets_of(into)
    status = run_status(output, run_id)
    if status.manifest is None:
        fix = f"Resume it first: twofold batch resume {run_id} --output {output}"
        raise InvalidInput(problem(run_id, "a committed run", str(status.phase), fix))
    into = tuple(into) or status.into
    if not into:
        fix = "Say where it goes: --into TARGET."
        raise InvalidInput(problem(run_id, "a target", "none, now or when it ran", fix))
    Stage(output, run_id, watch.step).settle()
    rows = status.manifest.rows_in
    result = RunResult(RunState.ALREADY_COMMITTED, status.folder, status.manifest, rows, 0.0)
    return _delivered(result, into, watch)


def dated(request: RunRequest, as_of: str) -> RunRequest:
    """Say what day a run is about: put it where `{date}` is, and into its id if it has none.

    Args:
        request: With `{date}` in input, output, query and targets, or without.
        as_of: A day such as 2026-01-31, which begins in UTC; or an instant with its offset.

    Raises:
        InvalidInput: It is neither, or something has another placeholder.
    """
    where = "--as-of"
    try:
        instant = parse_as_of(as_of)
        where = "INPUT"
        source = expand(request.input, instant)
        where = "--output"
        output = Path(expand(str(request.output), instant))
        where = "--query"
        query = request.query and expand(request.query, instant)
        where = "--into"
        into = tuple(expand(target, instant) for target in request.into)
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from error
    run_id = request.run_id or run_id_for(request.model, as_of)
    return dataclasses.replace(
        request,
        input=source,
        output=output,
        query=query,
        into=into,
        as_of=instant,
        run_id=run_id,
    )


def resume_run(
    output: Path,
    run_id: str,
    *,
    settings: BatchSettings | None = None,
    watch: Watch | None = None,
) -> RunResult:
    """Go on with an interrupted run, or its delivery, as its ledger or its manifest says.

    Args:
        output: The folder the run is to be committed to.
        run_id: The run.
        settings: How; the partition size stays the run's own.
        watch: What looks on.

    Returns:
        The committed run; if it was committed before, nothing is predicted.

    Raises:
        InvalidInput: There is no such run.
        TwofoldError: See `run_batch`.
    """
    watch = watch or Watch()
    status = run_status(output, run_id)
    if status.manifest is not None:
        rows = status.manifest.rows_in
        Stage(output, run_id, watch.step).settle()
        result = RunResult(RunState.ALREADY_COMMITTED, status.folder, status.manifest, rows, 0.0)
        return _delivered(result, status.into, watch)
    started = read_ledger(staging_folder(output, run_id)).started
    if started is None:
        fix = "Start it again with `twofold batch run`."
        raise InvalidInput(problem(run_id, "an interrupted run", "one deleted meanwhile", fix))
    identity = started.identity
    request = RunRequest(
        model=identity.model,
        input=started.input,
        output=output,
        registry=Path(started.registry),
        key=identity.key,
        keep=identity.keep,
        format=identity.format,
        run_id=run_id,
        query=started.query,
        into=started.into,
    )
    settings = dataclasses.replace(
        settings or BatchSettings(), partition_rows=identity.partition_rows
    )
    return run_batch(request, settings=settings, watch=watch)


def repair_run(
    request: RepairRequest,
    *,
    settings: BatchSettings | None = None,
    watch: Watch | None = None,
) -> RunResult:
    """Predict mended rows of a committed run's quarantine, and put them into it.

    Args:
        request: What to do.
        settings: How; partitions stay the run's own.
        watch: What looks on.

    Returns:
        The run as it is now.

    Raises:
        InvalidInput: There is no such run, or it isn't committed.
        UnknownModel: Its version isn't in the registry.
        TwofoldError: See `twofold.batch.repair.repair`.
    """
    status = run_status(request.output, request.run_id)
    if status.manifest is None:
        fix = f"Resume it first: twofold batch resume {request.run_id} --output {request.output}"
        raise InvalidInput(problem(request.run_id, "a committed run", str(status.phase), fix))
    predictor = load(status.model, registry=request.registry)
    return repair(predictor, request, settings or BatchSettings(), watch or Watch())


def export_quarantine(
    request: ExportRequest, *, registry: Path, settings: BatchSettings | None = None
) -> int:
    """Write the rows that a committed run had set aside to a file, to be mended.

    Args:
        request: Which run, and where to.
        registry: The folder the model was loaded from.
        settings: How many rows of the input are in memory at a time.

    Returns:
        The rows written.

    Raises:
        InvalidInput: There is no such run, or it isn't committed.
        UnknownModel: Its version isn't in the registry.
        TwofoldError: See `twofold.batch.export.export`.
    """
    opened = Registry(registry)
    found = opened.resolve(run_status(request.output, request.run_id).model)
    record = opened.read(found.name, found.version or "")
    settings = settings or BatchSettings()
    return export(request, record.signature, batch_rows=settings.batch_rows)


def write_report(manifest: Manifest, path: Path) -> None:
    """Write the report of a committed run, whole or not at all.

    Args:
        manifest: The run's.
        path: The file of HTML.

    Raises:
        OSError: It can't be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(render_report(manifest), encoding="utf-8", errors="replace")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
