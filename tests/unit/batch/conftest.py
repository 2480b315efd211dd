"""A workbench for runs: a predictor without a library, inputs, and what a run left behind."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from twofold.batch.committed import Committed
from twofold.batch.manifest import read_manifest
from twofold.batch.repair import RepairRequest, repair
from twofold.batch.request import RunRequest
from twofold.batch.run import RunResult, run
from twofold.batch.settings import BatchSettings
from twofold.batch.target import Look, Target
from twofold.batch.watch import Progress, Step, Watch
from twofold.errors import PredictionFailed
from twofold.model import arrow
from twofold.model.signature import Field, Output, Signature

NOW = datetime(2026, 1, 31, 12, 30, 15, 123457, tzinfo=UTC)
POISON = 666.0


class Doubler:
    """Predicts twice `amount`, and fails on any batch with a poisonous amount in it."""

    name = "doubler"
    output = Output(kind="value", type="float64")
    signature = Signature(
        fields=(
            Field(name="amount", type="float64"),
            Field(name="plan", type="string", nullable=True, categories=("basic", "pro")),
        ),
        ignored=("note",),
    )
    reads_codes = True

    def __init__(
        self, *, version: str = "1", concurrent: bool = True, on_call: Callable[[], None] = int
    ) -> None:
        self.version = version
        self.digest = f"digest-{version}"
        self.concurrent = concurrent
        self.threads: set[int] = set()
        self._on_call = on_call

    def predict_columns(self, columns: pa.RecordBatch) -> pa.RecordBatch:
        self._on_call()
        self.threads.add(threading.get_ident())
        amounts = arrow.numbers(columns.column("amount"))
        if (amounts == POISON).any():
            raise PredictionFailed("the model raised ValueError: poison")
        return pa.RecordBatch.from_arrays([arrow.from_numbers(amounts * 2.0)], names=["prediction"])


class Crash(BaseException):
    """Stands for the end of the process: nothing in the code may catch it."""


@dataclass
class Bench:
    """One output folder, and how a run is started on it."""

    folder: Path
    predictor: Any = field(default_factory=Doubler)
    settings: BatchSettings = field(
        default_factory=lambda: BatchSettings(workers=2, batch_rows=3, partition_rows=8)
    )
    key: str | None = "id"
    keep: tuple[str, ...] = ()
    format: str = "parquet"
    run_id: str = "night"
    as_of: datetime | None = None
    query: str | None = None
    into: tuple[str, ...] = ()
    seen: list[Progress] = field(default_factory=list)

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def committed(self) -> Path:
        return self.output / self.run_id

    @property
    def staged(self) -> Path:
        return self.output / ".twofold" / self.run_id

    @property
    def attempt(self) -> Path:
        return max(self.staged.glob("attempt-*"))

    def table(self, values: Sequence[float | None], **more: Any) -> pa.Table:
        columns = {
            "id": pa.array([f"c{number}" for number in range(len(values))], pa.string()),
            "amount": pa.array(values, pa.float64()),
            "plan": pa.array(["basic"] * len(values), pa.string()),
        }
        return pa.table(columns | more)

    def parquet(self, table: pa.Table, name: str = "in.parquet", **options: Any) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, **options)
        return path

    def csv(self, table: pa.Table, name: str = "in.csv") -> Path:
        path = self.folder / name
        pc.write_csv(table, path)
        return path

    def text(self, content: str | bytes, name: str = "in.csv") -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def arrow(self, table: pa.Table, name: str = "in.arrow", *, stream: bool = False) -> Path:
        path = self.folder / name
        make = ipc.new_stream if stream else ipc.new_file
        with pa.OSFile(str(path), "wb") as sink, make(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=5)
        return path

    def run(
        self,
        source: Path | str,
        *,
        at: Callable[[Step], None] = lambda _: None,
        progress: Callable[[Progress], None] | None = None,
        clock: Callable[[], dt.datetime] = lambda: NOW,
        **changed: Any,
    ) -> RunResult:
        bench = replace(self, **changed)
        request = RunRequest(
            model="doubler",
            input=str(source),
            output=bench.output,
            registry=self.folder / "registry",
            key=bench.key,
            keep=bench.keep,
            format=bench.format,
            run_id=bench.run_id,
            as_of=bench.as_of,
            query=bench.query,
            into=bench.into,
        )
        watch = Watch(progress=progress or self.seen.append, clock=clock, step=at)
        return run(bench.predictor, request, bench.settings, watch)

    def repair(
        self, source: Path | str, *, at: Callable[[Step], None] = lambda _: None, **changed: Any
    ) -> RunResult:
        bench = replace(self, **changed)
        registry = self.folder / "registry"
        request = RepairRequest(str(source), bench.output, bench.run_id, registry)
        watch = Watch(progress=self.seen.append, clock=lambda: NOW, step=at)
        return repair(bench.predictor, request, bench.settings, watch)

    def run_with_bad_rows(self, rows: int = 20, **changed: Any) -> Committed:
        """Commit a run of which rows 1 and 9 are set aside."""
        values = [None if row in {1, 9} else float(row) for row in range(rows)]
        result = self.run(self.parquet(self.table(values)), **changed)
        return Committed(result.folder, result.manifest)

    def mend(self, *rows: int, **changed: Any) -> Committed:
        """Repair some rows of such a run."""
        table = self.table([float(row) for row in range(20)]).take(pa.array(rows, pa.int64()))
        table = table.append_column("row", pa.array(rows, pa.int64()))
        result = self.repair(self.parquet(table, f"fix-{rows}.parquet"), **changed)
        return Committed(result.folder, result.manifest)

    def deliver(
        self,
        target: Target,
        *,
        at: Callable[[Step], None] = lambda _: None,
        rows: Callable[[int], None] = lambda _: None,
        **changed: Any,
    ) -> str:
        """Deliver the committed run as it is now."""
        bench = replace(self, **changed)
        manifest = read_manifest(bench.committed)
        assert manifest is not None
        run = Committed(bench.committed, manifest)
        return str(target.deliver(run, Look(rows=rows, step=at, now=NOW.isoformat())))

    def predictions(self) -> pa.Table:
        parts = sorted(self.committed.glob("part-*.parquet"))
        return pa.concat_tables([pq.ParquetFile(part).read() for part in parts])

    def set_aside(self, folder: Path | None = None) -> list[dict[str, Any]]:
        path = (folder or self.committed) / "quarantine.parquet"
        return pq.ParquetFile(path).read().to_pylist() if path.exists() else []

    def digests(self) -> dict[str, str]:
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.committed.iterdir()
        }

    def everything(self) -> dict[str, bytes]:
        files = (path for path in self.output.rglob("*") if path.is_file())
        return {str(path.relative_to(self.output)): path.read_bytes() for path in files}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def new_bench(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Bench]:
    """Make a bench of its own for each example of a property test."""
    return lambda: Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def doubler() -> type[Doubler]:
    return Doubler


@pytest.fixture(scope="session")
def crash() -> type[Crash]:
    return Crash


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def poison() -> float:
    return POISON
