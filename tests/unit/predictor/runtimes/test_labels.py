"""Labels from the predictions of boosters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from twofold.model.record import Artifact
from twofold.model.signature import Output
from twofold.predictor.runtimes.labels import label_step


def step(call: str, classes: tuple[str, ...]) -> Any:
    artifact = Artifact(file="f", format="lightgbm-text", sha256="", size_bytes=0, call=call)
    return label_step(artifact, Output(kind="label", type="int64", classes=classes))


@pytest.mark.parametrize(
    ("call", "classes", "expected"),
    [
        ("label_int64", ("3", "7"), [3, 7, 3]),
        ("label_string", ("no", "yes"), ["no", "yes", "no"]),
        ("label_bool", ("False", "True"), [False, True, False]),
    ],
)
def test_one_probability_names_the_likelier_class(
    call: str, classes: tuple[str, ...], expected: list[Any]
) -> None:
    found = step(call, classes)(np.array([0.2, 0.9, 0.5]))
    assert found.tolist() == expected


def test_many_probabilities_name_the_likeliest_class() -> None:
    found = step("label_string", ("a", "b", "c"))(np.array([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1]]))
    assert found.tolist() == ["c", "a"]


def test_class_numbers_name_their_class() -> None:
    assert step("label_int64", ("0", "1", "2"))(np.array([2.0, 0.0], np.float32)).tolist() == [2, 0]


def test_other_calls_leave_predictions_alone() -> None:
    found = np.array([0.25])
    assert step("predict", ("a", "b"))(found) is found
