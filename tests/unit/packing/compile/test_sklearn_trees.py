"""scikit-learn's tree ensembles, compiled: the bits of the originals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from twofold.model.infer import Overrides
from twofold.packing.compile import NotCompilable

TAKE_MISSING: dict[str, Any] = {
    "forest": RandomForestClassifier(8, max_depth=6, random_state=0),
    "deep forest": RandomForestClassifier(5, random_state=0),
    "extra trees": ExtraTreesClassifier(5, max_depth=7, random_state=0),
    "tree": DecisionTreeClassifier(max_depth=5, random_state=0),
    "extra tree": ExtraTreeClassifier(random_state=0),
    "histogram boosting": HistGradientBoostingClassifier(max_iter=12),
}
CLASSIFIERS: dict[str, Any] = {
    **TAKE_MISSING,
    "boosting": GradientBoostingClassifier(n_estimators=12, random_state=0),
    "boosting of deep trees": GradientBoostingClassifier(
        n_estimators=3, max_depth=9, random_state=0
    ),
    "boosting from zero": GradientBoostingClassifier(n_estimators=5, init="zero", random_state=0),
}
REGRESSORS: dict[str, Any] = {
    "forest": RandomForestRegressor(6, random_state=0),
    "extra trees": ExtraTreesRegressor(6, max_depth=5, random_state=0),
    "tree": DecisionTreeRegressor(random_state=0),
    "extra tree": ExtraTreeRegressor(max_depth=4, random_state=0),
    "boosting": GradientBoostingRegressor(n_estimators=12, random_state=0),
    "boosting of quantiles": GradientBoostingRegressor(
        n_estimators=5, loss="quantile", random_state=0
    ),
    "histogram boosting": HistGradientBoostingRegressor(max_iter=12),
    "histogram boosting of 60 leaves": HistGradientBoostingRegressor(
        max_iter=5, max_leaf_nodes=60, min_samples_leaf=4
    ),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_probability_of_two_classes(
    name: str, compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    compare(CLASSIFIERS[name].fit(numbers, two), numbers)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_probabilities_of_three_classes(
    name: str, compare: Callable[..., Any], singles: pd.DataFrame, three: Any
) -> None:
    compared = compare(CLASSIFIERS[name].fit(singles, three), singles)
    assert len(compared.program.arrays["bases"]) == 3


SEVERAL_TARGETS = [name for name in CLASSIFIERS if "boosting" not in name]


@pytest.mark.parametrize("name", SEVERAL_TARGETS)
def test_the_probabilities_of_several_targets(
    name: str, compare: Callable[..., Any], numbers: pd.DataFrame, two: Any, three: Any
) -> None:
    targets = np.stack([two, three > 0, three > 1], axis=1).astype(int)
    compared = compare(CLASSIFIERS[name].fit(numbers, targets), numbers)
    assert len(compared.program.arrays["bases"]) == 3


def test_the_labels_of_several_targets_are_not_compiled(
    compare: Callable[..., Any], numbers: pd.DataFrame, two: Any, three: Any
) -> None:
    model = DecisionTreeClassifier(max_depth=3).fit(numbers, np.stack([two, three], axis=1))
    with pytest.raises(NotCompilable, match="the labels of several targets"):
        compare(model, numbers, output="label", kind="int64")


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_labels(
    name: str, classes: int, compare: Callable[..., Any], numbers: pd.DataFrame, three: Any
) -> None:
    names = np.array(["gone", "kept", "new"], object)[np.minimum(three, classes - 1)]
    compare(CLASSIFIERS[name].fit(numbers, names), numbers, output="label", kind="string")


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("width", ["float64", "float32"])
def test_values(
    name: str, width: str, compare: Callable[..., Any], numbers: pd.DataFrame, amount: Any
) -> None:
    frame = numbers.astype(width)
    compare(REGRESSORS[name].fit(frame, amount), frame)


@pytest.mark.parametrize("name", TAKE_MISSING)
def test_missing_values_go_where_training_sent_them(
    name: str, compare: Callable[..., Any], holes: pd.DataFrame, three: Any
) -> None:
    compare(TAKE_MISSING[name].fit(holes, three), holes)


@pytest.mark.parametrize("name", ["histogram boosting"])
def test_missing_values_that_training_had_none_of(
    name: str, compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    nullable = Overrides(nullable=("x0", "x1", "count"))
    compare(TAKE_MISSING[name].fit(numbers, two), numbers, overrides=nullable)


def test_the_logarithm_of_a_rate_is_undone(
    compare: Callable[..., Any], numbers: pd.DataFrame, amount: Any
) -> None:
    model = HistGradientBoostingRegressor(loss="poisson", max_iter=8).fit(numbers, np.abs(amount))
    assert compare(model, numbers).program.header.finish == "exp"


def test_the_exponential_loss_has_a_link_of_its_own(
    compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    model = GradientBoostingClassifier(loss="exponential", n_estimators=8).fit(numbers, two)
    assert compare(model, numbers).program.header.scale == 2.0


@pytest.mark.parametrize("dtype", ["from_dtype", "by name"])
def test_categories_of_histogram_boosting(
    dtype: str, compare: Callable[..., Any], categorical: pd.DataFrame, customers: Any
) -> None:
    frame = categorical
    chosen: Any = dtype
    if dtype == "by name":
        frame = pd.DataFrame({"code": np.arange(900) % 9, "x": np.sin(np.arange(900.0))})
        left = ((frame["code"] % 2 == 0) ^ (frame["x"] > 0)).to_numpy().astype(int)
        chosen = ["code"]
    else:
        left = customers[1]
    model = HistGradientBoostingClassifier(max_iter=20, categorical_features=chosen)
    compare(model.fit(frame, left), frame)


def test_a_model_that_refuses_missing_values_is_not_compiled_for_a_field_that_may_be_null(
    compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    model = GradientBoostingClassifier(n_estimators=2).fit(numbers, two)
    with pytest.raises(NotCompilable, match="refuses missing values, and x1 may be null"):
        compare(model, numbers, overrides=Overrides(nullable=("x1",)))


def test_boosting_on_top_of_another_estimator_is_not_compiled(
    compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    model = GradientBoostingClassifier(init=LogisticRegression(), n_estimators=2)
    with pytest.raises(NotCompilable, match="starts with another estimator"):
        compare(model.fit(numbers, two), numbers)


@pytest.mark.parametrize(
    "options", [{}, {"contamination": 0.2}, {"max_features": 0.5}, {"max_samples": 40}]
)
def test_an_isolation_forest(
    options: dict[str, Any], compare: Callable[..., Any], numbers: pd.DataFrame
) -> None:
    model = IsolationForest(n_estimators=20, random_state=0, **options).fit(numbers)
    compared = compare(model, numbers, kind="int64")
    assert compared.program.header.classes == (-1, 1)


def test_an_estimator_that_is_not_known_is_named(
    compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    with pytest.raises(NotCompilable, match="no compiled form of AdaBoostClassifier"):
        compare(AdaBoostClassifier(n_estimators=2).fit(numbers, two), numbers)
