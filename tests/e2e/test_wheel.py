"""The built wheel in an empty environment: the core alone packs, predicts, runs and serves."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from server_process import url_of

ROOT = Path(__file__).parents[2]
LIMIT_S = 300
MODEL = """
def offer(row):
    return row["spend"] * (2.0 if row["plan"] == "pro" else 0.5)
"""
ROWS = "customer,spend,plan\n1,10,pro\n2,20.5,basic\n3,abc,pro\n4,40,pro\n"
SAMPLE = "spend,plan\n1.5,pro\n2.5,basic\n"
CORE = {
    "click", "cronsim", "httptools", "markdown-it-py", "mdurl", "msgspec", "numpy", "pip",
    "pyarrow", "pygments", "rich", "setuptools", "twofold", "uvloop", "wheel", "xxhash",
}  # fmt: skip
"""All that a base install may hold; a new one needs a very good reason."""


def call(*command: str | Path, cwd: Path, code: int = 0, **environment: str) -> str:
    # Nothing of the environment under which the tests run may leak in.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stdout + done.stderr


def build(folder: Path, **environment: str) -> Path:
    # From a copy: a build leaves its traces beside the source.
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "src"):
        source = ROOT / name
        if source.is_dir():
            skipped = shutil.ignore_patterns("*.egg-info", "__pycache__", "*.so")
            shutil.copytree(source, folder / name, ignore=skipped)
        else:
            shutil.copy(source, folder / name)
    target = folder / "dist"
    options = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", target, folder)
    call(sys.executable, "-m", "pip", *options, cwd=folder, **environment)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "env", with_pip=True)
    bin_folder = folder / "env" / "bin"
    pip = (bin_folder / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    pinned = ROOT / "requirements" / "base.txt"
    try:
        call(*pip, "--require-hashes", "--requirement", pinned, cwd=folder)
    except AssertionError as error:
        if os.environ.get("CI") == "true" or "onnection" not in str(error):
            raise
        pytest.skip("the package index can't be reached")
    call(*pip, "--no-deps", "--no-index", wheel, cwd=folder)
    return bin_folder


@pytest.fixture(scope="module")
def packed(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a packed function and an input."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "rules.py").write_text(MODEL, encoding="utf-8")
    (folder / "sample.csv").write_text(SAMPLE, encoding="utf-8")
    (folder / "in.csv").write_text(ROWS, encoding="utf-8")
    pack = ("pack", "rules:offer", "--name", "offer", "--sample", "sample.csv", "--json")
    assert json.loads(call(clean / "twofold", *pack, cwd=folder))["version"] == "1"
    return folder


def test_the_base_install_holds_the_core_only(clean: Path, tmp_path: Path) -> None:
    listed = call(clean / "python", "-m", "pip", "list", "--format", "json", cwd=tmp_path)
    assert {item["name"].lower() for item in json.loads(listed)} <= CORE


def test_the_wheel_holds_native_parts_types_the_licence_and_the_demo_s_data(wheel: Path) -> None:
    names = call(sys.executable, "-m", "zipfile", "-l", wheel, cwd=wheel.parent)
    native = ("twofold/_kernel.", "twofold/_wire.", "twofold/_store.", "twofold/_load.")
    data = ("twofold/py.typed", "licenses/LICENSE", "telco_churn.parquet", "lab/typical.json")
    for name in (*native, *data):
        assert name in names
    assert "tests/" not in names
    assert wheel.stat().st_size < 3_000_000


def test_without_a_compiler_it_installs_works_and_says_so(tmp_path: Path, packed: Path) -> None:
    built = build(tmp_path, CC="false")
    target = tmp_path / "site"
    install = ("install", "--quiet", "--no-deps", "--no-index", "--target", target, built)
    call(sys.executable, "-m", "pip", *install, cwd=tmp_path)
    assert not [*(target / "twofold").glob("_*.so")]
    command = (sys.executable, "-m", "twofold")
    listed = subprocess.run(
        [*command, "models"],
        cwd=packed,
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "the native kernel was not built here" in listed.stderr
    row = '{"spend": 4, "plan": "pro"}'
    predict = ("predict", "offer", "--row", row)
    assert call(*command, *predict, cwd=packed, PYTHONPATH=str(target)) == "8.0\n"


def test_the_two_functions_need_no_model_library(clean: Path, tmp_path: Path) -> None:
    code = (
        "from twofold import batch_predict, real_time_predict\n"
        "model = lambda x: x * 2\n"
        "print(batch_predict(model, [1, 2, 3]), real_time_predict(model, 4))"
    )
    assert call(clean / "python", "-c", code, cwd=tmp_path) == "[2, 4, 6] 8\n"


def test_a_function_is_packed_and_predicts_one_row(clean: Path, packed: Path) -> None:
    row = '{"spend": 4, "plan": "pro"}'
    answer = json.loads(
        call(clean / "twofold", "predict", "offer", "--row", row, "--json", cwd=packed)
    )
    assert answer == {"prediction": 8.0, "model": "offer", "version": "1", "source": "live"}


def test_a_batch_run_sets_the_bad_row_aside(clean: Path, packed: Path) -> None:
    run = ("batch", "run", "offer", "in.csv", "--output", "out", "--key", "customer", "--json")
    manifest = json.loads(call(clean / "twofold", *run, cwd=packed))["manifest"]
    assert (manifest["rows_in"], manifest["rows_predicted"], manifest["rows_quarantined"]) == (
        4, 3, 1,
    )  # fmt: skip


@pytest.fixture
def served(clean: Path, packed: Path) -> Iterator[str]:
    command = [str(clean / "twofold"), "serve", "offer", "--port", "0", "--workers", "1", "--json"]
    with subprocess.Popen(command, cwd=packed, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield url_of(process)
        finally:
            process.terminate()
            assert process.wait(LIMIT_S) == 0


def test_the_server_answers(served: str) -> None:
    body = json.dumps({"rows": [{"spend": 3, "plan": "basic"}, [1, "pro"]]})
    connection = http.client.HTTPConnection(urlsplit(served).netloc, timeout=LIMIT_S)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/models/offer/predict", body)
        found: dict[str, Any] = json.load(connection.getresponse())
    assert found["predictions"] == [1.5, 2.0]


@pytest.mark.parametrize(
    ("file", "extra"),
    [("m.joblib", "sklearn"), ("m.txt", "lightgbm"), ("m.ubj", "xgboost"), ("m.onnx", "onnx")],
)
def test_a_missing_library_is_named_with_its_extra(
    clean: Path, packed: Path, file: str, extra: str
) -> None:
    (packed / file).write_bytes(b"tree")
    pack = ("pack", file, "--name", "other", "--sample", "sample.csv")
    said = call(clean / "twofold", *pack, cwd=packed, code=1)
    assert f"pip install 'twofold[{extra}]'" in said
    assert "Traceback" not in said


def test_the_demo_names_the_extra_it_needs(clean: Path, tmp_path: Path) -> None:
    said = call(clean / "twofold", "demo", "--rows", "1000", cwd=tmp_path, code=1)
    assert "pip install 'twofold[sklearn]'" in said
