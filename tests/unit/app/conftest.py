"""Functions packed once, and for each test a folder of its own that holds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workplace import work_in, work_in_copy

import twofold
from twofold.app.batch import BatchSettings, RunRequest, Watch, run_batch
from twofold.app.settings import read
from twofold.app.snapshot import publish_run

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
MODULE = """
import itertools
import os

calls = itertools.count(1)

def offer(row):
    return row["spend"] * (2.0 if row["plan"] == "pro" else 0.5)

def discount(row):
    return row["spend"] - 1.0

def many(table):
    return [2.0 * value for value in table["spend"].to_pylist()]

def drifting(row):
    return row["spend"] + (next(calls) if "DRIFT" in os.environ else 0)

def broken(row):
    raise ValueError("no such luck")
"""
"""`offer` and `discount` predict one row, `many` a table; `drifting` never the same twice."""


def rows(count: int) -> pa.Table:
    """Rows that fit: a customer, what was spent, a plan."""
    numbers = range(count)
    columns = {
        "customer": pa.array([f"c{number}" for number in numbers], pa.string()),
        "spend": pa.array([number / 4 for number in numbers], pa.float64()),
        "plan": pa.array([("basic", "pro")[number % 2] for number in numbers], pa.string()),
    }
    return pa.table(columns)


def pack(folder: Path, functions: Sequence[str]) -> None:
    """Pack functions of the module, each as version 1 of its own name."""
    for function in functions:
        twofold.pack(
            f"app_rules:{function}",
            name=function,
            sample=folder / "sample.parquet",
            registry=folder / "registry",
            drop=["customer"],
        )


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry, its sample and the module; not to be changed."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "app_rules.py").write_text(MODULE, encoding="utf-8")
    pq.write_table(rows(40), folder / "sample.parquet")
    with pytest.MonkeyPatch.context() as patch:
        work_in(folder, patch)
        pack(folder, ["offer", "drifting"])
        # The second version of `offer`.
        twofold.pack(
            "app_rules:discount",
            name="offer",
            sample="sample.parquet",
            registry="registry",
            drop=["customer"],
        )
    return folder


@pytest.fixture
def folder(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all that was packed, to be in and to change."""
    return work_in_copy(packed, tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def table() -> pa.Table:
    """A hundred rows that fit."""
    return rows(100)


@pytest.fixture
def publish(folder: Path, table: pa.Table) -> Callable[..., None]:
    """Run `offer` over a hundred customers of January, and publish what it predicts."""

    def run_and_publish(run_id: str = "night", *, features: bool = True) -> None:
        pq.write_table(table, f"{run_id}.parquet")
        request = RunRequest(
            model="offer@2",
            input=f"{run_id}.parquet",
            output=Path("out"),
            registry=Path("registry"),
            key="customer",
            keep_features=True,
            run_id=run_id,
        )
        run_batch(request, settings=BatchSettings(workers=1), watch=Watch(clock=lambda: AS_OF))
        publish_run(Path("out", run_id), read(), with_features=features)

    return run_and_publish
