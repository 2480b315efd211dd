"""The sight of a run: the same statistics whatever becomes of it, and none that lack rows."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from twofold.batch.settings import BatchSettings
from twofold.batch.sight import sight_of
from twofold.batch.watch import Step
from twofold.predictor.load import Sample


def told(bench: Any) -> dict[str, Any]:
    manifest = json.loads((bench.committed / "manifest.json").read_bytes())
    found: dict[str, Any] = manifest["statistics"]
    return found


def table(bench: Any) -> pa.Table:
    values = [None if at % 7 == 3 else at * 0.37 - 5 for at in range(50)]
    plans = pa.array(["pro" if at % 3 else "basic" for at in range(50)])
    return bench.table(values, plan=plans)


def test_statistics_are_those_of_the_rows_predicted(bench: Any, poison: float) -> None:
    bench.run(bench.parquet(bench.table([1.0, None, poison, 3.0])))
    statistics = told(bench)
    amount, plan = statistics["fields"]
    assert statistics["rows"] == amount["rows"] == plan["rows"] == 2
    assert amount["numbers"]["mean"] == 2.0
    assert statistics["predictions"][0]["numbers"]["mean"] == 4.0
    assert [item["field"] for item in statistics["quarantined"]] == ["", "amount"]


def test_workers_and_batches_leave_no_trace(new_bench: Any) -> None:
    found: list[Any] = []
    for workers, batch_rows in ((1, 8), (4, 1), (2, 5)):
        bench = new_bench()
        settings = BatchSettings(workers=workers, batch_rows=batch_rows, partition_rows=8)
        bench.run(bench.parquet(table(bench)), settings=settings)
        found.append(told(bench))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("step", [Step.START, Step.FINISH, Step.MANIFEST, Step.COMMIT])
def test_an_interrupted_run_has_the_statistics_of_an_undisturbed_one(
    new_bench: Any, crash: type[BaseException], step: Step
) -> None:
    calm, disturbed = new_bench(), new_bench()
    calm.run(calm.parquet(table(calm)))
    source = disturbed.parquet(table(disturbed))
    seen: list[Step] = []

    def fall(at: Step) -> None:
        seen.append(at)
        if at is step and seen.count(at) == (3 if step is Step.FINISH else 1):
            raise crash

    with pytest.raises(crash):
        disturbed.run(source, at=fall)
    settings = BatchSettings(workers=1, batch_rows=7, partition_rows=8)
    disturbed.run(source, settings=settings)
    assert told(disturbed) == told(calm)


def test_statistics_can_be_left_out(bench: Any) -> None:
    settings = BatchSettings(workers=1, batch_rows=3, partition_rows=8, statistics=False)
    bench.run(bench.parquet(table(bench)), settings=settings)
    assert told(bench) is None


def test_a_run_that_was_without_them_for_a_while_has_none(
    bench: Any, crash: type[BaseException]
) -> None:
    source = bench.parquet(table(bench))
    without = BatchSettings(workers=1, batch_rows=3, partition_rows=8, statistics=False)

    def fall(at: Step) -> None:
        if at is Step.MANIFEST:
            raise crash

    with pytest.raises(crash):
        bench.run(source, settings=without, at=fall)
    bench.run(source)
    assert told(bench) is None


def test_an_empty_input_has_statistics_of_no_row(bench: Any) -> None:
    bench.run(bench.parquet(bench.table([])))
    assert told(bench)["rows"] == 0


def test_the_sample_is_seen_with_the_same_eyes(doubler: Any) -> None:
    predictor = doubler()
    rows = pa.RecordBatch.from_arrays(
        [pa.array([1.0, 2.0, 3.0]), pa.array(["pro", "pro", "basic"])], names=["amount", "plan"]
    )
    expected = pa.RecordBatch.from_arrays([pa.array([2.0, 4.0, 6.0])], names=["prediction"])
    sight = sight_of(predictor, Sample(rows, expected))
    assert sight.sample is not None
    assert sight.sample.rows == 3
    assert sight.sketcher.columns[0].origin == 2.0
    assert sight.sketcher.columns[1].known == ("basic", "pro")
    assert sight_of(predictor, None).sample is None
