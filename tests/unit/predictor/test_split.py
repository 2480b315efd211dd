"""Finding the rows a model fails on."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import PredictionFailed
from twofold.predictor.split import predict_apart


@given(st.lists(st.booleans(), max_size=40))
def test_exactly_the_culprits_stand_alone_and_order_is_kept(poison: list[bool]) -> None:
    columns = pa.RecordBatch.from_pydict(
        {"row": pa.array(range(len(poison)), pa.int64()), "poison": pa.array(poison, pa.bool_())}
    )

    def predict(part: pa.RecordBatch) -> list[int]:
        if any(part.column("poison").to_pylist()):
            raise PredictionFailed("poison")
        return part.column("row").to_pylist()

    results, failed = predict_apart(columns, predict)
    assert [row for part in results for row in part] == [
        row for row, bad in enumerate(poison) if not bad
    ]
    assert sorted(failed) == [row for row, bad in enumerate(poison) if bad]


def test_one_bad_row_costs_few_calls() -> None:
    columns = pa.RecordBatch.from_pydict({"row": list(range(1024))})
    calls = 0

    def predict(part: pa.RecordBatch) -> None:
        nonlocal calls
        calls += 1
        if 700 in part.column("row").to_pylist():
            raise PredictionFailed("poison")

    predict_apart(columns, predict)
    assert calls == 2 * 10 + 1
