"""What a worker is sent and sends back, without a cluster; with one: tests/conformance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import twofold
from twofold.batch.engine import predict_here
from twofold.batch.inputs import open_input
from twofold.batch.layout import lay_out
from twofold.batch.settings import BatchSettings
from twofold.batch.sight import sight_of
from twofold.batch.work import Work
from twofold.errors import InvalidInput
from twofold.predictor.load import load

cloudpickle = pytest.importorskip("ray.cloudpickle")

from twofold.batch import ray as engine  # noqa: E402 - needs Ray

ROWS = 50
SETTINGS = BatchSettings(workers=1, batch_rows=7, partition_rows=16)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "ray_doubler.py").write_text(
        "def predict(row):\n    return row['amount'] * 2.0\n", encoding="utf-8"
    )
    sample = pa.table({"amount": pa.array([0.0, 1.0, 5000.0], pa.float64())})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        twofold.pack(
            "ray_doubler:predict", name="doubler", sample=sample, registry=folder / "registry"
        )
        yield folder


def table() -> pa.Table:
    amounts = [None if row == 20 else float(row) for row in range(ROWS)]
    return pa.table({"id": pa.array(range(ROWS)), "amount": pa.array(amounts, pa.float64())})


def work_on(workplace: Path, name: str) -> Work:
    path = workplace / name
    if path.suffix == ".parquet":
        pq.write_table(table(), path, row_group_size=11)
    else:
        lines = [f"{row},{'' if row == 20 else row}" for row in range(ROWS)]
        path.write_text("\n".join(["id,amount", *lines]) + "\n", encoding="utf-8")
    predictor = load("doubler", registry=workplace / "registry")
    source = open_input(str(path))
    layout = lay_out(source, predictor.signature, predictor.output, key="id", keep=[])
    sketcher = sight_of(predictor, None).sketcher
    return Work(predictor, workplace / "registry", source, layout, SETTINGS, sketcher)


def as_told(results: list[Any]) -> list[tuple[Any, ...]]:
    return [
        (item.first_row, item.rows_in, item.columns.to_pydict(), item.set_aside) for item in results
    ]


@pytest.mark.parametrize("name", ["in.parquet", "in.csv"])
def test_tasks_give_what_the_local_engine_gives(
    workplace: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_on(workplace, name)
    recipe = cloudpickle.loads(cloudpickle.dumps(engine.recipe_of(work)))  # as Ray does
    monkeypatch.setattr(engine, "_remote", lambda function: function)
    for first_row in (0, 32):
        packed = [found for task in engine._tasks(work, recipe, first_row) for found in task()]
        results = [engine._unpacked(item) for item in packed]
        assert as_told(results) == as_told(list(predict_here(work, first_row)))
        assert all(item.sketch is not None for item in results)


def test_row_set_aside_in_a_worker_keeps_its_number_key_and_reason(workplace: Path) -> None:
    recipe = engine.recipe_of(work_on(workplace, "in.parquet"))
    results = [engine._unpacked(item) for item in engine.predict_place(recipe, 16, 32)]
    (row,) = [row for item in results for row in item.set_aside]
    assert (row.row, row.key, row.field) == (20, "20", "amount")


def test_worker_with_another_model_of_the_name_refuses(workplace: Path) -> None:
    work = work_on(workplace, "in.parquet")
    other = engine.Recipe(**(vars(engine.recipe_of(work)) | {"digest": "another"}))
    with pytest.raises(InvalidInput, match="expected the run's model, got another"):
        engine.predict_place(other, 0, 16)


def test_batch_on_its_way_carries_none_but_its_own_rows() -> None:
    batch = pa.RecordBatch.from_pydict({"x": list(range(100_000))})
    stream = engine._stream_of(batch.slice(5, 3))
    assert len(stream) < 1000
    assert engine._batch_of(stream).to_pydict() == {"x": [5, 6, 7]}
