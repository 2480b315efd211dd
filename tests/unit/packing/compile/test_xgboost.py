"""XGBoost's boosters, compiled: the bits of XGBoost."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost

from twofold.packing.compile import NotCompilable
from twofold.packing.compile import xgboost as reading

CLASSIFIERS: dict[str, dict[str, Any]] = {
    "boosting": {"n_estimators": 15},
    "stumps": {"n_estimators": 15, "max_depth": 1},
    "deep trees": {"n_estimators": 5, "max_depth": 9, "min_child_weight": 0.1},
    "dart": {"n_estimators": 12, "booster": "dart", "rate_drop": 0.4},
    "a random forest": {"n_estimators": 2, "num_parallel_tree": 5, "subsample": 0.6},
    "a base score": {"n_estimators": 5, "base_score": 0.9},
}
OBJECTIVES = (
    "reg:squarederror",
    "reg:squaredlogerror",
    "reg:logistic",
    "reg:pseudohubererror",
    "reg:absoluteerror",
    "count:poisson",
    "reg:gamma",
    "reg:tweedie",
)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(
    name: str, compare: Callable[..., Any], any_numbers: pd.DataFrame, two: Any
) -> None:
    model = xgboost.XGBClassifier(n_jobs=1, **CLASSIFIERS[name]).fit(any_numbers, two)
    compare(model, any_numbers, kind="float32")


@pytest.mark.parametrize("booster", ["gbtree", "dart"])
def test_three_classes(
    booster: str, compare: Callable[..., Any], holes: pd.DataFrame, three: Any
) -> None:
    model = xgboost.XGBClassifier(n_estimators=8, booster=booster, n_jobs=1).fit(holes, three)
    compare(model, holes, kind="float32")


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
@pytest.mark.parametrize("make", [xgboost.XGBRegressor, xgboost.XGBClassifier])
def test_several_targets(
    make: Any, strategy: str, compare: Callable[..., Any], holes: pd.DataFrame, two: Any, three: Any
) -> None:
    model = make(n_estimators=9, max_depth=7, multi_strategy=strategy, n_jobs=1).fit(
        holes, np.stack([two, three > 0, three > 1], axis=1).astype(int)
    )
    compared = compare(model, holes, kind="float32")
    assert len(compared.program.arrays["bases"]) == 3
    assert compared.program.header.dimensions == (3 if strategy == "multi_output_tree" else 1)


def test_vector_leaves_of_several_classes(
    compare: Callable[..., Any], numbers: pd.DataFrame, three: Any
) -> None:
    model = xgboost.XGBClassifier(n_estimators=8, multi_strategy="multi_output_tree", n_jobs=1)
    compared = compare(model.fit(numbers, three), numbers, kind="float32")
    assert compared.program.header.dimensions == 3


def test_vector_leaves_in_an_older_form_are_not_compiled(holes: pd.DataFrame, three: Any) -> None:
    model = xgboost.XGBClassifier(n_estimators=2, multi_strategy="multi_output_tree", n_jobs=1)
    document = json.loads(bytes(model.fit(holes, three).get_booster().save_raw("json")))
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        del tree["leaf_weights"]
    with pytest.raises(NotCompilable, match=r"vector leaves .* before version 3\.1"):
        reading.read_booster(json.dumps(document).encode())


@pytest.mark.parametrize("classes", [2, 3])
def test_labels(
    classes: int, compare: Callable[..., Any], numbers: pd.DataFrame, three: Any
) -> None:
    target = np.minimum(three, classes - 1)
    model = xgboost.XGBClassifier(n_estimators=8, n_jobs=1).fit(numbers, target)
    compare(model, numbers, output="label", kind="int64")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_has_its_link(
    objective: str, compare: Callable[..., Any], numbers: pd.DataFrame, amount: Any
) -> None:
    target = np.abs(amount) + 0.1
    if objective == "reg:logistic":
        target = target / target.max()
    model = xgboost.XGBRegressor(objective=objective, n_estimators=8, n_jobs=1)
    compare(model.fit(numbers, target), numbers, kind="float32")


@pytest.mark.parametrize("one_hot", [1, 50])
def test_categories_of_a_frame(
    one_hot: int, compare: Callable[..., Any], categorical: pd.DataFrame, customers: Any
) -> None:
    model = xgboost.XGBClassifier(
        n_estimators=12, enable_categorical=True, max_cat_to_onehot=one_hot, n_jobs=1
    )
    compare(model.fit(categorical, customers[1]), categorical, kind="float32")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [("5E-1", 0.0), ("[2.5E-1]", -1.0986123), ("2.5E-1", -1.0986123)],
)
def test_base_scores_of_every_version_are_read(said: str, wanted: float) -> None:
    parameters = {"base_score": said, "num_class": "0", "num_target": "1"}
    learner: dict[str, Any] = {
        "objective": {"name": "binary:logistic"},
        "learner_model_param": parameters,
        "gradient_booster": {"name": "gbtree", "model": {"trees": [], "tree_info": []}},
    }
    document = json.dumps({"learner": learner}).encode()
    assert reading.read_booster(document).bases.tolist() == pytest.approx([wanted])


def test_a_linear_booster_is_not_compiled(
    compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    model = xgboost.XGBClassifier(booster="gblinear", n_estimators=2, n_jobs=1).fit(numbers, two)
    with pytest.raises(NotCompilable, match="gblinear"):
        compare(model, numbers)
