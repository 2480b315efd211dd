"""Compiles the C programs of the benchmarks, when they are needed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent
FLAGS = ("-O2", "-std=c11", "-Wall", "-Wextra")


class NoCompiler(Exception):
    """There is no C compiler."""


def built(name: str, folder: Path, *libraries: str) -> Path:
    """Compile NAME.c of this folder into another one; give the program."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise NoCompiler("cc: expected a C compiler, got none. Install the package gcc.")
    program = folder / name
    if not program.exists():
        source = SOURCES / f"{name}.c"
        command = [compiler, *FLAGS, "-o", str(program), str(source), *libraries, "-lm"]
        subprocess.run(command, check=True)
    return program
