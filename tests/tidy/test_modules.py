"""Each module says what it is for, is small, and every public name is documented."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import twofold

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "twofold"
MODULES = sorted(SOURCE.rglob("*.py"))
MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 70
MAX_PUBLIC_NAMES = 25

# Words that the glossary replaces, as whole parts of names: one word, one meaning.
REPLACED = {
    "backend": "runtime",
    "checkpoint": "ledger",
    "healthy": "live or ready",
    "manager": "the noun itself",
    "promote": "switch",
    "score": "predict",
    "shard": "partition",
    "throttle": "shed or refuse",
    "ttl": "freshness",
    "util": "what it is",
    "utils": "what they are",
}


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for_and_is_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    said = ast.get_docstring(tree)
    assert said, "no docstring"
    assert said.partition("\n")[0].endswith((".", ":")), "no sentence"
    assert text.count("\n") <= MAX_MODULE_LINES
    long = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert not long, f"longer than {MAX_FUNCTION_LINES} lines"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_names_use_the_words_of_the_field(path: Path) -> None:
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = node.name
        elif isinstance(node, ast.arg):
            name = node.arg
        else:
            continue
        parts = "".join(f"_{c}" if c.isupper() else c for c in name).lower().split("_")
        found.update((name, REPLACED[part]) for part in parts if part in REPLACED)
    assert not found, "name: the word to use instead"


def test_the_public_interface_is_small_and_every_name_is_documented() -> None:
    assert len(twofold.__all__) <= MAX_PUBLIC_NAMES
    assert list(twofold.__all__) == sorted(twofold.__all__)
    for name in twofold.__all__:
        public = getattr(twofold, name)
        assert inspect.getdoc(public), f"{name} has no docstring"
        if inspect.isfunction(public):
            said = inspect.getdoc(public) or ""
            for parameter in inspect.signature(public).parameters:
                assert f"\n    {parameter}: " in said, f"{name} doesn't say what {parameter} is"
            assert "Returns:" in said
            assert "Raises:" in said


def test_importing_loads_nothing_heavy_and_configures_nothing() -> None:
    code = (
        "import sys, logging; before = list(logging.root.handlers); import twofold; "
        "assert logging.root.handlers == before; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "pyarrow", "pandas", "sklearn", "lightgbm", "onnxruntime", "rich", "click"}
    assert not heavy.intersection(done.stdout.split())
