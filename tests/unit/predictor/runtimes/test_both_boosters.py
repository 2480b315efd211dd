"""What holds of LightGBM and of XGBoost behind the door: objectives, labels, bad rows, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from boosters import (
    BINARY,
    FRAME,
    HOLED,
    LIGHTGBM,
    ROWS,
    SIGNATURE,
    THREE,
    XGBOOST,
    Library,
    canonical,
)

from twofold.errors import PredictionFailed
from twofold.model.columns import columns_of
from twofold.model.signature import Field, Output, Signature
from twofold.predictor.door import Door

LIBRARIES = {"lightgbm": LIGHTGBM, "xgboost": XGBOOST}
both = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)

OBJECTIVES: list[tuple[Library, str, Any, dict[str, Any]]] = [
    (LIGHTGBM, "cross_entropy", BINARY * 0.75, {}),
    (LIGHTGBM, "poisson", BINARY, {}),
    (LIGHTGBM, "quantile", FRAME["x"], {"alpha": 0.9}),
    (LIGHTGBM, "multiclassova", THREE, {"num_class": 3}),
    (LIGHTGBM, "multiclass", BINARY, {"num_class": 2}),
    (LIGHTGBM, "regression", FRAME["x"], {"linear_tree": True}),
    (XGBOOST, "binary:logistic", BINARY, {"base_score": 0.3}),
    (XGBOOST, "binary:logitraw", BINARY, {}),
    (XGBOOST, "count:poisson", BINARY, {}),
    (XGBOOST, "reg:squarederror", FRAME["x"], {"num_parallel_tree": 2, "subsample": 0.8}),
    (XGBOOST, "multi:softprob", BINARY, {"num_class": 2}),
]


@pytest.mark.parametrize(
    ("library", "objective", "target", "parameters"),
    OBJECTIVES,
    ids=[item[1] for item in OBJECTIVES],
)
def test_every_objective_predicts_as_the_booster_itself(
    library: Library, objective: str, target: Any, parameters: dict[str, Any], tmp_path: Path
) -> None:
    model = library.train(FRAME, target, objective=objective, **parameters)
    runtime = library.opened(model, tmp_path)
    expected = library.own(model, FRAME).reshape(ROWS, -1)
    found = np.stack(runtime.predict_columns(canonical(FRAME)), axis=1)
    assert found.tobytes() == expected.tobytes()
    alone = [runtime.predict_values(row) for row in FRAME[:20].to_numpy().tolist()]
    assert alone == [tuple(row) for row in expected[:20].tolist()]


@both
@pytest.mark.parametrize(
    ("call", "classes", "expected"),
    [
        ("label_string", ("no", "yes"), "no"),
        ("label_int64", ("3", "7"), 3),
        ("label_bool", ("False", "True"), False),
    ],
)
def test_a_tie_of_two_classes_goes_to_the_first(
    library: Library, call: str, classes: tuple[str, ...], expected: Any, tmp_path: Path
) -> None:
    # Nothing to split by, and as many of one class as of the other: one half, exactly.
    rows = pd.DataFrame({"x": np.zeros(40), "y": np.zeros(40)})
    model = library.train(rows, np.arange(40) % 2, objective=library.binary)
    assert library.own(model, rows)[0] == 0.5
    output = Output(kind="label", type="string", classes=classes)
    runtime = library.opened(model, tmp_path, output=output, call=call)
    assert runtime.predict_values([0.0, 0.0]) == (expected,)
    many = runtime.predict_columns(canonical(rows[:3]))[0].tolist()
    assert many == [expected] * 3
    assert type(many[0]) is type(expected)


@pytest.mark.parametrize(
    ("library", "objective"),
    [(LIGHTGBM, "multiclass"), (XGBOOST, "multi:softmax"), (XGBOOST, "multi:softprob")],
    ids=["multiclass", "multi:softmax", "multi:softprob"],
)
def test_labels_of_many_classes_are_the_likeliest_ones(
    library: Library, objective: str, tmp_path: Path
) -> None:
    model = library.train(HOLED, THREE, objective=objective, num_class=3)
    output = Output(kind="label", type="string", classes=("high", "low", "mid"))
    runtime = library.opened(model, tmp_path, output=output, call="label_string")
    best = library.own(model, HOLED)
    numbers = best.argmax(axis=1) if best.ndim > 1 else best.astype(int)
    expected = np.array(["high", "low", "mid"])[numbers].tolist()
    assert set(expected) == {"high", "low", "mid"}
    (found,) = runtime.predict_columns(canonical(HOLED))
    assert found.tolist() == expected
    assert found.dtype == object
    ones = [runtime.predict_values([None, y])[0] for y in HOLED["y"].tolist()[::5]]
    assert ones == expected[::5]


@pytest.mark.parametrize(
    ("library", "parameters"),
    [(LIGHTGBM, {"min_data_in_leaf": 2}), (XGBOOST, {"max_cat_to_onehot": 1})],
    ids=LIBRARIES,
)
def test_an_unknown_or_missing_category_is_predicted_alike_at_both_speeds(
    library: Library, parameters: dict[str, Any], tmp_path: Path
) -> None:
    words = list("bac") * 66 + ["a", None]
    rows = FRAME.assign(s=pd.Categorical(words, categories=list("bac")))
    target = (rows["s"] == "a").astype(int)
    model = library.train(rows, target, objective=library.binary, **parameters)
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
    runtime = library.opened(model, tmp_path, signature=signature, kind="frame")
    plain = rows.astype({"s": object})
    found = runtime.predict_columns(canonical(plain, signature))[0]
    assert found.tobytes() == library.own(model, rows).tobytes()
    missing, unknown, known = (runtime.predict_values([0.0, 0.0, s])[0] for s in (None, "z", "a"))
    assert missing == unknown != known


@both
def test_a_matrix_of_float32_is_predicted_as_float32(library: Library, tmp_path: Path) -> None:
    signature = Signature(fields=(Field(name="x", type="float32"), Field(name="y", type="float32")))
    narrow = FRAME.astype(np.float32)
    model = library.train(narrow, BINARY, objective=library.binary)
    runtime = library.opened(model, tmp_path, signature=signature)
    found = runtime.predict_columns(canonical(narrow, signature))[0]
    assert found.tobytes() == library.own(model, narrow).tobytes()


@both
def test_a_tensor_is_as_many_features_as_it_has_numbers(library: Library, tmp_path: Path) -> None:
    model = library.train(FRAME.to_numpy(), BINARY, objective=library.binary)
    signature = Signature(fields=(Field(name="v", type="tensor", length=2, nullable=True),))
    runtime = library.opened(model, tmp_path, signature=signature)
    listed = FRAME.to_numpy().tolist()
    found = runtime.predict_columns(columns_of(signature, [[row] for row in listed]))[0]
    assert found.tobytes() == library.own(model, FRAME.to_numpy()).tobytes()
    assert runtime.predict_values([listed[3]]) == (found[3],)
    nothing = library.own(model, np.full((1, 2), np.nan)).tolist()
    assert list(runtime.predict_values([None])) == nothing


@pytest.mark.parametrize(
    ("library", "words"),
    [
        (LIGHTGBM, r"LightGBMError: The number of features in data \(1\) is not the same"),
        (XGBOOST, r"XGBoostError: .* \(1 vs\. 2\) : Number of columns in data must equal"),
    ],
    ids=LIBRARIES,
)
def test_rows_of_another_width_than_training_had_are_refused(
    library: Library, words: str, tmp_path: Path
) -> None:
    model = library.train(FRAME, BINARY, objective=library.binary)
    signature = Signature(fields=(Field(name="x", type="float64"),))
    runtime = library.opened(model, tmp_path, signature=signature)
    door = Door(runtime, signature, library.probability)
    with pytest.raises(PredictionFailed, match=f"the model raised {words}"):
        door.columns(columns_of(signature, [[1.0]]))
    with pytest.raises(PredictionFailed, match=f"the model raised {words}"):
        door.values([1.0])


@both
def test_threads_share_a_booster(library: Library, tmp_path: Path) -> None:
    model = library.train(HOLED, BINARY, objective=library.binary)
    runtime = library.opened(model, tmp_path)
    assert runtime.concurrent
    rows = [[x, y] for x, y in FRAME.to_numpy().tolist()]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(runtime.predict_values, rows))
    assert [one for (one,) in found] == library.own(model, FRAME).tolist()
