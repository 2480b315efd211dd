"""Snapshots as the command line asks for them: which run, of which model, to which store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twofold.app.batch import BatchSettings, RunRequest, run_batch
from twofold.app.settings import read
from twofold.app.snapshot import (
    PublishState,
    PublishStep,
    PublishWatch,
    look_at_snapshots,
    publish_run,
    roll_back_snapshot,
    store_of,
)
from twofold.errors import ConfigError, GatesShut, InvalidInput, LeaseHeld
from twofold.stores.snapshot import Pointer

NIGHT = Path("out/night")


def run(table: pa.Table, run_id: str = "night", **more: Any) -> Path:
    """Commit a run of `offer`."""
    pq.write_table(table, "rows.parquet")
    request = RunRequest(
        model="offer@2",
        input="rows.parquet",
        output=Path("out"),
        registry=Path("registry"),
        key="customer",
        run_id=run_id,
        **more,
    )
    return run_batch(request, settings=BatchSettings(workers=1)).folder


@pytest.fixture
def night(folder: Path, table: pa.Table) -> Path:
    return run(table)


def test_committed_run_is_published_once_and_read_from_then_on(night: Path) -> None:
    rows: list[int] = []
    steps: list[PublishStep] = []
    watch = PublishWatch(step=steps.append, progress=rows.append)
    result = publish_run(night, read(), watch=watch)
    assert result.state is PublishState.PUBLISHED
    assert (result.snapshot.model, result.snapshot.run_id, result.snapshot.rows) == (
        "offer",
        "night",
        100,
    )
    assert (rows[-1], steps) == (100, list(PublishStep))
    assert look_at_snapshots(read(), "offer").current == result.snapshot
    again = publish_run(night, read(), model="offer")
    assert (again.state, again.snapshot) == (PublishState.ALREADY_PUBLISHED, result.snapshot)


def test_folder_that_is_no_run_is_told(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="out/night: expected a committed run, got nothing"):
        publish_run(NIGHT, read())


def test_run_of_another_model_is_not_published(night: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        publish_run(night, read(), model="churn")
    assert str(caught.value) == (
        "out/night: expected a run of churn, got one of offer. Publish it with --model offer."
    )
    assert not Path("store").exists()


def test_features_are_those_of_the_version_that_ran(night: Path, table: pa.Table) -> None:
    with pytest.raises(InvalidInput, match="Run it again with --keep-features"):
        publish_run(night, read(), with_features=True)
    kept = run(table, "kept", keep_features=True)
    assert publish_run(kept, read(), with_features=True).snapshot.features == ("spend", "plan")
    plain = publish_run(kept, read())
    assert (plain.state, plain.snapshot.features) == (PublishState.PUBLISHED, ())


def test_gates_are_those_of_the_settings_and_can_be_forced(night: Path, table: pa.Table) -> None:
    publish_run(night, read())
    half = run(table.slice(0, 50), "half")
    with pytest.raises(GatesShut, match="min_rows_ratio"):
        publish_run(half, read())
    assert look_at_snapshots(read(), "offer").current is not None
    assert publish_run(half, read(), force=True).snapshot.is_forced
    quarter = run(table.slice(0, 25), "quarter")
    loose = read({"snapshot.min_rows_ratio": "0.5", "snapshot.max_prediction_psi": "1000"})
    assert not publish_run(quarter, loose).snapshot.is_forced


def test_way_back_is_one_step_and_needs_a_snapshot_before(night: Path, table: pa.Table) -> None:
    for known in (False, True):
        if known:
            publish_run(night, read())
        with pytest.raises(InvalidInput, match="a snapshot before the current one"):
            roll_back_snapshot(read(), "offer")
    day = publish_run(run(table, "day"), read()).snapshot
    pointer = roll_back_snapshot(read(), "offer")
    assert pointer == look_at_snapshots(read(), "offer")
    assert pointer.current is not None
    assert pointer.current.run_id == "night"
    assert pointer.previous is not None
    assert (pointer.previous.name, pointer.previous.is_rolled_back) == (day.name, True)


def test_one_publisher_at_a_time(night: Path) -> None:
    with store_of(read()).publishing("offer"):
        with pytest.raises(LeaseHeld, match="no other publisher"):
            publish_run(night, read())
        with pytest.raises(LeaseHeld):
            roll_back_snapshot(read(), "offer")


def test_model_without_snapshots_has_none(folder: Path) -> None:
    assert look_at_snapshots(read(), "offer") == Pointer()


def test_store_is_the_one_of_the_settings(night: Path) -> None:
    publish_run(night, read({"store": "elsewhere"}))
    assert look_at_snapshots(read(), "offer") == Pointer()
    assert look_at_snapshots(read({"store": "elsewhere"}), "offer").current is not None
    with pytest.raises(ConfigError, match="--store: expected"):
        store_of(read({"store": "nosql://somewhere"}))
