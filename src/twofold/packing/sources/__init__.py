"""Reading models: one file per library, each imported only for a model that needs it."""

from __future__ import annotations

import dataclasses
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol

from twofold.errors import DeclarationError, problem
from twofold.model.record import Artifact, Framework
from twofold.model.signature import OutputKind, Signature
from twofold.predictor.runtimes.labels import LABEL_CALLS
from twofold.predictor.runtimes.matrix import width_of


@dataclasses.dataclass(frozen=True)
class Declared:
    """What a source knows of its output before it was ever called.

    Attributes:
        kind: Probability, label or value.
        names: The output columns.
        classes: The classes, as text, in the order of the probabilities.
    """

    kind: OutputKind
    names: tuple[str, ...] = ("prediction",)
    classes: tuple[str, ...] | None = None


class Source(Protocol):
    """A model as its author gave it."""

    @property
    def framework(self) -> Framework:
        """The library it was made with."""
        ...

    @property
    def libraries(self) -> tuple[str, ...]:
        """Distributions that its original runtime needs."""
        ...

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The model's own names of its inputs, in order, if it has any."""
        ...

    @property
    def output(self) -> Declared:
        """What it predicts."""
        ...

    def predict_given(self, frame: Any) -> list[Any] | None:
        """What the model itself predicts for a pandas frame: one array per output.

        None if there is only a file of it, which is what the original runtime loads.
        """
        ...

    def write_original(self, folder: Path, signature: Signature, *, trust_pickle: bool) -> Artifact:
        """Write the file that the original runtime loads, and say how it is called.

        Raises:
            DeclarationError: It could only be stored as a pickle, and that isn't trusted.
        """
        ...


def read_source(model: Any, *, output: OutputKind | None, call: Literal["row", "batch"]) -> Source:
    """Read a model.

    Args:
        model: A file, `module:attribute`, an estimator, a booster, or a function.
        output: What to predict; None for what is natural to the model.
        call: For Python callables: what one takes.

    Raises:
        DeclarationError: It can't be read, or can't predict that output.
        ConfigError: The library it needs isn't installed.
    """
    if isinstance(model, (str, Path)):
        text = str(model)
        if isinstance(model, str) and not Path(text).exists() and ":" in text:
            return _python(text, output, call)
        return _read_file(Path(model), output)
    return source_of(model, output=output, call=call)


def _python(model: Any, output: OutputKind | None, call: Literal["row", "batch"]) -> Source:
    from twofold.packing.sources.python import python_source  # noqa: PLC0415

    return python_source(model, output=output, call=call)


def _read_file(path: Path, output: OutputKind | None) -> Source:
    if not path.is_file():
        fix = "Mend the path; a Python function is named module:attribute."
        raise DeclarationError(problem(str(path), "a model file", "nothing there", fix))
    match path.suffix.lower():
        case ".joblib" | ".pkl" | ".pickle" | ".skops":
            from twofold.packing.sources.sklearn import read_estimator  # noqa: PLC0415

            return source_of(read_estimator(path), output=output, call="row")
        case ".txt":
            from twofold.packing.sources.lightgbm import read_booster  # noqa: PLC0415

            return read_booster(path, output)
        case ".json" | ".ubj":
            from twofold.packing.sources.xgboost import read_booster  # noqa: PLC0415

            return read_booster(path, output)
        case ".onnx":
            from twofold.packing.sources.onnx import read_model  # noqa: PLC0415

            return read_model(path, output)
        case suffix:
            raise DeclarationError(
                problem(
                    str(path),
                    ".joblib, .pkl, .skops, .txt, .json, .ubj or .onnx",
                    f"the suffix {suffix!r}",
                    "Save the model in one of these formats.",
                )
            )


def source_of(model: Any, *, output: OutputKind | None, call: Literal["row", "batch"]) -> Source:
    """Tell the library of a live object by where its class comes from.

    Raises:
        DeclarationError: It is no model.
    """
    if isinstance(model, type) and hasattr(model, "get_params"):
        fix = "Make an instance of it and call fit."
        raise DeclarationError(
            problem("model", "a fitted estimator", f"the class {model.__name__}", fix)
        )
    package = type(model).__module__.partition(".")[0]
    if package == "lightgbm":
        from twofold.packing.sources.lightgbm import lightgbm_source  # noqa: PLC0415

        return lightgbm_source(model, output)
    if package == "xgboost":
        from twofold.packing.sources.xgboost import xgboost_source  # noqa: PLC0415

        return xgboost_source(model, output)
    if hasattr(model, "get_params") and hasattr(model, "predict"):
        from twofold.packing.sources.sklearn import sklearn_source  # noqa: PLC0415

        return sklearn_source(model, output)
    if callable(model) or hasattr(model, "predict"):
        return _python(model, output, call)
    raise DeclarationError(
        problem(
            "model",
            "an estimator, a booster, a function, or a file of one",
            type(model).__name__,
            "Pack one of these.",
        )
    )


def predictions_of(source: Source, estimator: Any, frame: Any) -> list[Any] | None:
    """What an estimator itself predicts: one array per output; None without one or a frame.

    Args:
        source: What it was read as; it was trained on a frame if this has feature names.
        estimator: With `predict`, and `predict_proba` if probabilities are its output; or None.
        frame: A pandas frame, or None.
    """
    if frame is None or estimator is None:
        return None
    output = source.output
    rows = frame.to_numpy() if source.feature_names is None else frame
    if output.kind != "probability":
        found = estimator.predict(rows)
        return [found] if found.ndim == 1 else list(found.T)
    found = estimator.predict_proba(rows)
    if isinstance(found, list):  # of several targets
        return [target[:, 1] for target in found]
    return [found[:, 1]] if len(output.names) == 1 else list(found.T)


def classifier_output(kind: OutputKind | None, classes: tuple[Any, ...]) -> Declared:
    """The output of a classifier with probabilities.

    Raises:
        DeclarationError: It knows one class only.
    """
    names = tuple(str(item) for item in classes)
    if len(classes) < 2:  # noqa: PLR2004 - with one there is nothing to tell apart
        fix = "Train it on rows of at least two classes."
        raise DeclarationError(problem("model.classes_", "two classes or more", str(names), fix))
    if kind in (None, "probability"):
        if len(classes) == 2:  # noqa: PLR2004 - the positive class stands for both
            return Declared("probability", classes=names)
        columns = tuple(f"prediction_{name}" for name in names)
        return Declared("probability", names=columns, classes=names)
    return Declared("label", classes=names)


def label_call(classes: tuple[Any, ...]) -> str:
    """The `call` of an artifact that gives labels where the library gives class numbers.

    Raises:
        DeclarationError: The classes are neither whole numbers, text nor bools.
    """
    kinds = {type(item) for item in classes}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind not in LABEL_CALLS:
        shown = ", ".join(repr(item) for item in classes[:5])
        fix = "Train with such labels, or pack it with --output probability."
        raise DeclarationError(
            problem("model.classes_", "whole numbers, text or bools", shown, fix)
        )
    return LABEL_CALLS[kind]


def check_width(signature: Signature, width: int) -> None:
    """Check that a booster gets as many columns as it was trained with.

    Raises:
        DeclarationError: It doesn't.
    """
    found = width_of(signature)
    if found != width:
        fix = "Give the columns the model was trained with, and --drop the others."
        raise DeclarationError(problem("sample", f"{width} columns", str(found), fix))


def versions_of(distributions: tuple[str, ...]) -> dict[str, str]:
    """The installed versions of distributions, of those that are installed."""
    found: dict[str, str] = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def no_such_output(what: str, kind: OutputKind, known: str) -> DeclarationError:
    """Say that a model can't predict what was asked for."""
    return DeclarationError(
        problem(f"--output {kind}", f"one of {known} for {what}", kind, "Choose one of them.")
    )
