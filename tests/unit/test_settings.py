"""Settings: three sources, later ones win, all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.app.settings import read
from twofold.errors import ConfigError


def test_defaults_need_no_file(tmp_path: Path) -> None:
    settings = read(folder=tmp_path, environment={})
    assert settings.registry == Path("registry")
    assert settings.serve.host == "127.0.0.1"


def test_later_sources_win(tmp_path: Path) -> None:
    (tmp_path / "twofold.toml").write_text('registry = "a"\n[batch]\nbatch_rows = 7\nworkers = 1\n')
    environment = {"TWOFOLD_REGISTRY": "b", "TWOFOLD_BATCH_BATCH_ROWS": "8"}
    settings = read({"registry": "c"}, folder=tmp_path, environment=environment)
    assert settings.registry == Path("c")
    assert (settings.batch.batch_rows, settings.batch.workers) == (8, 1)


def test_all_problems_of_all_sources_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "twofold.toml").write_text('spelt_wrong = 1\n[batch]\nbatch_rows = "many"\n')
    environment = {"TWOFOLD_BATCH_WORKERS": "-1", "TWOFOLD_NOPE": "1"}
    with pytest.raises(ConfigError) as caught:
        read({"serve.port": "70000"}, folder=tmp_path, environment=environment)
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    for words in (
        "twofold.toml: spelt_wrong",
        "twofold.toml: batch.batch_rows: expected a whole number, got 'many'",
        "TWOFOLD_BATCH_WORKERS: expected 0 to",
        "TWOFOLD_NOPE",
        "--port: expected 0 to 65535, got 70000",
    ):
        assert words in text


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "twofold.toml").write_text("registry =")
    with pytest.raises(ConfigError, match=r"twofold.toml: expected TOML"):
        read(folder=tmp_path, environment={})


def test_a_setting_with_choices_takes_no_other(tmp_path: Path) -> None:
    environment = {"TWOFOLD_SERVE_LOG_FORMAT": "json"}
    assert read(folder=tmp_path, environment=environment).serve.log_format == "json"
    with pytest.raises(ConfigError) as caught:
        read({"serve.log_format": "xml"}, folder=tmp_path, environment={})
    assert str(caught.value).startswith("--log-format: expected text or json, got 'xml'. How the")
