"""Loading as Python callers do it: which version a reference means, and from which registry."""

from __future__ import annotations

from pathlib import Path

import pytest

import twofold
from twofold.app.load import load
from twofold.errors import ConfigError, InvalidInput, UnknownModel
from twofold.model.registry import Registry

ROW = {"spend": 4.0, "plan": "pro"}


@pytest.mark.parametrize(
    ("reference", "version", "prediction"),
    [("offer", "2", 3.0), ("offer@1", "1", 8.0), ("offer@2", "2", 3.0), ("offer:night", "1", 8.0)],
)
def test_a_reference_is_resolved_and_the_version_it_means_predicts(
    folder: Path, reference: str, version: str, prediction: float
) -> None:
    Registry("registry").set_alias("offer", "night", "1")
    model = load(reference)
    assert (model.name, model.version) == ("offer", version)
    assert model.predict_one(ROW) == prediction
    assert model.predict([ROW, ROW]).tolist() == [prediction, prediction]


def test_the_champion_is_what_the_bare_name_means(folder: Path) -> None:
    Registry("registry").set_alias("offer", "champion", "1")
    assert load("offer").version == "1"


def test_the_package_offers_it(folder: Path) -> None:
    assert twofold.load is load


def test_the_registry_is_the_argument_else_the_setting_else_the_current_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "registry").rename(tmp_path / "shelf")
    with pytest.raises(UnknownModel, match=r"^registry registry: expected a model among: none"):
        load("offer")
    assert load("offer", registry=tmp_path / "shelf").version == "2"
    assert load("offer", registry=str(tmp_path / "shelf")).version == "2"
    (folder / "twofold.toml").write_text('registry = "../shelf"', encoding="utf-8")
    assert load("offer").version == "2"
    monkeypatch.setenv("TWOFOLD_REGISTRY", "elsewhere")
    with pytest.raises(UnknownModel, match=r"^registry elsewhere: "):
        load("offer")


def test_wrong_settings_are_no_matter_where_the_registry_is_given(folder: Path) -> None:
    (folder / "twofold.toml").write_text("nonsense = 1", encoding="utf-8")
    assert load("offer", registry="registry").version == "2"
    with pytest.raises(ConfigError, match=r"twofold\.toml: nonsense"):
        load("offer")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("offers", "expected a model among: drifting, offer, got 'offers'"),
        ("offer@3", "offer: expected a version among: 1, 2, got '3'"),
        ("offer:day", "offer: expected an alias among: none, got 'day'"),
    ],
)
def test_what_is_not_in_the_registry_is_unknown(folder: Path, reference: str, words: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        load(reference)
    assert words in str(caught.value)


@pytest.mark.parametrize("reference", ["", "../offer", "offer@x", "offer@1@2", "offer:", "a b"])
def test_a_text_that_is_no_reference_is_refused(folder: Path, reference: str) -> None:
    with pytest.raises(InvalidInput, match="expected "):
        load(reference)


@pytest.mark.parametrize("name", ["app_rules.py", "sample.arrow"])
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    path = folder / "registry" / "offer" / "1" / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    assert load("offer@2").version == "2"
    with pytest.raises(ConfigError, match=f"{name}: expected the bytes it was packed with"):
        load("offer@1")


def test_a_version_that_predicts_otherwise_than_its_sample_says_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load("drifting").version == "1"
    monkeypatch.setenv("DRIFT", "1")
    with pytest.raises(ConfigError, match=r"^drifting@1: expected its sample's predictions, got "):
        load("drifting")
