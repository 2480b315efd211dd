"""The command line without a process: one call, and what it wrote where."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from workplace import work_in, work_in_copy

import twofold
from twofold.cli.root import main

MODULE = """
import itertools
import os

calls = itertools.count(1)

def price(row):
    if row["x"] == 13.0:
        raise ValueError("no [luck] today")
    if "DRIFT" in os.environ:
        return row["x"] + next(calls)
    if "STOP" in os.environ:
        raise KeyboardInterrupt
    return row["x"] * 2

def label(row):
    return "high" if row["x"] > 2 else "low"
"""


def rows(count: int) -> pa.Table:
    """Rows of a number and a word, with an id."""
    numbers = range(count)
    columns = {
        "id": pa.array(list(numbers), pa.int64()),
        "x": pa.array([number / 2 for number in numbers], pa.float64()),
        "s": pa.array(["abcdef"[number % 6] for number in numbers], pa.string()),
    }
    return pa.table(columns)


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry, the module it was packed from, and rows; not to be changed."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "cli_rules.py").write_text(MODULE, encoding="utf-8")
    pq.write_table(rows(20), folder / "rows.parquet")
    with pytest.MonkeyPatch.context() as patch:
        work_in(folder, patch)
        twofold.pack(
            "cli_rules:price",
            name="price",
            sample="rows.parquet",
            registry="registry",
            drop=["id"],
            unknown_categories="allow",
        )
    return folder


@dataclass
class Cli:
    """The command `twofold`, called in a folder that holds what was packed."""

    folder: Path

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> Result:
        result = CliRunner().invoke(main, arguments, env=environment, prog_name="twofold")
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        return result

    def json(self, *arguments: str, code: int = 0, **environment: str) -> Any:
        """The one line of JSON that a command writes to stdout."""
        written = self(*arguments, "--json", code=code, **environment).stdout
        assert written.endswith("\n")
        assert written.count("\n") == 1
        return json.loads(written)

    def said(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """What a command says to people, its lines joined."""
        return " ".join(self(*arguments, code=code, **environment).stderr.split())


@pytest.fixture
def cli(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    return Cli(work_in_copy(packed, tmp_path, monkeypatch))


@pytest.fixture(scope="session")
def table() -> Callable[[int], pa.Table]:
    """Make so many rows that fit."""
    return rows
