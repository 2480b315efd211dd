"""LightGBM's boosters behind the door: objectives, missing values, labels, bad rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest

from twofold.errors import PredictionFailed
from twofold.model.columns import columns_of
from twofold.model.record import Artifact
from twofold.model.signature import Field, Output, Signature
from twofold.predictor.door import Door
from twofold.predictor.runtimes.lightgbm import open_lightgbm
from twofold.predictor.runtimes.tabular import TabularRuntime

RANDOM = np.random.default_rng(51)
ROWS = 200
FRAME = pd.DataFrame({"x": RANDOM.normal(size=ROWS), "y": RANDOM.normal(size=ROWS)})
HOLED = FRAME.assign(x=FRAME["x"].where(np.arange(ROWS) % 5 > 0))
BINARY = (FRAME["x"] > 0).to_numpy().astype(int)
THREE = np.digitize(FRAME["x"], [-0.5, 0.5])
SIGNATURE = Signature(
    fields=(
        Field(name="x", type="float64", nullable=True),
        Field(name="y", type="float64", nullable=True),
    )
)
PROBABILITY = Output(kind="probability", type="float64")


def booster(rows: Any, target: Any, **parameters: Any) -> Any:
    data = lightgbm.Dataset(rows, target)
    return lightgbm.train({"verbose": -1, "num_threads": 1, **parameters}, data, num_boost_round=8)


def opened(
    model: Any,
    folder: Path,
    *,
    signature: Signature = SIGNATURE,
    output: Output = PROBABILITY,
    call: str = "predict",
    kind: Any = "matrix",
) -> TabularRuntime:
    path = folder / "m.txt"
    model.save_model(path)
    artifact = Artifact(
        file=path.name, format="lightgbm-text", sha256="", size_bytes=0, call=call, input=kind
    )
    return open_lightgbm(path, artifact, signature, output)


def canonical(frame: pd.DataFrame, signature: Signature = SIGNATURE) -> Any:
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return columns_of(signature, rows)


OBJECTIVES: dict[str, tuple[Any, dict[str, Any]]] = {
    "cross_entropy": (BINARY * 0.75, {}),
    "poisson": (BINARY, {}),
    "quantile": (FRAME["x"], {"alpha": 0.9}),
    "multiclassova": (THREE, {"num_class": 3}),
    "multiclass": (BINARY, {"num_class": 2}),
    "regression": (FRAME["x"], {"linear_tree": True}),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_predicts_as_the_booster_itself(objective: str, tmp_path: Path) -> None:
    target, parameters = OBJECTIVES[objective]
    model = booster(FRAME, target, objective=objective, **parameters)
    runtime = opened(model, tmp_path)
    expected = model.predict(FRAME).reshape(ROWS, -1)
    found = np.stack(runtime.predict_columns(canonical(FRAME)), axis=1)
    assert found.tobytes() == expected.tobytes()
    alone = [runtime.predict_values(row) for row in FRAME[:20].to_numpy().tolist()]
    assert alone == [tuple(row) for row in expected[:20].tolist()]


def test_null_is_nan_whether_training_saw_missing_values_or_not(tmp_path: Path) -> None:
    expected: dict[bool, Any] = {}
    for seen, rows in ((True, HOLED), (False, FRAME)):
        model = booster(rows, BINARY, objective="binary")
        runtime = opened(model, tmp_path)
        expected[seen] = model.predict(HOLED)
        found = runtime.predict_columns(canonical(HOLED))[0]
        assert found.tobytes() == expected[seen].tobytes()
        for row in (0, 5):
            assert HOLED["x"].isna()[row]
            y = HOLED["y"].tolist()[row]
            assert runtime.predict_values([None, y]) == (expected[seen][row],)
    # What was never missing in training is taken for zero, not for a branch of its own.
    zeros = model.predict(HOLED.fillna(0.0))
    assert expected[False].tobytes() == zeros.tobytes()
    assert expected[True].tobytes() != zeros.tobytes()


def test_a_row_of_nothing_but_nulls_is_predicted(tmp_path: Path) -> None:
    model = booster(HOLED, BINARY, objective="binary")
    runtime = opened(model, tmp_path)
    expected = model.predict(np.full((1, 2), np.nan)).tolist()
    assert list(runtime.predict_values([None, None])) == expected
    assert runtime.predict_columns(columns_of(SIGNATURE, [[None, None]]))[0].tolist() == expected


@pytest.mark.parametrize(
    ("call", "classes", "expected"),
    [
        ("label_string", ("no", "yes"), "no"),
        ("label_int64", ("3", "7"), 3),
        ("label_bool", ("False", "True"), False),
    ],
)
def test_a_tie_of_two_classes_goes_to_the_first(
    call: str, classes: tuple[str, ...], expected: Any, tmp_path: Path
) -> None:
    # Nothing to split by, and as many of one class as of the other: one half, exactly.
    rows = pd.DataFrame({"x": np.zeros(40), "y": np.zeros(40)})
    model = booster(rows, np.arange(40) % 2, objective="binary")
    assert model.predict(rows)[0] == 0.5
    output = Output(kind="label", type="string", classes=classes)
    runtime = opened(model, tmp_path, output=output, call=call)
    assert runtime.predict_values([0.0, 0.0]) == (expected,)
    many = runtime.predict_columns(canonical(rows[:3]))[0].tolist()
    assert many == [expected] * 3
    assert type(many[0]) is type(expected)


def test_labels_of_many_classes_are_the_likeliest_ones(tmp_path: Path) -> None:
    model = booster(HOLED, THREE, objective="multiclass", num_class=3)
    output = Output(kind="label", type="string", classes=("high", "low", "mid"))
    runtime = opened(model, tmp_path, output=output, call="label_string")
    best = model.predict(HOLED).argmax(axis=1)
    expected = np.array(["high", "low", "mid"])[best].tolist()
    (found,) = runtime.predict_columns(canonical(HOLED))
    assert found.tolist() == expected
    assert found.dtype == object
    ones = [runtime.predict_values([None, y])[0] for y in HOLED["y"].tolist()[::5]]
    assert ones == expected[::5]


def test_an_unknown_or_missing_category_is_predicted_alike_at_both_speeds(tmp_path: Path) -> None:
    words = list("bac") * 66 + ["a", None]
    rows = FRAME.assign(s=pd.Categorical(words, categories=list("bac")))
    model = booster(rows, (rows["s"] == "a").astype(int), objective="binary", min_data_in_leaf=2)
    signature = Signature(
        fields=(
            *SIGNATURE.fields,
            Field(
                name="s",
                type="string",
                categories=("b", "a", "c"),
                unknown_categories="allow",
                categorical=True,
                nullable=True,
            ),
        )
    )
    runtime = opened(model, tmp_path, signature=signature, kind="frame")
    rows = rows.astype({"s": object})
    found = runtime.predict_columns(canonical(rows, signature))[0]
    typed = rows.assign(s=pd.Categorical(rows["s"], categories=list("bac")))
    assert found.tobytes() == model.predict(typed).tobytes()
    missing, unknown, known = (runtime.predict_values([0.0, 0.0, s])[0] for s in (None, "z", "a"))
    assert missing == unknown != known


def test_a_matrix_of_float32_is_predicted_as_float32(tmp_path: Path) -> None:
    signature = Signature(fields=(Field(name="x", type="float32"), Field(name="y", type="float32")))
    narrow = FRAME.astype(np.float32)
    model = booster(narrow, BINARY, objective="binary")
    runtime = opened(model, tmp_path, signature=signature)
    found = runtime.predict_columns(canonical(narrow, signature))[0]
    assert found.tobytes() == model.predict(narrow).tobytes()


def test_a_tensor_is_as_many_features_as_it_has_numbers(tmp_path: Path) -> None:
    model = booster(FRAME.to_numpy(), BINARY, objective="binary")
    signature = Signature(fields=(Field(name="v", type="tensor", length=2, nullable=True),))
    runtime = opened(model, tmp_path, signature=signature)
    listed = FRAME.to_numpy().tolist()
    found = runtime.predict_columns(columns_of(signature, [[row] for row in listed]))[0]
    assert found.tobytes() == model.predict(FRAME.to_numpy()).tobytes()
    assert runtime.predict_values([listed[3]]) == (found[3],)
    nothing = model.predict(np.full((1, 2), np.nan)).tolist()
    assert list(runtime.predict_values([None])) == nothing


def test_rows_of_another_width_than_training_had_are_refused(tmp_path: Path) -> None:
    model = booster(FRAME, BINARY, objective="binary")
    signature = Signature(fields=(Field(name="x", type="float64"),))
    door = Door(opened(model, tmp_path, signature=signature), signature, PROBABILITY)
    words = r"the model raised LightGBMError: The number of features in data \(1\) is not the same"
    with pytest.raises(PredictionFailed, match=words):
        door.columns(columns_of(signature, [[1.0]]))
    with pytest.raises(PredictionFailed, match=words):
        door.values([1.0])


def test_threads_share_a_booster(tmp_path: Path) -> None:
    model = booster(HOLED, BINARY, objective="binary")
    runtime = opened(model, tmp_path)
    assert runtime.concurrent
    rows = [[x, y] for x, y in FRAME.to_numpy().tolist()]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(runtime.predict_values, rows))
    assert [one for (one,) in found] == model.predict(FRAME).tolist()
