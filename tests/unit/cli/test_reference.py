"""The reference pages: every setting and command in them, in tables that hold together."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from twofold.app.settings import SECTIONS, TABLES
from twofold.cli.common import EXIT_CODES
from twofold.cli.reference import _bounds
from twofold.settings import declared_in

BAR = re.compile(r"(?<!\\)\|")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages as `make docs` writes them, into a folder that isn't there yet."""
    folder = tmp_path_factory.mktemp("docs") / "new" / "reference"
    subprocess.run([sys.executable, "-m", "twofold.cli.reference", str(folder)], check=True)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.fixture
def settings_page(pages: dict[str, str]) -> str:
    return pages["settings.md"]


@pytest.fixture
def command_page(pages: dict[str, str]) -> str:
    return pages["commands.md"]


def tables(page: str) -> list[list[str]]:
    """The tables of a page: runs of lines that begin with a bar."""
    found: list[list[str]] = [[]]
    for line in page.splitlines():
        if line.startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


@pytest.mark.parametrize(
    ("minimum", "maximum", "text"),
    [
        (None, None, ""),
        (0, None, " At least 0."),
        (0.5, None, " At least 0.5."),
        (1, 1_048_576, " 1 to 1,048,576."),
        (0.001, 3_600.0, " 0.001 to 3,600."),
        (None, 1.0, " 0 to 1."),
    ],
)
def test_the_bounds_of_a_setting_are_said(
    minimum: float | None, maximum: float | None, text: str
) -> None:
    assert _bounds(minimum, maximum) == text


@pytest.mark.parametrize(
    "cells",
    [
        [
            *("`registry`", '`"registry"`', "`TWOFOLD_REGISTRY`", "`--registry`"),
            "Folder of the packed models.",
        ],
        [
            *("`serve.port`", "`8080`", "`TWOFOLD_SERVE_PORT`", "`--port`"),
            "Port to listen on; 0 takes a free one. 0 to 65,535.",
        ],
        [
            *("`batch.max_quarantined_rows`", "`1000000`"),
            *("`TWOFOLD_BATCH_MAX_QUARANTINED_ROWS`", "`--max-quarantined-rows`"),
            "Rows that may be set aside before the run is given up. At least 0.",
        ],
    ],
    ids=lambda cells: cells[0],
)
def test_a_setting_has_a_row_with_all_its_names(settings_page: str, cells: list[str]) -> None:
    assert f"| {' | '.join(cells)} |" in settings_page.splitlines()


def test_every_section_has_its_table_with_a_row_for_every_setting(settings_page: str) -> None:
    titles = [line for line in settings_page.splitlines() if line.startswith("## ")]
    sections = [f"## `[{name}]`" for name in SECTIONS if name]
    arrays = [f"## `[[{name}]]`" for name in TABLES]
    assert titles == ["## Top level", *sections, *arrays]
    found = tables(settings_page)
    every = [*SECTIONS.items(), *TABLES.items()]
    declared = [declared_in(cls, section) for section, cls in every]
    # Two lines are the head.
    assert [len(table) - 2 for table in found] == [len(items) for items in declared]


def test_every_row_of_every_table_has_the_columns_of_its_head(pages: dict[str, str]) -> None:
    for page in pages.values():
        for table in tables(page):
            assert {len(BAR.findall(line)) for line in table} == {len(BAR.findall(table[0]))}, table


def test_every_command_has_a_chapter_with_its_usage_and_options(command_page: str) -> None:
    page = command_page
    titles = re.findall(r"^## `twofold (.+)`$", page, re.MULTILINE)
    assert titles == [
        *("pack", "models", "alias", "predict", "verify"),
        *(
            "batch deliver",
            "batch list",
            "batch quarantine",
            "batch repair",
            "batch report",
            "batch resume",
        ),
        *("batch run", "batch status", "schedule list", "schedule run"),
        *("snapshot get", "snapshot list", "snapshot publish", "snapshot rollback", "serve"),
        *("top", "keys list", "keys new", "keys retire", "lab load", "lab advise", "demo"),
    ]
    chapters = page.split("\n## ")[1:]
    for title, chapter in zip(titles, chapters, strict=True):
        assert f"```text\ntwofold {title} [OPTIONS]" in chapter
        assert "| `--json` | Print the result as JSON. |" in chapter
        assert "--help` | Show this message and exit. |" in chapter
    assert "twofold batch run [OPTIONS] MODEL INPUT\n" in page
    assert "| `--output DIR` | Folder the run is committed to, as DIR/RUN_ID.  [required] |" in page


def test_choices_do_not_break_their_table(command_page: str) -> None:
    (line,) = [line for line in command_page.splitlines() if "probability" in line]
    assert line.startswith(r"| `--output [probability\|label\|value]` | What to predict.")


def test_the_exit_codes_are_those_of_the_command_line(command_page: str) -> None:
    codes = [line.split()[1] for line in tables(command_page)[0][2:]]
    assert codes == ["0", "1", "2", *map(str, sorted(set(EXIT_CODES.values())))]


def test_pages_are_whole_texts_without_stray_blanks(pages: dict[str, str]) -> None:
    assert sorted(pages) == ["commands.md", "settings.md"]
    for text in pages.values():
        assert text.startswith("# ")
        assert text.endswith("|\n")
        assert not [line for line in text.splitlines() if line != line.rstrip()]
