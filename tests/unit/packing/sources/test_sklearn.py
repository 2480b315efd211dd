"""What is known of an estimator before it predicts, and how it is stored."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from twofold.errors import ConfigError, DeclarationError
from twofold.model.record import Artifact
from twofold.model.signature import Field, OutputKind, Signature
from twofold.packing.sources import Declared
from twofold.packing.sources.sklearn import (
    FILE,
    PICKLED_FILE,
    SCHEMA,
    SklearnSource,
    make_reproducible,
    read_estimator,
    sklearn_source,
)
from twofold.predictor.runtimes.sklearn import read_skops

RANDOM = np.random.default_rng(41)
ROWS = 90
FRAME = pd.DataFrame({"x": RANDOM.normal(size=ROWS), "y": RANDOM.normal(size=ROWS)})
BINARY = (FRAME["x"] > 0).to_numpy().astype(int)
THREE = np.digitize(FRAME["x"], [-0.5, 0.5])
WORDS = np.array(["low", "mid", "high"])[THREE]
SIGNATURE = Signature(
    fields=(Field(name="x", type="float64"), Field(name="y", type="float64")),
)


def tree(target: Any, rows: Any = FRAME) -> Any:
    return DecisionTreeClassifier(max_depth=3, random_state=0).fit(rows, target)


def stored(source: SklearnSource, folder: Path, *, trust: bool = False) -> Artifact:
    return source.write_original(folder, SIGNATURE, trust_pickle=trust)


MODELS: dict[str, Any] = {
    "two classes": lambda: tree(BINARY),
    "bools": lambda: tree(BINARY.astype(bool)),
    "words": lambda: tree(WORDS),
    "no probabilities": lambda: LinearSVC().fit(FRAME, WORDS),
    "a regressor": lambda: LinearRegression().fit(FRAME, FRAME["x"]),
    "a search": lambda: GridSearchCV(tree(BINARY), {"max_depth": [1, 2]}, cv=2).fit(FRAME, BINARY),
}
OUTPUTS: list[tuple[str, OutputKind | None, Declared]] = [
    ("two classes", None, Declared("probability", classes=("0", "1"))),
    ("two classes", "probability", Declared("probability", classes=("0", "1"))),
    ("two classes", "label", Declared("label", classes=("0", "1"))),
    ("bools", None, Declared("probability", classes=("False", "True"))),
    (
        "words",
        None,
        Declared(
            "probability",
            ("prediction_high", "prediction_low", "prediction_mid"),
            ("high", "low", "mid"),
        ),
    ),
    ("words", "label", Declared("label", classes=("high", "low", "mid"))),
    ("no probabilities", None, Declared("label", classes=("high", "low", "mid"))),
    ("no probabilities", "label", Declared("label", classes=("high", "low", "mid"))),
    ("a regressor", None, Declared("value")),
    ("a regressor", "value", Declared("value")),
    ("a search", None, Declared("probability", classes=("0", "1"))),
]


@pytest.mark.parametrize(("name", "kind", "expected"), OUTPUTS)
def test_an_estimator_gives_what_it_has_classes_and_methods_for(
    name: str, kind: OutputKind | None, expected: Declared
) -> None:
    assert sklearn_source(MODELS[name](), kind).output == expected


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("two classes", "value", "one of probability, label for a classifier"),
        ("no probabilities", "value", "one of label for a classifier without probabilities"),
        ("no probabilities", "probability", "one of label for a classifier without probabilities"),
        ("a regressor", "probability", "one of value for a regressor"),
        ("a regressor", "label", "one of value for a regressor"),
    ],
)
def test_an_output_that_an_estimator_does_not_have_is_refused(
    name: str, kind: OutputKind, words: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        sklearn_source(MODELS[name](), kind)
    assert str(caught.value) == (
        f"--output {kind}: expected {words}, got {kind}. Choose one of them."
    )


@pytest.mark.parametrize(
    ("second", "kind", "expected"),
    [
        (BINARY, None, "probability"),
        (BINARY, "probability", "probability"),
        (BINARY, "label", "label"),
        (THREE, None, "label"),
        (THREE, "label", "label"),
    ],
)
def test_a_classifier_of_several_targets_has_a_column_for_each(
    second: Any, kind: OutputKind | None, expected: OutputKind
) -> None:
    source = sklearn_source(tree(np.stack([BINARY, second], axis=1)), kind)
    assert source.output == Declared(expected, ("prediction_0", "prediction_1"))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("probability", "model: expected two classes for each target, got 2, 3. Choose --output"),
        ("value", "--output value: expected one of probability, label for a classifier, got"),
    ],
)
def test_what_several_targets_do_not_have_is_refused(kind: OutputKind, words: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        sklearn_source(tree(np.stack([BINARY, THREE], axis=1)), kind)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    "model", [LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())]
)
def test_an_unfitted_estimator_is_named(model: Any) -> None:
    with pytest.raises(DeclarationError) as caught:
        sklearn_source(model, None)
    assert str(caught.value) == (
        f"model: expected a fitted one, got {type(model).__name__}, unfitted. "
        "Call fit before packing."
    )


class Alike:
    """Predicts as estimators do, and is none."""

    def get_params(self) -> dict[str, Any]:
        return {}

    def predict(self, rows: Any) -> Any:
        return np.zeros(len(rows))


def test_what_looks_like_an_estimator_is_taken_at_its_word() -> None:
    source = sklearn_source(Alike(), None)
    assert (source.output, source.feature_names) == (Declared("value"), None)


def test_inputs_have_names_only_if_training_gave_them() -> None:
    assert sklearn_source(tree(BINARY, FRAME[["y", "x"]]), None).feature_names == ("y", "x")
    assert sklearn_source(tree(BINARY, FRAME.to_numpy()), None).feature_names is None
    pipe = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, BINARY)
    assert sklearn_source(pipe, None).feature_names == ("x", "y")


OWN = ("scikit-learn", "numpy", "pandas")


def test_the_libraries_of_a_pipelines_steps_are_known() -> None:
    boosters = {
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=1, verbose=-1),
        "xgboost": xgboost.XGBClassifier(n_estimators=1),
    }
    for name, booster in boosters.items():
        pipe = make_pipeline(StandardScaler().set_output(transform="pandas"), booster)
        assert sklearn_source(pipe.fit(FRAME, BINARY), None).libraries == (*OWN, name)
    plain = make_pipeline(None, "passthrough", LogisticRegression()).fit(FRAME, BINARY)
    assert sklearn_source(plain, None).libraries == OWN


ARTIFACTS: list[tuple[Any, OutputKind | None, tuple[str, str, int | None]]] = [
    (lambda: tree(BINARY), None, ("predict_proba", "frame", 1)),
    (lambda: tree(BINARY, FRAME.to_numpy()), None, ("predict_proba", "matrix", 1)),
    (lambda: tree(WORDS), None, ("predict_proba", "frame", None)),
    (lambda: tree(BINARY), "label", ("predict", "frame", None)),
    (lambda: LinearRegression().fit(FRAME, BINARY), None, ("predict", "frame", None)),
]


@pytest.mark.parametrize(("model", "kind", "expected"), ARTIFACTS)
def test_the_artifact_says_how_the_estimator_is_called(
    model: Any, kind: OutputKind | None, expected: Any, tmp_path: Path
) -> None:
    artifact = stored(sklearn_source(model(), kind), tmp_path)
    assert (artifact.call, artifact.input, artifact.class_index) == expected


def test_the_artifact_describes_the_file_that_was_written(tmp_path: Path) -> None:
    artifact = stored(sklearn_source(tree(BINARY), None), tmp_path)
    content = (tmp_path / FILE).read_bytes()
    assert (artifact.file, artifact.format) == (FILE, "skops")
    assert artifact.sha256 == hashlib.sha256(content).hexdigest()
    assert artifact.size_bytes == len(content)


FORESTS: dict[str, Any] = {
    "boosting": lambda: GradientBoostingClassifier(n_estimators=5, random_state=0),
    "a forest": lambda: RandomForestClassifier(n_estimators=5, random_state=0),
    "a pipeline": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
}


@pytest.mark.parametrize("name", FORESTS)
def test_an_estimator_trained_again_is_stored_as_the_same_bytes(name: str, tmp_path: Path) -> None:
    model = FORESTS[name]().fit(FRAME, WORDS)
    again = FORESTS[name]().fit(FRAME, WORDS)
    found: list[bytes] = []
    for index, one in enumerate((model, again)):
        folder = tmp_path / str(index)
        folder.mkdir()
        stored(sklearn_source(one, None), folder)
        found.append((folder / FILE).read_bytes())
    assert found[0] == found[1]
    read = read_skops(tmp_path / "0" / FILE)
    assert read.predict_proba(FRAME).tobytes() == model.predict_proba(FRAME).tobytes()


def test_an_object_in_two_places_is_still_one_after_it_was_made_reproducible(
    tmp_path: Path,
) -> None:
    shared = np.arange(3.0)
    model = StandardScaler().fit(FRAME)
    model.first, model.second, model.other = shared, shared, np.arange(3.0) + 1
    skops.io.dump(model, tmp_path / "m.skops")
    make_reproducible(tmp_path / "m.skops")
    read = read_skops(tmp_path / "m.skops")
    assert read.first is read.second
    assert read.first.tolist() == [0.0, 1.0, 2.0]
    assert read.other.tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(read.transform(FRAME), model.transform(FRAME))


def test_a_reproducible_file_names_no_address_and_no_time_of_day(tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    skops.io.dump(tree(WORDS), path)
    make_reproducible(path)
    once = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        schema = archive.read(SCHEMA).decode()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    identities: set[int] = set()

    def collect(node: dict[str, Any]) -> dict[str, Any]:
        identities.update({node["__id__"]} if "__id__" in node else ())
        return node

    json.loads(schema, object_hook=collect)
    assert identities == set(range(1, len(identities) + 1))
    make_reproducible(path)
    assert path.read_bytes() == once


def doubled(rows: Any) -> Any:
    return rows * 2


def test_code_of_ones_own_is_refused_by_name_and_leaves_no_file(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(doubled), LogisticRegression()).fit(FRAME, BINARY)
    with pytest.raises(DeclarationError) as caught:
        stored(sklearn_source(model, None), tmp_path)
    assert str(caught.value) == (
        "model: expected types of scikit-learn and NumPy only, got "
        f"{doubled.__module__}.doubled. "
        "Pack with --trust-pickle: loading the version will then run a pickle."
    )
    assert list(tmp_path.iterdir()) == []


def test_code_of_ones_own_is_pickled_if_that_is_trusted(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(doubled), LogisticRegression()).fit(FRAME, BINARY)
    artifact = stored(sklearn_source(model, None), tmp_path, trust=True)
    assert (artifact.file, artifact.format) == (PICKLED_FILE, "joblib")
    assert [path.name for path in tmp_path.iterdir()] == [PICKLED_FILE]
    assert artifact.size_bytes == (tmp_path / PICKLED_FILE).stat().st_size


def test_plain_types_are_not_pickled_even_if_that_is_trusted(tmp_path: Path) -> None:
    artifact = stored(sklearn_source(tree(BINARY), None), tmp_path, trust=True)
    assert artifact.format == "skops"


class Unwritable:
    """Neither skops nor a pickle can store it."""

    def get_params(self) -> dict[str, Any]:
        return {}

    def predict(self, rows: Any) -> Any:
        return rows

    def __getstate__(self) -> Any:
        raise RuntimeError("it holds a connection")


def test_an_estimator_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError) as caught:
        stored(sklearn_source(Unwritable(), None), tmp_path)
    assert "got RuntimeError: it holds a connection. Pack with --trust-pickle" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["m.joblib", "m.pkl", "m.pickle", "m.skops", "m.SKOPS"])
def test_every_stored_form_is_read(name: str, tmp_path: Path) -> None:
    model, path = tree(WORDS), tmp_path / name
    if path.suffix.lower() == ".skops":
        skops.io.dump(model, path)
    elif path.suffix == ".joblib":
        joblib.dump(model, path, compress=3)
    else:
        path.write_bytes(pickle.dumps(model))
    read = read_estimator(path)
    assert read.predict(FRAME).tolist() == model.predict(FRAME).tolist()


def test_a_pickle_of_a_class_that_is_not_here_says_so(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"cno_such_module\nModel\n.")
    with pytest.raises(DeclarationError) as caught:
        read_estimator(path)
    assert str(caught.value) == (
        f"{path}: expected a stored model, got ModuleNotFoundError: "
        "No module named 'no_such_module'. Write it again with the libraries installed here."
    )


def test_a_skops_file_that_asks_for_other_types_is_the_operators_to_mend(tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    skops.io.dump(FunctionTransformer(doubled), path)
    with pytest.raises(ConfigError) as caught:
        read_estimator(path)
    assert str(caught.value).endswith(
        f"got {doubled.__module__}.doubled. "
        "Save the estimator with joblib and pack that with --trust-pickle."
    )


class Older:
    """Warns when it is read, as estimators of other versions do."""

    def __setstate__(self, state: Any) -> None:
        self.state = state
        warnings.warn("it was written by another version", UserWarning, stacklevel=1)


def test_the_warnings_of_reading_are_kept_from_the_user(tmp_path: Path) -> None:
    model = Older()
    model.state = {"kept": 1}
    joblib.dump(model, tmp_path / "m.joblib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_estimator(tmp_path / "m.joblib")
    assert read.state == {"state": {"kept": 1}}
