"""scikit-learn estimators, and whatever looks like one."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from twofold.errors import DeclarationError, TwofoldError, missing_extra, problem
from twofold.model.record import Artifact, Framework
from twofold.model.registry import file_digest
from twofold.model.signature import OutputKind, Signature
from twofold.packing.sources import (
    Declared,
    classifier_output,
    no_such_output,
    predictions_of,
)
from twofold.predictor.runtimes.sklearn import (
    parts_of,
    read_pickle,
    read_skops,
    untrusted_types,
)

FILE = "original.skops"
SCHEMA = "schema.json"
NUMPY_MAGIC = b"\x93NUMPY"
IDENTITY = re.compile(r'(?<="__id__": )[0-9]+')
NUMBER = re.compile(r"[0-9]{6,}")
PICKLED_FILE = "original.joblib"
BINARY = 2


def read_estimator(path: Path) -> Any:
    """Read a model from a .joblib, .pkl or .skops file; a pickle runs the code it brings.

    Raises:
        DeclarationError: The file isn't one, or a class it needs is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other library versions; parity is what decides
            return read_skops(path) if path.suffix.lower() == ".skops" else read_pickle(path)
    except TwofoldError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {str(error)[:200]}"
        fix = "Write it again with the libraries installed here."
        raise DeclarationError(problem(str(path), "a stored model", what, fix)) from error


def sklearn_source(estimator: Any, output: OutputKind | None) -> SklearnSource:
    """A fitted estimator as a source.

    Raises:
        DeclarationError: It can't predict that output, or isn't fitted.
    """
    _check_fitted(estimator)
    return SklearnSource(estimator, output)


def _has_many_labels(estimator: Any) -> bool:
    """Whether each row may have several labels at once."""
    binarizer = getattr(estimator, "_label_binarizer", None)
    kind = getattr(binarizer, "y_type_", "")
    many = getattr(estimator, "multilabel_", False) or getattr(estimator, "outputs_2d_", False)
    return bool(many) or kind.startswith("multilabel")


def _check_fitted(estimator: Any) -> None:
    try:
        from sklearn.exceptions import NotFittedError  # noqa: PLC0415 - an extra
        from sklearn.utils.validation import check_is_fitted  # noqa: PLC0415
    except ImportError as error:
        raise missing_extra("scikit-learn", "sklearn", "this model") from error
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        name = type(estimator).__name__
        fix = "Call fit before packing."
        raise DeclarationError(
            problem("model", "a fitted one", f"{name}, unfitted", fix)
        ) from error
    except TypeError:
        return  # no scikit-learn estimator by inheritance; its predictions will tell


class SklearnSource:
    """A fitted estimator."""

    framework: Framework = "scikit-learn"

    def __init__(self, estimator: Any, output: OutputKind | None) -> None:
        """Decide what the estimator is asked for."""
        self.estimator = estimator
        self.output = self._output(output)
        names = getattr(estimator, "feature_names_in_", None)
        self.feature_names = None if names is None else tuple(str(name) for name in names)
        extra = {"lightgbm", "xgboost", "catboost"} & self._packages()
        self.libraries = ("scikit-learn", "numpy", "pandas", *sorted(extra))

    def _packages(self) -> set[str]:
        return {type(part).__module__.partition(".")[0] for part in parts_of(self.estimator)}

    def predict_given(self, frame: Any) -> list[Any] | None:
        """What the estimator itself predicts."""
        return predictions_of(self, self.estimator, frame)

    def _output(self, output: OutputKind | None) -> Declared:
        classes = getattr(self.estimator, "classes_", None)
        if isinstance(classes, list):
            return self._several_targets(output, [tuple(each.tolist()) for each in classes])
        if _has_many_labels(self.estimator):
            raise DeclarationError(
                problem("model", "one target", "several labels", "Pack one model a label.")
            )
        if classes is None:
            if output in (None, "value"):
                return Declared("value")
            raise no_such_output("a regressor", output, "value")
        listed = tuple(classes.tolist())
        if any(isinstance(item, bytes) for item in listed):
            fix = "Train with text."
            raise DeclarationError(
                problem("model.classes_", "numbers, text or bools", "bytes", fix)
            )
        if hasattr(self.estimator, "predict_proba"):
            if output == "value":
                raise no_such_output("a classifier", output, "probability, label")
            return classifier_output(output, listed)
        if output in (None, "label"):
            return Declared("label", classes=tuple(str(item) for item in listed))
        raise no_such_output("a classifier without probabilities", output, "label")

    def _several_targets(
        self, output: OutputKind | None, targets: list[tuple[Any, ...]]
    ) -> Declared:
        """A column for each target: the probability of its second class, or its label."""
        names = tuple(f"prediction_{index}" for index in range(len(targets)))
        can = hasattr(self.estimator, "predict_proba")
        binary = all(len(classes) == BINARY for classes in targets)
        if output == "value" or (output == "probability" and not can):
            raise no_such_output("a classifier", output, "probability, label" if can else "label")
        if output == "probability" and not binary:
            got = ", ".join(str(len(classes)) for classes in targets)
            fix = "Choose --output label, or pack one model a target."
            raise DeclarationError(problem("model", "two classes for each target", got, fix))
        is_probability = can and binary and output != "label"
        return Declared("probability" if is_probability else "label", names)

    def write_original(
        self,
        folder: Path,
        signature: Signature,  # noqa: ARG002 - the other libraries need it
        *,
        trust_pickle: bool,
    ) -> Artifact:
        """Write the estimator as skops if it has plain types only, else as a trusted pickle."""
        try:
            import skops.io as sio  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise missing_extra("skops", "sklearn", "packing a scikit-learn model") from error
        path = folder / FILE
        try:
            sio.dump(self.estimator, path)
            make_reproducible(path)
            unknown = untrusted_types(path)
        except Exception as error:  # noqa: BLE001 - any failure means: not storable as skops
            unknown = [f"{type(error).__name__}: {str(error)[:120]}"]
        if not unknown:
            return self._artifact(path, "skops")
        path.unlink(missing_ok=True)
        if not trust_pickle:
            raise DeclarationError(
                problem(
                    "model",
                    "types of scikit-learn and NumPy only",
                    ", ".join(unknown[:5]),
                    "Pack with --trust-pickle: loading the version will then run a pickle.",
                )
            )
        import joblib  # noqa: PLC0415 - comes with scikit-learn

        path = folder / PICKLED_FILE
        joblib.dump(self.estimator, path)
        return self._artifact(path, "joblib")

    def _artifact(self, path: Path, kind: Any) -> Artifact:
        probability = self.output.kind == "probability"
        one = probability and len(self.output.names) == 1
        return Artifact(
            file=path.name,
            format=kind,
            sha256=file_digest(path),
            size_bytes=path.stat().st_size,
            call="predict_proba" if probability else "predict",
            input="matrix" if self.feature_names is None else "frame",
            class_index=1 if one else None,
        )


def _without_padding(content: bytes) -> bytes:
    """An array's file with zeros between its fields, where there may be anything."""
    if not content.startswith(NUMPY_MAGIC):
        return content
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    file = io.BytesIO()
    np.save(file, clean, allow_pickle=False)
    return file.getvalue()


def make_reproducible(path: Path) -> None:
    """Rewrite a skops file so that equal estimators give equal bytes.

    skops names objects and arrays by their addresses in memory, and a ZIP archive records the
    time of day; both are replaced by running numbers and a fixed time.
    """
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    schema = entries[SCHEMA].decode()
    order: dict[str, str] = {}
    for found in IDENTITY.findall(schema):
        order.setdefault(found, str(len(order) + 1))

    def renamed(text: str) -> str:
        return NUMBER.sub(lambda match: order.get(match.group(), match.group()), text)

    entries = {renamed(name): _without_padding(content) for name, content in entries.items()}
    entries[SCHEMA] = renamed(schema).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(entries):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), entries[name])
