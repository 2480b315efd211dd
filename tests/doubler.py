"""A packed model that doubles an amount, and children that run it, for tests of whole runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import twofold

PLAIN = """
def predict(row):
    return row["amount"] * 2.0
"""


def pack_doubler(folder: Path, module: str, code: str = PLAIN, **options: Any) -> Path:
    """Write a module with a function `predict` into a folder, and pack it as `doubler`.

    Args:
        folder: Where module and registry lie.
        module: Its name, which no other test may have: modules are imported once.
        code: What is in it.
        options: Of packing.

    Returns:
        The registry.
    """
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    sample = pa.table({"amount": pa.array([0.0, 1.0, 5000.0], pa.float64())})
    registry = folder / "registry"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        twofold.pack(
            f"{module}:predict", name="doubler", sample=sample, registry=registry, **options
        )
    return registry


@contextlib.contextmanager
def child(
    code: str, folder: Path, *arguments: str | Path, leave: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """Run code in a process that has the modules of a folder; it is killed at the end.

    Args:
        code: What it does.
        folder: Its first argument, too.
        arguments: The others.
        leave: Its standard input.
    """
    source = Path(twofold.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(folder)])},
        stdin=leave,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
