"""XGBoost's boosters behind the door: objectives, missing values, labels, bad rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost

from twofold.errors import PredictionFailed
from twofold.model.columns import columns_of
from twofold.model.record import Artifact
from twofold.model.signature import Field, Output, Signature
from twofold.predictor.door import Door
from twofold.predictor.runtimes.tabular import TabularRuntime
from twofold.predictor.runtimes.xgboost import kind_of, open_xgboost

RANDOM = np.random.default_rng(61)
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
PROBABILITY = Output(kind="probability", type="float32")


def booster(rows: Any, target: Any, *, rounds: int = 8, **parameters: Any) -> Any:
    data = xgboost.DMatrix(rows, target, enable_categorical=True)
    return xgboost.train({"nthread": 1, **parameters}, data, num_boost_round=rounds)


def own(model: Any, rows: Any) -> Any:
    return model.predict(xgboost.DMatrix(rows, enable_categorical=True))


def opened(
    model: Any,
    folder: Path,
    *,
    signature: Signature = SIGNATURE,
    output: Output = PROBABILITY,
    call: str = "predict",
    kind: Any = "matrix",
) -> TabularRuntime:
    path = folder / "m.ubj"
    model.save_model(path)
    artifact = Artifact(
        file=path.name, format="xgboost-ubj", sha256="", size_bytes=0, call=call, input=kind
    )
    return open_xgboost(path, artifact, signature, output)


def canonical(frame: pd.DataFrame, signature: Signature = SIGNATURE) -> Any:
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return columns_of(signature, rows)


OBJECTIVES: dict[str, tuple[Any, dict[str, Any]]] = {
    "binary:logistic": (BINARY, {"base_score": 0.3}),
    "binary:logitraw": (BINARY, {}),
    "count:poisson": (BINARY, {}),
    "reg:squarederror": (FRAME["x"], {"num_parallel_tree": 2, "subsample": 0.8}),
    "multi:softprob": (BINARY, {"num_class": 2}),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_predicts_as_the_booster_itself(objective: str, tmp_path: Path) -> None:
    target, parameters = OBJECTIVES[objective]
    model = booster(FRAME, target, objective=objective, **parameters)
    runtime = opened(model, tmp_path)
    expected = own(model, FRAME).reshape(ROWS, -1)
    found = np.stack(runtime.predict_columns(canonical(FRAME)), axis=1)
    assert found.tobytes() == expected.tobytes()
    alone = [runtime.predict_values(row) for row in FRAME[:20].to_numpy().tolist()]
    assert alone == [tuple(row) for row in expected[:20].tolist()]


@pytest.mark.parametrize("kind", ["gbtree", "dart", "gblinear"])
def test_null_is_missing_for_every_kind_of_booster(kind: str, tmp_path: Path) -> None:
    model = booster(HOLED, BINARY, objective="binary:logistic", booster=kind)
    assert kind_of(model) == kind
    runtime = opened(model, tmp_path)
    expected = own(model, HOLED)
    assert runtime.predict_columns(canonical(HOLED))[0].tobytes() == expected.tobytes()
    y = HOLED["y"].tolist()
    ones = [runtime.predict_values([None, y[row]])[0] for row in range(0, ROWS, 5)]
    assert ones == expected[::5].tolist()
    nothing = own(model, pd.DataFrame({"x": [np.nan], "y": [np.nan]})).tolist()
    assert list(runtime.predict_values([None, None])) == nothing


def test_the_library_has_read_the_kind_of_booster_from_its_file(tmp_path: Path) -> None:
    model = booster(FRAME, BINARY, booster="gblinear")
    model.save_model(tmp_path / "m.ubj")
    assert kind_of(xgboost.Booster(model_file=str(tmp_path / "m.ubj"))) == "gblinear"


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
    model = booster(FRAME, BINARY, rounds=0, objective="binary:logistic", base_score=0.5)
    assert own(model, FRAME)[0] == 0.5
    output = Output(kind="label", type="string", classes=classes)
    runtime = opened(model, tmp_path, output=output, call=call)
    assert runtime.predict_values([0.0, 0.0]) == (expected,)
    many = runtime.predict_columns(canonical(FRAME[:3]))[0].tolist()
    assert many == [expected] * 3
    assert type(many[0]) is type(expected)


@pytest.mark.parametrize("objective", ["multi:softmax", "multi:softprob"])
def test_labels_of_many_classes_are_the_likeliest_ones(objective: str, tmp_path: Path) -> None:
    model = booster(HOLED, THREE, objective=objective, num_class=3)
    output = Output(kind="label", type="string", classes=("high", "low", "mid"))
    runtime = opened(model, tmp_path, output=output, call="label_string")
    best = own(model, HOLED)
    numbers = best.argmax(axis=1) if best.ndim > 1 else best.astype(int)
    expected = np.array(["high", "low", "mid"])[numbers].tolist()
    assert set(expected) == {"high", "low", "mid"}
    assert runtime.predict_columns(canonical(HOLED))[0].tolist() == expected
    ones = [runtime.predict_values([None, y])[0] for y in HOLED["y"].tolist()[::5]]
    assert ones == expected[::5]


def test_an_unknown_or_missing_category_is_predicted_alike_at_both_speeds(tmp_path: Path) -> None:
    words = list("bac") * 66 + ["a", None]
    rows = FRAME.assign(s=pd.Categorical(words, categories=list("bac")))
    target = (rows["s"] == "a").astype(int)
    model = booster(rows, target, objective="binary:logistic", max_cat_to_onehot=1)
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
    plain = rows.astype({"s": object})
    found = runtime.predict_columns(canonical(plain, signature))[0]
    assert found.tobytes() == own(model, rows).tobytes()
    missing, unknown, known = (runtime.predict_values([0.0, 0.0, s])[0] for s in (None, "z", "a"))
    assert missing == unknown != known


def test_a_matrix_of_float32_is_predicted_as_float32(tmp_path: Path) -> None:
    signature = Signature(fields=(Field(name="x", type="float32"), Field(name="y", type="float32")))
    narrow = FRAME.astype(np.float32)
    model = booster(narrow, BINARY, objective="binary:logistic")
    runtime = opened(model, tmp_path, signature=signature)
    found = runtime.predict_columns(canonical(narrow, signature))[0]
    assert found.tobytes() == own(model, narrow).tobytes()


@pytest.mark.parametrize("kind", ["gbtree", "gblinear"])
def test_the_names_of_training_need_not_be_those_of_the_rows(kind: str, tmp_path: Path) -> None:
    # A matrix has no names; the signature has put its columns in order already.
    model = booster(FRAME, BINARY, objective="binary:logistic", booster=kind)
    assert model.feature_names == ["x", "y"]
    runtime = opened(model, tmp_path)
    assert runtime.predict_columns(canonical(FRAME))[0].tobytes() == own(model, FRAME).tobytes()


def test_a_tensor_is_as_many_features_as_it_has_numbers(tmp_path: Path) -> None:
    model = booster(FRAME.to_numpy(), BINARY, objective="binary:logistic")
    signature = Signature(fields=(Field(name="v", type="tensor", length=2, nullable=True),))
    runtime = opened(model, tmp_path, signature=signature)
    listed = FRAME.to_numpy().tolist()
    found = runtime.predict_columns(columns_of(signature, [[row] for row in listed]))[0]
    assert found.tobytes() == own(model, FRAME.to_numpy()).tobytes()
    assert runtime.predict_values([listed[3]]) == (found[3],)
    nothing = own(model, np.full((1, 2), np.nan)).tolist()
    assert list(runtime.predict_values([None])) == nothing


def test_rows_of_another_width_than_training_had_are_refused(tmp_path: Path) -> None:
    model = booster(FRAME, BINARY, objective="binary:logistic")
    signature = Signature(fields=(Field(name="x", type="float64"),))
    door = Door(opened(model, tmp_path, signature=signature), signature, PROBABILITY)
    words = r"the model raised XGBoostError: .* \(1 vs\. 2\) : Number of columns in data must equal"
    with pytest.raises(PredictionFailed, match=words):
        door.columns(columns_of(signature, [[1.0]]))
    with pytest.raises(PredictionFailed, match=words):
        door.values([1.0])


def test_threads_share_a_booster(tmp_path: Path) -> None:
    model = booster(HOLED, BINARY, objective="binary:logistic")
    runtime = opened(model, tmp_path)
    assert runtime.concurrent
    rows = [[x, y] for x, y in FRAME.to_numpy().tolist()]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(runtime.predict_values, rows))
    assert [one for (one,) in found] == own(model, FRAME).tolist()
