"""A folder to work in, undisturbed by the settings of whoever runs the tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def clear(patch: pytest.MonkeyPatch, prefix: str = "TWOFOLD_") -> None:
    """Take all variables whose names begin so out of the environment."""
    for name in [name for name in os.environ if name.startswith(prefix)]:
        patch.delenv(name)


def work_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make a folder the current one, without settings in the environment."""
    clear(patch)
    patch.chdir(folder)


def work_in_copy(folder: Path, under: Path, patch: pytest.MonkeyPatch) -> Path:
    """Copy a folder that is not to be changed, and work in the copy."""
    copy = under / "work"
    shutil.copytree(folder, copy)
    work_in(copy, patch)
    return copy
