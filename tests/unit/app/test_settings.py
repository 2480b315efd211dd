"""Reading all settings: where the file lies, which source wins, what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workplace import work_in

from twofold.app.settings import SECTIONS, read
from twofold.errors import ConfigError

NOWHERE = Path("no-such-folder")


def problems_of(
    folder: Path, text: str = "", environment: dict[str, str] | None = None, **flags: object
) -> list[str]:
    (folder / "twofold.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(flags, folder=folder, environment=environment or {})
    return list(caught.value.problems)


def test_every_section_of_the_file_reaches_its_own_settings(tmp_path: Path) -> None:
    text = 'registry = "shelf"\n[serve]\nworkers = 3\n[batch]\nworkers = 5\n'
    (tmp_path / "twofold.toml").write_text(text, encoding="utf-8")
    settings = read(folder=tmp_path, environment={})
    assert settings.registry == Path("shelf")
    assert (settings.serve.workers, settings.batch.workers) == (3, 5)
    assert (settings.serve.port, settings.batch.batch_rows) == (8080, 32_768)


def test_the_file_of_the_current_folder_and_the_own_environment_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_in(tmp_path, monkeypatch)
    (tmp_path / "twofold.toml").write_text("[serve]\nport = 1\ndrain_s = 2\n", encoding="utf-8")
    monkeypatch.setenv("TWOFOLD_SERVE_PORT", "3")
    settings = read()
    assert (settings.serve.port, settings.serve.drain_s) == (3, 2.0)


@pytest.mark.parametrize(
    ("file", "environment", "flag", "expected"),
    [
        (None, None, None, 8080),
        (1, None, None, 1),
        (1, "2", None, 2),
        (1, "2", "3", 3),
        (None, "2", "3", 3),
        (1, None, "3", 3),
        (1, None, 0, 0),
    ],
)
def test_a_flag_beats_the_environment_and_that_beats_the_file(
    tmp_path: Path, file: int | None, environment: str | None, flag: object, expected: int
) -> None:
    if file is not None:
        text = f"[serve]\nport = {file}\n"
        (tmp_path / "twofold.toml").write_text(text, encoding="utf-8")
    variables = {} if environment is None else {"TWOFOLD_SERVE_PORT": environment}
    settings = read({"serve.port": flag}, folder=tmp_path, environment=variables)
    assert settings.serve.port == expected


def test_a_wrong_value_is_reported_even_where_a_later_source_wins(tmp_path: Path) -> None:
    text = "[serve]\nport = 70_000\n"
    found = problems_of(tmp_path, text, {"TWOFOLD_SERVE_PORT": "web"}, **{"serve.port": 1})
    doc = "Port to listen on; 0 takes a free one."
    assert found == [
        f"twofold.toml: serve.port: expected 0 to 65535, got 70000. {doc}",
        f"TWOFOLD_SERVE_PORT: expected a whole number, got 'web'. {doc}",
    ]


def test_the_message_has_every_problem_on_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "twofold.toml").write_text("[batch]\nworkers = -1\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read({"serve.port": "x"}, folder=tmp_path, environment={})
    assert str(caught.value).splitlines() == list(caught.value.problems)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("serve = 1", "twofold.toml: serve: expected one of answers.max_age_s, "),
        ("[srve]\nport = 1", "twofold.toml: srve: expected one of answers.max_age_s, "),
        ("[serve]\nprt = 1", "twofold.toml: serve.prt: expected one of answers.max_age_s, "),
        ("port = 1", "twofold.toml: port: expected one of answers.max_age_s, "),
        ("[registry]\nx = 1", "twofold.toml: registry: expected text, got {'x': 1}. "),
        ("registry = 5", "twofold.toml: registry: expected text, got 5. "),
        ("registry = ['a']", "twofold.toml: registry: expected text, got ['a']. "),
        ("[serve]\nworkers = true", "twofold.toml: serve.workers: expected a whole number, got "),
        ("[serve]\nworkers = 1.5", "twofold.toml: serve.workers: expected a whole number, got "),
        ("[serve]\nworkers = inf", "twofold.toml: serve.workers: expected a whole number, got "),
        ("[serve]\ndrain_s = nan", "twofold.toml: serve.drain_s: expected a number, got nan. "),
        ("[serve]\ndrain_s = -0.1", "twofold.toml: serve.drain_s: expected 0.0 to 3600.0, got "),
        ("[batch]\nmax_quarantined_rows = -1", "expected at least 0, got -1. Rows that may be "),
    ],
)
def test_what_the_file_says_wrong_is_named_by_its_path(
    tmp_path: Path, text: str, words: str
) -> None:
    (found,) = problems_of(tmp_path, text)
    assert words in found


def test_an_unknown_variable_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        read(folder=NOWHERE, environment={"TWOFOLD_PORT": "1", "PORT": "x", "TWOFOLD": "y"})
    (found,) = caught.value.problems
    assert found.startswith("TWOFOLD_PORT: expected a known setting, got an unknown one. ")
    assert "TWOFOLD_SERVE_PORT" in found


@pytest.mark.parametrize("content", [b"\xff\xfe", b"registry =", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "twofold.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^twofold\.toml: expected TOML, got .+ Mend that line"):
        read(folder=tmp_path, environment={})


def test_no_file_an_empty_file_and_a_folder_of_that_name_give_the_defaults(tmp_path: Path) -> None:
    defaults = read(folder=tmp_path, environment={})
    (tmp_path / "twofold.toml").touch()
    assert read(folder=tmp_path, environment={}) == defaults
    (tmp_path / "twofold.toml").unlink()
    (tmp_path / "twofold.toml").mkdir()
    assert read(folder=tmp_path, environment={}) == defaults
    assert defaults.registry == Path("registry")


def test_the_settings_have_a_section_for_every_declaration() -> None:
    settings = read(folder=NOWHERE, environment={})
    assert list(SECTIONS) == ["", "serve", "batch", "snapshot", "answers", "scheduler"]
    held = [settings.general, settings.serve, settings.batch, settings.snapshot]
    held += [settings.answers, settings.scheduler]
    assert [type(section) for section in held] == list(SECTIONS.values())


@given(st.integers(-(10**6), 10**6))
def test_a_whole_number_is_taken_exactly_or_refused(port: int) -> None:
    environment = {"TWOFOLD_SERVE_PORT": str(port)}
    if 0 <= port <= 65_535:
        assert read(folder=NOWHERE, environment=environment).serve.port == port
    else:
        with pytest.raises(ConfigError, match=f"expected 0 to 65535, got {port}"):
            read(folder=NOWHERE, environment=environment)


@given(st.floats())
def test_a_number_is_taken_to_its_last_bit_or_refused(ratio: float) -> None:
    environment = {"TWOFOLD_BATCH_MAX_QUARANTINED_RATIO": repr(ratio)}
    if 0.0 <= ratio <= 1.0:
        found = read(folder=NOWHERE, environment=environment).batch.max_quarantined_ratio
        assert (found, math.copysign(1.0, found)) == (ratio, math.copysign(1.0, ratio))
    else:
        with pytest.raises(ConfigError, match="TWOFOLD_BATCH_MAX_QUARANTINED_RATIO: expected "):
            read(folder=NOWHERE, environment=environment)


@given(st.text().filter(bool))
def test_any_text_is_a_registry_that_is_passed_on_as_it_is(name: str) -> None:
    found = read({"registry": name}, folder=NOWHERE, environment={})
    assert found.general.registry == name
    assert found.registry == Path(name)
