"""scikit-learn's linear models, compiled: equal but for the order of the originals' sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler, TargetEncoder
from sklearn.svm import LinearSVC, LinearSVR

from twofold.packing.compile import NotCompilable

ULPS = 1e-13
"""Of sums of some dozen terms near one: their last bits depend on their order."""
SINGLE_ULPS = 2e-6
VALUES: dict[str, Any] = {
    "least squares": LinearRegression(),
    "ridge": Ridge(),
    "lasso": Lasso(0.01),
    "elastic net": ElasticNet(0.01),
    "stochastic": SGDRegressor(random_state=0),
    "support vectors": LinearSVR(random_state=0),
    "poisson": PoissonRegressor(),
    "gamma": GammaRegressor(),
}
LABELS: dict[str, Any] = {
    "logistic": LogisticRegression(),
    "stochastic": SGDClassifier(random_state=0),
    "support vectors": LinearSVC(random_state=0),
    "ridge": RidgeClassifier(),
    "perceptron": Perceptron(random_state=0),
}


def encoded(model: Any, numbers: Any = None, text: Any = None) -> Any:
    numbers = numbers or make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    text = text or OneHotEncoder(handle_unknown="ignore")
    return make_pipeline(
        make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")),
            (text, make_column_selector(dtype_exclude="number")),
        ),
        model,
    )


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str, compare: Callable[..., Any], numbers: pd.DataFrame, amount: Any) -> None:
    model = make_pipeline(StandardScaler(), VALUES[name]).fit(numbers, np.abs(amount) + 0.1)
    compare(model, numbers, tolerance=ULPS)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", LABELS)
def test_labels(
    name: str, classes: int, compare: Callable[..., Any], numbers: pd.DataFrame, three: Any
) -> None:
    model = make_pipeline(StandardScaler(), LABELS[name])
    model.fit(numbers, np.minimum(three, classes - 1))
    compare(model, numbers, output="label", kind="int64")


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities(classes: int, compare: Callable[..., Any], customers: Any) -> None:
    frame, left = customers
    target = left if classes == 2 else left + (frame["tenure"].to_numpy() > 40)
    model = encoded(LogisticRegression(max_iter=300)).fit(frame, target)
    compared = compare(model, frame, tolerance=ULPS)
    assert len(compared.program.arrays["bases"]) == (1 if classes == 2 else 3)


@pytest.mark.parametrize("ensemble", [True, False])
@pytest.mark.parametrize(
    "scored",
    [LinearSVC(random_state=0), SGDClassifier(random_state=0), LogisticRegression()],
    ids=lambda model: type(model).__name__,
)
def test_calibrated_probabilities(
    scored: Any, ensemble: bool, compare: Callable[..., Any], customers: Any
) -> None:
    frame, left = customers
    model = encoded(CalibratedClassifierCV(scored, ensemble=ensemble, cv=3)).fit(frame, left)
    compared = compare(model, frame, tolerance=ULPS)
    assert len(compared.program.arrays["bases"]) == (3 if ensemble else 1)


def test_calibrated_labels(compare: Callable[..., Any], numbers: pd.DataFrame, two: Any) -> None:
    fitted = LinearSVC(random_state=0).fit(numbers, two)
    model = CalibratedClassifierCV(FrozenEstimator(fitted), cv=3).fit(numbers, two)
    compare(model, numbers, output="label", kind="int64")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (CalibratedClassifierCV(LinearSVC(), method="isotonic"), "IsotonicRegression"),
        (CalibratedClassifierCV(GaussianNB()), "GaussianNB"),
    ],
)
def test_other_calibration_is_not_compiled(
    model: Any, reason: str, compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    with pytest.raises(NotCompilable, match=f"calibration .*{reason}"):
        compare(model.fit(numbers, two), numbers)


def test_calibration_of_several_classes_is_not_compiled(
    compare: Callable[..., Any], numbers: pd.DataFrame, three: Any
) -> None:
    with pytest.raises(NotCompilable, match="several classes"):
        compare(CalibratedClassifierCV(LinearSVC()).fit(numbers, three), numbers)


def test_categories_are_one_term_each(compare: Callable[..., Any], customers: Any) -> None:
    frame, left = customers
    model = encoded(LogisticRegression(max_iter=300)).fit(frame, left)
    terms = compare(model, frame, tolerance=ULPS).program.arrays["terms"]
    # Nine numbers and ten texts, and one number that may be missing.
    assert len(terms) == 20


@pytest.mark.parametrize("text", [TargetEncoder(random_state=0), OneHotEncoder(drop="first")])
def test_other_encoders(text: Any, compare: Callable[..., Any], customers: Any) -> None:
    frame, left = customers
    bins = KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf", random_state=0)
    numbers = make_pipeline(SimpleImputer(), bins)
    model = encoded(LogisticRegression(max_iter=300), numbers, text).fit(frame, left)
    compare(model, frame, tolerance=ULPS)


def test_float32_differs_by_its_own_last_bits(
    compare: Callable[..., Any], singles: pd.DataFrame, two: Any
) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(singles, two)
    compare(model, singles, tolerance=SINGLE_ULPS)


def test_probabilities_of_another_kind_are_not_compiled(
    compare: Callable[..., Any], numbers: pd.DataFrame, two: Any
) -> None:
    model = SGDClassifier(loss="modified_huber").fit(numbers, two)
    with pytest.raises(NotCompilable, match="SGDClassifier with loss modified_huber"):
        compare(model, numbers)


def test_a_linear_model_is_not_compiled_for_a_field_that_may_be_null(
    compare: Callable[..., Any], numbers: pd.DataFrame, holes: pd.DataFrame, amount: Any
) -> None:
    with pytest.raises(NotCompilable, match="refuses missing values, and x0 may be null"):
        compare(Ridge().fit(numbers, amount), holes)
