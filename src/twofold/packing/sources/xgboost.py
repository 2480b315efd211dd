"""XGBoost boosters and XGBoost's estimators; both are stored as XGBoost's binary JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twofold.errors import DeclarationError, missing_extra, problem
from twofold.model.record import Artifact, Framework
from twofold.model.registry import file_digest
from twofold.model.signature import OutputKind, Signature
from twofold.packing.sources import Declared, classifier_output, no_such_output

FILE = "original.ubj"


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
    except xgboost.core.XGBoostError as error:
        what = str(error).strip().partition("\n")[0][:200]
        fix = "Write it with Booster.save_model."
        raise DeclarationError(problem(str(path), "an XGBoost model", what, fix)) from error
    return XgboostSource(booster, _booster_output(booster, output))


def xgboost_source(model: Any, output: OutputKind | None) -> XgboostSource:
    """A Booster or a fitted XGBoost estimator as a source.

    Raises:
        DeclarationError: It isn't fitted, or can't predict that output.
    """
    if not hasattr(model, "get_params"):
        return XgboostSource(model, _booster_output(model, output))
    if not model.__sklearn_is_fitted__():
        name = type(model).__name__
        fix = "Call fit before packing."
        raise DeclarationError(problem("model", "a fitted one", f"{name}, unfitted", fix))
    booster = model.get_booster()
    if not hasattr(model, "classes_"):
        return XgboostSource(booster, _booster_output(booster, output))
    if output not in (None, "probability"):
        raise no_such_output("an XGBoost classifier", output, "probability")
    return XgboostSource(booster, classifier_output(output, tuple(model.classes_.tolist())))


def _booster_output(booster: Any, output: OutputKind | None) -> Declared:
    learner = json.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]
    count = int(learner["learner_model_param"]["num_class"])
    natural: OutputKind = "value"
    if objective in ("binary:logistic", "multi:softprob"):
        natural = "probability"
    elif objective == "multi:softmax":
        natural = "label"
    if output not in (None, natural):
        raise no_such_output(f"an XGBoost booster of objective {objective}", output, natural)
    if natural == "probability" and count > 1:
        classes = tuple(str(index) for index in range(count))
        return Declared("probability", tuple(f"prediction_{name}" for name in classes), classes)
    return Declared(natural)


class XgboostSource:
    """A booster."""

    framework: Framework = "xgboost"
    libraries = ("xgboost", "numpy")

    def __init__(self, booster: Any, output: Declared) -> None:
        """Know the booster's inputs."""
        self.booster = booster
        self.output = output
        names = booster.feature_names
        self.feature_names = None if names is None else tuple(names)

    def write_original(
        self,
        folder: Path,
        signature: Signature,
        *,
        trust_pickle: bool,  # noqa: ARG002 - no code is in it
    ) -> Artifact:
        """Write the booster as UBJSON."""
        path = folder / FILE
        self.booster.save_model(str(path))
        framed = any(field.type == "string" for field in signature.fields)
        return Artifact(
            file=path.name,
            format="xgboost-ubj",
            sha256=file_digest(path),
            size_bytes=path.stat().st_size,
            call="predict",
            input="frame" if framed else "matrix",
        )
