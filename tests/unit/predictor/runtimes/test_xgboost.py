"""XGBoost's boosters behind the door: what is theirs alone, kinds of booster and names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from boosters import BINARY, FRAME, HOLED, ROWS, XGBOOST, canonical

from twofold.predictor.runtimes.xgboost import kind_of


@pytest.mark.parametrize("kind", ["gbtree", "dart", "gblinear"])
def test_null_is_missing_for_every_kind_of_booster(kind: str, tmp_path: Path) -> None:
    model = XGBOOST.train(HOLED, BINARY, objective="binary:logistic", booster=kind)
    assert kind_of(model) == kind
    runtime = XGBOOST.opened(model, tmp_path)
    expected = XGBOOST.own(model, HOLED)
    assert runtime.predict_columns(canonical(HOLED))[0].tobytes() == expected.tobytes()
    y = HOLED["y"].tolist()
    ones = [runtime.predict_values([None, y[row]])[0] for row in range(0, ROWS, 5)]
    assert ones == expected[::5].tolist()
    nothing = XGBOOST.own(model, pd.DataFrame({"x": [np.nan], "y": [np.nan]})).tolist()
    assert list(runtime.predict_values([None, None])) == nothing


def test_the_library_has_read_the_kind_of_booster_from_its_file(tmp_path: Path) -> None:
    model = XGBOOST.train(FRAME, BINARY, booster="gblinear")
    model.save_model(tmp_path / "m.ubj")
    assert kind_of(xgboost.Booster(model_file=str(tmp_path / "m.ubj"))) == "gblinear"


@pytest.mark.parametrize("kind", ["gbtree", "gblinear"])
def test_the_names_of_training_need_not_be_those_of_the_rows(kind: str, tmp_path: Path) -> None:
    # A matrix has no names; the signature has put its columns in order already.
    model = XGBOOST.train(FRAME, BINARY, objective="binary:logistic", booster=kind)
    assert model.feature_names == ["x", "y"]
    found = XGBOOST.opened(model, tmp_path).predict_columns(canonical(FRAME))[0]
    assert found.tobytes() == XGBOOST.own(model, FRAME).tobytes()
