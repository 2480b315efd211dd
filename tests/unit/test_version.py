"""The version is said in two places, and is one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import twofold
from twofold.version import VERSION


def test_the_version_is_that_of_the_distribution() -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert declared["project"]["version"] == VERSION == twofold.__version__
