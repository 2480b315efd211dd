"""ONNX models behind the door."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from twofold.errors import ConfigError
from twofold.model.infer import infer_signature
from twofold.model.record import Artifact
from twofold.model.rows import RowCheck
from twofold.model.signature import Field, Output, Signature
from twofold.model.tables import sample_table
from twofold.packing.convert import write_onnx
from twofold.packing.sources import read_source
from twofold.predictor.runtimes import open_runtime

RANDOM = np.random.default_rng(7)
ROWS = 240
FRAME = pd.DataFrame(
    {
        "n": RANDOM.integers(0, 72, ROWS),
        "x": RANDOM.normal(size=ROWS),
        "s": ["a", None, "b", "c"] * (ROWS // 4),
    }
)
FRAME.loc[::7, "x"] = np.nan
TARGET = ((FRAME["n"] < 20) | FRAME["s"].isna()).to_numpy()
OUTPUT = Output(kind="probability", type="float32")


def pipeline() -> Any:
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(strategy="median"), ["n", "x"]),
            ("text", OneHotEncoder(handle_unknown="ignore"), ["s"]),
        ]
    )
    return make_pipeline(columns, GradientBoostingClassifier(n_estimators=20, random_state=0))


def stored(folder: Path) -> tuple[Any, Signature, Artifact]:
    model = pipeline().fit(FRAME, TARGET)
    signature = infer_signature(sample_table(FRAME))
    source = read_source(model, output=None, call="row")
    return model, signature, write_onnx(source, signature, folder)


def test_nulls_text_and_numbers_predict_as_the_estimator_does(tmp_path: Path) -> None:
    model, signature, artifact = stored(tmp_path)
    runtime = open_runtime(artifact, tmp_path, signature, OUTPUT, trust_pickle=False)
    check = RowCheck(signature)
    rows = sample_table(FRAME).to_pylist()
    alone = [runtime.predict_values(check(row))[0] for row in rows]
    batch = sample_table(FRAME).combine_chunks().to_batches()[0]
    many = runtime.predict_columns(batch.cast(_canonical(signature)))[0]
    assert alone == many.tolist()
    np.testing.assert_allclose(many, model.predict_proba(FRAME)[:, 1], atol=1e-6)


def _canonical(signature: Signature) -> Any:
    from twofold.model.columns import arrow_schema

    return arrow_schema(signature)


def test_threads_do_not_see_each_others_rows(tmp_path: Path) -> None:
    _, signature, artifact = stored(tmp_path)
    runtime = open_runtime(artifact, tmp_path, signature, OUTPUT, trust_pickle=False)
    check = RowCheck(signature)
    rows = [check(row) for row in sample_table(FRAME).to_pylist()] * 20
    expected = [runtime.predict_values(row) for row in rows]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(runtime.predict_values, rows)) == expected


WITHOUT_LIBRARIES = """
import sys
for name in ("pandas", "sklearn", "skl2onnx", "onnx", "scipy"):
    sys.modules[name] = None
from pathlib import Path
import msgspec, pyarrow as pa
from twofold.model.columns import columns_of
from twofold.model.record import Artifact
from twofold.model.signature import Output, Signature
from twofold.predictor.runtimes import open_runtime
folder = Path(sys.argv[1])
signature = msgspec.json.decode((folder / "signature.json").read_bytes(), type=Signature)
artifact = msgspec.json.decode((folder / "artifact.json").read_bytes(), type=Artifact)
output = Output(kind="probability", type="float32")
runtime = open_runtime(artifact, folder, signature, output, trust_pickle=False)
row = [5, None, None]
one = runtime.predict_values(row)[0]
assert [one, one] == runtime.predict_columns(columns_of(signature, [row, row]))[0].tolist()
print(one)
"""


def test_a_converted_model_needs_neither_pandas_nor_scikit_learn(tmp_path: Path) -> None:
    model, signature, artifact = stored(tmp_path)
    (tmp_path / "signature.json").write_bytes(msgspec.json.encode(signature))
    (tmp_path / "artifact.json").write_bytes(msgspec.json.encode(artifact))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBRARIES, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    row = pd.DataFrame({"n": [5], "x": [np.nan], "s": FRAME["s"][1:2].tolist()})
    row = row.astype({"s": FRAME["s"].dtype})
    assert float(done.stdout) == pytest.approx(model.predict_proba(row)[0, 1], abs=1e-6)


TYPES: dict[str, tuple[int, Any, list[Any]]] = {
    "float64": (TensorProto.DOUBLE, "float64", [0.1, -1e300]),
    "float32": (TensorProto.FLOAT, "float32", [0.5, -2.25]),
    "int64": (TensorProto.INT64, "int64", [2**53 + 1, -5]),
    "bool": (TensorProto.BOOL, "bool", [True, False]),
    "string": (TensorProto.STRING, "string", ["a", "\u00e9"]),
}


def same(folder: Path, kind: int, shape: list[Any]) -> Artifact:
    """A model that gives its input back."""
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph(
        [node],
        "same",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "m.onnx")
    return Artifact(
        file="m.onnx", format="onnx", sha256="", size_bytes=0, call="y", input="columns"
    )


@pytest.mark.parametrize("shape", [[None], [None, 1]], ids=["flat", "one column"])
@pytest.mark.parametrize("name", TYPES)
def test_inputs_of_every_type_and_shape_arrive_as_they_are(
    name: str, shape: list[Any], tmp_path: Path
) -> None:
    from twofold.model.columns import columns_of

    kind, field, values = TYPES[name]
    signature = Signature(fields=(Field(name="x", type=field),))
    artifact = same(tmp_path, kind, shape)
    runtime = open_runtime(artifact, tmp_path, signature, OUTPUT, trust_pickle=False)
    columns = columns_of(signature, [[value] for value in values])
    assert runtime.predict_columns(columns)[0].tolist() == values
    assert [runtime.predict_values([value])[0] for value in values] == values


def test_large_whole_numbers_round_alike_at_both_speeds(tmp_path: Path) -> None:
    from twofold.model.columns import columns_of

    signature = Signature(fields=(Field(name="x", type="int64", nullable=True),))
    artifact = same(tmp_path, TensorProto.FLOAT, [None, 1])
    runtime = open_runtime(artifact, tmp_path, signature, OUTPUT, trust_pickle=False)
    # Straight to float32 the first would round up; by way of float64 it rounds to even.
    values = [2**60 + 2**36 + 1, 2**24 + 1, -(2**63)]
    many = runtime.predict_columns(columns_of(signature, [[value] for value in values]))[0]
    holed = columns_of(signature, [[value] for value in [*values, None]])
    assert runtime.predict_columns(holed)[0][:-1].tolist() == many.tolist()
    assert [runtime.predict_values([value])[0] for value in values] == many.tolist()


def test_inputs_that_are_not_the_fields_are_refused(tmp_path: Path) -> None:
    signature = Signature(fields=(Field(name="z", type="float32"),))
    artifact = same(tmp_path, TensorProto.FLOAT, [None, 1])
    with pytest.raises(ConfigError, match="expected inputs z, got x"):
        open_runtime(artifact, tmp_path, signature, OUTPUT, trust_pickle=False)
