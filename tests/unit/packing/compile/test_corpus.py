"""Real data sets, whole: every row of them through compiled models and their libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
    load_wine,
)
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from twofold.demo.customers import features, real_customers

SETS = {"iris": load_iris, "wine": load_wine, "cancer": load_breast_cancer, "digits": load_digits}
CLASSIFIERS: dict[str, tuple[Any, str]] = {
    "lightgbm": (lightgbm.LGBMClassifier(n_estimators=8, verbose=-1, n_jobs=1), "float64"),
    "xgboost": (xgboost.XGBClassifier(n_estimators=8, n_jobs=1), "float32"),
    "forest": (RandomForestClassifier(8, random_state=0), "float64"),
    "histogram boosting": (HistGradientBoostingClassifier(max_iter=8), "float64"),
}
OF_CUSTOMERS: dict[str, Any] = {
    "logistic regression": LogisticRegression(max_iter=500),
    "histogram boosting": HistGradientBoostingClassifier(max_iter=60),
    "forest": RandomForestClassifier(30, max_depth=12, random_state=0),
    "extra trees": ExtraTreesClassifier(15, max_depth=12, random_state=0),
    "gradient boosting": GradientBoostingClassifier(n_estimators=60, random_state=0),
}


@pytest.mark.parametrize("data", SETS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_data_sets_of_scikit_learn(name: str, data: str, compare: Callable[..., Any]) -> None:
    model, kind = CLASSIFIERS[name]
    frame, target = SETS[data](return_X_y=True, as_frame=True)
    frame.columns = [name.replace(" ", "_") for name in frame.columns]
    compare(clone(model).fit(frame, target), frame, kind=kind)


@pytest.mark.parametrize("data", [load_diabetes, load_linnerud])
def test_regressions_of_one_target(data: Any, compare: Callable[..., Any]) -> None:
    frame, target = data(return_X_y=True, as_frame=True)
    target = pd.DataFrame(target).iloc[:, 0]
    for model in (RandomForestRegressor(9, random_state=0), xgboost.XGBRegressor(n_estimators=9)):
        kind = "float32" if isinstance(model, xgboost.XGBRegressor) else "float64"
        compare(model.fit(frame, target), frame, kind=kind)


@pytest.mark.parametrize("name", OF_CUSTOMERS)
def test_every_customer(name: str, compare: Callable[..., Any]) -> None:
    table = real_customers()
    frame = table.select(features(table)).to_pandas()
    left = np.array(table["churn"].to_pylist()) == "Yes"
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        sparse_threshold=0,
    )
    model = make_pipeline(columns, OF_CUSTOMERS[name]).fit(frame, left)
    compared = compare(model, frame, tolerance=1e-13 if name.startswith("logistic") else 0.0)
    assert compared.rows.num_rows > 7043
