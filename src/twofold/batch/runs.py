"""Looking at the runs of an output folder: committed, at work, or interrupted."""

from __future__ import annotations

import dataclasses
import enum
from datetime import datetime
from pathlib import Path

from twofold.batch.ledger import Ledger
from twofold.batch.manifest import MANIFEST_FILE, Manifest, read_manifest
from twofold.batch.stage import STAGING_FOLDER, read_ledger, staging_folder
from twofold.errors import InvalidInput, problem
from twofold.lease import is_held
from twofold.model.names import check_name


class Phase(enum.StrEnum):
    """How far a run has come."""

    COMMITTED = "committed"
    RUNNING = "running"
    INTERRUPTED = "interrupted"


@dataclasses.dataclass(frozen=True)
class RunStatus:
    """One run.

    Attributes:
        run_id: Its name.
        phase: How far it has come.
        folder: Where it lies, or where it is staged.
        model: What predicts, as `name@version`.
        started_at: When it first started (UTC).
        rows_done: Rows safe on disk, those set aside included.
        rows_total: Rows of the input; None if not known yet.
        rows_quarantined: Of `rows_done`, those set aside.
        manifest: If it is committed.
        into: Where else it is to go.
    """

    run_id: str
    phase: Phase
    folder: Path
    model: str
    started_at: datetime
    rows_done: int
    rows_total: int | None
    rows_quarantined: int
    manifest: Manifest | None
    into: tuple[str, ...] = ()


def list_runs(output: Path) -> list[RunStatus]:
    """List the runs of an output folder, the oldest first; none if there is no such folder."""
    committed = {
        path.parent.name for path in output.glob(f"*/{MANIFEST_FILE}") if _is_run(path.parent)
    }
    staged = {path.name for path in (output / STAGING_FOLDER).glob("*")}
    found = [_status(output, run_id) for run_id in committed | staged]
    known = [status for status in found if status is not None]
    return sorted(known, key=lambda status: (status.started_at, status.run_id))


def _is_run(folder: Path) -> bool:
    """Whether a manifest is one of ours: others' tools have files of that name, too."""
    try:
        return read_manifest(folder) is not None
    except InvalidInput:
        return False


def run_status(output: Path, run_id: str) -> RunStatus:
    """Look at one run.

    Raises:
        InvalidInput: There is no such run.
    """
    found = _status(output, check_name(run_id, what="run id"))
    if found is None:
        known = ", ".join(status.run_id for status in list_runs(output)[-20:]) or "none"
        raise InvalidInput(
            problem(str(output), f"a run {run_id}", f"these: {known}", "Name one of them.")
        )
    return found


def _status(output: Path, run_id: str) -> RunStatus | None:
    manifest = read_manifest(output / run_id)
    if manifest is not None:
        return RunStatus(
            run_id=run_id,
            phase=Phase.COMMITTED,
            folder=output / run_id,
            model=f"{manifest.model.name}@{manifest.model.version}",
            started_at=manifest.started_at,
            rows_done=manifest.rows_in,
            rows_total=manifest.rows_in,
            rows_quarantined=manifest.rows_quarantined,
            manifest=manifest,
            into=manifest.into,
        )
    folder = staging_folder(output, run_id)
    return _staged(run_id, folder, read_ledger(folder))


def _staged(run_id: str, folder: Path, ledger: Ledger) -> RunStatus | None:
    if ledger.started is None:
        return None
    return RunStatus(
        run_id=run_id,
        phase=Phase.RUNNING if is_held(folder) else Phase.INTERRUPTED,
        folder=folder,
        model=ledger.started.identity.model,
        started_at=ledger.started.started_at,
        rows_done=sum(entry.rows_in for entry in ledger.finished),
        rows_total=ledger.answered.file.rows if ledger.answered else ledger.started.rows_total,
        rows_quarantined=sum(entry.rows_quarantined for entry in ledger.finished),
        manifest=None,
        into=ledger.started.into,
    )
