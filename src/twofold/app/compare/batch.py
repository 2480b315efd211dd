"""Batch prediction as its user has it: whole runs, and what a row of them waits for."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from twofold.app.compare.inputs import copies_for, write_copies
from twofold.app.compare.plan import Plan
from twofold.app.compare.processes import Ended, run_to_end
from twofold.batch.inputs import Input
from twofold.batch.manifest import Manifest
from twofold.batch.stage import read_ledger, staging_folder
from twofold.lab.findings import BatchFound, Scaling
from twofold.lab.parts import Part, Taken, row_latencies, scaling_of

MANY_ROWS = 1_024
MOMENT_S = 0.2


def row_time_s(predict: Callable[[pa.Table], object], rows: pa.Table) -> float:
    """Tell about what a model takes for a row of many.

    Args:
        predict: Predicts a table; the first call doesn't count.
        rows: At least one that it doesn't fail for, and none other; used again and again.

    Returns:
        Seconds, of ever more rows at once until they take a moment.
    """
    rows = pa.concat_tables([rows] * -(-MANY_ROWS // rows.num_rows))
    count = 1
    predict(rows.slice(0, 1))
    while True:
        began_s = time.perf_counter()
        predict(rows.slice(0, count))
        took_s = time.perf_counter() - began_s
        if took_s >= MOMENT_S or count >= MANY_ROWS:
            return took_s / count
        count *= 4


@dataclasses.dataclass(frozen=True)
class Ran:
    """A run that is committed.

    Attributes:
        folder: Where.
        ended: Its process.
        manifest: Its own.
        parts: Its partitions, in time.
    """

    folder: Path
    ended: Ended
    manifest: Manifest
    parts: tuple[Part, ...]

    @property
    def taken(self) -> Taken:
        """What it took."""
        return Taken(self.manifest.rows_in, self.ended.wall_s, self.ended.cpu_s)


@dataclasses.dataclass(frozen=True)
class Batches:
    """Where runs are made, and of which model.

    Attributes:
        model: `name@version`.
        registry: Absolute.
        folder: For all that they leave.
        plan: How often, and how long.
    """

    model: str
    registry: Path
    folder: Path
    plan: Plan

    def run(self, source: str, name: str, key: str | None = None) -> Ran:
        """Run once.

        Raises:
            TwofoldError: It failed.
        """
        output = self.folder / "predictions"
        words = ["batch", "run", self.model, source, "--output", str(output), "--run-id", name]
        words += ["--registry", str(self.registry), "--json"]
        words += ["--key", key] if key else []
        ended = run_to_end(words, self.folder, limit_s=self.plan.run_limit_s)
        said: dict[str, Any] = json.loads(ended.out)
        manifest = msgspec.convert(said["manifest"], Manifest)
        return Ran(output / name, ended, manifest, _parts(output, name, ended.began_at))

    def repeat(self, source: str, name: str, key: str | None, say: Callable[[int], None]) -> Median:
        """Run several times, as long as there is time for it."""
        began_s = time.monotonic()
        found: list[Ran] = []
        while len(found) < self.plan.repeats:
            say(len(found))
            found.append(self.run(source, f"{name}-{len(found)}", key))
            if time.monotonic() - began_s > self.plan.repeats_s:
                break
        found.sort(key=lambda ran: ran.ended.wall_s)
        return Median(found[(len(found) - 1) // 2], len(found))


@dataclasses.dataclass(frozen=True)
class Median:
    """The run of median length, of so many."""

    ran: Ran
    repeats: int


UNTOLD = (
    "More rows took hardly longer than fewer did, which may as well be noise: what a run costs "
    "whatever its size isn't told from what each row adds."
)


WAITS = (
    "Of what a row adds to a run, the processor is busy for less than half: the model waits for "
    "something else. Costs count the processor's time only."
)


def notes_on(scaling: Scaling | None) -> list[str]:
    """What is to be kept in mind of what each row adds."""
    if scaling is None:
        return [UNTOLD]
    return [WAITS] if 2 * scaling.row_cpu_s < scaling.row_wall_s else []


def measure_batch(
    runs: Batches, source: Input, key: str | None, say: Callable[[str, float], None]
) -> tuple[BatchFound, Ran, list[str]]:
    """Measure runs over an input, and over a larger one made of it.

    Args:
        runs: Where.
        source: The input.
        key: Its key column, if it has one.
        say: Told what is done, and which share of it is.

    Returns:
        What was found; the run that stands for it; and what couldn't be measured.

    Raises:
        TwofoldError: A run failed.
    """
    plan, notes = runs.plan, list[str]()
    given = source.given
    small = runs.repeat(
        given, "run", key, lambda done: say("batch runs over the input", done / plan.repeats / 2)
    )
    found = small.ran
    scaling = None
    rows = found.manifest.rows_in
    copies = 1 if plan.is_large(rows) else copies_for(source, rows, plan.large_rows)
    if copies > 1:
        say("writing a larger input", 0.5)
        larger = write_copies(source, copies, runs.folder)
        large = runs.repeat(
            str(larger),
            "large",
            key,
            lambda done: say("batch runs over a larger input", 0.5 + done / plan.repeats / 2),
        )
        scaling = scaling_of(found.taken, large.ran.taken)
        larger.unlink()
        notes += notes_on(scaling)
    elif not plan.is_large(rows):
        notes.append(
            "The input isn't of plain files, so no larger one was made of it: what a run costs "
            "whatever its size isn't told from what each row adds."
        )
    waited, computed, committed = row_latencies(found.parts, found.ended.wall_s)
    return (
        BatchFound(
            rows=rows,
            rows_quarantined=found.manifest.rows_quarantined,
            wall_s=found.ended.wall_s,
            cpu_s=found.ended.cpu_s,
            peak_memory_bytes=found.ended.peak_memory_bytes,
            start_s=found.parts[0].began_s if found.parts else found.ended.wall_s,
            partitions=len(found.parts),
            wait_s=waited,
            compute_s=computed,
            commit_s=committed,
            repeats=small.repeats,
            scaling=scaling,
        ),
        found,
        notes,
    )


def _parts(output: Path, name: str, began_at: datetime) -> tuple[Part, ...]:
    """The partitions of a run, as its ledger has them, which stays when it is committed."""
    return tuple(
        Part(
            entry.rows_in,
            (entry.began_at - began_at).total_seconds(),
            (entry.finished_at - began_at).total_seconds(),
        )
        for entry in read_ledger(staging_folder(output, name)).finished
        if entry.began_at is not None and entry.finished_at is not None
    )
