"""The repository: make's commands, pinned requirements, nothing private in tracked files."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = {"setup", "demo", "test", "lint", "types", "check", "bench", "docs", "clean"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_make_shows_every_command_with_a_word_about_it() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = [line.split(None, 2) for line in shown.splitlines()]
    assert {words[1] for words in lines} >= COMMANDS
    assert all(len(words) == 3 for words in lines)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda p: p.name
)
def test_requirements_are_pinned_with_hashes_and_name_no_index(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    pinned = re.findall(
        r"^\S+==\S+.*\\\n(?:    --hash=sha256:[0-9a-f]{64}.*\n)+", text, re.MULTILINE
    )
    named = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert len(pinned) == len(named) > 5
    assert not re.search(r"--(index|extra-index|find-links|trusted)|https?://|@ file:", text)


def test_no_lock_file_with_addresses_is_tracked() -> None:
    locks = {"uv.lock", "poetry.lock", "Pipfile.lock", "package-lock.json", "pdm.lock"}
    assert not [path for path in tracked() if path.name in locks]


def test_no_tracked_file_has_a_machine_path_or_a_credential() -> None:
    private = re.compile(
        r"/(?:home|Users|root)/[a-z.]|BEGIN [A-Z ]*PRIVATE KEY"
        r"|(?:password|token)\s*=\s*[\"'][^\"']+"
    )
    for path in tracked():
        if path.suffix in (".py", ".md", ".toml", ".txt", ".in", ".json", "") and path.is_file():
            found = private.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None or path == Path(__file__), (path, found)


def test_every_exception_in_the_configuration_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    codes = [*lint["ignore"]]
    for listed in lint["per-file-ignores"].values():
        codes += listed
    for code in codes:
        assert re.search(rf'^    "{code}",?\s+# \S', text, re.MULTILINE), f"{code} has no reason"


def test_every_noqa_names_its_rules() -> None:
    for path in tracked():
        if path.suffix == ".py" and path != Path(__file__):
            for line in path.read_text(encoding="utf-8").splitlines():
                assert not re.search(r"#\s*noqa\s*$|#\s*type:\s*ignore\s*$", line), (path, line)
