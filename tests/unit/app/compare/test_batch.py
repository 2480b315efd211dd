"""Batch prediction as its user has it, without its processes."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twofold.app.compare import batch
from twofold.app.compare.batch import MANY_ROWS, Batches, Ran, measure_batch, notes_on, row_time_s
from twofold.app.compare.plan import FULL, QUICK, Plan
from twofold.app.compare.processes import Ended
from twofold.batch.inputs import Input, open_input
from twofold.lab.parts import Part, Taken, scaling_of

NOW = datetime(2026, 1, 31, tzinfo=UTC)


class Runs(Batches):
    """Takes a second, and a microsecond a row; each run is a tenth slower than the one before."""

    made: list[tuple[str, str, str | None]]

    def run(self, source: str, name: str, key: str | None = None) -> Ran:
        self.made.append((Path(source).name, name, key))
        rows = pq.read_metadata(source).num_rows
        work_s = rows * 1e-6
        wall_s = (1.0 + work_s) * (1 + 0.1 * int(name[-1]))
        ended = Ended(NOW, NOW + timedelta(seconds=wall_s), wall_s, wall_s, 1 << 27, b"")
        manifest: Any = SimpleNamespace(rows_in=rows, rows_quarantined=0, rows_predicted=rows)
        return Ran(Path(name), ended, manifest, (Part(rows, 0.5, 0.5 + work_s),))


def runs(tmp_path: Path, plan: Plan) -> tuple[Runs, Input]:
    pq.write_table(pa.table({"x": [1.0] * 1_000}), tmp_path / "rows.parquet")
    made = Runs("churn@1", tmp_path / "registry", tmp_path, plan)
    object.__setattr__(made, "made", [])
    return made, open_input(str(tmp_path / "rows.parquet"))


def test_the_run_of_median_length_stands_for_all(tmp_path: Path) -> None:
    made, source = runs(tmp_path, FULL)
    said: list[float] = []
    found, ran, notes = measure_batch(made, source, "id", lambda _, share: said.append(share))
    assert [name for _, name, _ in made.made] == [
        "run-0", "run-1", "run-2", "large-0", "large-1", "large-2",
    ]  # fmt: skip
    assert {key for _, _, key in made.made} == {"id"}
    assert (found.repeats, ran.folder.name) == (3, "run-1")
    assert found.wall_s == pytest.approx(1.001 * 1.1)
    assert (found.wait_s.mean_s, found.compute_s.mean_s) == pytest.approx((0.5, 0.001))
    assert found.start_s == 0.5
    assert (notes, said) == ([], sorted(said))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_a_larger_input_tells_what_is_fixed_from_what_a_row_adds(tmp_path: Path) -> None:
    made, source = runs(tmp_path, QUICK)
    found, _, _ = measure_batch(made, source, None, lambda *_: None)
    assert found.scaling is not None
    assert found.scaling.rows == QUICK.large_rows
    assert found.scaling.fixed_wall_s == pytest.approx(1.0)
    assert found.scaling.row_wall_s == pytest.approx(1e-6)


def test_a_row_is_timed_among_many_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    asked: list[int] = []

    def predict(rows: pa.Table) -> None:
        nonlocal now_s
        asked.append(rows.num_rows)
        now_s += 10.0 if len(asked) == 1 else 0.005 + rows.num_rows * row_s

    monkeypatch.setattr(batch.time, "perf_counter", lambda: now_s)
    row_s = 1e-6
    found_s = row_time_s(predict, pa.table({"x": [1.0, 2.0, 3.0]}))
    assert found_s == pytest.approx(row_s + 0.005 / MANY_ROWS)
    assert asked == [1, 1, 4, 16, 64, 256, 1_024]
    asked.clear()
    row_s = 0.08
    assert row_time_s(predict, pa.table({"x": [1.0]})) == pytest.approx(row_s, rel=0.02)
    assert asked == [1, 1, 4]


def test_an_input_that_is_large_itself_is_not_copied(tmp_path: Path) -> None:
    made, source = runs(tmp_path, dataclasses.replace(QUICK, large_rows=4_000))
    found, _, notes = measure_batch(made, source, None, lambda *_: None)
    assert (len(made.made), found.scaling, notes) == (1, None, [])


def test_a_larger_input_that_takes_hardly_longer_is_noted(tmp_path: Path) -> None:
    made, source = runs(tmp_path, dataclasses.replace(QUICK, large_rows=50_000))
    found, _, notes = measure_batch(made, source, None, lambda *_: None)
    assert (found.scaling, notes) == (None, [batch.UNTOLD])


@pytest.mark.parametrize(("row_cpu_s", "noted"), [(0.4, True), (0.6, False), (3.0, False)])
def test_a_model_that_waits_is_noted(row_cpu_s: float, noted: bool) -> None:
    scaling = scaling_of(Taken(1, 1.0, row_cpu_s), Taken(101, 101.0, 101 * row_cpu_s))
    assert notes_on(scaling) == ([batch.WAITS] if noted else [])


def test_an_input_that_cannot_be_copied_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, source = runs(tmp_path, QUICK)
    monkeypatch.setattr(batch, "copies_for", lambda *_: 1)
    found, _, notes = measure_batch(made, source, None, lambda *_: None)
    assert found.scaling is None
    assert len(notes) == 1


def test_runs_over_a_long_input_are_not_repeated(tmp_path: Path) -> None:
    made, source = runs(tmp_path, QUICK)
    object.__setattr__(made, "plan", Plan(**{**vars(FULL), "repeats_s": -1.0}))
    found, _, _ = measure_batch(made, source, None, lambda *_: None)
    assert found.repeats == 1
