"""LightGBM and XGBoost boosters behind the door: the library's own bits, one row or many."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

RANDOM = np.random.default_rng(6)
ROWS = 200
FRAME = pd.DataFrame({name: RANDOM.normal(size=ROWS) for name in "abc"})
FRAME["n"] = RANDOM.integers(0, 5, ROWS)
FRAME.loc[::7, "b"] = np.nan
FRAME.loc[::11, "c"] = 0.0
BINARY = (FRAME["a"] > FRAME["c"]).to_numpy().astype(int)
THREE = np.digitize(FRAME["a"], [-0.5, 0.5])
TYPED = FRAME.assign(s=pd.Categorical(list("wxyz") * (ROWS // 4)))

LIGHTGBM: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "zero as missing": {"zero_as_missing": True},
    "missing not used": {"use_missing": False},
    "random forest": {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7},
    "dart": {"boosting_type": "dart"},
}


@pytest.mark.parametrize("name", LIGHTGBM)
def test_lightgbm_gives_its_own_bits(name: str, opened: Any) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=20, verbose=-1, **LIGHTGBM[name])
    model.fit(FRAME, BINARY)
    found = opened(model, FRAME).many()
    assert found[0].tobytes() == model.predict_proba(FRAME)[:, 1].tobytes()


def test_lightgbm_of_many_classes_gives_one_column_each(opened: Any) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(FRAME, THREE)
    found = np.stack(opened(model, FRAME).many(), axis=1)
    np.testing.assert_array_equal(found, model.predict_proba(FRAME))


@pytest.mark.parametrize("classes", [["no", "yes"], [3, 7], [False, True]])
def test_lightgbm_gives_labels_of_the_type_it_was_trained_with(
    classes: list[Any], opened: Any
) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1)
    model.fit(FRAME, np.array(classes)[BINARY])
    found = opened(model, FRAME, kind="label").many()
    assert found[0].tolist() == model.predict(FRAME).tolist()
    assert type(found[0].tolist()[0]) is type(classes[0])


def test_lightgbm_of_many_classes_gives_labels(opened: Any) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1)
    model.fit(FRAME, np.array(["low", "mid", "high"])[THREE])
    found = opened(model, FRAME, kind="label").many()
    assert found[0].tolist() == model.predict(FRAME).tolist()


def test_lightgbm_stops_where_training_did(opened: Any) -> None:
    model = lightgbm.LGBMRegressor(n_estimators=200, learning_rate=0.5, verbose=-1)
    stop = lightgbm.early_stopping(3, verbose=False)
    target = FRAME["a"] + RANDOM.normal(size=ROWS)
    held = [(FRAME[150:], target[150:])]
    model.fit(FRAME[:150], target[:150], eval_set=held, callbacks=[stop])
    assert model.best_iteration_ < 200
    assert opened(model, FRAME).many()[0].tobytes() == model.predict(FRAME).tobytes()


def test_lightgbm_takes_categoricals(opened: Any) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=10, min_child_samples=2, verbose=-1)
    model.fit(TYPED[["s", "a"]], BINARY)
    found = opened(model, TYPED[["s", "a"]]).many()
    assert found[0].tobytes() == model.predict_proba(TYPED[["s", "a"]])[:, 1].tobytes()


XGBOOST: dict[str, dict[str, Any]] = {
    "trees": {},
    "dart": {"booster": "dart", "rate_drop": 0.2},
    "a linear model": {"booster": "gblinear"},
}


@pytest.mark.parametrize("name", XGBOOST)
def test_xgboost_gives_its_own_bits(name: str, opened: Any) -> None:
    rows = FRAME.fillna(0.0) if name == "a linear model" else FRAME
    model = xgboost.XGBRegressor(n_estimators=10, **XGBOOST[name]).fit(rows, rows["a"])
    assert opened(model, rows).many()[0].tobytes() == model.predict(rows).tobytes()


def test_xgboost_of_many_classes_gives_one_column_each_or_labels(opened: Any) -> None:
    model = xgboost.XGBClassifier(n_estimators=5).fit(FRAME, THREE)
    found = np.stack(opened(model, FRAME).many(), axis=1)
    np.testing.assert_array_equal(found, model.predict_proba(FRAME))
    labels = opened(model, FRAME, kind="label").many()[0]
    assert labels.tolist() == model.predict(FRAME).tolist()


def test_xgboost_takes_categoricals(opened: Any) -> None:
    rows = TYPED[["s", "a"]]
    model = xgboost.XGBClassifier(n_estimators=10, enable_categorical=True).fit(rows, BINARY)
    assert opened(model, rows).many()[0].tobytes() == model.predict_proba(rows)[:, 1].tobytes()


def stopped_early() -> Any:
    model = xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=3, learning_rate=0.9)
    noisy = BINARY ^ (RANDOM.random(ROWS) < 0.2)
    model.fit(FRAME[:150], noisy[:150], eval_set=[(FRAME[150:], noisy[150:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    return model


def test_an_xgboost_estimator_stops_at_its_best_round(opened: Any, tmp_path: Any) -> None:
    model = stopped_early()
    expected = model.predict_proba(FRAME)[:, 1].tobytes()
    assert opened(model, FRAME).many()[0].tobytes() == expected
    model.save_model(tmp_path / "saved.json")
    assert opened(tmp_path / "saved.json", FRAME).many()[0].tobytes() == expected


def test_an_xgboost_booster_predicts_with_all_its_rounds(opened: Any) -> None:
    booster = stopped_early().get_booster()
    expected = booster.predict(xgboost.DMatrix(FRAME))
    assert opened(booster, FRAME).many()[0].tobytes() == expected.tobytes()
