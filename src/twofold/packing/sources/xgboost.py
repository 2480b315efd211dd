"""XGBoost boosters and XGBoost's estimators; both are stored as XGBoost's binary JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from twofold.errors import DeclarationError, missing_extra, problem
from twofold.model.record import Artifact, Framework
from twofold.model.registry import file_digest
from twofold.model.signature import OutputKind, Signature
from twofold.packing.sources import (
    Declared,
    check_width,
    classifier_output,
    label_call,
    no_such_output,
    predictions_of,
)
from twofold.predictor.runtimes.xgboost import LINEAR, kind_of

FILE = "original.ubj"
OF_ESTIMATOR = "scikit_learn"
"""The attribute that XGBoost's estimators leave in their files."""
TWO, POSITIVE = 2, 1
NUMBERS_ONLY = "multi:softmax"
"""The objective that predicts the number of the likeliest class."""


def read_booster(path: Path, output: OutputKind | None) -> XgboostSource:
    """Read a booster from XGBoost's JSON or UBJSON.

    Raises:
        DeclarationError: The file isn't one.
        ConfigError: XGBoost isn't installed.
    """
    try:
        import xgboost  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("xgboost", "xgboost", f"reading {path.name}") from error
    try:
        booster = xgboost.Booster(model_file=str(path))
    # Of some bytes it can't even say what is wrong with them.
    except (xgboost.core.XGBoostError, UnicodeDecodeError) as error:
        what = str(error).strip().partition("\n")[0][:200]
        fix = "Write it with Booster.save_model."
        raise DeclarationError(problem(str(path), "an XGBoost model", what, fix)) from error
    if booster.attr(OF_ESTIMATOR):
        booster = _at_best(booster)
    return _booster_source(booster, output)


def xgboost_source(model: Any, output: OutputKind | None) -> XgboostSource:
    """A Booster or a fitted XGBoost estimator as a source.

    Raises:
        DeclarationError: It isn't fitted, or can't predict that output.
    """
    if not hasattr(model, "get_params"):
        return _booster_source(model, output)
    if not model.__sklearn_is_fitted__():
        name = type(model).__name__
        fix = "Call fit before packing."
        raise DeclarationError(problem("model", "a fitted one", f"{name}, unfitted", fix))
    if not math.isnan(model.missing):
        fix = "Train with missing=nan, and NaN where a value is missing."
        raise DeclarationError(problem("model.missing", "nan", str(model.missing), fix))
    booster = _at_best(model.get_booster())
    if not hasattr(model, "classes_"):
        return _booster_source(booster, output, estimator=model)
    if output == "value":
        raise no_such_output("an XGBoost classifier", output, "probability, label")
    objective, count, targets = _objective(booster)
    if targets > 1:
        return _several_targets(booster, targets, output, estimator=model)
    if objective == NUMBERS_ONLY and output != "label":
        fix = "Train with objective='multi:softprob', or pack it with --output label."
        raise DeclarationError(problem("model", "probabilities", f"objective {objective}", fix))
    classes = tuple(model.classes_.tolist())
    call = label_call(classes) if output == "label" else "predict"
    declared = classifier_output(output, classes)
    found = XgboostSource(booster, declared, call, estimator=model)
    if count == len(classes) == TWO and declared.kind == "probability":
        found.class_index = POSITIVE  # it gives both
    return found


def _at_best(booster: Any) -> Any:
    """What XGBoost's estimators predict with: the rounds up to the best one.

    A booster by itself predicts with all its rounds, wherever training stopped improving.
    """
    best = booster.attr("best_iteration")
    if best is None or kind_of(booster) == LINEAR:
        return booster
    return booster[: int(best) + 1]


def _objective(booster: Any) -> tuple[str, int, int]:
    """The objective's name, the number of classes (0 for two of them or none), and of targets."""
    learner = json.loads(booster.save_config())["learner"]
    said = learner["learner_model_param"]
    return learner["objective"]["name"], int(said["num_class"]), int(said.get("num_target", "1"))


def _several_targets(
    booster: Any, targets: int, output: OutputKind | None, *, estimator: Any
) -> XgboostSource:
    """Several labels a row may have: the probability of each."""
    if output not in (None, "probability"):
        raise no_such_output("an XGBoost classifier of several targets", output, "probability")
    names = tuple(f"prediction_{index}" for index in range(targets))
    return XgboostSource(booster, Declared("probability", names), estimator=estimator)


def _booster_source(
    booster: Any, output: OutputKind | None, *, estimator: Any = None
) -> XgboostSource:
    objective, count, targets = _objective(booster)
    natural: OutputKind = "value"
    if objective in ("binary:logistic", "multi:softprob"):
        natural = "probability"
    elif objective == NUMBERS_ONLY:
        natural = "label"
    if natural == "probability" and targets > 1:
        return _several_targets(booster, targets, output, estimator=estimator)
    if output not in (None, natural):
        raise no_such_output(f"an XGBoost booster of objective {objective}", output, natural)
    if objective == "binary:logistic" or natural == "value":
        return XgboostSource(booster, Declared(natural), estimator=estimator)
    numbers = tuple(range(count))
    call = label_call(numbers) if natural == "label" else "predict"
    declared = classifier_output(natural, numbers)
    if natural == "probability":
        columns = tuple(f"prediction_{number}" for number in numbers)
        declared = Declared(natural, columns, declared.classes)
    return XgboostSource(booster, declared, call)


class XgboostSource:
    """A booster."""

    framework: Framework = "xgboost"
    libraries = ("xgboost", "numpy")

    def __init__(
        self, booster: Any, output: Declared, call: str = "predict", *, estimator: Any = None
    ) -> None:
        """Know the booster's inputs.

        Args:
            booster: The trees.
            output: What they predict.
            call: The artifact's `call`.
            estimator: The estimator it was taken from, if it was.
        """
        self.call = call
        self._estimator = estimator
        self.class_index: int | None = None
        self.booster = booster
        self.output = output
        names = booster.feature_names
        self.feature_names = None if names is None else tuple(names)

    def predict_given(self, frame: Any) -> list[Any] | None:
        """What the estimator itself predicts."""
        return predictions_of(self, self._estimator, frame)

    def write_original(
        self,
        folder: Path,
        signature: Signature,
        *,
        trust_pickle: bool,  # noqa: ARG002 - no code is in it
    ) -> Artifact:
        """Write the booster as UBJSON."""
        path = folder / FILE
        check_width(signature, self.booster.num_features())
        self.booster.save_model(str(path))
        framed = any(field.type == "string" for field in signature.fields)
        return Artifact(
            file=path.name,
            format="xgboost-ubj",
            sha256=file_digest(path),
            size_bytes=path.stat().st_size,
            call=self.call,
            input="frame" if framed else "matrix",
            class_index=self.class_index,
        )
