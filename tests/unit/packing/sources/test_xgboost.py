"""What is known of XGBoost's models before they predict, and how they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from trained import BINARY, COLUMNS, FRAME, ROWS, THREE, XGBOOST, stored

from twofold.errors import DeclarationError
from twofold.packing.sources import Declared
from twofold.packing.sources.xgboost import read_booster, xgboost_source


def test_a_classifier_of_two_classes_gives_the_probability_of_the_second() -> None:
    for asked in (None, "probability"):
        source = xgboost_source(XGBOOST.classifier(BINARY), asked)  # type: ignore[arg-type]
        assert source.output == Declared("probability", classes=("0", "1"))
    assert (source.framework, source.libraries) == ("xgboost", ("xgboost", "numpy"))


def test_a_classifier_of_many_classes_names_a_column_after_each() -> None:
    source = xgboost_source(XGBOOST.classifier(THREE), None)
    assert source.output == Declared("probability", COLUMNS, ("0", "1", "2"))


def test_several_labels_of_a_row_have_a_probability_each() -> None:
    model = XGBOOST.classifier(np.stack([BINARY, THREE > 1], axis=1).astype(int))
    for given in (model, model.get_booster()):
        for asked in (None, "probability"):
            source = xgboost_source(given, asked)  # type: ignore[arg-type]
            assert source.output == Declared("probability", ("prediction_0", "prediction_1"))
        with pytest.raises(DeclarationError, match="one of probability for an XGBoost classifier"):
            xgboost_source(given, "label")


@pytest.mark.parametrize("kind", [None, "probability"])
def test_a_classifier_that_knows_only_its_likeliest_class_gives_labels_only(kind: Any) -> None:
    model = XGBOOST.classifier(THREE, objective="multi:softmax")
    with pytest.raises(DeclarationError) as caught:
        xgboost_source(model, kind)
    assert str(caught.value) == (
        "model: expected probabilities, got objective multi:softmax. "
        "Train with objective='multi:softprob', or pack it with --output label."
    )
    assert xgboost_source(model, "label").output.classes == ("0", "1", "2")


def test_labels_are_stored_as_whole_numbers(tmp_path: Path) -> None:
    artifact = stored(xgboost_source(XGBOOST.classifier(BINARY), "label"), FRAME, tmp_path)
    assert (artifact.call, artifact.class_index) == ("label_int64", None)
    softmax = xgboost_source(XGBOOST.booster(THREE, objective="multi:softmax", num_class=3), None)
    assert stored(softmax, FRAME, tmp_path).call == "label_int64"


@pytest.mark.parametrize("missing", [0, -999.0])
def test_a_number_that_stands_for_missing_is_refused(missing: float) -> None:
    # Boosters don't store it: the packed model would take it as a number.
    with pytest.raises(DeclarationError) as caught:
        xgboost_source(XGBOOST.classifier(BINARY, missing=missing), None)
    assert str(caught.value) == (
        f"model.missing: expected nan, got {missing}. "
        "Train with missing=nan, and NaN where a value is missing."
    )


def stopped_early(**settings: Any) -> Any:
    noisy = BINARY ^ (np.arange(ROWS) % 4 == 0)
    model = xgboost.XGBClassifier(
        n_estimators=20, early_stopping_rounds=3, learning_rate=0.9, **settings
    )
    return model.fit(FRAME[:90], noisy[:90], eval_set=[(FRAME[90:], noisy[90:])], verbose=False)


def test_only_an_estimator_is_cut_at_its_best_round(tmp_path: Path) -> None:
    model = stopped_early()
    full = model.get_booster()
    best = model.best_iteration + 1
    assert best < full.num_boosted_rounds()
    assert xgboost_source(model, None).booster.num_boosted_rounds() == best
    assert xgboost_source(full, None).booster.num_boosted_rounds() == full.num_boosted_rounds()
    for suffix in ("json", "ubj"):
        model.save_model(tmp_path / f"m.{suffix}")
        read = read_booster(tmp_path / f"m.{suffix}", None)
        assert read.booster.num_boosted_rounds() == best


def test_a_booster_read_from_a_file_keeps_all_its_rounds(tmp_path: Path) -> None:
    data, held = xgboost.DMatrix(FRAME[:90], BINARY[:90]), xgboost.DMatrix(FRAME[90:], BINARY[90:])
    model = xgboost.train(
        {"objective": "binary:logistic", "learning_rate": 1.0},
        data,
        num_boost_round=20,
        evals=[(held, "held")],
        early_stopping_rounds=2,
        verbose_eval=False,
    )
    assert model.best_iteration + 1 < model.num_boosted_rounds()
    model.save_model(tmp_path / "m.json")
    read = read_booster(tmp_path / "m.json", None)
    assert read.booster.num_boosted_rounds() == model.num_boosted_rounds()


def test_a_linear_model_is_never_cut() -> None:
    # It has weights, no trees to leave out: XGBoost predicts with what training ended with.
    model = stopped_early(booster="gblinear")
    assert model.get_booster().attr("best_iteration") is not None
    source = xgboost_source(model, None)
    assert source.booster.num_boosted_rounds() == model.get_booster().num_boosted_rounds()
