"""Small models of LightGBM and XGBoost, trained on the same rows, and what differs between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import xgboost

from twofold.model.infer import infer_signature
from twofold.model.record import Artifact
from twofold.model.tables import sample_table
from twofold.packing.sources import lightgbm as lightgbm_sources
from twofold.packing.sources import xgboost as xgboost_sources

RANDOM = np.random.default_rng(21)
ROWS = 120
FRAME = pd.DataFrame({"x": RANDOM.normal(size=ROWS), "y": RANDOM.normal(size=ROWS)})
BINARY = (FRAME["x"] > 0).to_numpy().astype(int)
THREE = np.digitize(FRAME["x"], [-0.5, 0.5])
TYPED = FRAME.assign(s=pd.Categorical(list("wxyz") * (ROWS // 4)))
COLUMNS = ("prediction_0", "prediction_1", "prediction_2")


@dataclass(frozen=True)
class Library:
    """What differs between the two.

    Attributes:
        model: What a model of it is called.
        module: The library.
        classifier: Trains an estimator: the target, the rows (`FRAME`), settings.
        booster: Trains a booster of `FRAME`: the target, parameters.
        source: Reads a model: the model, the kind of output or none.
        read: The same of a file.
        file: What a packed model is stored in, and the name of that format.
        read_back: Its own predictions of `FRAME` with a model in a file.
        many: The objective that gives a probability of each of many classes.
    """

    model: str
    module: ModuleType
    classifier: Callable[..., Any]
    booster: Callable[..., Any]
    source: Callable[..., Any]
    read: Callable[..., Any]
    file: tuple[str, str]
    read_back: Callable[[Path], Any]
    many: str


def stored(source: Any, sample: Any, folder: Path) -> Artifact:
    signature = infer_signature(sample_table(sample), inputs=source.feature_names)
    return source.write_original(folder, signature, trust_pickle=False)


def _lightgbm_classifier(target: Any, rows: Any = FRAME, **settings: Any) -> Any:
    made = lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1, **settings)
    return made.fit(rows, target)


def _lightgbm_booster(target: Any, **parameters: Any) -> Any:
    data = lightgbm.Dataset(FRAME, target, free_raw_data=False)
    return lightgbm.train({"verbose": -1, "num_threads": 1, **parameters}, data, num_boost_round=3)


def _xgboost_classifier(target: Any, rows: Any = FRAME, **settings: Any) -> Any:
    made = xgboost.XGBClassifier(n_estimators=3, n_jobs=1, enable_categorical=True, **settings)
    return made.fit(rows, target)


def _xgboost_booster(target: Any, **parameters: Any) -> Any:
    data = xgboost.DMatrix(FRAME, target)
    return xgboost.train({"nthread": 1, **parameters}, data, num_boost_round=3)


LIGHTGBM = Library(
    model="a LightGBM model",
    module=lightgbm,
    classifier=_lightgbm_classifier,
    booster=_lightgbm_booster,
    source=lightgbm_sources.lightgbm_source,
    read=lightgbm_sources.read_booster,
    file=(lightgbm_sources.FILE, "lightgbm-text"),
    read_back=lambda path: lightgbm.Booster(model_file=str(path)).predict(FRAME),
    many="multiclass",
)
XGBOOST = Library(
    model="an XGBoost model",
    module=xgboost,
    classifier=_xgboost_classifier,
    booster=_xgboost_booster,
    source=xgboost_sources.xgboost_source,
    read=xgboost_sources.read_booster,
    file=(xgboost_sources.FILE, "xgboost-ubj"),
    read_back=lambda path: xgboost.Booster(model_file=str(path)).predict(xgboost.DMatrix(FRAME)),
    many="multi:softprob",
)
