"""Delivering a committed run to where else its predictions go.

The run's folder stays the run: a delivery that fails, or is cut off, leaves it as it is, and doing
the same again finishes what is missing and finds the rest done.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from twofold.batch.committed import Committed
from twofold.batch.delta import PREFIX
from twofold.batch.into_delta import into_delta
from twofold.batch.into_objects import into_objects
from twofold.batch.into_sql import into_table
from twofold.batch.manifest import Manifest
from twofold.batch.objects import is_object_url
from twofold.batch.part_files import PartFormat, part_format
from twofold.batch.query import is_database
from twofold.batch.target import Delivery, Look, NotDelivered, Target
from twofold.batch.watch import Progress, Step, Watch
from twofold.errors import DeliveryFailed, DeliveryUnknown, InvalidInput, TwofoldError, problem


def target_of(text: str) -> Target:
    """Read what is given as `--into`; nothing is asked.

    Raises:
        InvalidInput: It is none, or has a secret where none may be.
    """
    if text.startswith(PREFIX):
        return into_delta(text)
    if is_object_url(text):
        return into_objects(text)
    if is_database(text):
        return into_table(text)
    fix = (
        "Name one: delta:PATH, postgresql://USER@HOST/DB?table=NAME, sqlite:FILE?table=NAME, "
        "duckdb:FILE?table=NAME, s3://BUCKET/FOLDER, gs://... or az://..."
    )
    raise InvalidInput(problem("--into", "a table or a folder of an object store", text, fix))


def targets_of(texts: Sequence[str]) -> tuple[Target, ...]:
    """Read several; of those that are recorded under one name the first one counts.

    Raises:
        InvalidInput: As `target_of`.
    """
    found: dict[str, Target] = {}
    for text in texts:
        target = target_of(text)
        found.setdefault(target.name, target)
    return tuple(found.values())


def check_targets(
    targets: Sequence[Target], run_id: str, parts: PartFormat, schema: pa.Schema | None
) -> None:
    """See that targets can take a run, before anything is predicted.

    Args:
        targets: Where the run is to go.
        run_id: The run.
        parts: The format of its files.
        schema: Of its rows; None while that isn't known.

    Raises:
        InvalidInput: One can't.
        ConfigError: An extra isn't installed.
    """
    for target in targets:
        _check_format(target, parts)
        try:
            target.check(run_id, schema)
        except NotDelivered as error:
            where = f"--into {target.name}"
            raise InvalidInput(problem(where, error.expected, error.got, error.fix)) from error


def deliver(
    folder: Path, manifest: Manifest, targets: Sequence[Target], watch: Watch
) -> tuple[Delivery, ...]:
    """Bring a committed run to its targets, one after the other, also if one of them fails.

    Args:
        folder: Where it lies.
        manifest: What it is.
        targets: Where it is to go.
        watch: What looks on.

    Returns:
        What is where now, in the order of the targets.

    Raises:
        DeliveryFailed: Some have it not; the message names them, why, and what finishes it.
        DeliveryUnknown: Of some it can't be told.
        InvalidInput: The run's files don't have the types that a target needs.
    """
    parts = part_format(manifest.settings.format)
    for target in targets:
        _check_format(target, parts)
    run = Committed(folder, manifest)
    done: list[Delivery] = []
    failed: list[str] = []
    is_unknown = False
    for target in targets:
        try:
            done.append(_deliver(run, target, watch))
        except NotDelivered as error:
            is_unknown = is_unknown or error.is_unknown
            failed.append(_words(run, target, str(error)))
        except TwofoldError as error:
            failed.append(_words(run, target, str(error)))
    if failed:
        kind = DeliveryUnknown if is_unknown else DeliveryFailed
        raise kind("\n".join(failed))
    return tuple(done)


def _deliver(run: Committed, target: Target, watch: Watch) -> Delivery:
    began_s = time.monotonic()
    rows_total = run.manifest.rows_predicted

    def tell(rows: int) -> None:
        elapsed_s = time.monotonic() - began_s
        rate = rows / max(elapsed_s, 1e-9)
        watch.progress(Progress(rows, rows_total, 0, rate, elapsed_s, target.name))

    tell(0)
    look = Look(rows=tell, step=watch.step, now=watch.clock().isoformat())
    state = target.deliver(run, look)
    watch.step(Step.DELIVERED)
    return Delivery(target.name, state, rows_total)


def _words(run: Committed, target: Target, why: str) -> str:
    command = ["twofold", "batch", "deliver", run.run_id, "--output", str(run.folder.parent)]
    finish = shlex.join([*command, "--into", target.name])
    return (
        f"delivery to {target.name} failed: {why} The run is committed in {run.folder}; "
        f"finish its delivery with: {finish}"
    )


def _check_format(target: Target, parts: PartFormat) -> None:
    if target.has_types and parts.read is None:
        got = f"{parts.name}, whose files don't say the types of their columns"
        fix = "Choose --format parquet or arrow, or deliver to an object store."
        where = f"--into {target.name}"
        raise InvalidInput(problem(where, "parts in parquet or arrow", got, fix))
