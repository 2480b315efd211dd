"""What is known of XGBoost's models before they predict, and how they are stored."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost

from twofold.errors import ConfigError, DeclarationError
from twofold.model.infer import infer_signature
from twofold.model.record import Artifact
from twofold.model.signature import OutputKind
from twofold.model.tables import sample_table
from twofold.packing.sources import Declared
from twofold.packing.sources.xgboost import FILE, XgboostSource, read_booster, xgboost_source

RANDOM = np.random.default_rng(31)
ROWS = 120
FRAME = pd.DataFrame({"x": RANDOM.normal(size=ROWS), "y": RANDOM.normal(size=ROWS)})
BINARY = (FRAME["x"] > 0).to_numpy().astype(int)
THREE = np.digitize(FRAME["x"], [-0.5, 0.5])
TYPED = FRAME.assign(s=pd.Categorical(list("wxyz") * (ROWS // 4)))
COLUMNS = ("prediction_0", "prediction_1", "prediction_2")


def classifier(target: Any, rows: Any = FRAME, **settings: Any) -> Any:
    return xgboost.XGBClassifier(n_estimators=3, n_jobs=1, **settings).fit(rows, target)


def booster(target: Any, **parameters: Any) -> Any:
    return xgboost.train(
        {"nthread": 1, **parameters}, xgboost.DMatrix(FRAME, target), num_boost_round=3
    )


def stored(source: XgboostSource, sample: Any, folder: Path) -> Artifact:
    signature = infer_signature(sample_table(sample), inputs=source.feature_names)
    return source.write_original(folder, signature, trust_pickle=False)


def test_a_classifier_of_two_classes_gives_the_probability_of_the_second() -> None:
    for asked in (None, "probability"):
        source = xgboost_source(classifier(BINARY), asked)  # type: ignore[arg-type]
        assert source.output == Declared("probability", classes=("0", "1"))
    assert (source.framework, source.libraries) == ("xgboost", ("xgboost", "numpy"))


def test_a_classifier_of_many_classes_names_a_column_after_each() -> None:
    source = xgboost_source(classifier(THREE), None)
    assert source.output == Declared("probability", COLUMNS, ("0", "1", "2"))


BOOSTERS: dict[str, tuple[Any, dict[str, Any], Declared]] = {
    "binary:logistic": (BINARY, {}, Declared("probability")),
    "binary:logitraw": (BINARY, {}, Declared("value")),
    "binary:hinge": (BINARY, {}, Declared("value")),
    "reg:squarederror": (FRAME["x"], {}, Declared("value")),
    "count:poisson": (BINARY, {}, Declared("value")),
    "multi:softprob": (
        THREE,
        {"num_class": 3},
        Declared("probability", COLUMNS, ("0", "1", "2")),
    ),
    "multi:softmax": (THREE, {"num_class": 3}, Declared("label", classes=("0", "1", "2"))),
}


@pytest.mark.parametrize("objective", BOOSTERS)
def test_a_booster_gives_what_its_objective_stands_for(objective: str) -> None:
    target, parameters, expected = BOOSTERS[objective]
    model = booster(target, objective=objective, **parameters)
    assert xgboost_source(model, None).output == expected
    assert xgboost_source(model, expected.kind).output == expected


def test_several_labels_of_a_row_have_a_probability_each() -> None:
    model = classifier(np.stack([BINARY, THREE > 1], axis=1).astype(int))
    for given in (model, model.get_booster()):
        for asked in (None, "probability"):
            source = xgboost_source(given, asked)  # type: ignore[arg-type]
            assert source.output == Declared("probability", ("prediction_0", "prediction_1"))
        with pytest.raises(DeclarationError, match="one of probability for an XGBoost classifier"):
            xgboost_source(given, "label")


def test_a_booster_of_many_classes_that_are_two_gives_both() -> None:
    # It predicts two columns, where binary:logistic predicts one.
    model = booster(BINARY, objective="multi:softprob", num_class=2)
    expected = Declared("probability", ("prediction_0", "prediction_1"), ("0", "1"))
    assert xgboost_source(model, None).output == expected


ASKED: list[tuple[Any, OutputKind, str]] = [
    (
        lambda: booster(FRAME["x"], objective="reg:squarederror"),
        "probability",
        (
            "--output probability: expected one of value for an XGBoost booster of objective "
            "reg:squarederror, got probability. Choose one of them."
        ),
    ),
    (
        lambda: booster(BINARY, objective="binary:logistic"),
        "label",
        (
            "--output label: expected one of probability for an XGBoost booster of objective "
            "binary:logistic, got label. Choose one of them."
        ),
    ),
    (
        lambda: booster(THREE, objective="multi:softmax", num_class=3),
        "probability",
        (
            "--output probability: expected one of label for an XGBoost booster of objective "
            "multi:softmax, got probability. Choose one of them."
        ),
    ),
    (
        lambda: classifier(BINARY),
        "value",
        (
            "--output value: expected one of probability, label for an XGBoost classifier, "
            "got value. Choose one of them."
        ),
    ),
    (
        lambda: xgboost.XGBRegressor(n_estimators=2).fit(FRAME, FRAME["x"]),
        "label",
        (
            "--output label: expected one of value for an XGBoost booster of objective "
            "reg:squarederror, got label. Choose one of them."
        ),
    ),
]


@pytest.mark.parametrize(("model", "kind", "words"), ASKED)
def test_an_output_that_the_model_does_not_have_is_refused(
    model: Any, kind: OutputKind, words: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        xgboost_source(model(), kind)
    assert str(caught.value) == words


@pytest.mark.parametrize("kind", [None, "probability"])
def test_a_classifier_that_knows_only_its_likeliest_class_gives_labels_only(kind: Any) -> None:
    model = classifier(THREE, objective="multi:softmax")
    with pytest.raises(DeclarationError) as caught:
        xgboost_source(model, kind)
    assert str(caught.value) == (
        "model: expected probabilities, got objective multi:softmax. "
        "Train with objective='multi:softprob', or pack it with --output label."
    )
    assert xgboost_source(model, "label").output.classes == ("0", "1", "2")


def test_labels_are_stored_as_whole_numbers(tmp_path: Path) -> None:
    artifact = stored(xgboost_source(classifier(BINARY), "label"), FRAME, tmp_path)
    assert (artifact.call, artifact.class_index) == ("label_int64", None)
    softmax = xgboost_source(booster(THREE, objective="multi:softmax", num_class=3), None)
    assert stored(softmax, FRAME, tmp_path).call == "label_int64"


@pytest.mark.parametrize("missing", [0, -999.0])
def test_a_number_that_stands_for_missing_is_refused(missing: float) -> None:
    # Boosters don't store it: the packed model would take it as a number.
    with pytest.raises(DeclarationError) as caught:
        xgboost_source(classifier(BINARY, missing=missing), None)
    assert str(caught.value) == (
        f"model.missing: expected nan, got {missing}. "
        "Train with missing=nan, and NaN where a value is missing."
    )


@pytest.mark.parametrize("name", ["XGBClassifier", "XGBRegressor", "XGBRanker"])
def test_an_unfitted_estimator_is_named(name: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        xgboost_source(getattr(xgboost, name)(), None)
    assert str(caught.value) == (
        f"model: expected a fitted one, got {name}, unfitted. Call fit before packing."
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


def test_inputs_have_names_only_if_training_gave_them() -> None:
    assert xgboost_source(classifier(BINARY), None).feature_names == ("x", "y")
    assert xgboost_source(classifier(BINARY, FRAME.to_numpy()), None).feature_names is None
    swapped = xgboost_source(classifier(BINARY, FRAME[["y", "x"]]), None)
    assert swapped.feature_names == ("y", "x")


def test_numbers_are_given_as_a_matrix_and_text_as_a_frame(tmp_path: Path) -> None:
    numbers = stored(xgboost_source(classifier(BINARY), None), FRAME, tmp_path)
    assert (numbers.input, numbers.call, numbers.class_index) == ("matrix", "predict", None)
    typed = xgboost_source(classifier(BINARY, TYPED, enable_categorical=True), None)
    assert stored(typed, TYPED, tmp_path).input == "frame"


def test_the_artifact_describes_the_file_that_was_written(tmp_path: Path) -> None:
    model = classifier(BINARY)
    artifact = stored(xgboost_source(model, None), FRAME, tmp_path)
    content = (tmp_path / FILE).read_bytes()
    assert (artifact.file, artifact.format) == (FILE, "xgboost-ubj")
    assert artifact.sha256 == hashlib.sha256(content).hexdigest()
    assert artifact.size_bytes == len(content)
    again = xgboost.Booster(model_file=str(tmp_path / FILE))
    expected = model.predict_proba(FRAME)[:, 1].tobytes()
    assert again.predict(xgboost.DMatrix(FRAME)).tobytes() == expected


@pytest.mark.parametrize(
    ("name", "content"), [("m.json", b"{}"), ("m.json", b"[1, 2"), ("m.ubj", b"\x00\x01")]
)
def test_a_file_that_is_no_model_is_refused_in_one_line(
    name: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DeclarationError) as caught:
        read_booster(path, None)
    assert str(caught.value).startswith(f"{path}: expected an XGBoost model, got ")
    assert str(caught.value).endswith(". Write it with Booster.save_model.")
    assert "\n" not in str(caught.value)


def test_a_file_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ConfigError) as caught:
        read_booster(tmp_path / "m.json", None)
    assert str(caught.value) == (
        "reading m.json needs xgboost, which is not installed. "
        "Install twofold[xgboost]: pip install 'twofold[xgboost]'."
    )
