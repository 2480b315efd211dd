"""Whole Telco pipelines (text, imputation, scaling) against themselves compiled, at both speeds."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from common import median_s, readable, scratch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import twofold
from twofold.demo import customers
from twofold.errors import DeclarationError
from twofold.model import arrow

ROWS, ONE_BY_ONE, THREADS, PARTS = 1_000_000, 500, 2, 16
ESTIMATORS: dict[str, Any] = {
    "logistic regression": LogisticRegression(max_iter=500),
    "histogram boosting": HistGradientBoostingClassifier(random_state=0),
    "random forest": RandomForestClassifier(100, max_depth=12, random_state=0, n_jobs=THREADS),
}
ONE_TARGET, ONNX_TARGET, BATCH_TARGET = 500, 3, 8


def pipeline(estimator: Any) -> Any:
    """Imputation and scaling of numbers, one-hot of text, and an estimator."""
    return make_pipeline(
        make_column_transformer(
            (
                make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
                make_column_selector(dtype_include="number"),
            ),
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
            sparse_threshold=0,
        ),
        estimator,
    )


def onnx_s(model: Any, sample: Any, folder: Path, rows: list[Any]) -> float | None:
    """One row in ONNX Runtime, where the model converts with parity."""
    try:
        predictor = twofold.pack(model, name="o", sample=sample, registry=folder, runtime="onnx")
    except DeclarationError:
        return None
    position = iter(range(10**9))
    return median_s(lambda: predictor.predict_one(rows[next(position) % ONE_BY_ONE]), calls=3000)


def main() -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    real = customers.real_customers()
    features = real.select(customers.features(real))
    left = np.array(real[customers.TARGET].to_pylist()) == "Yes"
    drawn = np.random.default_rng(0).integers(0, features.num_rows, ROWS)
    many = features.combine_chunks().take(arrow.from_numbers(drawn))
    frame = many.to_pandas()
    rows = features.slice(0, ONE_BY_ONE).to_pylist()
    frames = [features.slice(index, 1).to_pandas() for index in range(ONE_BY_ONE)]
    print(f"{ROWS:,} rows from an Arrow table, {THREADS} threads; one row from a dict; (target)")
    for name, estimator in ESTIMATORS.items():
        model = pipeline(estimator).fit(features.to_pandas(), left)
        with scratch() as text:
            folder = Path(text)
            predictor = twofold.pack(
                model, name="m", sample=features, registry=folder, runtime="compiled"
            )
            size = -(-ROWS // PARTS)
            parts = [many.slice(start, size) for start in range(0, ROWS, size)]
            with ThreadPoolExecutor(THREADS) as pool:
                batch_s = median_s(lambda: list(pool.map(predictor.predict, parts)))
            original_batch_s = median_s(lambda: model.predict_proba(frame))
            position = iter(range(10**9))
            one_s = median_s(
                lambda: predictor.predict_one(rows[next(position) % ONE_BY_ONE]), calls=20_000
            )
            original_s = median_s(
                lambda: model.predict_proba(frames[next(position) % ONE_BY_ONE]), calls=60
            )
            other_s = onnx_s(model, features, folder, rows)
        onnx = (
            f"{other_s / one_s:,.1f}x ONNX Runtime ({ONNX_TARGET})" if other_s else "no ONNX form"
        )
        print(
            f"{name:<22} batch {original_batch_s / batch_s:>6.1f}x ({BATCH_TARGET})   one row "
            f"{readable(one_s)} {original_s / one_s:>7,.0f}x ({ONE_TARGET}), {onnx}"
        )


if __name__ == "__main__":
    main()
