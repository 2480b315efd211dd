"""Python callables: the module's source file is the model, copied into the version."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from twofold.errors import DeclarationError, problem
from twofold.model.record import Artifact, Framework
from twofold.model.registry import file_digest
from twofold.model.signature import OutputKind, Signature
from twofold.packing.sources import Declared, no_such_output

EVERYTHING = "*"


def python_source(
    model: Any, *, output: OutputKind | None, call: Literal["row", "batch"]
) -> PythonSource:
    """A function, a class with `predict`, or `"module:attribute"`, as a source.

    Raises:
        DeclarationError: No source file of it can be found, or it can't predict that output.
    """
    if output == "probability":
        raise no_such_output("a Python callable", output, "value, label")
    path, attribute = _named(model) if isinstance(model, str) else _found(model)
    return PythonSource(path, attribute, Declared(output or "value"), call)


def _named(reference: str) -> tuple[Path, str]:
    module, _, attribute = reference.partition(":")
    # As `python -m` does it: modules of the current folder come first.
    sys.path.insert(0, str(Path.cwd()))
    try:
        importlib.invalidate_caches()
        spec = importlib.util.find_spec(module)
    # A package is imported to look into it, and may raise anything.
    except Exception:  # noqa: BLE001
        spec = None
    finally:
        sys.path.pop(0)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        fix = "Name a module of the current folder or an installed one."
        raise DeclarationError(problem(reference, "a Python module", repr(module), fix))
    path = Path(spec.origin)
    _check_attribute(path, attribute, reference)
    return path, attribute


def _found(model: Any) -> tuple[Path, str]:
    target = model if callable(model) else type(model)
    state = getattr(model, "__dict__", {"slots": ...})
    if target is not model and state:
        # A version holds the source of the class; what this object learned would be lost.
        fix = "Let the class's load() set its state, and pack the class."
        got = f"one with {', '.join(sorted(state)[:5])}"
        raise DeclarationError(problem("model", "an object without state", got, fix))
    name = getattr(target, "__qualname__", "")
    try:
        path = Path(inspect.getsourcefile(target) or "")
    except TypeError:
        path = Path()
    # The main module may be the very script that packs: loading its copy would pack again.
    is_main = getattr(target, "__module__", "") == "__main__"
    if is_main or not path.is_file() or not name.isidentifier():
        fix = "Define it at the top of a module's file; then name it module:attribute."
        got = f"{name or repr(model)} of the main script" if is_main else repr(model)
        raise DeclarationError(
            problem("model", "a function or class at the top of a module", got, fix)
        )
    _check_attribute(path, name, name)
    return path, name


def _check_attribute(path: Path, attribute: str, reference: str) -> None:
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        fix = "Mend the module."
        raise DeclarationError(problem(reference, "a module", str(error), fix)) from error
    top = attribute.partition(".")[0]
    names = set(_names(tree.body))
    if EVERYTHING in names:
        return
    if not attribute or top not in names:
        known = ", ".join(sorted(names)[:10])
        raise DeclarationError(
            problem(reference, f"an attribute among {known}", repr(attribute), "Name one of them.")
        )


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """The names that statements of a module bind, also inside its ifs, tries and loops."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
            continue  # what it binds inside is its own
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        waiting += ast.iter_child_nodes(node)


class PythonSource:
    """A module's file and what in it predicts."""

    framework: Framework = "python"
    libraries = ("numpy",)
    feature_names = None

    def __init__(
        self, path: Path, attribute: str, output: Declared, call: Literal["row", "batch"]
    ) -> None:
        """Keep where the callable is."""
        self._path = path
        self._attribute = attribute
        self.output = output
        self._call = call

    def predict_given(self, frame: Any) -> list[Any] | None:  # noqa: ARG002 - there is a file only
        """Nothing: what was given is what is stored."""
        return None

    def write_original(
        self,
        folder: Path,
        signature: Signature,  # noqa: ARG002 - the other libraries need it
        *,
        trust_pickle: bool,  # noqa: ARG002 - a declared function is its author's code anyway
    ) -> Artifact:
        """Copy the module's file: the version must not change when the module does."""
        path = folder / self._path.name
        path.write_bytes(self._path.read_bytes())
        return Artifact(
            file=path.name,
            format="python-source",
            sha256=file_digest(path),
            size_bytes=path.stat().st_size,
            call=self._call,
            input="rows",
            attribute=self._attribute,
        )
