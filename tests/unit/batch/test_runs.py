"""Looking at the runs of a folder."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from twofold.batch.runs import Phase, list_runs, run_status
from twofold.errors import InvalidInput
from twofold.lease import hold_lease


def stop_after(rows: int, crash: type[BaseException]) -> Any:
    def stop(progress: Any) -> None:
        if progress.rows_done >= rows:
            raise crash

    return stop


def test_committed_running_and_interrupted_runs_are_told_apart(
    bench: Any, crash: type[BaseException], now: datetime
) -> None:
    source = bench.parquet(bench.table([None, *map(float, range(19))]))
    bench.run(source, run_id="a")
    with pytest.raises(crash):
        bench.run(source, run_id="b", progress=stop_after(8, crash))
    found = list_runs(bench.output)
    assert [(run.run_id, run.phase, run.rows_done) for run in found] == [
        ("a", Phase.COMMITTED, 20),
        ("b", Phase.INTERRUPTED, 8),
    ]
    assert {(run.model, run.started_at, run.rows_total) for run in found} == {
        ("doubler@1", now, 20)
    }
    assert [run.rows_quarantined for run in found] == [1, 1]
    with hold_lease(found[1].folder, "b"):
        assert run_status(bench.output, "b").phase is Phase.RUNNING


def test_folder_without_runs_has_none(bench: Any) -> None:
    assert list_runs(bench.output) == []


def test_unknown_run_is_answered_with_the_known_ones(bench: Any) -> None:
    bench.run(bench.parquet(bench.table([1.0])), run_id="monday")
    with pytest.raises(InvalidInput, match="expected a run sunday, got these: monday"):
        run_status(bench.output, "sunday")
    with pytest.raises(InvalidInput, match="run id: expected"):
        run_status(bench.output, "../monday")
