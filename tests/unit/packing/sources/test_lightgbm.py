"""What is known of LightGBM's models before they predict, and how they are stored."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest

from twofold.errors import ConfigError, DeclarationError
from twofold.model.infer import infer_signature
from twofold.model.record import Artifact
from twofold.model.signature import OutputKind
from twofold.model.tables import sample_table
from twofold.packing.sources import Declared
from twofold.packing.sources.lightgbm import FILE, LightgbmSource, lightgbm_source, read_booster

RANDOM = np.random.default_rng(21)
ROWS = 120
FRAME = pd.DataFrame({"x": RANDOM.normal(size=ROWS), "y": RANDOM.normal(size=ROWS)})
BINARY = (FRAME["x"] > 0).to_numpy().astype(int)
THREE = np.digitize(FRAME["x"], [-0.5, 0.5])
TYPED = FRAME.assign(s=pd.Categorical(list("wxyz") * (ROWS // 4)))
COLUMNS = ("prediction_0", "prediction_1", "prediction_2")


def classifier(target: Any, rows: Any = FRAME, **settings: Any) -> Any:
    return lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1, **settings).fit(
        rows, target
    )


def booster(target: Any, **parameters: Any) -> Any:
    data = lightgbm.Dataset(FRAME, target, free_raw_data=False)
    return lightgbm.train({"verbose": -1, "num_threads": 1, **parameters}, data, num_boost_round=3)


def squared(predicted: Any, data: Any) -> tuple[Any, Any]:
    """An objective that is a function: squared distance."""
    return predicted - data.get_label(), np.ones_like(predicted)


def stored(source: LightgbmSource, sample: Any, folder: Path) -> Artifact:
    signature = infer_signature(sample_table(sample), inputs=source.feature_names)
    return source.write_original(folder, signature, trust_pickle=False)


def test_a_classifier_of_two_classes_gives_the_probability_of_the_second() -> None:
    source = lightgbm_source(classifier(np.array(["no", "yes"])[BINARY]), None)
    assert source.output == Declared("probability", classes=("no", "yes"))
    assert (source.framework, source.libraries) == ("lightgbm", ("lightgbm", "numpy"))


def test_a_classifier_of_many_classes_names_a_column_after_each() -> None:
    words = np.array(["low", "mid", "high"])[THREE]
    names = ("prediction_high", "prediction_low", "prediction_mid")
    expected = Declared("probability", names, ("high", "low", "mid"))
    for asked in (None, "probability"):
        assert lightgbm_source(classifier(words), asked).output == expected  # type: ignore[arg-type]


BOOSTERS: dict[str, tuple[Any, Declared]] = {
    "binary": (BINARY, Declared("probability")),
    "cross_entropy": (BINARY * 0.5, Declared("probability")),
    "regression": (FRAME["x"], Declared("value")),
    "poisson": (BINARY, Declared("value")),
    "cross_entropy_lambda": (BINARY, Declared("value")),
    "multiclass": (THREE, Declared("probability", COLUMNS, ("0", "1", "2"))),
    "multiclassova": (THREE, Declared("probability", COLUMNS, ("0", "1", "2"))),
}


@pytest.mark.parametrize("objective", BOOSTERS)
def test_a_booster_gives_what_its_objective_stands_for(objective: str) -> None:
    target, expected = BOOSTERS[objective]
    parameters = {"num_class": 3} if objective.startswith("multiclass") else {}
    model = booster(target, objective=objective, **parameters)
    assert lightgbm_source(model, None).output == expected
    assert lightgbm_source(model, expected.kind).output == expected


def test_a_booster_of_many_classes_that_are_two_gives_both() -> None:
    # It predicts two columns, where the objective `binary` predicts one.
    model = booster(BINARY, objective="multiclass", num_class=2)
    expected = Declared("probability", ("prediction_0", "prediction_1"), ("0", "1"))
    assert lightgbm_source(model, None).output == expected


def test_a_booster_whose_objective_is_a_function_gives_values() -> None:
    assert lightgbm_source(booster(FRAME["x"], objective=squared), None).output.kind == "value"


ASKED: list[tuple[Any, OutputKind, str]] = [
    (
        lambda: booster(FRAME["x"], objective="regression"),
        "probability",
        (
            "--output probability: expected one of value for a LightGBM booster of objective "
            "regression, got probability. Choose one of them."
        ),
    ),
    (
        lambda: booster(BINARY, objective="binary"),
        "label",
        (
            "--output label: expected one of probability for a LightGBM booster of objective "
            "binary, got label. Choose one of them."
        ),
    ),
    (
        lambda: classifier(BINARY),
        "value",
        (
            "--output value: expected one of probability, label for a LightGBM classifier, "
            "got value. Choose one of them."
        ),
    ),
]


@pytest.mark.parametrize(("model", "kind", "words"), ASKED)
def test_an_output_that_the_model_does_not_have_is_refused(
    model: Any, kind: OutputKind, words: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        lightgbm_source(model(), kind)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("classes", "call"),
    [
        (["no", "yes"], "label_string"),
        ([3, 7], "label_int64"),
        ([False, True], "label_bool"),
    ],
)
def test_labels_are_stored_with_the_type_of_the_classes(
    classes: list[Any], call: str, tmp_path: Path
) -> None:
    source = lightgbm_source(classifier(np.array(classes)[BINARY]), "label")
    assert source.output == Declared("label", classes=tuple(str(item) for item in classes))
    assert stored(source, FRAME, tmp_path).call == call


def test_labels_that_are_floats_are_refused_and_their_probabilities_not() -> None:
    model = classifier(np.array([1.0, 2.0])[BINARY])
    with pytest.raises(DeclarationError) as caught:
        lightgbm_source(model, "label")
    assert str(caught.value) == (
        "model.classes_: expected whole numbers, text or bools, got 1.0, 2.0. "
        "Train with such labels, or pack it with --output probability."
    )
    assert lightgbm_source(model, None).output.classes == ("1.0", "2.0")


def test_a_classifier_without_probabilities_is_refused() -> None:
    def logistic(wanted: Any, margin: Any) -> tuple[Any, Any]:
        found = 1 / (1 + np.exp(-margin))
        return found - wanted, found * (1 - found)

    for objective, named in ((logistic, "of a function"), ("regression", "regression")):
        with pytest.raises(DeclarationError) as caught:
            lightgbm_source(classifier(BINARY, objective=objective), None)
        assert str(caught.value).startswith(
            f"model: expected a classifier with probabilities, got the objective {named}."
        )


@pytest.mark.parametrize("name", ["LGBMClassifier", "LGBMRegressor", "LGBMRanker"])
def test_an_unfitted_estimator_is_named(name: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        lightgbm_source(getattr(lightgbm, name)(), None)
    assert str(caught.value) == (
        f"model: expected a fitted one, got {name}, unfitted. Call fit before packing."
    )


def test_inputs_have_names_only_if_training_gave_them() -> None:
    assert lightgbm_source(classifier(BINARY), None).feature_names == ("x", "y")
    assert lightgbm_source(classifier(BINARY, FRAME.to_numpy()), None).feature_names is None
    swapped = lightgbm_source(classifier(BINARY, FRAME[["y", "x"]]), None)
    assert swapped.feature_names == ("y", "x")


def test_numbers_are_given_as_a_matrix_and_categoricals_as_a_frame(tmp_path: Path) -> None:
    numbers = stored(lightgbm_source(classifier(BINARY), None), FRAME, tmp_path)
    assert (numbers.input, numbers.call, numbers.class_index) == ("matrix", "predict", None)
    typed = lightgbm_source(classifier(BINARY, TYPED), None)
    assert stored(typed, TYPED, tmp_path).input == "frame"


def test_the_artifact_describes_the_text_that_was_written(tmp_path: Path) -> None:
    model = classifier(BINARY)
    artifact = stored(lightgbm_source(model, None), FRAME, tmp_path)
    content = (tmp_path / FILE).read_bytes()
    assert (artifact.file, artifact.format) == (FILE, "lightgbm-text")
    assert artifact.sha256 == hashlib.sha256(content).hexdigest()
    assert artifact.size_bytes == len(content)
    again = lightgbm.Booster(model_file=str(tmp_path / FILE))
    assert again.predict(FRAME).tobytes() == model.booster_.predict(FRAME).tobytes()


def test_a_file_has_forgotten_the_classes_of_its_estimator(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    classifier(np.array(["no", "yes"])[BINARY]).booster_.save_model(path)
    source = read_booster(path, None)
    assert source.output == Declared("probability")
    assert source.feature_names == ("x", "y")


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"tree\nversion=v4\n"])
def test_a_text_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    path.write_bytes(content)
    with pytest.raises(DeclarationError) as caught:
        read_booster(path, None)
    assert str(caught.value).startswith(f"{path}: expected a LightGBM model, got ")
    assert str(caught.value).endswith(". Write it with Booster.save_model.")


def test_a_file_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigError) as caught:
        read_booster(tmp_path / "m.txt", None)
    assert str(caught.value) == (
        "reading m.txt needs lightgbm, which is not installed. "
        "Install twofold[lightgbm]: pip install 'twofold[lightgbm]'."
    )
