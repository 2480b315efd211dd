"""Models that surprise: nulls of other kinds, many labels, odd names, libraries inside others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import pandas as pd
import pytest
import skops.io
import xgboost
from onnx import TensorProto, helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

import twofold
from twofold import DeclarationError, PredictionFailed, TwofoldError
from twofold.model.columns import columns_of
from twofold.model.signature import Field, Output, Signature
from twofold.packing.sources import read_source
from twofold.packing.trial import Proof, try_runtime
from twofold.predictor.door import Door
from twofold.predictor.edge_rows import boundary_rows, special_rows

R = np.random.default_rng(0)
N = 200
X = pd.DataFrame({"a": R.normal(size=N), "b": R.normal(size=N)})
Y = (X["a"] > 0).to_numpy().astype(int)
SIG = Signature(fields=(Field(name="x", type="float64"),))
VALUE = Output(kind="value", type="float64")


def pack(model: Any, sample: Any, registry: Path, **options: Any) -> Any:
    return twofold.pack(model, name="m", sample=sample, registry=registry, **options)


def test_a_sample_row_the_original_refuses_does_not_fail_the_pack(tmp_path: Path) -> None:
    sample = X.copy()
    sample.loc[3, "a"] = np.nan
    assert pack(LogisticRegression().fit(X, Y), sample, tmp_path).parity.sample_rows == N - 1


def test_xgboost_categories_that_are_whole_numbers(tmp_path: Path) -> None:
    rows = X.assign(c=pd.Categorical(R.choice([10, 20, 30], N)))
    target = (rows["c"].astype(int) == 20).astype(int)
    model = xgboost.XGBClassifier(n_estimators=3, enable_categorical=True).fit(rows, target)
    try:
        packed = pack(model, rows, tmp_path)
    except TwofoldError:
        return  # refusing would do
    np.testing.assert_allclose(packed.predict(rows), model.predict_proba(rows)[:, 1], atol=1e-5)


@pytest.mark.parametrize(
    "model", [OneVsRestClassifier(LogisticRegression()), MLPClassifier((4,), max_iter=20)]
)
def test_a_multilabel_classifier_of_two_labels_keeps_both_or_is_refused(
    model: Any, tmp_path: Path
) -> None:
    labels = (R.normal(size=(N, 2)) + X.to_numpy() > 0).astype(int)
    try:
        packed = pack(model.fit(X, labels), X, tmp_path)
    except DeclarationError:
        return
    assert packed.predict(X).shape == (N, 2)


def test_onnx_takes_the_text_nan_as_text_or_is_not_used(tmp_path: Path) -> None:
    sample = X.assign(s=pd.Series([f"id{i % 7}" if i % 3 else None for i in range(N)], dtype="str"))
    columns = ColumnTransformer(
        [("n", "passthrough", ["a", "b"]), ("s", OneHotEncoder(handle_unknown="ignore"), ["s"])]
    )
    model = make_pipeline(columns, MLPClassifier((8,), max_iter=300, random_state=0))
    packed = pack(
        model.fit(sample, sample["s"].isna()), sample, tmp_path, unknown_categories="allow"
    )
    row = {"a": 0.0, "b": 0.0, "s": "nan"}
    expected = model.predict_proba(pd.DataFrame([row]))[0, 1]
    assert packed.predict_one(row) == pytest.approx(expected, abs=1e-5)


def test_numbers_beyond_float32_predict_as_the_original_or_onnx_is_not_used(tmp_path: Path) -> None:
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=200, random_state=0).fit(X, 3 * X["a"])
    row = {"a": 1e39, "b": 0.0}
    expected = model.predict(pd.DataFrame([row]))[0]
    assert pack(model, X, tmp_path).predict_one(row) == pytest.approx(expected, rel=1e-4)


def test_the_same_skops_file_packs_to_the_same_version(tmp_path: Path) -> None:
    model = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(X, Y)
    skops.io.dump(model, tmp_path / "m.skops")
    X.to_parquet(tmp_path / "s.parquet")
    code = (
        "import twofold; "
        "print(twofold.pack('m.skops', name='m', sample='s.parquet', registry='r').version)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    versions = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    ]
    assert versions == ["1\n", "1\n", "1\n"]


def test_xgboost_softprob_of_two_classes(tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(n_estimators=3, objective="multi:softprob", num_class=2).fit(X, Y)
    found = pack(model, X, tmp_path).predict(X)
    np.testing.assert_allclose(found, model.predict_proba(X)[:, 1], atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "outputs"), [("probability", ["prob"]), ("value", ["label", "prob"])]
)
def test_onnx_gives_the_kind_that_was_asked_for_or_refuses(
    kind: Any, outputs: list[str], tmp_path: Path
) -> None:
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in outputs]
    infos = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2]) for n in ["x", *outputs]
    ]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        tmp_path / "m.onnx",
    )
    try:
        source = read_source(tmp_path / "m.onnx", output=kind, call="row")
    except DeclarationError:
        return
    assert source.output.kind == kind


class Two:
    concurrent = True

    def predict_columns(self, columns: Any) -> Any:
        return [np.zeros(len(columns)), np.ones(len(columns))]

    def predict_values(self, values: Any) -> Any:
        return (0.0, 1.0)


def test_the_door_holds_a_runtime_to_the_number_of_outputs() -> None:
    door = Door(Two(), SIG, VALUE)
    with pytest.raises(PredictionFailed):
        door.columns(columns_of(SIG, [[1.0]]))
    with pytest.raises(PredictionFailed):
        door.values([1.0])


def test_a_runtime_of_other_outputs_is_a_failed_candidate() -> None:
    proof = Proof(SIG, VALUE, columns_of(SIG, [[1.0], [2.0]]), [np.zeros(2)], 2, 1e-5)
    assert not try_runtime("onnx", Two(), proof).candidate.passed


class Half(Two):
    def predict_columns(self, columns: Any) -> Any:
        return [np.full(len(columns), 0.5)]

    def predict_values(self, values: Any) -> Any:
        return (0.5,)


def test_the_door_holds_whole_numbers_to_their_type_at_both_speeds() -> None:
    door = Door(Half(), SIG, Output(kind="value", type="int64"))
    for call in (lambda: door.columns(columns_of(SIG, [[1.0]])), lambda: door.values([1.0])):
        with pytest.raises(PredictionFailed):
            call()


def test_boundaries_are_found_to_neighbours_however_small_beside_the_spread() -> None:
    def step(batch: Any) -> Any:
        return [(batch.column(0).to_numpy() > 1e-6).astype(float)]

    found = boundary_rows(SIG, columns_of(SIG, [[0.0], [1.0]] * 5), step).column(0).to_pylist()
    assert set(found) == {1e-6, float(np.nextafter(1e-6, 1))}


def test_a_failed_candidate_records_its_flips_and_difference() -> None:
    output = Output(kind="probability", type="float64")
    rows = columns_of(SIG, [[1.0], [2.0]])
    proof = Proof(SIG, output, rows, [np.full(2, 0.4)], 2, 1e-5)
    off = type("Off", (Half,), {"predict_columns": lambda _, c: [np.full(len(c), 0.6)]})
    found = try_runtime("onnx", off(), proof)
    assert (found.candidate.label_flips, found.candidate.max_difference) == (2, pytest.approx(0.2))


def test_a_classifier_of_one_class_is_refused_in_words(tmp_path: Path) -> None:
    model = DecisionTreeClassifier().fit(X, np.zeros(N, int))
    with pytest.raises(DeclarationError, match="expected two classes or more"):
        pack(model, X, tmp_path)


def test_lightgbm_columns_with_spaces(tmp_path: Path) -> None:
    rows = X.rename(columns={"a": "monthly charge"})
    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(rows, Y)
    assert len(pack(model, rows, tmp_path).predict(rows)) == N


def test_libraries_inside_other_estimators_are_recorded() -> None:
    model = CalibratedClassifierCV(lightgbm.LGBMClassifier(n_estimators=3, verbose=-1), cv=2).fit(
        X, Y
    )
    assert "lightgbm" in read_source(model, output=None, call="row").libraries


def test_bytes_as_classes_are_refused_in_words(tmp_path: Path) -> None:
    model = DecisionTreeClassifier(max_depth=2).fit(X, np.array([b"no", b"yes"])[Y])
    try:
        pack(model, X, tmp_path, output="label")
    except TwofoldError:
        return


def test_a_package_that_raises_when_it_is_imported_is_a_declaration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raisingpkg").mkdir()
    (tmp_path / "raisingpkg" / "__init__.py").write_text("raise RuntimeError('x')\n")
    (tmp_path / "raisingpkg" / "mod.py").write_text("def f(row): return 1.0\n")
    with pytest.raises(DeclarationError):
        read_source("raisingpkg.mod:f", output=None, call="row")


def test_a_linear_xgboost_model_refuses_a_sample_of_fewer_columns(tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(n_estimators=5, booster="gblinear").fit(X.to_numpy(), Y)
    with pytest.raises(TwofoldError):
        pack(model, X[["b"]], tmp_path)


def test_special_rows_of_no_rows_are_none() -> None:
    assert special_rows(SIG, columns_of(SIG, [])).num_rows == 0


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_nullable_bools_beside_a_categorical(library: str, tmp_path: Path) -> None:
    rows = X.assign(
        f=pd.array([True, False, None, True] * (N // 4), dtype="boolean"),
        s=pd.Categorical(list("wxyz") * (N // 4)),
    )
    model = (
        lightgbm.LGBMClassifier(n_estimators=3, verbose=-1)
        if library == "lightgbm"
        else xgboost.XGBClassifier(n_estimators=3, enable_categorical=True)
    ).fit(rows, Y)
    np.testing.assert_allclose(
        pack(model, rows, tmp_path).predict(rows), model.predict_proba(rows)[:, 1], atol=1e-5
    )


def test_an_estimators_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"Call fit|instance"):
        pack(LogisticRegression, X, tmp_path)


@pytest.mark.parametrize("kind", ["text", "boolean"])
def test_nulls_reach_an_encoder_as_what_it_was_trained_with(kind: str, tmp_path: Path) -> None:
    if kind == "text":
        column = pd.Series([f"id{i % 7}" if i % 3 else None for i in range(N)], dtype=object)
    else:
        column = pd.array([None if i % 4 == 0 else bool(i % 2) for i in range(N)], dtype="boolean")
    rows = X.assign(s=column)
    columns = ColumnTransformer(
        [("n", "passthrough", ["a", "b"]), ("s", OneHotEncoder(handle_unknown="ignore"), ["s"])]
    )
    model = make_pipeline(columns, GradientBoostingClassifier(n_estimators=10, random_state=0))
    expected = model.fit(rows, rows["s"].isna()).predict_proba(rows)[:, 1]
    try:
        packed = pack(model, rows, tmp_path)
    except TwofoldError:
        return  # refusing would do
    np.testing.assert_allclose(packed.predict(rows), expected, atol=1e-5)


def test_an_encoder_of_bools_and_none_packs_or_is_refused_in_words(tmp_path: Path) -> None:
    rows = X.assign(
        s=pd.Series([None if i % 4 == 0 else bool(i % 2) for i in range(N)], dtype=object)
    )
    columns = ColumnTransformer(
        [("n", "passthrough", ["a", "b"]), ("s", OneHotEncoder(handle_unknown="ignore"), ["s"])]
    )
    model = make_pipeline(columns, GradientBoostingClassifier(n_estimators=3, random_state=0))
    try:
        pack(model.fit(rows, rows["s"].isna()), rows, tmp_path)
    except TwofoldError:
        return
