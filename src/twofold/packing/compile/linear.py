"""scikit-learn's linear models: what each input contributes to each output.

Columns of one text input, or of ranges of one number, become one table of contributions, so that
one-hot columns are never made. The original multiplies matrices, in an order that its library
chooses; sums here are in the order of the inputs, and may differ in the last bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from twofold.packing.compile.features import (
    Constant,
    Feature,
    Levels,
    NotCompilable,
    Number,
    Step,
    Text,
)
from twofold.packing.compile.sklearn_trees import classes_of
from twofold.predictor.program import STEP, STEPS, TERM, Header, Input, Program

POSITIVE_LABELS = ("LinearSVC", "Perceptron", "RidgeClassifier", "RidgeClassifierCV")
LOGISTIC = ("LogisticRegression", "LogisticRegressionCV")
VALUES = (
    "ARDRegression",
    "BayesianRidge",
    "ElasticNet",
    "ElasticNetCV",
    "HuberRegressor",
    "Lars",
    "LarsCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LinearRegression",
    "LinearSVR",
    "OrthogonalMatchingPursuit",
    "QuantileRegressor",
    "Ridge",
    "RidgeCV",
    "SGDRegressor",
    "TheilSenRegressor",
)
EXPONENTIAL = ("PoissonRegressor", "GammaRegressor")
CLASSIFIERS = (*POSITIVE_LABELS, *LOGISTIC, "SGDClassifier")
CALIBRATED = "CalibratedClassifierCV"
LIKELIER = 0.5
"""The probability above which a second class is the label."""


def is_linear(estimator: Any) -> bool:
    """Whether an estimator is one of those read here."""
    name = type(estimator).__name__
    known = name in (*CLASSIFIERS, *VALUES, *EXPONENTIAL, CALIBRATED)
    return known and type(estimator).__module__.startswith("sklearn.")


def read_linear(estimator: Any, *, labels: bool) -> tuple[Any, Any, Header]:
    """A linear model's coefficients (outputs, features), intercepts, and what comes after.

    Raises:
        NotCompilable: It predicts in a way that isn't known here.
    """
    name = type(estimator).__name__
    if name == CALIBRATED:
        return _read_calibrated(estimator, labels=labels)
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, np.float64))
    intercepts = np.ravel(np.asarray(estimator.intercept_, np.float64))
    if len(intercepts) == 1:
        intercepts = np.repeat(intercepts, len(coefficients))
    header = Header(kind="linear")
    if name in EXPONENTIAL:
        return coefficients, intercepts, msgspec.structs.replace(header, finish="exp")
    if name in VALUES:
        return coefficients, intercepts, header
    several = len(coefficients) > 1
    if labels:
        how: Any = "argmax" if several else "above"
        return (
            coefficients,
            intercepts,
            msgspec.structs.replace(header, labels=how, classes=classes_of(estimator)),
        )
    if name == "SGDClassifier" and (estimator.loss != "log_loss" or several):
        raise NotCompilable(f"the probabilities of SGDClassifier with loss {estimator.loss}")
    if several:
        return coefficients, intercepts, msgspec.structs.replace(header, finish="softmax")
    return coefficients, intercepts, msgspec.structs.replace(header, link="sigmoid")


def _read_calibrated(estimator: Any, *, labels: bool) -> tuple[Any, Any, Header]:
    """The mean of several linear models' probabilities, each from Platt's sigmoid of its score.

    Raises:
        NotCompilable: Something else is calibrated, or otherwise.
    """
    if len(estimator.classes_) != 2:  # noqa: PLR2004 - a sigmoid tells two classes apart
        raise NotCompilable("the calibrated probabilities of several classes")
    rows: list[Any] = []
    bases: list[float] = []
    for part in estimator.calibrated_classifiers_:
        scored = getattr(part.estimator, "estimator", part.estimator)  # in a FrozenEstimator
        if type(scored).__name__ not in CLASSIFIERS:
            raise NotCompilable(f"calibration of {type(scored).__name__}")
        (calibrator,) = part.calibrators
        if not hasattr(calibrator, "a_"):
            raise NotCompilable(f"calibration by {type(calibrator).__name__}")
        # 1 / (1 + exp(a score + b))
        rows.append(-calibrator.a_ * np.ravel(scored.coef_).astype(np.float64))
        intercept = float(np.ravel(scored.intercept_)[0])
        bases.append(-calibrator.a_ * intercept - calibrator.b_)
    header = Header(kind="linear", link="sigmoid", finish="mean" if len(rows) > 1 else "")
    if labels:
        header = msgspec.structs.replace(
            header, labels="above", threshold=LIKELIER, classes=classes_of(estimator)
        )
    return np.array(rows), np.array(bases), header


class _Terms:
    """The kernel's terms, and the arrays they point into."""

    def __init__(self, outputs: int) -> None:
        self._outputs = outputs
        self.rows: list[tuple[int, int, int, int, int, int]] = []
        self.steps: list[tuple[int, int, float, float]] = []
        self.edges: list[float] = []
        self.weights: list[float] = []

    def add_number(self, feature: Number, weights: Any) -> None:
        first = len(self.steps)
        self.steps += [_step(step) for step in feature.steps]
        self._add(feature.input, 0, first, len(feature.steps), weights)

    def add_levels(self, at: int, edges: tuple[float, ...], weights: Any) -> None:
        first = len(self.edges)
        self.edges += edges
        self._add(at, 1, first, len(edges), weights)

    def add_text(self, at: int, count: int, weights: Any) -> None:
        self._add(at, 2, 0, count, weights)

    def _add(self, at: int, kind: int, first: int, count: int, weights: Any) -> None:
        start = len(self.weights)
        self.weights += np.ravel(weights).tolist()
        self.rows.append((at, kind, first, count, start, 0))


def _step(step: Step) -> tuple[int, int, float, float]:
    return STEPS.index(step.name), 0, step.value, step.upper


def assemble_linear(
    coefficients: Any,
    intercepts: Any,
    header: Header,
    features: Sequence[Feature],
    inputs: Sequence[Input],
) -> Program:
    """Make the kernel's form of a linear model.

    Args:
        coefficients: Of shape (outputs, features).
        intercepts: One per output.
        header: What comes after the sums.
        features: What the model sees.
        inputs: What the features are made of.
    """
    bases = intercepts.copy()
    terms = _Terms(len(coefficients))
    texts: dict[int, Any] = {}
    levels: dict[tuple[int, tuple[float, ...]], Any] = {}
    numbers: list[tuple[Number, Any]] = []
    for feature, weights in zip(features, coefficients.T, strict=True):
        match feature:
            case Constant():
                bases += weights * feature.value
            case Number():
                numbers.append((feature, weights))
            case Levels():
                key = (feature.input, feature.edges)
                values = np.array([*feature.values, feature.missing])
                levels[key] = levels.get(key, 0.0) + np.outer(values, weights)
            case Text():
                found = np.outer(_by_category(feature, inputs), weights)
                texts[feature.input] = texts.get(feature.input, 0.0) + found
    made: list[tuple[int, int, Any]] = [
        *((feature.input, 0, (feature, weights)) for feature, weights in numbers),
        *((key[0], 1, (key, weights)) for key, weights in levels.items()),
        *((at, 2, weights) for at, weights in texts.items()),
    ]
    for at, kind, item in sorted(made, key=lambda entry: entry[:2]):
        if kind == 0:
            terms.add_number(*item)
        elif kind == 1:
            terms.add_levels(at, item[0][1], item[1])
        else:
            terms.add_text(at, len(inputs[at].categories), item)
    arrays = {
        "terms": np.array(terms.rows, TERM),
        "steps": np.array(terms.steps, STEP),
        "edges": np.array(terms.edges, np.float64),
        "weights": np.array(terms.weights, np.float64),
        "bases": bases,
    }
    return Program(msgspec.structs.replace(header, inputs=tuple(inputs)), arrays)


def _by_category(feature: Text, inputs: Sequence[Input]) -> Any:
    """The feature of each category, then of an unknown text, then of null."""
    # What the original refuses never gets here: its contribution doesn't matter.
    unknown = 0.0 if feature.unknown is None else feature.unknown
    missing = 0.0 if feature.missing is None else feature.missing
    known = [feature.values.get(text, unknown) for text in inputs[feature.input].categories]
    return np.array([*known, unknown, missing])
