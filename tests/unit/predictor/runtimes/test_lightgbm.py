"""LightGBM's boosters behind the door: what is theirs alone, missing values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from boosters import BINARY, FRAME, HOLED, LIGHTGBM, SIGNATURE, canonical

from twofold.model.columns import columns_of


def test_null_is_nan_whether_training_saw_missing_values_or_not(tmp_path: Path) -> None:
    expected: dict[bool, Any] = {}
    for seen, rows in ((True, HOLED), (False, FRAME)):
        model = LIGHTGBM.train(rows, BINARY, objective="binary")
        runtime = LIGHTGBM.opened(model, tmp_path)
        expected[seen] = model.predict(HOLED)
        found = runtime.predict_columns(canonical(HOLED))[0]
        assert found.tobytes() == expected[seen].tobytes()
        for row in (0, 5):
            assert HOLED["x"].isna()[row]
            y = HOLED["y"].tolist()[row]
            assert runtime.predict_values([None, y]) == (expected[seen][row],)
    # What was never missing in training is taken for zero, not for a branch of its own.
    zeros = model.predict(HOLED.fillna(0.0))
    assert expected[False].tobytes() == zeros.tobytes()
    assert expected[True].tobytes() != zeros.tobytes()


def test_a_row_of_nothing_but_nulls_is_predicted(tmp_path: Path) -> None:
    model = LIGHTGBM.train(HOLED, BINARY, objective="binary")
    runtime = LIGHTGBM.opened(model, tmp_path)
    expected = model.predict(np.full((1, 2), np.nan)).tolist()
    assert list(runtime.predict_values([None, None])) == expected
    assert runtime.predict_columns(columns_of(SIGNATURE, [[None, None]]))[0].tolist() == expected
