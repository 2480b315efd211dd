"""Converting to ONNX: what has a form, what is said where none can be made."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import pandas as pd
import pytest
import xgboost
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from twofold.model.columns import columns_of
from twofold.model.infer import infer_signature
from twofold.model.record import Artifact
from twofold.model.signature import Field, Output, Signature
from twofold.model.tables import sample_table
from twofold.packing.convert import FILE, MAX_REASON_CHARS, NotConvertible, write_onnx
from twofold.packing.sources import Declared, Source, read_source
from twofold.predictor.runtimes import open_runtime

RANDOM = np.random.default_rng(11)
ROWS = 120
FRAME = pd.DataFrame(
    {
        "x": RANDOM.normal(size=ROWS),
        "y": RANDOM.normal(size=ROWS),
        "s": pd.Series(["a", None, "b"] * (ROWS // 3), dtype=object),
    }
)
NUMBERS = FRAME[["x", "y"]]
BINARY = (FRAME["x"] > 0).to_numpy().astype(int)
THREE = np.digitize(FRAME["x"], [-0.5, 0.5])
WORDS = np.array(["low", "mid", "high"])[THREE]


@dataclasses.dataclass(frozen=True)
class Given:
    """As much of a source as decides whether there is an ONNX form."""

    framework: Any
    output: Declared = Declared("value")  # noqa: RUF009 - it is frozen
    estimator: Any = None
    feature_names: Any = None
    libraries: tuple[str, ...] = ()

    def write_original(self, folder: Path, signature: Signature, *, trust_pickle: bool) -> Artifact:
        raise NotImplementedError


def signed(*fields: Field) -> Signature:
    return Signature(fields=fields or (Field(name="x", type="float64"),))


def converted(
    model: Any, sample: Any, folder: Path, *, kind: Any = None
) -> tuple[Artifact, Source, Signature]:
    source = read_source(model, output=kind, call="row")
    signature = infer_signature(sample_table(sample), inputs=source.feature_names)
    return write_onnx(source, signature, folder), source, signature


REFUSED: dict[str, tuple[Given, Signature, str]] = {
    "onnx": (Given("onnx"), signed(), "no ONNX form: it is one already"),
    "python": (Given("python"), signed(), "no ONNX form: a Python callable has none"),
    "timestamps": (
        Given("scikit-learn"),
        signed(Field(name="x", type="float64"), Field(name="t", type="timestamp")),
        "no ONNX form for timestamp fields",
    ),
    "categoricals": (
        Given("lightgbm"),
        signed(Field(name="s", type="string", categorical=True)),
        "no ONNX form for categorical fields",
    ),
    "a booster's text": (
        Given("xgboost"),
        signed(Field(name="s", type="string")),
        "no ONNX form for text fields of a booster",
    ),
    "a booster's labels": (
        Given("lightgbm", Declared("label")),
        signed(),
        "no ONNX form for the labels of a booster",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_onnx_form_is_told_before_any_converter_runs(name: str, tmp_path: Path) -> None:
    source, signature, reason = REFUSED[name]
    with pytest.raises(NotConvertible) as caught:
        write_onnx(source, signature, tmp_path)
    assert str(caught.value) == reason
    assert list(tmp_path.iterdir()) == []


class Unknown(BaseEstimator):
    """No converter knows it, and its name is long."""


Unknown.__name__ = "Unknown" * 40


def test_a_converter_that_fails_is_told_in_one_short_line(tmp_path: Path) -> None:
    source = Given("scikit-learn", estimator=Unknown())
    with pytest.raises(NotConvertible) as caught:
        write_onnx(source, signed(), tmp_path)
    reason = str(caught.value)
    assert reason.startswith("the converter failed (MissingShapeCalculator: ")
    assert "\n" not in reason
    assert len(reason) <= MAX_REASON_CHARS + len("the converter failed (MissingShapeCalculator: )")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "model"),
    [
        ("skl2onnx", lambda: LinearRegression().fit(NUMBERS, BINARY)),
        (
            "onnxmltools",
            lambda: lightgbm.LGBMRegressor(n_estimators=1, verbose=-1).fit(NUMBERS, BINARY),
        ),
    ],
)
def test_a_missing_converter_names_the_extra_that_brings_it(
    package: str, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = model()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotConvertible) as caught:
        converted(fitted, NUMBERS, tmp_path)
    assert str(caught.value) == f"{package} is not installed: pip install 'twofold[onnx]'"


SKLEARN: dict[str, tuple[Any, Any, tuple[str, str, int | None]]] = {
    "one probability": (BINARY, None, ("probabilities", "matrix", 1)),
    "three probabilities": (THREE, None, ("probabilities", "matrix", None)),
    "labels of numbers": (BINARY, "label", ("label", "matrix", None)),
    "labels of words": (WORDS, "label", ("label", "matrix", None)),
}


@pytest.mark.parametrize("name", SKLEARN)
def test_the_artifact_says_which_output_is_the_prediction(name: str, tmp_path: Path) -> None:
    target, kind, expected = SKLEARN[name]
    model = LogisticRegression().fit(NUMBERS, target)
    artifact, _, _ = converted(model, NUMBERS, tmp_path, kind=kind)
    assert (artifact.call, artifact.input, artifact.class_index) == expected


def test_the_artifact_describes_the_file_that_was_written(tmp_path: Path) -> None:
    model = LinearRegression().fit(NUMBERS, FRAME["x"])
    artifact, _, _ = converted(model, NUMBERS, tmp_path)
    content = (tmp_path / FILE).read_bytes()
    assert (artifact.file, artifact.format, artifact.class_index) == (FILE, "onnx", None)
    assert artifact.sha256 == hashlib.sha256(content).hexdigest()
    assert artifact.size_bytes == len(content)
    outputs = [item.name for item in onnx.load(tmp_path / FILE).graph.output]
    assert artifact.call in outputs


BOOSTERS: dict[str, tuple[Any, tuple[str, str, int | None]]] = {
    "LightGBM, two classes": (
        lambda: lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(NUMBERS, BINARY),
        ("probabilities", "matrix", 1),
    ),
    "LightGBM, three classes": (
        lambda: lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(NUMBERS, THREE),
        ("probabilities", "matrix", None),
    ),
    "LightGBM, a value": (
        lambda: lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(NUMBERS, FRAME["x"]),
        ("variable", "matrix", None),
    ),
    "XGBoost, two classes": (
        lambda: xgboost.XGBClassifier(n_estimators=3).fit(NUMBERS, BINARY),
        ("probabilities", "matrix", 1),
    ),
    "XGBoost, three classes": (
        lambda: xgboost.XGBClassifier(n_estimators=3).fit(NUMBERS, THREE),
        ("probabilities", "matrix", None),
    ),
    "XGBoost, a value": (
        lambda: xgboost.XGBRegressor(n_estimators=3).fit(NUMBERS, FRAME["x"]),
        ("variable", "matrix", None),
    ),
}


@pytest.mark.parametrize("name", BOOSTERS)
def test_boosters_are_converted_with_their_probabilities_or_values(
    name: str, tmp_path: Path
) -> None:
    model, expected = BOOSTERS[name]
    artifact, _, _ = converted(model(), NUMBERS, tmp_path)
    assert (artifact.call, artifact.input, artifact.class_index) == expected


def by_name(*, text: bool) -> Any:
    steps: list[Any] = [("numbers", StandardScaler(), ["x", "y"])]
    if text:
        steps.append(("text", OneHotEncoder(handle_unknown="ignore"), ["s"]))
    return make_pipeline(ColumnTransformer(steps), LogisticRegression())


@pytest.mark.parametrize("text", [False, True])
def test_a_transformer_by_column_name_takes_columns(text: bool, tmp_path: Path) -> None:
    rows = FRAME if text else NUMBERS
    artifact, _, signature = converted(by_name(text=text).fit(rows, BINARY), rows, tmp_path)
    assert artifact.input == "columns"
    inputs = [item.name for item in onnx.load(tmp_path / FILE).graph.input]
    assert inputs == list(signature.names)


def test_a_tensor_widens_the_matrix(tmp_path: Path) -> None:
    rows = RANDOM.normal(size=(ROWS, 3))
    model = LinearRegression().fit(rows, rows[:, 0])
    signature = signed(Field(name="a", type="float64"), Field(name="v", type="tensor", length=2))
    write_onnx(read_source(model, output=None, call="row"), signature, tmp_path)
    shape = onnx.load(tmp_path / FILE).graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [0, 3]


def test_the_model_itself_is_left_as_it_was(tmp_path: Path) -> None:
    # Text imputers are converted with another word for null, and boosters without names.
    imputer = SimpleImputer(strategy="most_frequent", missing_values=None)
    columns = ColumnTransformer([("s", make_pipeline(imputer, OneHotEncoder()), ["s"])])
    model = make_pipeline(columns, LogisticRegression()).fit(FRAME[["s"]], BINARY)
    before = model.predict_proba(FRAME[["s"]])
    converted(model, FRAME[["s"]], tmp_path)
    assert columns.named_transformers_["s"][0].missing_values is None
    np.testing.assert_array_equal(model.predict_proba(FRAME[["s"]]), before)
    booster = xgboost.XGBRegressor(n_estimators=2).fit(NUMBERS, BINARY).get_booster()
    converted(booster, NUMBERS, tmp_path)
    assert booster.feature_names == ["x", "y"]


def test_imputed_text_is_missing_in_the_converted_model_too(tmp_path: Path) -> None:
    imputer = SimpleImputer(strategy="constant", fill_value="none", missing_values=None)
    columns = ColumnTransformer([("s", make_pipeline(imputer, OneHotEncoder()), ["s"])])
    rows = FRAME[["s"]]
    model = make_pipeline(columns, LogisticRegression()).fit(rows, rows["s"].isna())
    artifact, _, signature = converted(model, rows, tmp_path)
    output = Output(kind="probability", type="float64")
    runtime = open_runtime(artifact, tmp_path, signature, output, trust_pickle=False)
    found = runtime.predict_columns(columns_of(signature, [[None], ["a"], ["b"]]))[0]
    expected = model.predict_proba(FRAME[["s"]].iloc[[1, 0, 2]])[:, 1]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[0] > 0.5 > max(found[1:])


def thresholds_of(booster: Any) -> Any:
    lines = booster.model_to_string().splitlines()
    found = [line[len("threshold=") :].split() for line in lines if line.startswith("threshold=")]
    return np.array([float(text) for tree in found for text in tree])


def test_no_float32_changes_sides_at_a_threshold_of_lightgbm(tmp_path: Path) -> None:
    rows = pd.DataFrame({"x": RANDOM.normal(size=300).astype(np.float32)})
    model = lightgbm.LGBMRegressor(n_estimators=5, min_child_samples=2, verbose=-1)
    model.fit(rows, np.sin(9 * rows["x"]))
    artifact, _, signature = converted(model, rows, tmp_path)
    assert [field.type for field in signature.fields] == ["float32"]
    exact = thresholds_of(model.booster_)
    near = exact.astype(np.float32)
    assert (near > exact).any()
    assert (near < exact).any()
    infinity = np.float32(np.inf)
    around = [near, np.nextafter(near, -infinity), np.nextafter(near, infinity)]
    sides = np.concatenate(around)
    output = Output(kind="value", type="float64")
    runtime = open_runtime(artifact, tmp_path, signature, output, trust_pickle=False)
    found = runtime.predict_columns(columns_of(signature, [[x] for x in sides.tolist()]))[0]
    np.testing.assert_allclose(found, model.predict(pd.DataFrame({"x": sides})), rtol=0, atol=1e-6)


def test_the_user_hears_nothing_of_a_conversion(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(NUMBERS, BINARY)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted(model, NUMBERS, tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("fails", [False, True])
def test_logging_is_as_it_was_after_a_conversion(fails: bool, tmp_path: Path) -> None:
    estimator = Unknown() if fails else LinearRegression().fit(NUMBERS.to_numpy(), BINARY)
    signature = infer_signature(sample_table(NUMBERS))
    before = logging.root.manager.disable
    logging.disable(logging.DEBUG)
    try:
        source = Given("scikit-learn", estimator=estimator)
        if fails:
            with pytest.raises(NotConvertible):
                write_onnx(source, signature, tmp_path)
        else:
            write_onnx(source, signature, tmp_path)
        assert logging.root.manager.disable == logging.DEBUG
    finally:
        logging.disable(before)
