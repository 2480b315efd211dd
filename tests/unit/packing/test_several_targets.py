"""Models of several targets: one output for each, at both speeds, as their library has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.svm import LinearSVC
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


CLASSIFIERS: dict[str, tuple[Any, str]] = {
    "a forest": (RandomForestClassifier(5, max_depth=4, random_state=0), "probability"),
    "a model for each": (MultiOutputClassifier(LogisticRegression()), "probability"),
    "a chain": (ClassifierChain(LogisticRegression()), "probability"),
    "no probabilities": (MultiOutputClassifier(LinearSVC()), "label"),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_each_target_of_a_classifier_is_an_output(name: str, tmp_path: Path) -> None:
    model, kind = CLASSIFIERS[name]
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(200, 3)), columns=["a", "b", "c"])
    targets = np.stack([frame["a"] > 0, frame["b"] > frame["c"]], axis=1).astype(int)
    model.fit(frame, targets)
    predictor = twofold.pack(model, name="m", sample=frame, registry=tmp_path)
    assert predictor.output.kind == kind
    wanted = model.predict(frame) if kind == "label" else model.predict_proba(frame)
    if isinstance(wanted, list):
        wanted = np.stack([target[:, 1] for target in wanted], axis=1)
    np.testing.assert_allclose(predictor.predict(frame), wanted, atol=1e-6)
    one = predictor.predict_one(frame.iloc[3].to_dict())
    assert list(one.values()) == predictor.predict(frame)[3].tolist()
