"""LightGBM boosters and LightGBM's estimators; both are stored as LightGBM's own text."""

from __future__ import annotations

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

FILE = "original.txt"
PROBABILITIES = ("binary", "cross_entropy", "multiclass", "multiclassova")
"""Objectives whose predictions are probabilities of classes."""


def read_booster(path: Path, output: OutputKind | None) -> LightgbmSource:
    """Read a booster from LightGBM's text format.

    Raises:
        DeclarationError: The file isn't one.
        ConfigError: LightGBM isn't installed.
    """
    try:
        import lightgbm  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("lightgbm", "lightgbm", f"reading {path.name}") from error
    if not path.read_bytes()[:4].startswith(b"tree"):
        fix = "Write it with Booster.save_model."
        raise DeclarationError(problem(str(path), "a LightGBM model", "another text", fix))
    try:
        booster = lightgbm.Booster(model_file=str(path))
    except lightgbm.basic.LightGBMError as error:
        fix = "Write it with Booster.save_model."
        raise DeclarationError(problem(str(path), "a LightGBM model", str(error), fix)) from error
    return LightgbmSource(booster, _booster_output(booster, output))


def lightgbm_source(model: Any, output: OutputKind | None) -> LightgbmSource:
    """A Booster or a fitted LightGBM estimator as a source.

    Raises:
        DeclarationError: It isn't fitted, or can't predict that output.
    """
    if not hasattr(model, "get_params"):
        return LightgbmSource(model, _booster_output(model, output))
    if not model.__sklearn_is_fitted__():
        name = type(model).__name__
        fix = "Call fit before packing."
        raise DeclarationError(problem("model", "a fitted one", f"{name}, unfitted", fix))
    booster = model.booster_
    if not hasattr(model, "classes_"):
        return LightgbmSource(booster, _booster_output(booster, output), estimator=model)
    objective, _ = _objective(booster)
    if objective not in PROBABILITIES:
        fix = "Train with an objective of LightGBM's own, or pack its booster_."
        got = f"the objective {objective or 'of a function'}"
        raise DeclarationError(problem("model", "a classifier with probabilities", got, fix))
    if output == "value":
        raise no_such_output("a LightGBM classifier", output, "probability, label")
    classes = tuple(model.classes_.tolist())
    call = label_call(classes) if output == "label" else "predict"
    return LightgbmSource(booster, classifier_output(output, classes), call, estimator=model)


def _objective(booster: Any) -> tuple[str, int]:
    """The objective's name, and the number of classes: 1 for two of them or none."""
    dumped = booster.dump_model(num_iteration=1)
    name = str(dumped.get("objective", "")).partition(" ")[0]
    return name, int(dumped.get("num_class", 1))


def _booster_output(booster: Any, output: OutputKind | None) -> Declared:
    objective, count = _objective(booster)
    natural: OutputKind = "probability" if objective in PROBABILITIES else "value"
    if output not in (None, natural):
        raise no_such_output(f"a LightGBM booster of objective {objective}", output, natural)
    if natural == "probability" and count > 1:
        classes = tuple(str(index) for index in range(count))
        return Declared("probability", tuple(f"prediction_{name}" for name in classes), classes)
    return Declared(natural)


class LightgbmSource:
    """A booster."""

    framework: Framework = "lightgbm"
    libraries = ("lightgbm", "numpy")

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
        self.booster = booster
        self.output = output
        names = booster.feature_name()
        unnamed = names == [f"Column_{index}" for index in range(len(names))]
        self.feature_names = None if unnamed else tuple(names)

    def predict_given(self, frame: Any) -> list[Any] | None:
        """What the estimator itself predicts."""
        return predictions_of(self, self._estimator, frame)

    def write_original(
        self,
        folder: Path,
        signature: Signature,
        *,
        trust_pickle: bool,  # noqa: ARG002 - text needs no trust
    ) -> Artifact:
        """Write the booster as text."""
        path = folder / FILE
        check_width(signature, self.booster.num_feature())
        self.booster.save_model(str(path))
        categories = self.booster.pandas_categorical or []
        framed = any(field.type == "string" for field in signature.fields) or bool(categories)
        return Artifact(
            file=path.name,
            format="lightgbm-text",
            sha256=file_digest(path),
            size_bytes=path.stat().st_size,
            call=self.call,
            input="frame" if framed else "matrix",
        )
