"""Compiled models against their own libraries, at both speeds, in one process.

Each ratio is of medians of at least five calls in this run; predictions are compared bit for bit
before anything is timed (the linear models within their declared tolerance).
"""

from __future__ import annotations

import ctypes
import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import xgboost
from common import median_s, readable, scratch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import twofold
from twofold.model import arrow

ROWS, TRAINED_ROWS, FEATURES = 1_000_000, 60_000, 20
THREADS = 2
ONE_BY_ONE = 2_000
PARTS = 16
CHECKED_ROWS = 100_000


@dataclasses.dataclass
class Case:
    """One model, how its library predicts, and what the ratios should reach."""

    name: str
    model: Any
    many: Callable[[Any], Any]
    one: Callable[[Any], Any]
    rows: int = ROWS
    batch_target: float = 1.0
    one_target: float = 1.0


def data() -> tuple[Any, Any]:
    """Random rows, and a target with interactions and noise."""
    random = np.random.default_rng(7)
    rows = random.normal(size=(ROWS, FEATURES)).astype(np.float32)
    noise = random.normal(size=ROWS) * 0.5
    score = rows[:, 0] + rows[:, 1] * rows[:, 2] + np.sin(rows[:, 3] * 2) + noise
    return rows, (score > 0).astype(int)


def cases(rows: Any, target: Any) -> list[Case]:
    """The standard models, trained from fixed seeds."""
    x, y = rows[:TRAINED_ROWS], target[:TRAINED_ROWS]
    light = lightgbm.LGBMClassifier(
        n_estimators=200, num_leaves=31, verbose=-1, random_state=0, n_jobs=THREADS
    ).fit(x, y)
    extreme = xgboost.XGBClassifier(
        n_estimators=200, max_depth=6, random_state=0, n_jobs=THREADS
    ).fit(x, y)
    booster = extreme.get_booster()
    booster.set_param({"nthread": THREADS})
    hist = HistGradientBoostingClassifier(max_iter=200, random_state=0, early_stopping=False)
    forest = RandomForestClassifier(100, max_depth=12, random_state=0, n_jobs=THREADS)
    logistic = LogisticRegression()
    return [
        Case(
            "LightGBM 200 x 31",
            light,
            lambda m: light.booster_.predict(m, num_threads=THREADS),
            lambda m: light.predict_proba(m)[0, 1],
            batch_target=9,
            one_target=150,
        ),
        Case(
            "XGBoost 200 x depth 6",
            extreme,
            booster.inplace_predict,
            lambda m: booster.inplace_predict(m)[0],
            batch_target=2.4,
            one_target=100,
        ),
        Case(
            "HistGradientBoosting 200",
            hist.fit(x, y),
            lambda m: hist.predict_proba(m)[:, 1],
            lambda m: hist.predict_proba(m)[0, 1],
            batch_target=10,
            one_target=500,
        ),
        Case(
            "RandomForest 100 x depth 12",
            forest.fit(x, y),
            lambda m: forest.predict_proba(m)[:, 1],
            lambda m: forest.predict_proba(m)[0, 1],
            batch_target=4,
            one_target=1000,
        ),
        Case(
            "LogisticRegression",
            logistic.fit(x, y),
            lambda m: logistic.predict_proba(m)[:, 1],
            lambda m: logistic.predict_proba(m)[0, 1],
            batch_target=4,
            one_target=200,
        ),
    ]


def single_row_fast(booster: Any) -> Callable[[Any], float]:
    """LightGBM's own quickest call, through ctypes: made once, one row of doubles each time."""
    library, handle = lightgbm.basic._LIB, ctypes.c_void_p()  # noqa: SLF001 - the C library
    code = library.LGBM_BoosterPredictForMatSingleRowFastInit(
        booster._handle,  # noqa: SLF001 - as above
        ctypes.c_int(0),
        ctypes.c_int(0),
        ctypes.c_int(-1),
        ctypes.c_int(1),
        ctypes.c_int32(FEATURES),
        ctypes.c_char_p(b"num_threads=1"),
        ctypes.byref(handle),
    )
    assert code == 0
    row = np.zeros(FEATURES)
    at = row.ctypes.data_as(ctypes.c_void_p)
    length, out = ctypes.c_int64(0), (ctypes.c_double * 1)()
    call, by = library.LGBM_BoosterPredictForMatSingleRowFast, ctypes.byref(length)

    def predict(values: Any) -> float:
        row[:] = values
        call(handle, at, by, out)
        return out[0]

    return predict


def measure(case: Case, rows: Any, folder: Path) -> dict[str, float]:
    """Pack a case, hold it against its library, and time both."""
    table = pa.table({f"x{index}": rows[:, index] for index in range(FEATURES)})
    predictor = twofold.pack(
        case.model, name="m", sample=table.slice(0, 3000), registry=folder, runtime="compiled"
    )
    part = rows[: case.rows]
    columns = predictor.table_columns(table.slice(0, case.rows))
    wanted, found = case.many(part), predictor.predict_columns(columns).column(0).to_numpy()
    if case.name.startswith("Random"):
        case.model.set_params(n_jobs=1)  # with more, the order of its sums is left to chance
        part_wanted = case.many(part[:CHECKED_ROWS])
        assert found[:CHECKED_ROWS].tobytes() == part_wanted.tobytes()
        case.model.set_params(n_jobs=THREADS)
    elif case.name.startswith("Logistic"):
        assert np.abs(found - wanted).max() < 1e-6  # noqa: PLR2004 - float32 sums
    else:
        assert found.astype(wanted.dtype).tobytes() == np.ascontiguousarray(wanted).tobytes()
    size = -(-case.rows // PARTS)
    parts = [columns.slice(start, size) for start in range(0, case.rows, size)]
    with ThreadPoolExecutor(THREADS) as pool:
        batch_s = median_s(lambda: list(pool.map(predictor.predict_columns, parts)))
        reading_s = median_s(lambda: list(pool.map(read_all, parts)))
    original_batch_s = median_s(lambda: case.many(part))
    lists = rows[:ONE_BY_ONE].astype(float).tolist()
    matrices = [rows[index : index + 1] for index in range(ONE_BY_ONE)]
    position = iter(range(10**9))
    one_s = median_s(
        lambda: predictor.predict_one(lists[next(position) % ONE_BY_ONE]), calls=20_000
    )
    calls = 30 if case.name.startswith("Random") else 300
    original_one_s = median_s(lambda: case.one(matrices[next(position) % ONE_BY_ONE]), calls=calls)
    return {
        "batch_s": batch_s,
        "reading_s": reading_s,
        "original_batch_s": original_batch_s,
        "one_s": one_s,
        "original_one_s": original_one_s,
    }


def read_all(columns: Any) -> int:
    """Do nothing with the columns but look for the largest value, in NumPy's vector code."""
    return max(int(arrow.numbers(column).view(np.int64).max()) for column in columns.columns)


def show(case: Case, found: dict[str, float]) -> None:
    """Print one case's ratios beside their targets."""
    batch = found["original_batch_s"] / found["batch_s"]
    one = found["original_one_s"] / found["one_s"]
    per_s = case.rows / found["batch_s"]
    print(
        f"{case.name:<28} batch {per_s:>12,.0f} rows/s {batch:>7.1f}x ({case.batch_target:g})"
        f" (NumPy's max of its columns: {found['reading_s'] / found['batch_s']:.0%} of that time)"
        f"   one row {readable(found['one_s']):>9} {one:>8,.0f}x ({case.one_target:g})"
    )


def main() -> None:
    """Measure and print."""
    rows, target = data()
    start_s = time.perf_counter()
    every = cases(rows, target)
    print(f"trained in {time.perf_counter() - start_s:.0f} s; {THREADS} threads; (target)")
    for case in every:
        with scratch() as folder:
            show(case, measure(case, rows, Path(folder)))
    light = every[0].model
    with scratch() as folder:
        table = pd.DataFrame(rows[:3000], columns=[f"x{index}" for index in range(FEATURES)])
        predictor = twofold.pack(
            light, name="m", sample=table, registry=Path(folder), runtime="compiled"
        )
        lists = rows[:ONE_BY_ONE].astype(float).tolist()
        fast = single_row_fast(light.booster_)
        assert fast(lists[0]) == predictor.predict_one(lists[0])
        position = iter(range(10**9))
        fast_s = median_s(lambda: fast(lists[next(position) % ONE_BY_ONE]), calls=20_000)
        one_s = median_s(
            lambda: predictor.predict_one(lists[next(position) % ONE_BY_ONE]), calls=20_000
        )
        print(
            f"LightGBM's single-row-fast call: {readable(fast_s)}; predict_one from a list: "
            f"{readable(one_s)}, {fast_s / one_s:.1f}x (3)"
        )


if __name__ == "__main__":
    main()
