"""Committed runs of models that are no more than a function of an amount, to be published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from twofold.batch.committed import Committed
from twofold.batch.repair import RepairRequest, repair
from twofold.batch.request import RunRequest
from twofold.batch.run import run
from twofold.batch.settings import BatchSettings
from twofold.batch.watch import Watch
from twofold.model import arrow
from twofold.model.signature import Field, Output, OutputType, Signature

NOW = datetime(2026, 1, 31, 12, 30, 15, 123457, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)
ARROW = {
    "float64": pa.float64(),
    "float32": pa.float32(),
    "int64": pa.int64(),
    "bool": pa.bool_(),
    "string": pa.string(),
}
SIGNATURE = Signature(
    fields=(
        Field(name="amount", type="float64"),
        Field(name="plan", type="string", nullable=True, categories=("basic", "pro", "")),
        Field(name="visits", type="int64", nullable=True),
    )
)


class Model:
    """Predicts by a function of the amount: a value for each output."""

    name = "churn"
    signature = SIGNATURE
    reads_codes = True
    concurrent = True

    def __init__(
        self,
        predict: Callable[[float], Sequence[Any]] = lambda amount: [2.0 * amount],
        type: OutputType = "float64",  # noqa: A002 - as `Output` has it
        names: tuple[str, ...] = ("prediction",),
        *,
        version: str = "3",
    ) -> None:
        self.output = Output(kind="value", type=type, names=names)
        self.version, self.digest = version, f"digest-{version}"
        self._predict = predict

    def predict_columns(self, columns: pa.RecordBatch) -> pa.RecordBatch:
        every = [self._predict(amount) for amount in arrow.numbers(columns.column("amount"))]
        kind = ARROW[self.output.type]
        names = self.output.names
        arrays = [pa.array([row[at] for row in every], kind) for at in range(len(names))]
        return pa.RecordBatch.from_arrays(arrays, names=list(names))


@dataclass
class Runs:
    """Runs of such a model, in one folder."""

    folder: Path
    model: Any = field(default_factory=Model)
    key: str | None = "id"
    keep: tuple[str, ...] = ()
    format: str = "parquet"
    run_id: str = "night"
    as_of: datetime | None = None
    taken_at: datetime = NOW

    def table(self, amounts: Sequence[float | None], **more: Any) -> pa.Table:
        """An input; the key of row 17 is `c17`."""
        rows = range(len(amounts))
        columns = {
            "id": pa.array([f"c{number}" for number in rows], pa.string()),
            "amount": pa.array(amounts, pa.float64()),
            "plan": pa.array([["basic", "pro", None][number % 3] for number in rows], pa.string()),
            "visits": pa.array([None if number % 5 == 0 else number for number in rows]),
        }
        return pa.table(columns | more)

    def commit(self, table: pa.Table, *, given: str = "parquet", **changed: Any) -> Committed:
        """Run over an input, three rows at a time, eight a part."""
        runs = replace(self, **changed)
        path = runs.folder / f"{runs.run_id}.{given}"
        if given == "csv":
            pc.write_csv(table, path)
        elif given == "arrow":
            with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        else:
            pq.write_table(table, path)
        request = RunRequest(
            model="churn",
            input=str(path),
            output=runs.folder / "out",
            registry=runs.folder / "registry",
            key=runs.key,
            keep=runs.keep,
            format=runs.format,
            run_id=runs.run_id,
            as_of=runs.as_of,
        )
        settings = BatchSettings(
            workers=1, batch_rows=3, partition_rows=8, max_quarantined_ratio=1.0
        )
        result = run(runs.model, request, settings, Watch(clock=lambda: runs.taken_at))
        return Committed(result.folder, result.manifest)

    def mend(self, table: pa.Table, rows: Sequence[int]) -> Committed:
        """Repair some rows of the run, later."""
        path = self.folder / "fix.parquet"
        pq.write_table(table.append_column("row", pa.array(rows, pa.int64())), path)
        request = RepairRequest(
            str(path), self.folder / "out", self.run_id, self.folder / "registry"
        )
        settings = BatchSettings(workers=1, batch_rows=3, partition_rows=8)
        result = repair(self.model, request, settings, Watch(clock=lambda: LATER))
        return Committed(result.folder, result.manifest)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.fixture(scope="session")
def new_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Runs]:
    """Make a folder for runs that several tests share."""
    return lambda: Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def model() -> type[Model]:
    return Model


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def later() -> datetime:
    return LATER
