"""Packing as Python callers do it: every option reaches the version, nothing half-made stays."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import twofold
from twofold.app.pack import pack
from twofold.errors import ConfigError, DeclarationError, InvalidInput
from twofold.model.registry import Registry

SAMPLE: list[dict[str, Any]] = [
    {"customer": f"c{n}", "spend": float(n), "visits": n, "plan": ("basic", "pro")[n % 2]}
    for n in range(12)
]


@dataclass
class Shelf:
    """A registry, two versions of one model in it, and what was said while they were packed."""

    root: Path
    strict: Any
    corrected: Any
    began: datetime
    said: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def shelf(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """`offer` packed as it comes, then with every correction; packing takes its time."""
    root = tmp_path_factory.mktemp("shelf")
    said: list[str] = []
    began = datetime.now(UTC).replace(microsecond=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(packed)
        given = str(root)
        strict = pack("app_rules:offer", name="new", sample=SAMPLE, registry=given, say=said.append)
        patch.setenv("TWOFOLD_REGISTRY", given)
        corrected = pack(
            "app_rules:offer",
            name="new",
            sample=pa.Table.from_pylist(SAMPLE),
            output="label",
            drop=["customer"],
            types={"visits": "float32"},
            nullable=["visits"],
            unknown_categories="allow",
            extra_fields="ignore",
            tolerance=0.25,
            trust_pickle=True,
        )
    return Shelf(root, strict, corrected, began, said)


def test_a_packed_function_predicts_at_both_speeds(shelf: Shelf) -> None:
    model = shelf.strict
    assert (model.name, model.version) == ("new", "1")
    assert model.predict_one(SAMPLE[3]) == 6.0
    assert model.predict(pa.Table.from_pylist(SAMPLE)).tolist() == [
        row["spend"] * (2.0 if row["plan"] == "pro" else 0.5) for row in SAMPLE
    ]


def test_what_is_returned_is_what_loading_gives(shelf: Shelf) -> None:
    for model in (shelf.strict, shelf.corrected):
        loaded = twofold.load(f"new@{model.version}", registry=shelf.root)
        assert loaded.record == model.record


def test_the_registry_is_the_argument_else_the_setting(shelf: Shelf) -> None:
    assert Registry(shelf.root).versions("new") == ["1", "2"]


def test_wrong_settings_are_no_matter_where_the_registry_is_given(folder: Path) -> None:
    (folder / "twofold.toml").write_text("nonsense = 1", encoding="utf-8")
    with pytest.raises(DeclarationError, match=r"^no\.onnx: expected a model file"):
        pack("no.onnx", name="new", sample=SAMPLE, registry="registry")
    with pytest.raises(ConfigError, match=r"twofold\.toml: nonsense"):
        pack("no.onnx", name="new", sample=SAMPLE)


def test_the_corrections_of_the_signature_reach_it(shelf: Shelf) -> None:
    signature = shelf.corrected.signature
    assert signature.names == ("spend", "visits", "plan")
    assert (signature.ignored, signature.extra_fields) == (("customer",), "ignore")
    by_name = {field.name: field for field in signature.fields}
    assert (by_name["visits"].type, by_name["visits"].nullable) == ("float32", True)
    assert (by_name["spend"].type, by_name["spend"].nullable) == ("float64", False)
    assert by_name["plan"].categories == ("basic", "pro")
    assert by_name["plan"].unknown_categories == "allow"
    row = {"spend": 4.0, "visits": None, "plan": "gold", "more": 1, "customer": "c"}
    assert shelf.corrected.predict_one(row) == 2.0


def test_the_defaults_are_strict(shelf: Shelf) -> None:
    assert [field.nullable for field in shelf.strict.signature.fields] == [False] * 4
    for change, words in [
        ({"plan": "gold"}, "row.plan: expected one of 'basic', 'pro', got 'gold'"),
        ({"more": 1}, "row.more: expected only the model's fields"),
        ({"visits": None}, "row.visits: expected int64, got null"),
        ({"customer": 1}, "row.customer: expected string, got integer 1"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            shelf.strict.predict_one({**SAMPLE[0], **change})
        assert words in str(caught.value)


def test_output_tolerance_and_trust_are_in_the_record(shelf: Shelf) -> None:
    found = [
        (record.output.kind, record.parity.tolerance, record.trust_pickle)
        for record in (shelf.strict.record, shelf.corrected.record)
    ]
    assert found == [("value", 1e-5, False), ("label", 0.25, True)]


def test_each_step_is_said_before_it_is_done(shelf: Shelf, folder: Path) -> None:
    assert shelf.said[:3] == ["reading the model", "reading the sample", "storing the original"]
    assert shelf.said[-1] == "storing the version"
    said: list[str] = []
    with pytest.raises(DeclarationError):
        pack("app_rules:offer", name="new", sample="no.csv", say=said.append)
    assert said == ["reading the model", "reading the sample"]


def test_the_record_says_when_it_was_packed_in_utc(shelf: Shelf) -> None:
    first = datetime.fromisoformat(shelf.strict.record.created_at)
    second = datetime.fromisoformat(shelf.corrected.record.created_at)
    assert shelf.began <= first <= second <= datetime.now(UTC)
    assert first.utcoffset() == UTC.utcoffset(None)


def test_the_same_content_packed_again_is_the_version_that_exists(
    shelf: Shelf, folder: Path
) -> None:
    again = pack("app_rules:offer", name="new", sample=SAMPLE, registry=shelf.root)
    assert again.record == shelf.strict.record
    assert Registry(shelf.root).versions("new") == ["1", "2"]


def test_a_function_of_a_table_is_called_with_one(folder: Path) -> None:
    model = pack("app_rules:many", name="many", sample=SAMPLE, call="batch")
    assert model.record.artifacts["original"].call == "batch"
    assert model.predict_one(SAMPLE[3]) == 6.0
    assert model.predict(SAMPLE).tolist() == [2.0 * row["spend"] for row in SAMPLE]


def test_a_runtime_that_the_model_does_not_have_is_refused(folder: Path) -> None:
    with pytest.raises(DeclarationError, match=r"^--runtime onnx: expected a runtime that passes"):
        pack("app_rules:offer", name="new", sample=SAMPLE, registry="fresh", runtime="onnx")
    assert not list(Path("fresh").rglob("*"))


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"name": "../up"}, InvalidInput, "model name: expected 1 to 64 letters"),
        ({"sample": []}, DeclarationError, "sample: expected at least one row, got none"),
        (
            {"sample": 5},
            DeclarationError,
            "data: expected a table (pyarrow, pandas or polars) or a",
        ),
        ({"drop": ["nope"]}, DeclarationError, "--drop nope: expected one of customer, spend"),
        ({"types": {"spend": "number"}}, DeclarationError, "--type spend=number: expected one of"),
        ({"nullable": ["nope"]}, DeclarationError, "--nullable nope: expected one of customer"),
        ({"drop": ["spend"]}, DeclarationError, "the model raised KeyError: 'spend'"),
        ({"call": "batch"}, DeclarationError, "fails on the first rows of its sample"),
        ({"output": "probability"}, DeclarationError, "expected one of value, label"),
        ({"model": "app_rules:broken"}, DeclarationError, "raised ValueError: no such luck"),
    ],
)
def test_what_does_not_fit_together_is_refused_and_nothing_is_stored(
    folder: Path, changed: dict[str, Any], kind: type[Exception], words: str
) -> None:
    options = {"model": "app_rules:offer", "name": "new", "sample": SAMPLE, **changed}
    with pytest.raises(kind) as caught:
        pack(registry="fresh", **options)
    assert words in str(caught.value)
    assert not list(Path("fresh").rglob("*"))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("app_rules:nope", "app_rules:nope: expected an attribute among broken, calls, discount, "),
        ("no_rules:offer", "no_rules:offer: expected a Python module, got 'no_rules'"),
        ("no.joblib", "no.joblib: expected a model file, got nothing there"),
        (Path("app_rules.py"), "app_rules.py: expected .joblib, .pkl, .skops, .txt, .json"),
        (5, "model: expected an estimator, a booster, a function, or a file of one, got int"),
        (lambda row: row, "model: expected a function or class at the top of a module, got <fun"),
    ],
)
def test_what_is_no_model_is_refused(folder: Path, model: Any, words: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        pack(model, name="new", sample=SAMPLE)
    assert words in str(caught.value)
