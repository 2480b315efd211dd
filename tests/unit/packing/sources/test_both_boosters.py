"""What is known of boosters, whichever library they are from, and how they are stored."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
import xgboost
from trained import BINARY, COLUMNS, FRAME, LIGHTGBM, THREE, TYPED, XGBOOST, Library, stored

from twofold.errors import ConfigError, DeclarationError
from twofold.model.signature import OutputKind
from twofold.packing.sources import Declared

LIBRARIES = {"lightgbm": LIGHTGBM, "xgboost": XGBOOST}
both = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)

BOOSTERS: list[tuple[Library, str, Any, dict[str, Any], Declared]] = [
    (LIGHTGBM, "binary", BINARY, {}, Declared("probability")),
    (LIGHTGBM, "cross_entropy", BINARY * 0.5, {}, Declared("probability")),
    (LIGHTGBM, "regression", FRAME["x"], {}, Declared("value")),
    (LIGHTGBM, "poisson", BINARY, {}, Declared("value")),
    (LIGHTGBM, "cross_entropy_lambda", BINARY, {}, Declared("value")),
    (
        LIGHTGBM,
        "multiclass",
        THREE,
        {"num_class": 3},
        Declared("probability", COLUMNS, ("0", "1", "2")),
    ),
    (
        LIGHTGBM,
        "multiclassova",
        THREE,
        {"num_class": 3},
        Declared("probability", COLUMNS, ("0", "1", "2")),
    ),
    (XGBOOST, "binary:logistic", BINARY, {}, Declared("probability")),
    (XGBOOST, "binary:logitraw", BINARY, {}, Declared("value")),
    (XGBOOST, "binary:hinge", BINARY, {}, Declared("value")),
    (XGBOOST, "reg:squarederror", FRAME["x"], {}, Declared("value")),
    (XGBOOST, "count:poisson", BINARY, {}, Declared("value")),
    (
        XGBOOST,
        "multi:softprob",
        THREE,
        {"num_class": 3},
        Declared("probability", COLUMNS, ("0", "1", "2")),
    ),
    (
        XGBOOST,
        "multi:softmax",
        THREE,
        {"num_class": 3},
        Declared("label", classes=("0", "1", "2")),
    ),
]


@pytest.mark.parametrize(
    ("library", "objective", "target", "parameters", "expected"),
    BOOSTERS,
    ids=[item[1] for item in BOOSTERS],
)
def test_a_booster_gives_what_its_objective_stands_for(
    library: Library, objective: str, target: Any, parameters: dict[str, Any], expected: Declared
) -> None:
    model = library.booster(target, objective=objective, **parameters)
    assert library.source(model, None).output == expected
    assert library.source(model, expected.kind).output == expected


@both
def test_a_booster_of_many_classes_that_are_two_gives_both(library: Library) -> None:
    # It predicts two columns, where the objective of two classes predicts one.
    model = library.booster(BINARY, objective=library.many, num_class=2)
    expected = Declared("probability", ("prediction_0", "prediction_1"), ("0", "1"))
    assert library.source(model, None).output == expected


ASKED: list[tuple[Library, Any, OutputKind, str]] = [
    (
        LIGHTGBM,
        lambda: LIGHTGBM.booster(FRAME["x"], objective="regression"),
        "probability",
        (
            "--output probability: expected one of value for a LightGBM booster of objective "
            "regression, got probability. Choose one of them."
        ),
    ),
    (
        LIGHTGBM,
        lambda: LIGHTGBM.booster(BINARY, objective="binary"),
        "label",
        (
            "--output label: expected one of probability for a LightGBM booster of objective "
            "binary, got label. Choose one of them."
        ),
    ),
    (
        LIGHTGBM,
        lambda: LIGHTGBM.classifier(BINARY),
        "value",
        (
            "--output value: expected one of probability, label for a LightGBM classifier, "
            "got value. Choose one of them."
        ),
    ),
    (
        XGBOOST,
        lambda: XGBOOST.booster(FRAME["x"], objective="reg:squarederror"),
        "probability",
        (
            "--output probability: expected one of value for an XGBoost booster of objective "
            "reg:squarederror, got probability. Choose one of them."
        ),
    ),
    (
        XGBOOST,
        lambda: XGBOOST.booster(BINARY, objective="binary:logistic"),
        "label",
        (
            "--output label: expected one of probability for an XGBoost booster of objective "
            "binary:logistic, got label. Choose one of them."
        ),
    ),
    (
        XGBOOST,
        lambda: XGBOOST.booster(THREE, objective="multi:softmax", num_class=3),
        "probability",
        (
            "--output probability: expected one of label for an XGBoost booster of objective "
            "multi:softmax, got probability. Choose one of them."
        ),
    ),
    (
        XGBOOST,
        lambda: XGBOOST.classifier(BINARY),
        "value",
        (
            "--output value: expected one of probability, label for an XGBoost classifier, "
            "got value. Choose one of them."
        ),
    ),
    (
        XGBOOST,
        lambda: xgboost.XGBRegressor(n_estimators=2).fit(FRAME, FRAME["x"]),
        "label",
        (
            "--output label: expected one of value for an XGBoost booster of objective "
            "reg:squarederror, got label. Choose one of them."
        ),
    ),
]


@pytest.mark.parametrize(("library", "model", "kind", "words"), ASKED)
def test_an_output_that_the_model_does_not_have_is_refused(
    library: Library, model: Any, kind: OutputKind, words: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        library.source(model(), kind)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("library", "name"),
    [
        (LIGHTGBM, "LGBMClassifier"),
        (LIGHTGBM, "LGBMRegressor"),
        (LIGHTGBM, "LGBMRanker"),
        (XGBOOST, "XGBClassifier"),
        (XGBOOST, "XGBRegressor"),
        (XGBOOST, "XGBRanker"),
    ],
)
def test_an_unfitted_estimator_is_named(library: Library, name: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        library.source(getattr(library.module, name)(), None)
    assert str(caught.value) == (
        f"model: expected a fitted one, got {name}, unfitted. Call fit before packing."
    )


@both
def test_inputs_have_names_only_if_training_gave_them(library: Library) -> None:
    def names(rows: Any) -> Any:
        return library.source(library.classifier(BINARY, rows), None).feature_names

    assert names(FRAME) == ("x", "y")
    assert names(FRAME.to_numpy()) is None
    assert names(FRAME[["y", "x"]]) == ("y", "x")


@both
def test_numbers_are_given_as_a_matrix_and_categoricals_as_a_frame(
    library: Library, tmp_path: Path
) -> None:
    numbers = stored(library.source(library.classifier(BINARY), None), FRAME, tmp_path)
    assert (numbers.input, numbers.call, numbers.class_index) == ("matrix", "predict", None)
    typed = library.source(library.classifier(BINARY, TYPED), None)
    assert stored(typed, TYPED, tmp_path).input == "frame"


@both
def test_the_artifact_describes_the_file_that_was_written(library: Library, tmp_path: Path) -> None:
    model = library.classifier(BINARY)
    artifact = stored(library.source(model, None), FRAME, tmp_path)
    assert (artifact.file, artifact.format) == library.file
    content = (tmp_path / artifact.file).read_bytes()
    assert artifact.sha256 == hashlib.sha256(content).hexdigest()
    assert artifact.size_bytes == len(content)
    found = library.read_back(tmp_path / artifact.file)
    assert found.tobytes() == model.predict_proba(FRAME)[:, 1].tobytes()


@pytest.mark.parametrize(
    ("library", "name", "content"),
    [
        (LIGHTGBM, "m.txt", b""),
        (LIGHTGBM, "m.txt", b"x,y\n1,2\n"),
        (LIGHTGBM, "m.txt", b"tree\nversion=v4\n"),
        (XGBOOST, "m.json", b"{}"),
        (XGBOOST, "m.json", b"[1, 2"),
        (XGBOOST, "m.ubj", b"\x00\x01"),
    ],
)
def test_a_file_that_is_no_model_is_refused_in_one_line(
    library: Library, name: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DeclarationError) as caught:
        library.read(path, None)
    assert str(caught.value).startswith(f"{path}: expected {library.model}, got ")
    assert str(caught.value).endswith(". Write it with Booster.save_model.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("library", "name", "extra"),
    [(LIGHTGBM, "m.txt", "lightgbm"), (XGBOOST, "m.json", "xgboost")],
    ids=LIBRARIES,
)
def test_a_file_needs_its_library(
    library: Library, name: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(ConfigError) as caught:
        library.read(tmp_path / name, None)
    assert str(caught.value) == (
        f"reading {name} needs {extra}, which is not installed. "
        f"Install twofold[{extra}]: pip install 'twofold[{extra}]'."
    )
