"""The demo's customers: the real ones, those drawn from them, and a model that fits them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.demo import customers
from twofold.demo.customers import FIRST_NEW_ID, GROUP_ROWS, KEY, TARGET

FEW = pa.table(
    {
        KEY: pa.array(["a", "b", "c"]),
        "tenure": pa.array([1, 2, None], pa.int64()),
        "plan": pa.array(["x", None, "z"]),
        TARGET: pa.array(["Yes", "No", "No"]),
    }
)
ROWS = {(1, "x"), (2, None), (None, "z")}


class Crash(BaseException):
    """Stands for the end of the process."""


def written(path: Path, count: int, progress: Callable[[int], None] = int) -> pa.Table:
    customers.write_customers(path, FEW, count, progress)
    return pq.read_table(path)


@pytest.fixture(scope="module")
def real() -> pa.Table:
    return customers.real_customers()


def test_the_real_customers_come_with_the_package(real: pa.Table) -> None:
    assert real.num_rows == 7_043
    assert len(set(real[KEY].to_pylist())) == 7_043
    answers = real[TARGET].to_pylist()
    assert {answer: answers.count(answer) for answer in set(answers)} == {"No": 5_174, "Yes": 1_869}


def test_a_model_sees_neither_the_id_nor_the_answer(real: pa.Table) -> None:
    names = customers.features(real)
    assert len(names) == real.num_columns - 2
    assert not {KEY, TARGET} & set(names)
    assert names == [name for name in real.column_names if name in names]
    assert customers.features(FEW) == ["tenure", "plan"]


def test_the_customers_written_are_rows_of_the_real_ones_with_new_ids(tmp_path: Path) -> None:
    table = written(tmp_path / "c.parquet", 100)
    assert table.column_names == [KEY, "tenure", "plan"]
    assert table[KEY].to_pylist() == [FIRST_NEW_ID + number for number in range(100)]
    drawn = list(zip(table["tenure"].to_pylist(), table["plan"].to_pylist(), strict=True))
    # A hundred draws leave none of three out, unless they aren't random at all.
    assert set(drawn) == ROWS
    assert drawn != sorted(drawn, key=str)


def test_the_same_customers_are_written_every_time(tmp_path: Path) -> None:
    for name in ("one.parquet", "two.parquet"):
        written(tmp_path / name, 1_000)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_ids_go_on_from_one_row_group_to_the_next(tmp_path: Path) -> None:
    count = 2 * GROUP_ROWS + 1
    told: list[int] = []
    ids = written(tmp_path / "c.parquet", count, told.append)[KEY].to_pylist()
    assert ids == list(range(FIRST_NEW_ID, FIRST_NEW_ID + count))
    assert told == [GROUP_ROWS, GROUP_ROWS, 1]
    metadata = pq.read_metadata(tmp_path / "c.parquet")
    groups = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert groups == told


def test_row_groups_are_not_all_alike(tmp_path: Path) -> None:
    table = written(tmp_path / "c.parquet", 2 * GROUP_ROWS).drop_columns([KEY])
    assert table.slice(0, GROUP_ROWS) != table.slice(GROUP_ROWS)


@settings(max_examples=20)
@given(count=st.integers(1, 300))
def test_as_many_customers_are_written_as_asked_for_each_with_an_id_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, count: int
) -> None:
    told: list[int] = []
    table = written(tmp_path_factory.mktemp("c") / "c.parquet", count, told.append)
    assert table.num_rows == len(set(table[KEY].to_pylist())) == sum(told) == count


def test_the_file_appears_whole_at_the_end_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    seen: list[bool] = []

    def stop(rows: int) -> None:
        seen.append(path.exists())
        if len(seen) == 2:
            raise Crash

    with pytest.raises(Crash):
        customers.write_customers(path, FEW, 3 * GROUP_ROWS, stop)
    assert seen == [False, False]
    assert not path.exists()
    assert written(path, 10).num_rows == 10
    assert [found.name for found in tmp_path.iterdir()] == ["c.parquet"]


def test_an_interrupted_writing_leaves_the_earlier_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    written(path, 10)
    before = path.read_bytes()

    def stop(rows: int) -> None:
        raise Crash

    with pytest.raises(Crash):
        customers.write_customers(path, FEW, 20, stop)
    assert path.read_bytes() == before


def test_the_model_learns_from_the_features_and_knows_those_who_leave(real: pa.Table) -> None:
    few = real.slice(0, 400)
    model: Any = customers.train(few)
    assert list(model.feature_names_in_) == customers.features(real)
    assert list(model.classes_) == [False, True]
    frame = few.select(customers.features(few)).to_pandas()
    left = [answer == "Yes" for answer in few[TARGET].to_pylist()]
    risks = model.predict_proba(frame)[:, 1]
    stayed = [risk for risk, gone in zip(risks, left, strict=True) if not gone]
    gone = [risk for risk, gone in zip(risks, left, strict=True) if gone]
    assert sum(gone) / len(gone) > 2 * sum(stayed) / len(stayed)
    again: Any = customers.train(few)
    assert again.predict_proba(frame)[:, 1].tolist() == risks.tolist()


def test_the_model_takes_what_it_has_not_seen(real: pa.Table) -> None:
    frame = real.select(customers.features(real)).slice(0, 300).to_pandas()
    model: Any = customers.train(real.slice(0, 300))
    frame.loc[0, "contract"] = "Ten years"
    frame.loc[0, "tenure"] = None
    (risk,) = model.predict_proba(frame.head(1))[:, 1].tolist()
    assert 0.0 < risk < 1.0
