"""Regressors of several targets: one output for each, at both speeds, as their library has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeRegressor

import twofold

MODELS: dict[str, tuple[Any, str]] = {
    "a forest": (RandomForestRegressor(5, max_depth=4, random_state=0), "compiled"),
    "a tree": (DecisionTreeRegressor(max_depth=4, random_state=0), "compiled"),
    "least squares": (LinearRegression(), "compiled"),
    "boosting": (xgboost.XGBRegressor(n_estimators=5, n_jobs=1), "compiled"),
    "neighbours": (KNeighborsRegressor(), "original"),
}


@pytest.mark.parametrize("name", MODELS)
def test_each_target_is_an_output(name: str, tmp_path: Path) -> None:
    model, runtime = MODELS[name]
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(200, 3)), columns=["a", "b", "c"])
    targets = np.stack([frame["a"] * 2, frame["b"] - frame["c"]], axis=1)
    model.fit(frame, targets)
    predictor = twofold.pack(model, name="m", sample=frame, registry=tmp_path)
    assert predictor.record.runtimes.batch == runtime
    found = predictor.predict(frame)
    np.testing.assert_allclose(found, model.predict(frame), atol=1e-6)
    one = predictor.predict_one({"a": 0.5, "b": 1.0, "c": -1.0})
    assert list(one) == ["prediction_0", "prediction_1"]
    rows = predictor.predict_rows([frame.iloc[3].to_dict()])
    assert rows == [predictor.predict_one(frame.iloc[3].to_dict())]
    assert list(rows[0].values()) == found[3].tolist()
