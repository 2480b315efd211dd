"""Models of random shape, trained on random rows with every odd number, have their library's bits.

The rows held against the library are those, special values, and both sides of every edge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)

ROWS = 240
ODD = (0.0, -0.0, 1.0, 1e-35, -1e-35, 5e-324, -2e-39, 1e-45, 1e30, -1e30, 0.1, 1 / 3)
EXAMPLES = 25
HALF = 0.5

seeds = st.integers(0, 2**31 - 1)
trees = st.integers(1, 24)
depths = st.integers(1, 9)
leaves = st.integers(2, 90)
rates = st.sampled_from([0.05, 0.3, 1.0])
classes = st.sampled_from([2, 3])


@st.composite
def lightgbms(draw: st.DrawFn) -> tuple[Any, str]:
    model = lightgbm.LGBMClassifier(
        boosting_type=draw(st.sampled_from(["gbdt", "dart", "rf"])),
        n_estimators=draw(trees),
        num_leaves=draw(leaves),
        learning_rate=draw(rates),
        min_child_samples=draw(st.integers(1, 20)),
        bagging_freq=1,
        bagging_fraction=0.7,
        zero_as_missing=draw(st.booleans()),
        use_missing=draw(st.booleans()),
        verbose=-1,
        n_jobs=1,
    )
    return model, "float64"


@st.composite
def xgboosts(draw: st.DrawFn) -> tuple[Any, str]:
    booster = draw(st.sampled_from(["gbtree", "dart"]))
    model = xgboost.XGBClassifier(
        booster=booster,
        n_estimators=draw(trees),
        max_depth=draw(depths),
        max_leaves=draw(st.sampled_from([0, 7, 70])),
        grow_policy=draw(st.sampled_from(["depthwise", "lossguide"])),
        learning_rate=draw(rates),
        min_child_weight=draw(st.sampled_from([0.0, 1.0])),
        rate_drop=0.3 if booster == "dart" else None,
        n_jobs=1,
    )
    return model, "float32"


@st.composite
def histograms(draw: st.DrawFn) -> tuple[Any, str]:
    model = HistGradientBoostingClassifier(
        max_iter=draw(trees),
        max_leaf_nodes=draw(leaves),
        learning_rate=draw(rates),
        min_samples_leaf=draw(st.integers(1, 20)),
        early_stopping=False,
    )
    return model, "float64"


@st.composite
def forests(draw: st.DrawFn) -> tuple[Any, str]:
    make = draw(
        st.sampled_from([RandomForestClassifier, ExtraTreesRegressor, GradientBoostingClassifier])
    )
    model = make(
        n_estimators=draw(trees),
        max_depth=draw(depths),
        min_samples_leaf=draw(st.integers(1, 9)),
        random_state=0,
    )
    return model, "float64"


LIBRARIES = {"lightgbm": lightgbms, "xgboost": xgboosts, "histogram": histograms, "forest": forests}


def frame_of(seed: int, *, with_holes: bool) -> pd.DataFrame:
    """Normal numbers, few different ones, and odd ones; whole numbers; now and then nothing."""
    random = np.random.default_rng(seed)
    normal = random.normal(size=ROWS)
    columns = {
        "normal": normal,
        "few": random.integers(-3, 4, ROWS) / 4,
        "odd": np.where(random.random(ROWS) < HALF, random.choice(ODD, ROWS), normal),
        "single": random.normal(size=ROWS).astype(np.float32),
        "whole": random.integers(0, 9, ROWS),
    }
    frame = pd.DataFrame(columns)
    if with_holes:
        for name in ("normal", "odd"):
            frame.loc[random.random(ROWS) < 0.2, name] = np.nan
    return frame


@pytest.mark.parametrize("library", LIBRARIES)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_model_of_any_shape(
    library: str, compare: Callable[..., Any], data: st.DataObject
) -> None:
    model, kind = data.draw(LIBRARIES[library]())
    seed, count = data.draw(seeds), data.draw(classes)
    frame = frame_of(seed, with_holes=library != "forest" and data.draw(st.booleans()))
    known = frame.fillna(0.0)
    score = known["normal"] + np.sin(3 * known["few"]) + known["whole"] / 9
    target = np.digitize(score, np.quantile(score, np.arange(1, count) / count))
    compare(model.fit(frame, target), frame, kind=kind)
