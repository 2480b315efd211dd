"""Converting a model to ONNX. It may fail for many reasons; none of them fails a pack."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from twofold.model.record import Artifact
from twofold.model.registry import file_digest
from twofold.model.signature import Signature
from twofold.packing.sources import Source
from twofold.predictor.runtimes.matrix import width_of
from twofold.predictor.runtimes.onnx import MISSING_TEXT
from twofold.predictor.runtimes.sklearn import parts_of

FILE = "model.onnx"
OPSET = {"": 18, "ai.onnx.ml": 3}
MAX_REASON_CHARS = 160
THRESHOLDS = re.compile(r"^threshold=(.*)$", re.MULTILINE)
TREE_SIZES = re.compile(r"^tree_sizes=.*\n", re.MULTILINE)
"""Where each tree of LightGBM's text begins; without it the trees are read one by one."""


class NotConvertible(Exception):
    """The model has no ONNX form that can be made here; its text says why."""


def write_onnx(source: Source, signature: Signature, folder: Path) -> Artifact:
    """Convert a source to ONNX, write it, and say how it is called.

    Raises:
        NotConvertible: With the reason, for people.
    """
    if source.framework in ("onnx", "python"):
        what = "it is one already" if source.framework == "onnx" else "a Python callable has none"
        raise NotConvertible(f"no ONNX form: {what}")
    if any(field.type == "timestamp" for field in signature.fields):
        raise NotConvertible("no ONNX form for timestamp fields")
    if any(field.categorical for field in signature.fields):
        raise NotConvertible("no ONNX form for categorical fields")
    try:
        with _silence():
            model, matrix = _convert(source, signature)
    except ImportError as error:
        name = error.name or str(error)
        raise NotConvertible(f"{name} is not installed: pip install 'twofold[onnx]'") from error
    except NotConvertible:
        raise
    # The converters raise whatever their own bugs raise.
    except Exception as error:
        text = " ".join(str(error).split())[:MAX_REASON_CHARS]
        raise NotConvertible(f"the converter failed ({type(error).__name__}: {text})") from error
    path = folder / FILE
    path.write_bytes(model.SerializeToString())
    names = [item.name for item in model.graph.output]
    probability = source.output.kind == "probability"
    wanted = names[1] if probability and len(names) > 1 else names[0]
    one = probability and len(source.output.names) == 1
    return Artifact(
        file=path.name,
        format="onnx",
        sha256=file_digest(path),
        size_bytes=path.stat().st_size,
        call=wanted,
        input="matrix" if matrix else "columns",
        class_index=1 if one else None,
    )


def _convert(source: Any, signature: Signature) -> tuple[Any, bool]:
    if source.framework == "scikit-learn":
        return _convert_sklearn(source, signature)
    if any(field.type == "string" for field in signature.fields):
        raise NotConvertible("no ONNX form for text fields of a booster")
    if source.output.kind == "label":
        raise NotConvertible("no ONNX form for the labels of a booster")
    from onnxmltools import convert_lightgbm, convert_xgboost  # noqa: PLC0415 - an extra
    from onnxmltools.convert.common.data_types import FloatTensorType  # noqa: PLC0415

    types = [("rows", FloatTensorType([None, width_of(signature)]))]
    if source.framework == "lightgbm":
        booster = _with_float32_thresholds(source.booster)
        found = convert_lightgbm(booster, initial_types=types, target_opset=15, zipmap=False)
        return found, True
    import xgboost  # noqa: PLC0415 - an extra, there because its booster is

    # The converter knows features by number only.
    booster = xgboost.Booster(model_file=bytearray(source.booster.save_raw("ubj")))
    booster.feature_names = None
    return convert_xgboost(booster, initial_types=types, target_opset=15), True


def _convert_sklearn(source: Any, signature: Signature) -> tuple[Any, bool]:
    # Estimators take one matrix, column transformers by name take columns; the converter
    # doesn't say which it wants, but fails on the other.
    text = any(field.type == "string" for field in signature.fields)
    if source.feature_names is None:
        return _to_onnx(source, signature, matrix=True), True
    if text:
        return _to_onnx(source, signature, matrix=False), False
    try:
        return _to_onnx(source, signature, matrix=True), True
    except Exception:  # noqa: BLE001 - the converter raises whatever its own bugs raise
        return _to_onnx(source, signature, matrix=False), False


def _to_onnx(source: Any, signature: Signature, *, matrix: bool) -> Any:
    from skl2onnx import to_onnx  # noqa: PLC0415 - an extra
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType  # noqa: PLC0415

    types: list[Any]
    if matrix:
        types = [("rows", FloatTensorType([None, width_of(signature)]))]
    else:
        # Numbers are one type, whole or not: the converters can't mix them in one step of a
        # pipeline, nor does scikit-learn, which stacks them as floats.
        types = [
            (
                field.name,
                StringTensorType([None, 1])
                if field.type == "string"
                else FloatTensorType([None, field.length or 1]),
            )
            for field in signature.fields
        ]
    options = {"zipmap": False} if source.output.kind != "value" else None
    estimator = _with_named_missing_text(source.estimator)
    return to_onnx(estimator, initial_types=types, options=options, target_opset=OPSET)


def _with_float32_thresholds(booster: Any) -> Any:
    """Round each threshold down to float32, as the converted model holds it.

    For a float32 `x`, `x <= t` is the same for `t` and for the largest float32 up to `t`; rounded
    to the nearest one, as the converter does it, values between the two would change sides.
    """
    import lightgbm  # noqa: PLC0415 - an extra, there because its booster is

    def rounded(line: re.Match[str]) -> str:
        exact = np.array(line.group(1).split(), np.float64)
        near = exact.astype(np.float32)
        down = np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)
        return "threshold=" + " ".join(repr(value) for value in down.astype(float).tolist())

    text = THRESHOLDS.sub(rounded, booster.model_to_string())
    return lightgbm.Booster(model_str=TREE_SIZES.sub("", text))


def _with_named_missing_text(estimator: Any) -> Any:
    """Let imputers of text look for the word that stands for a null string in ONNX."""
    if not any(_imputes_text(part) for part in parts_of(estimator)):
        return estimator
    copied = copy.deepcopy(estimator)
    for part in parts_of(copied):
        if _imputes_text(part):
            part.missing_values = MISSING_TEXT
    return copied


def _imputes_text(part: Any) -> bool:
    statistics = getattr(part, "statistics_", None)
    is_text = getattr(getattr(statistics, "dtype", None), "kind", "") in ("O", "U")
    return is_text and not isinstance(part.missing_values, str)


@contextlib.contextmanager
def _silence() -> Generator[None]:
    """Keep the converters' prints, warnings and log lines from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
