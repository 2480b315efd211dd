"""XGBoost boosters, read from XGBoost's own binary JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from twofold.errors import missing_extra
from twofold.model.record import Artifact
from twofold.model.signature import Output, Signature
from twofold.predictor.runtimes.labels import label_step
from twofold.predictor.runtimes.tabular import TabularRuntime

LINEAR = "gblinear"
"""The kind of booster that XGBoost can't predict in place."""


def open_xgboost(
    path: Path, artifact: Artifact, signature: Signature, output: Output
) -> TabularRuntime:
    """Open a stored booster.

    Raises:
        ConfigError: XGBoost isn't installed.
    """
    try:
        import xgboost  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("xgboost", "xgboost", "this model's original runtime") from error
    booster = xgboost.Booster(model_file=str(path))
    # One thread: the caller brings its own, for batch and for requests alike.
    booster.set_param({"nthread": 1})
    step = label_step(artifact, output)

    def predict_in_place(rows: Any) -> Any:
        return step(booster.inplace_predict(rows, missing=np.nan, validate_features=False))

    def predict_copied(rows: Any) -> Any:
        made = xgboost.DMatrix(rows, missing=np.nan, nthread=1)
        return step(booster.predict(made, validate_features=False))

    predict = predict_copied if kind_of(booster) == LINEAR else predict_in_place
    return TabularRuntime(predict, artifact, signature)


def kind_of(booster: Any) -> str:
    """The kind of booster: `gbtree`, `dart` or `gblinear`."""
    return json.loads(booster.save_config())["learner"]["gradient_booster"]["name"]
