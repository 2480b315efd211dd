"""Packing: every library's models, at both speeds, against the library itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

import twofold
from twofold import DeclarationError, InvalidInput, Predictor
from twofold.model.registry import Registry


def pipeline(estimator: Any) -> Any:
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(strategy="median"), ["tenure", "charge"]),
            ("text", OneHotEncoder(handle_unknown="ignore"), ["contract"]),
        ]
    )
    return make_pipeline(columns, estimator)


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return pa.Table.from_pandas(frame, preserve_index=False).to_pylist()


def both_speeds_agree(predictor: Predictor, frame: pd.DataFrame) -> Any:
    """Predict in batch, as rows and one by one; give the batch's predictions."""
    many = predictor.predict(frame)
    ones = [predictor.predict_one(row) for row in rows_of(frame)]
    listed = predictor.predict_rows(rows_of(frame))
    assert ones == listed
    flat = [list(one.values()) if isinstance(one, dict) else one for one in ones]
    assert np.asarray(many).tolist() == flat
    return many


CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "gradient boosting": lambda: GradientBoostingClassifier(n_estimators=20, random_state=0),
    "histogram boosting": lambda: HistGradientBoostingClassifier(max_iter=20, random_state=0),
    "logistic regression": lambda: LogisticRegression(max_iter=500),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_mixed_type_pipeline_predicts_as_scikit_learn_does(
    name: str, frame: pd.DataFrame, target: Any, registry: Path
) -> None:
    model = pipeline(CLASSIFIERS[name]()).fit(frame, target)
    predictor = twofold.pack(model, name="m", sample=frame, registry=registry)
    assert predictor.parity.same_bits
    assert predictor.parity.edge_rows > 0
    many = both_speeds_agree(predictor, frame)
    np.testing.assert_allclose(many, model.predict_proba(frame)[:, 1], atol=1e-5)
    loaded = twofold.load("m", registry=registry)
    assert loaded.predict(frame).tobytes() == many.tobytes()


def test_a_conversion_that_fails_is_shown_and_never_fails_the_pack(
    frame: pd.DataFrame, target: Any, registry: Path
) -> None:
    model = pipeline(HistGradientBoostingClassifier(max_iter=5)).fit(frame, target)
    predictor = twofold.pack(model, name="m", sample=frame, registry=registry)
    found = {item.runtime: item for item in predictor.parity.candidates}
    assert found["original"].passed
    assert not found["onnx"].passed
    assert found["onnx"].reason
    assert predictor.record.runtimes.batch == "compiled"


def test_a_runtime_that_is_wrong_only_at_thresholds_is_not_used(registry: Path) -> None:
    # Thresholds are float64, the converted model's float32: on ordinary rows both agree.
    random = np.random.default_rng(0)
    sample = pd.DataFrame({"a": random.normal(size=400), "b": random.normal(size=400)})
    model = lightgbm.LGBMRegressor(n_estimators=20, verbose=-1).fit(sample, sample["a"] ** 2)
    predictor = twofold.pack(model, name="m", sample=sample, registry=registry)
    found = {item.runtime: item for item in predictor.parity.candidates}
    assert not found["onnx"].passed
    assert "edge row" in found["onnx"].reason


LIBRARIES: dict[str, Callable[[pd.DataFrame, Any], Any]] = {
    "LightGBM": lambda x, y: lightgbm.LGBMClassifier(n_estimators=10, verbose=-1).fit(x, y),
    "XGBoost": lambda x, y: xgboost.XGBClassifier(n_estimators=10).fit(x, y),
    "a matrix": lambda x, y: LogisticRegression().fit(x.to_numpy(), y),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_classifiers_of_each_library_give_the_positive_class(
    name: str, numbers: pd.DataFrame, target: Any, registry: Path
) -> None:
    model = LIBRARIES[name](numbers, target)
    predictor = twofold.pack(model, name="m", sample=numbers, registry=registry)
    assert predictor.output.kind == "probability"
    many = both_speeds_agree(predictor, numbers)
    rows = numbers.to_numpy() if name == "a matrix" else numbers
    np.testing.assert_allclose(many, model.predict_proba(rows)[:, 1], atol=1e-5)


def test_multiclass_gives_one_column_per_class(numbers: pd.DataFrame, registry: Path) -> None:
    classes = np.array(["high", "low", "mid"])[np.digitize(numbers["charge"], [40, 70])]
    model = LogisticRegression(max_iter=500).fit(numbers, classes)
    predictor = twofold.pack(model, name="m", sample=numbers, registry=registry)
    assert predictor.output.names == ("prediction_high", "prediction_low", "prediction_mid")
    many = both_speeds_agree(predictor, numbers)
    assert many.shape == (len(numbers), 3)


def test_labels_can_be_asked_for(numbers: pd.DataFrame, target: Any, registry: Path) -> None:
    labels = np.array(["stays", "leaves"])[target]
    model = GradientBoostingClassifier(n_estimators=5).fit(numbers, labels)
    predictor = twofold.pack(model, name="m", sample=numbers, registry=registry, output="label")
    assert both_speeds_agree(predictor, numbers).tolist() == model.predict(numbers).tolist()


def test_classifiers_without_probabilities_give_labels(
    numbers: pd.DataFrame, target: Any, registry: Path
) -> None:
    model = LinearSVC().fit(numbers, target)
    predictor = twofold.pack(model, name="m", sample=numbers, registry=registry)
    assert (predictor.output.kind, predictor.output.type) == ("label", "int64")


def test_categorical_columns_reach_the_library_as_categoricals(
    frame: pd.DataFrame, target: Any, registry: Path
) -> None:
    typed = frame.assign(contract=frame["contract"].astype("category"))
    model = lightgbm.LGBMClassifier(n_estimators=10, verbose=-1).fit(typed, target)
    predictor = twofold.pack(model, name="m", sample=typed, registry=registry)
    many = both_speeds_agree(predictor, typed)
    assert many.tobytes() == model.predict_proba(typed)[:, 1].tobytes()


@pytest.mark.parametrize("suffix", [".joblib", ".pkl", ".skops", ".txt", ".json", ".ubj", ".onnx"])
def test_every_file_format_packs_without_a_pickle_left_to_run(
    suffix: str, numbers: pd.DataFrame, target: Any, tmp_path: Path, registry: Path
) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix in (".joblib", ".pkl", ".skops", ".onnx"):
        write_sklearn(
            path, GradientBoostingClassifier(n_estimators=5).fit(numbers, target), numbers
        )
    elif suffix == ".txt":
        model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(numbers, target)
        model.booster_.save_model(path)
    else:
        xgboost.XGBClassifier(n_estimators=5).fit(numbers, target).save_model(path)
    predictor = twofold.pack(path, name="m", sample=numbers, registry=registry)
    both_speeds_agree(predictor, numbers.head(20))
    assert not predictor.record.trust_pickle
    formats = {artifact.format for artifact in predictor.record.artifacts.values()}
    assert not formats & {"pickle", "joblib"}


def write_sklearn(path: Path, model: Any, rows: pd.DataFrame) -> None:
    if path.suffix == ".skops":
        import skops.io

        skops.io.dump(model, path)
    elif path.suffix == ".onnx":
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType

        types = [("rows", FloatTensorType([None, rows.shape[1]]))]
        made = to_onnx(model, initial_types=types, options={"zipmap": False}, target_opset=18)
        path.write_bytes(made.SerializeToString())
    else:
        import joblib

        joblib.dump(model, path)


def test_equal_content_packs_to_the_version_that_exists(
    numbers: pd.DataFrame, target: Any, registry: Path
) -> None:
    model = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(numbers, target)
    first = twofold.pack(model, name="m", sample=numbers, registry=registry)
    again = twofold.pack(model, name="m", sample=numbers, registry=registry)
    assert (again.version, again.digest) == (first.version, first.digest)
    other = twofold.pack(model, name="m", sample=numbers, registry=registry, nullable=["charge"])
    assert other.version == "2"


def shout(values: Any) -> Any:
    """A function that skops can't store without trusting this module."""
    return values


def test_code_of_ones_own_needs_trust(numbers: pd.DataFrame, target: Any, registry: Path) -> None:
    model = make_pipeline(FunctionTransformer(shout), StandardScaler(), LogisticRegression())
    model.fit(numbers, target)
    with pytest.raises(DeclarationError, match="--trust-pickle"):
        twofold.pack(model, name="m", sample=numbers, registry=registry)
    assert Registry(registry).names() == []
    predictor = twofold.pack(model, name="m", sample=numbers, registry=registry, trust_pickle=True)
    assert predictor.record.artifacts["original"].format == "joblib"
    both_speeds_agree(predictor, numbers.head(20))


PYTHON = """
from datetime import datetime

def score(row):
    return row["x"] * 2.0 + (1 if row["s"] == "a" else 0)

def count(row):
    return int(row["x"])

def word(row):
    return "high" if row["x"] > 1 else "low"

def table(rows):
    return [x * 2.0 for x in rows["x"].to_pylist()]

def breaks(row):
    raise ValueError("secret")

def nothing(row):
    return None

class Model:
    def load(self):
        self.factor = 3.0
    def predict(self, row):
        return row["x"] * self.factor

state = []
def stateful(row):
    state.append(1)
    return float(len(state))
"""
SAMPLE = [{"x": 1.0, "s": "a"}, {"x": 2.5, "s": "b"}]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "scoring_rules.py").write_text(PYTHON)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("scoring_rules", None)
    return "scoring_rules"


@pytest.mark.parametrize(
    ("attribute", "call", "expected", "kind"),
    [
        ("score", "row", [3.0, 5.0], "float64"),
        ("count", "row", [1, 2], "int64"),
        ("word", "row", ["low", "high"], "string"),
        ("table", "batch", [2.0, 5.0], "float64"),
        ("Model", "row", [3.0, 7.5], "float64"),
    ],
)
def test_python_functions_pack(
    module: str, attribute: str, call: Any, expected: list[Any], kind: str, registry: Path
) -> None:
    twofold.pack(f"{module}:{attribute}", name="m", sample=SAMPLE, registry=registry, call=call)
    predictor = twofold.load("m", registry=registry)
    assert predictor.output.type == kind
    assert predictor.predict_rows(SAMPLE) == expected
    assert [predictor.predict_one(row) for row in SAMPLE] == expected


def test_a_packed_function_stays_as_it_was(module: str, tmp_path: Path, registry: Path) -> None:
    twofold.pack(f"{module}:score", name="m", sample=SAMPLE, registry=registry)
    (tmp_path / "scoring_rules.py").write_text("def score(row):\n    return 0.0\n")
    assert twofold.load("m", registry=registry).predict_one(SAMPLE[0]) == 3.0


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("breaks", "the model fails on the first rows of its sample: the model raised ValueError"),
        ("nothing", "expected string, got NoneType None"),
        ("missing", "expected an attribute among"),
        ("stateful", "Make the model's predictions depend on the row alone"),
    ],
)
def test_functions_that_cannot_be_packed_say_why(
    module: str, attribute: str, words: str, registry: Path
) -> None:
    with pytest.raises(DeclarationError) as caught:
        twofold.pack(f"{module}:{attribute}", name="m", sample=SAMPLE, registry=registry)
    assert words in str(caught.value)
    assert Registry(registry).names() == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.joblib", b"no pickle", "expected a stored model"),
        ("m.skops", b"no zip", "expected a stored model"),
        ("m.txt", b"no tree", "expected a LightGBM model"),
        ("m.txt", b"tree\nbroken", "expected a LightGBM model"),
        ("m.json", b"{}", "expected an XGBoost model"),
        ("m.onnx", b"broken", "expected an ONNX model"),
        ("m.exe", b"", "the suffix '.exe'"),
        ("missing.joblib", None, "got nothing there"),
    ],
)
def test_a_bad_model_file_is_named_without_a_traceback(
    name: str, content: bytes | None, words: str, tmp_path: Path, registry: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DeclarationError) as caught:
        twofold.pack(tmp_path / name, name="m", sample=SAMPLE, registry=registry)
    assert words in str(caught.value)
    assert name in str(caught.value)


def test_an_unfitted_model_is_refused(numbers: pd.DataFrame, registry: Path) -> None:
    for model in (LogisticRegression(), lightgbm.LGBMClassifier(), xgboost.XGBClassifier()):
        with pytest.raises(DeclarationError, match="Call fit before packing"):
            twofold.pack(model, name="m", sample=numbers, registry=registry)


def test_a_sample_of_other_columns_is_refused(
    frame: pd.DataFrame, target: Any, registry: Path
) -> None:
    model = pipeline(LogisticRegression()).fit(frame, target)
    with pytest.raises(DeclarationError, match="among them contract"):
        twofold.pack(model, name="m", sample=frame[["tenure", "charge"]], registry=registry)


def test_regressors_cannot_give_probabilities(numbers: pd.DataFrame, registry: Path) -> None:
    model = RandomForestRegressor(n_estimators=2).fit(numbers, numbers["charge"])
    with pytest.raises(DeclarationError, match="--output probability"):
        twofold.pack(model, name="m", sample=numbers, registry=registry, output="probability")


def test_the_two_functions_take_packed_models(
    frame: pd.DataFrame, target: Any, registry: Path
) -> None:
    model = pipeline(GradientBoostingClassifier(n_estimators=5)).fit(frame, target)
    predictor = twofold.pack(model, name="m", sample=frame, registry=registry)
    rows = rows_of(frame.head(3))
    many = twofold.batch_predict(predictor, rows)
    assert isinstance(many, list)
    assert many == [twofold.real_time_predict(predictor, row) for row in rows]
    series = twofold.batch_predict(predictor, frame.head(3))
    assert series.index.equals(frame.head(3).index)
    with pytest.raises(InvalidInput, match="expected one input, got a list of 3"):
        twofold.real_time_predict(predictor, rows)
    with pytest.raises(InvalidInput, match="got one dict"):
        twofold.batch_predict(predictor, rows[0])


def test_bad_rows_are_named(frame: pd.DataFrame, target: Any, registry: Path) -> None:
    model = pipeline(GradientBoostingClassifier(n_estimators=5)).fit(frame, target)
    predictor = twofold.pack(model, name="m", sample=frame, registry=registry)
    rows = rows_of(frame.head(3))
    rows[2]["contract"] = "Weekly"
    with pytest.raises(InvalidInput, match=r"rows\[2\].contract: expected one of 'Month'"):
        predictor.predict(rows)
    with pytest.raises(InvalidInput, match=r"rows\[2\].contract: expected one of 'Month'"):
        predictor.predict(pd.DataFrame(rows))
    with pytest.raises(InvalidInput, match=r"row.contract: expected one of 'Month'"):
        predictor.predict_one(rows[2])
