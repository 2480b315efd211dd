"""LightGBM's boosters, compiled: the bits of LightGBM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest

from twofold.packing.compile import NotCompilable

QUIET = {"verbose": -1, "n_jobs": 1}
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "boosting": {"n_estimators": 20},
    "few leaves": {"n_estimators": 9, "num_leaves": 3},
    "64 leaves": {"n_estimators": 6, "num_leaves": 64, "min_child_samples": 3},
    "more leaves than bits": {"n_estimators": 6, "num_leaves": 150, "min_child_samples": 2},
    "a random forest": {
        "boosting_type": "rf",
        "bagging_freq": 1,
        "bagging_fraction": 0.7,
        "n_estimators": 7,
    },
    "dart": {"boosting_type": "dart", "n_estimators": 12, "drop_rate": 0.5},
    "zero as missing": {"n_estimators": 12, "zero_as_missing": True},
    "no missing values": {"n_estimators": 12, "use_missing": False},
    "another sigmoid": {"n_estimators": 8, "sigmoid": 0.37},
    "one against all": {"n_estimators": 6, "objective": "multiclassova", "num_class": 3},
}
OBJECTIVES = (
    "regression",
    "regression_l1",
    "huber",
    "fair",
    "quantile",
    "mape",
    "poisson",
    "gamma",
    "tweedie",
    "cross_entropy",
    "cross_entropy_lambda",
)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(
    name: str, compare: Callable[..., Any], any_numbers: pd.DataFrame, three: Any, two: Any
) -> None:
    target = three if name == "one against all" else two
    model = lightgbm.LGBMClassifier(**CLASSIFIERS[name], **QUIET).fit(any_numbers, target)
    compare(model, any_numbers)


def test_three_classes(compare: Callable[..., Any], holes: pd.DataFrame, three: Any) -> None:
    compare(lightgbm.LGBMClassifier(n_estimators=9, **QUIET).fit(holes, three), holes)


@pytest.mark.parametrize("classes", [2, 3])
def test_labels(
    classes: int, compare: Callable[..., Any], numbers: pd.DataFrame, three: Any
) -> None:
    names = np.array(["gone", "kept", "new"])[np.minimum(three, classes - 1)]
    model = lightgbm.LGBMClassifier(n_estimators=9, **QUIET).fit(numbers, names)
    compare(model, numbers, output="label", kind="string")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_has_its_link(
    objective: str, compare: Callable[..., Any], numbers: pd.DataFrame, amount: Any
) -> None:
    target = np.abs(amount) + 0.1
    if objective.startswith("cross"):
        target = target / target.max()
    data = lightgbm.Dataset(numbers, target)
    options = {"objective": objective, "num_threads": 1, "verbose": -1}
    compare(lightgbm.train(options, data, 8), numbers)


def test_the_square_root_of_a_target_is_undone(
    compare: Callable[..., Any], numbers: pd.DataFrame, amount: Any
) -> None:
    model = lightgbm.LGBMRegressor(n_estimators=9, reg_sqrt=True, **QUIET).fit(numbers, amount)
    assert compare(model, numbers).program.header.link == "square"


def test_ranking_gives_scores(
    compare: Callable[..., Any], numbers: pd.DataFrame, three: Any
) -> None:
    model = lightgbm.LGBMRanker(n_estimators=9, **QUIET)
    compare(model.fit(numbers, three, group=[200, 200, 200]), numbers)


@pytest.mark.parametrize("categories", [4, 70, 300])
def test_categories_by_number(categories: int, compare: Callable[..., Any]) -> None:
    random = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"code": random.integers(0, categories, 1500), "x": random.normal(size=1500)}
    )
    target = ((frame["code"] % 3 == 0) ^ (frame["x"] > 0)).astype(int)
    model = lightgbm.LGBMClassifier(
        n_estimators=9, min_data_per_group=2, cat_smooth=1, min_child_samples=2, **QUIET
    )
    compare(model.fit(frame, target, categorical_feature=["code"]), frame)


def test_categories_of_a_frame(
    compare: Callable[..., Any], categorical: pd.DataFrame, customers: Any
) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=15, min_data_per_group=10, **QUIET)
    compare(model.fit(categorical, customers[1]), categorical)


def test_a_booster_that_never_splits_gives_its_constant(
    compare: Callable[..., Any], numbers: pd.DataFrame
) -> None:
    data = lightgbm.Dataset(numbers, np.ones(len(numbers)))
    compare(lightgbm.train({"objective": "regression", **QUIET}, data, 3), numbers)


def test_training_that_stopped_early_counts_to_its_best_round(
    compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=60, **QUIET)
    model.fit(
        numbers[:400],
        two[:400],
        eval_X=numbers[400:],
        eval_y=two[400:],
        callbacks=[lightgbm.early_stopping(3, verbose=False)],
    )
    assert model.best_iteration_ < 60
    compare(model, numbers)


def test_linear_trees_are_not_compiled(
    compare: Callable[..., Any], numbers: pd.DataFrame, amount: Any
) -> None:
    model = lightgbm.LGBMRegressor(n_estimators=2, linear_tree=True, **QUIET).fit(numbers, amount)
    with pytest.raises(NotCompilable, match="linear trees"):
        compare(model, numbers)


def test_an_objective_of_ones_own_is_not_compiled(
    compare: Callable[..., Any], numbers: pd.DataFrame, amount: Any
) -> None:
    def squared(found: Any, data: Any) -> Any:
        return found - data.get_label(), np.ones(len(found))

    data = lightgbm.Dataset(numbers, amount)
    booster = lightgbm.train({"objective": squared, "verbose": -1}, data, 2)
    with pytest.raises(NotCompilable, match="objective"):
        compare(booster, numbers)
