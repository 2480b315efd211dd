"""Canonical columns as a pandas frame."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twofold.model.columns import check_columns
from twofold.model.infer import Overrides, infer_signature
from twofold.predictor.runtimes.frames import frame_of

TABLE = pa.table(
    {
        "whole": pa.array([1, 2, 3], pa.int64()),
        "holes": pa.array([1, None, 3], pa.int64()),
        "flag": pa.array([True, False, True]),
        "maybe": pa.array([True, None, False]),
        "single": pa.array([0.5, None, 1.5], pa.float32()),
        "double": pa.array([0.5, None, 1.5], pa.float64()),
        "text": pa.array(["a", None, "b"]),
        "at": pa.array([datetime(2024, 1, 1), None, datetime(2024, 1, 3)], pa.timestamp("us")),
        "zoned": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("us", "UTC")),
        "typed": pa.array(["z", None, "a"]).dictionary_encode(),
    }
)
SIGNATURE = infer_signature(TABLE, inputs=None, overrides=Overrides())
ROWS = check_columns(SIGNATURE, TABLE.combine_chunks().to_batches()[0]).columns


@pytest.mark.parametrize("start", [0, 1, 2])
def test_one_row_has_the_types_of_many(start: int) -> None:
    whole, one = frame_of(SIGNATURE, ROWS), frame_of(SIGNATURE, ROWS.slice(start, 1))
    assert one.dtypes.to_dict() == whole.dtypes.to_dict()
    pd.testing.assert_frame_equal(one, whole.iloc[start : start + 1].reset_index(drop=True))


def test_a_frame_is_what_pandas_reads_from_parquet(tmp_path: object) -> None:
    path = f"{tmp_path}/rows.parquet"
    names = ["whole", "holes", "flag", "maybe", "single", "double", "text", "zoned"]
    pq.write_table(TABLE.select(names), path)
    read = pd.read_parquet(path)
    made = frame_of(SIGNATURE, ROWS)[names]
    pd.testing.assert_frame_equal(made, read, check_dtype=True)


def test_whole_numbers_that_may_be_missing_are_floats_even_where_none_is() -> None:
    frame = frame_of(SIGNATURE, ROWS.slice(0, 1))
    assert str(frame["holes"].dtype) == "float64"
    assert str(frame["whole"].dtype) == "int64"


def test_categoricals_keep_the_order_of_their_categories() -> None:
    typed = frame_of(SIGNATURE, ROWS)["typed"]
    assert list(typed.cat.categories) == ["z", "a"]
    assert typed.cat.codes.tolist() == [0, -1, 1]
