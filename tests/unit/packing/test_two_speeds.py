"""Any table, any rows: both speeds give the same bits, in the same order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import twofold
from twofold import Predictor
from twofold.errors import PredictionFailed
from twofold.predictor.split import predict_apart

CONTRACTS = ["Month", "One year", "Two year"]
ROW = st.fixed_dictionaries(
    {
        "tenure": st.integers(-(2**53), 2**53) | st.integers(0, 100),
        "charge": st.none()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.floats(-200, 200)
        | st.sampled_from([0.0, -0.0, 1e-35, -1e-35, 5e-324, 1e38, 3.5e38]),
        "contract": st.sampled_from(CONTRACTS),
    }
)


def columns(scaler: Any = "passthrough") -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(strategy="median"), scaler)
    return ColumnTransformer(
        [
            ("numbers", numbers, ["tenure", "charge"]),
            ("text", OneHotEncoder(handle_unknown="ignore"), ["contract"]),
        ]
    )


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Predictor]:
    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "tenure": random.integers(0, 72, 400),
            "charge": random.normal(60, 20, 400),
            "contract": random.choice(CONTRACTS, 400),
        }
    )
    frame.loc[::9, "charge"] = np.nan
    target = (frame["tenure"] + random.normal(0, 9, 400) < 30).to_numpy()
    typed = frame.assign(contract=frame["contract"].astype("category"))
    models: dict[str, tuple[Any, Any]] = {
        "boosting": (make_pipeline(columns(), GradientBoostingClassifier(n_estimators=20)), frame),
        "linear": (make_pipeline(columns(StandardScaler()), LogisticRegression()), frame),
        "lightgbm": (lightgbm.LGBMClassifier(n_estimators=20, verbose=-1), typed),
    }
    registry: Path = tmp_path_factory.mktemp("registry")
    return {
        name: twofold.pack(
            model.fit(rows, target),
            name=name,
            sample=rows,
            registry=registry,
        )
        for name, (model, rows) in models.items()
    }


@pytest.mark.parametrize("name", ["boosting", "linear", "lightgbm"])
@given(rows=st.lists(ROW, min_size=1, max_size=30))
@settings(max_examples=40)
def test_a_row_gets_the_same_bits_alone_and_among_others(
    name: str, packed: dict[str, Predictor], rows: list[dict[str, Any]]
) -> None:
    predictor = packed[name]
    table = predictor.table_columns(pa.Table.from_pylist(rows))
    found, failed = predict_apart(table, predictor.predict_columns)
    many = [value for part in found for value in part.column(0).to_pylist()]
    ones: list[float] = []
    refused: list[int] = []
    for index, row in enumerate(rows):
        try:
            ones.append(predictor.predict_one(row))
        except PredictionFailed:
            refused.append(index)
    assert sorted(failed) == refused
    assert np.array(ones).tobytes() == np.array(many).tobytes()
