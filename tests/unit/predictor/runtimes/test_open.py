"""Opening a version's file with the library it needs."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.linear_model import LinearRegression

from twofold.errors import ConfigError
from twofold.model.record import Artifact
from twofold.model.signature import Field, Output, Signature
from twofold.predictor.runtimes import open_runtime

SIGNATURE = Signature(fields=(Field(name="x", type="float64"),))
OUTPUT = Output(kind="value", type="float64")


def artifact_of(path: Path, kind: Any) -> Artifact:
    content = path.read_bytes()
    return Artifact(
        file=path.name,
        format=kind,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        call="predict",
        input="matrix",
        attribute="predict",
    )


def test_a_pickle_is_not_read_unless_it_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), path)
    artifact = artifact_of(path, "joblib")
    with pytest.raises(ConfigError, match=r"got a pickle\. Pack it with --trust-pickle"):
        open_runtime(artifact, tmp_path, SIGNATURE, OUTPUT, trust_pickle=False)
    runtime = open_runtime(artifact, tmp_path, SIGNATURE, OUTPUT, trust_pickle=True)
    assert runtime.predict_values([1.5]) == pytest.approx((3.0,))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("m.joblib", "joblib"),
        ("m.skops", "skops"),
        ("m.txt", "lightgbm-text"),
        ("m.ubj", "xgboost-ubj"),
        ("m.onnx", "onnx"),
    ],
)
def test_a_file_that_a_library_cannot_read_is_named(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigError) as caught:
        open_runtime(artifact_of(path, kind), tmp_path, SIGNATURE, OUTPUT, trust_pickle=True)
    assert name in str(caught.value)
    assert "expected a file that the libraries here can read" in str(caught.value)


@pytest.mark.parametrize(
    ("module", "kind", "extra"),
    [
        ("skops.io", "skops", "sklearn"),
        ("joblib", "joblib", "sklearn"),
        ("lightgbm", "lightgbm-text", "lightgbm"),
        ("xgboost", "xgboost-ubj", "xgboost"),
        ("onnxruntime", "onnx", "onnx"),
    ],
)
def test_a_missing_library_names_the_extra_that_brings_it(
    module: str, kind: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'twofold\[{extra}\]'"):
        open_runtime(artifact_of(path, kind), tmp_path, SIGNATURE, OUTPUT, trust_pickle=True)
