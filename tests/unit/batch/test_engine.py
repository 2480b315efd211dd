"""An engine predicts in the order of the input, and nothing across the end of a partition."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from twofold.batch.engine import engine_of, predict_here
from twofold.batch.inputs import open_input
from twofold.batch.layout import lay_out
from twofold.batch.settings import BatchSettings
from twofold.batch.work import Work

SETTINGS = BatchSettings(workers=2, batch_rows=3, partition_rows=8)


def work_on(source: Path, predictor: Any) -> Work:
    opened = open_input(str(source))
    layout = lay_out(opened, predictor.signature, predictor.output, key="id", keep=[])
    return Work(predictor, source.parent, opened, layout, SETTINGS)


@pytest.mark.parametrize("first_row", [0, 8, 16])
def test_rows_come_in_order_and_never_across_the_end_of_a_partition(
    bench: Any, doubler: type[Any], first_row: int
) -> None:
    source = bench.parquet(bench.table([float(row) for row in range(20)]))
    found = list(predict_here(work_on(source, doubler()), first_row))
    rows: list[int] = []
    for predicted in found:
        these = range(predicted.first_row, predicted.first_row + predicted.rows_in)
        assert these[0] // 8 == these[-1] // 8
        rows += these
    assert rows == list(range(first_row, 20))
    predictions = [value for item in found for value in item.columns["prediction"].to_pylist()]
    assert predictions == [2.0 * row for row in rows]


def test_engine_that_is_closed_has_stopped(bench: Any, doubler: type[Any]) -> None:
    calls: list[int] = []
    source = bench.parquet(bench.table([float(row) for row in range(800)]))
    results = predict_here(work_on(source, doubler(on_call=lambda: calls.append(1))), 0)
    with contextlib.closing(results):
        next(results)
    done = len(calls)
    assert done < 800 // 3
    assert len(calls) == done


def test_local_engine_is_the_default() -> None:
    assert engine_of(BatchSettings()) is predict_here


def test_ray_engine_is_named_by_the_settings() -> None:
    pytest.importorskip("ray")
    from twofold.batch.ray import predict_on_ray

    assert engine_of(BatchSettings(engine="ray")) is predict_on_ray
