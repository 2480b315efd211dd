"""`twofold demo` where it stops before its story begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_a_folder_of_others_is_left_alone_with_an_error(cli: Any) -> None:
    before = sorted(path for path in Path("registry").rglob("*"))
    error = cli.json("demo", "--folder", "registry", "--rows", "1000", code=1)
    assert error == {
        "error": (
            "registry: expected an empty folder or an earlier demo's, got one with other files. "
            "Choose another with --folder."
        ),
        "code": "ConfigError",
        "exit_code": 1,
    }
    assert sorted(path for path in Path("registry").rglob("*")) == before


def test_without_a_folder_it_is_a_new_one_of_the_current_folder(cli: Any) -> None:
    Path("twofold-demo").mkdir()
    Path("twofold-demo/thesis.txt").write_text("years of work", encoding="utf-8")
    said = cli.said("demo", "--rows", "1000", code=1)
    assert said.startswith("error: twofold-demo: expected an empty folder or an earlier demo's")
    assert Path("twofold-demo/thesis.txt").read_text(encoding="utf-8") == "years of work"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--rows", "999"], "Invalid value for '--rows': 999 is not in the range x>=1000."),
        (["--rows", "-1"], "Invalid value for '--rows': -1 is not in the range x>=1000."),
        (["--rows", "1e6"], "Invalid value for '--rows': '1e6' is not a valid integer"),
        (["--folder", "rows.parquet"], "'--folder': Directory 'rows.parquet' is a file."),
        (["--wait"], "No such option '--wait'."),
        (["more"], "Got unexpected extra argument (more)"),
    ],
)
def test_wrong_flags_are_wrong_usage_and_make_no_folder(
    cli: Any, flags: list[str], words: str
) -> None:
    assert words in cli.said("demo", *flags, code=2)
    assert not Path("twofold-demo").exists()


def test_the_help_says_where_files_go_and_how_many_rows(cli: Any) -> None:
    shown = " ".join(cli("demo", "--help").stdout.split())
    assert "[default: twofold-demo]" in shown
    assert "[default: 1000000; x>=1000]" in shown
    assert "it replaces those of an earlier demo." in shown
