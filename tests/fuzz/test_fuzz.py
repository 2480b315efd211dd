"""A short fuzz of native code from a fixed seed; `make fuzz` runs a longer one from a new seed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SANITIZED = ["cc", "-fsanitize=address,undefined", "-x", "c", "-", "-o", os.devnull]


def why_not() -> str:
    """Why it can't be built here; empty if it can."""
    if not (shutil.which("cc") and shutil.which("make")):
        return "needs make and a C compiler"
    tried = subprocess.run(
        SANITIZED, input="int main(void) { return 0; }", text=True, capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else "needs a C compiler with sanitizers"


def test_kernel_stands_random_and_damaged_models() -> None:
    reason = why_not()
    if reason:
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    done = subprocess.run(
        ["make", "fuzz", "FUZZ_S=12", "FUZZ_SEED=1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "compared" in done.stdout
