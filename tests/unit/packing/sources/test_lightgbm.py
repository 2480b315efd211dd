"""What is known of LightGBM's models before they predict, and how they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trained import BINARY, FRAME, LIGHTGBM, THREE, stored

from twofold.errors import DeclarationError
from twofold.packing.sources import Declared
from twofold.packing.sources.lightgbm import lightgbm_source, read_booster


def squared(predicted: Any, data: Any) -> tuple[Any, Any]:
    """An objective that is a function: squared distance."""
    return predicted - data.get_label(), np.ones_like(predicted)


def test_a_classifier_of_two_classes_gives_the_probability_of_the_second() -> None:
    source = lightgbm_source(LIGHTGBM.classifier(np.array(["no", "yes"])[BINARY]), None)
    assert source.output == Declared("probability", classes=("no", "yes"))
    assert (source.framework, source.libraries) == ("lightgbm", ("lightgbm", "numpy"))


def test_a_classifier_of_many_classes_names_a_column_after_each() -> None:
    words = np.array(["low", "mid", "high"])[THREE]
    names = ("prediction_high", "prediction_low", "prediction_mid")
    expected = Declared("probability", names, ("high", "low", "mid"))
    for asked in (None, "probability"):
        assert lightgbm_source(LIGHTGBM.classifier(words), asked).output == expected  # type: ignore[arg-type]


def test_a_booster_whose_objective_is_a_function_gives_values() -> None:
    assert (
        lightgbm_source(LIGHTGBM.booster(FRAME["x"], objective=squared), None).output.kind
        == "value"
    )


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
    source = lightgbm_source(LIGHTGBM.classifier(np.array(classes)[BINARY]), "label")
    assert source.output == Declared("label", classes=tuple(str(item) for item in classes))
    assert stored(source, FRAME, tmp_path).call == call


def test_labels_that_are_floats_are_refused_and_their_probabilities_not() -> None:
    model = LIGHTGBM.classifier(np.array([1.0, 2.0])[BINARY])
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
            lightgbm_source(LIGHTGBM.classifier(BINARY, objective=objective), None)
        assert str(caught.value).startswith(
            f"model: expected a classifier with probabilities, got the objective {named}."
        )


def test_a_file_has_forgotten_the_classes_of_its_estimator(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    LIGHTGBM.classifier(np.array(["no", "yes"])[BINARY]).booster_.save_model(path)
    source = read_booster(path, None)
    assert source.output == Declared("probability")
    assert source.feature_names == ("x", "y")
