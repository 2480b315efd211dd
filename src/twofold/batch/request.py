"""What a run is asked to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Container
from datetime import datetime
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class RunRequest:
    """One run: which model over which input, and where to.

    Attributes:
        model: Reference to the model: `churn`, `churn@3`, `churn:canary`.
        input: A Parquet, CSV, JSON Lines or Arrow IPC file, a folder of such files, or a glob, on
            disk or in an object store; a Delta table; or a database.
        output: The folder that runs are committed to.
        registry: The folder the model is loaded from.
        key: The column that identifies a row; None if none does.
        keep: Further columns of the input to copy to the output.
        keep_features: Whether to copy all fields of the model, too.
        format: Of the part files: `parquet`, `csv` or `arrow`.
        run_id: The run's name; None makes one from the time. The same name and input again
            resume the run, or find it committed.
        as_of: When the input was true (aware); None means when the run first starts.
        query: What to ask the database, if the input is one.
        into: Where else the committed run is delivered to; no part of what the run is.
    """

    model: str
    input: str
    output: Path
    registry: Path
    key: str | None = None
    keep: tuple[str, ...] = ()
    keep_features: bool = False
    format: str = "parquet"
    run_id: str | None = None
    as_of: datetime | None = None
    query: str | None = None
    into: tuple[str, ...] = ()


def new_run_id(now: datetime, taken: Container[str]) -> str:
    """Name a run after the instant (aware) it was asked for: `20260131T235959Z`, then `...Z-2`."""
    base = now.strftime("%Y%m%dT%H%M%SZ")
    count, run_id = 1, base
    while run_id in taken:
        count += 1
        run_id = f"{base}-{count}"
    return run_id
