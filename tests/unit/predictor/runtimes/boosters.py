"""LightGBM and XGBoost: how each trains, predicts and is opened, and the rows to train with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import xgboost

from twofold.model.columns import columns_of
from twofold.model.record import Artifact
from twofold.model.signature import Field, Output, OutputType, Signature
from twofold.predictor.runtimes.lightgbm import open_lightgbm
from twofold.predictor.runtimes.tabular import TabularRuntime
from twofold.predictor.runtimes.xgboost import open_xgboost

RANDOM = np.random.default_rng(61)
ROWS = 200
FRAME = pd.DataFrame({"x": RANDOM.normal(size=ROWS), "y": RANDOM.normal(size=ROWS)})
HOLED = FRAME.assign(x=FRAME["x"].where(np.arange(ROWS) % 5 > 0))
BINARY = (FRAME["x"] > 0).to_numpy().astype(int)
THREE = np.digitize(FRAME["x"], [-0.5, 0.5])
SIGNATURE = Signature(
    fields=(
        Field(name="x", type="float64", nullable=True),
        Field(name="y", type="float64", nullable=True),
    )
)


def canonical(frame: pd.DataFrame, signature: Signature = SIGNATURE) -> Any:
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return columns_of(signature, rows)


@dataclass(frozen=True)
class Library:
    """What differs between the two.

    Attributes:
        train: Trains eight rounds with the rows, the target and parameters.
        own: The library's own predictions of a model for rows.
        binary: The objective that gives the probability of the second of two classes.
        number: The type of its predictions.
        file: What a model is stored in, and the name of that format.
    """

    train: Callable[..., Any]
    own: Callable[[Any, Any], Any]
    binary: str
    number: OutputType
    file: tuple[str, Any]
    open: Callable[..., TabularRuntime]

    @property
    def probability(self) -> Output:
        return Output(kind="probability", type=self.number)

    def opened(
        self,
        model: Any,
        folder: Path,
        *,
        signature: Signature = SIGNATURE,
        output: Output | None = None,
        call: str = "predict",
        kind: Any = "matrix",
    ) -> TabularRuntime:
        """Store a model, and open it as serving does."""
        name, stored_as = self.file
        model.save_model(folder / name)
        artifact = Artifact(
            file=name, format=stored_as, sha256="", size_bytes=0, call=call, input=kind
        )
        return self.open(folder / name, artifact, signature, output or self.probability)


def _train_lightgbm(rows: Any, target: Any, **parameters: Any) -> Any:
    data = lightgbm.Dataset(rows, target)
    return lightgbm.train({"verbose": -1, "num_threads": 1, **parameters}, data, num_boost_round=8)


def _train_xgboost(rows: Any, target: Any, **parameters: Any) -> Any:
    data = xgboost.DMatrix(rows, target, enable_categorical=True)
    return xgboost.train({"nthread": 1, **parameters}, data, num_boost_round=8)


LIGHTGBM = Library(
    train=_train_lightgbm,
    own=lambda model, rows: model.predict(rows),
    binary="binary",
    number="float64",
    file=("m.txt", "lightgbm-text"),
    open=open_lightgbm,
)
XGBOOST = Library(
    train=_train_xgboost,
    own=lambda model, rows: model.predict(xgboost.DMatrix(rows, enable_categorical=True)),
    binary="binary:logistic",
    number="float32",
    file=("m.ubj", "xgboost-ubj"),
    open=open_xgboost,
)
