"""Loading a version: nothing changed, nothing untrusted, nothing heavy."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier

import twofold
from twofold import ConfigError
from twofold.model.record import Artifact
from twofold.model.registry import RECORD, Registry, content_digest, file_digest, render
from twofold.model.signature import Field, Output, Signature
from twofold.predictor.runtimes import open_runtime


@pytest.fixture(scope="module")
def sample() -> list[dict[str, float]]:
    random = np.random.default_rng(5)
    return [{"a": float(a), "b": float(b)} for a, b in random.normal(size=(200, 2))]


@pytest.fixture(scope="module")
def target(sample: list[dict[str, float]]) -> list[int]:
    return [int(row["a"] + row["b"] > 0) for row in sample]


def pack(
    registry: Path, sample: list[dict[str, float]], target: list[int], model: Any = None
) -> twofold.Predictor:
    import pandas as pd

    model = model or GradientBoostingClassifier(n_estimators=5, random_state=0)
    model.fit(pd.DataFrame(sample), target)
    return twofold.pack(model, name="m", sample=sample, registry=registry)


def test_a_compiled_model_is_served_without_pandas_or_its_original_library(
    tmp_path: Path, sample: list[dict[str, float]], target: list[int]
) -> None:
    predictor = pack(tmp_path, sample, target)
    assert predictor.record.runtimes.real_time == "compiled"
    code = f"""
import sys
for name in ("pandas", "sklearn", "scipy", "skops", "joblib", "lightgbm", "xgboost", "polars",
             "onnxruntime", "onnx"):
    sys.modules[name] = None  # an import of it raises
import twofold
model = twofold.load("m", registry={str(tmp_path)!r})
print(model.predict_one({sample[0]!r}), model.predict_rows([{sample[0]!r}])[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(predictor.predict_one(sample[0]))] * 2


@pytest.mark.parametrize("file", ["compiled.twofold", "sample.arrow"])
def test_a_flipped_byte_of_what_is_used_is_refused(
    file: str, tmp_path: Path, sample: list[dict[str, float]], target: list[int]
) -> None:
    pack(tmp_path, sample, target)
    path = tmp_path / "m" / "1" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ConfigError, match="expected the bytes it was packed with, got others"):
        twofold.load("m", registry=tmp_path)


def test_a_library_that_predicts_otherwise_here_is_noticed(
    tmp_path: Path, sample: list[dict[str, float]], target: list[int]
) -> None:
    # Played by a version whose model file was exchanged, all digests made anew.
    predictor = pack(tmp_path, sample, target, HistGradientBoostingClassifier(max_iter=5))
    other = pack(
        tmp_path / "other",
        sample,
        [1 - y for y in target],
        HistGradientBoostingClassifier(max_iter=5),
    )
    record = predictor.record
    file = record.artifacts["compiled"].file
    folder = tmp_path / "m" / "1"
    (folder / file).write_bytes((tmp_path / "other" / "m" / "1" / file).read_bytes())
    artifacts = {**record.artifacts, "compiled": other.record.artifacts["compiled"]}
    forged = msgspec.structs.replace(record, artifacts=artifacts)
    forged = msgspec.structs.replace(forged, digest=content_digest(forged))
    (folder / RECORD).write_bytes(render(forged))
    with pytest.raises(ConfigError, match="expected its sample's predictions"):
        twofold.load("m", registry=tmp_path)


class Bomb:
    """Unpickling it would leave a mark."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("format_", ["pickle", "joblib"])
def test_no_pickle_runs_without_trust(
    format_: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "original.pkl").write_bytes(pickle.dumps(Bomb()))
    artifact = Artifact(
        file="original.pkl",
        format=format_,
        sha256=file_digest(tmp_path / "original.pkl"),
        size_bytes=1,
        call="predict",
    )
    signature = Signature(fields=(Field(name="a", type="float64"),))
    output = Output(kind="value", type="float64")
    with pytest.raises(ConfigError, match="--trust-pickle"):
        open_runtime(artifact, tmp_path, signature, output, trust_pickle=False)
    assert not Path("exploded").exists()


def test_a_skops_file_that_asks_for_other_types_is_refused(tmp_path: Path) -> None:
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    skops.io.dump(FunctionTransformer(subprocess.check_output), tmp_path / "original.skops")
    artifact = Artifact(
        file="original.skops", format="skops", sha256="", size_bytes=1, call="predict"
    )
    signature = Signature(fields=(Field(name="a", type="float64"),))
    output = Output(kind="value", type="float64")
    with pytest.raises(ConfigError, match="expected types of scikit-learn and NumPy only"):
        open_runtime(artifact, tmp_path, signature, output, trust_pickle=False)


def test_the_registry_keeps_serving_others_beside_a_damaged_version(
    tmp_path: Path, sample: list[dict[str, float]], target: list[int]
) -> None:
    first = pack(tmp_path, sample, target)
    damaged = tmp_path / "m" / "2"
    damaged.mkdir()
    (damaged / RECORD).write_bytes(b"{}")
    assert twofold.load("m@1", registry=tmp_path).digest == first.digest
    again = pack(tmp_path, sample, target)
    assert again.digest == first.digest
    assert Registry(tmp_path).versions("m") == ["1", "2"]
