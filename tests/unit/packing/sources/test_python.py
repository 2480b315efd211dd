"""Python callables: where their source is found, and what can't be packed."""

from __future__ import annotations

import functools
import hashlib
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from twofold.errors import DeclarationError
from twofold.model.signature import Field, Signature
from twofold.packing.sources import Declared
from twofold.packing.sources.python import PythonSource, python_source

SIGNATURE = Signature(fields=(Field(name="x", type="float64"),))


def score(row: Any) -> float:
    return row["x"] * 2.0


class Plain:
    """Predicts, and knows nothing."""

    factor = 3.0

    def predict(self, row: Any) -> float:
        return row["x"] * self.factor


class Fitted(Plain):
    """Has learned."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


class Slotted:
    """Has learned, and keeps it elsewhere."""

    __slots__ = ("factor",)

    def predict(self, row: Any) -> float:
        return row["x"] * self.factor


class Called:
    """Its objects are functions."""

    def __call__(self, row: Any) -> float:
        return row["x"]

    @staticmethod
    def inner(row: Any) -> float:
        return row["x"]


def make() -> Any:
    def inside(row: Any) -> float:
        return row["x"]

    return inside


def source_of(model: Any) -> PythonSource:
    return python_source(model, output=None, call="row")


def attribute_of(model: Any, folder: Path) -> str | None:
    return source_of(model).write_original(folder, SIGNATURE, trust_pickle=False).attribute


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("model", "attribute"), [(score, "score"), (Plain, "Plain"), (Plain(), "Plain")]
)
def test_functions_classes_and_objects_without_state_are_found_in_their_file(
    model: Any, attribute: str, tmp_path: Path
) -> None:
    artifact = source_of(model).write_original(tmp_path, SIGNATURE, trust_pickle=False)
    assert (artifact.file, artifact.attribute) == (Path(__file__).name, attribute)
    assert (tmp_path / artifact.file).read_bytes() == Path(__file__).read_bytes()


def test_an_object_that_has_learned_something_is_refused() -> None:
    model = Fitted(f=1, e=2, d=3, c=4, b=5, a=6)
    with pytest.raises(DeclarationError) as caught:
        source_of(model)
    assert str(caught.value) == (
        "model: expected an object without state, got one with a, b, c, d, e. "
        "Let the class's load() set its state, and pack the class."
    )
    with pytest.raises(DeclarationError, match="expected an object without state"):
        source_of(Slotted())


NAMELESS: dict[str, Any] = {
    "a lambda": lambda row: row["x"],
    "a function inside a function": make(),
    "a method": Plain().predict,
    "a function inside a class": Called.inner,
    "a partial function": functools.partial(score),
    "an object that is called": Called(),
    "a function of C": math.sqrt,
    "a type of C": int,
}


@pytest.mark.parametrize("name", NAMELESS)
def test_what_has_no_name_at_the_top_of_a_file_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        source_of(NAMELESS[name])
    assert str(caught.value) == (
        "model: expected a function or class at the top of a module, "
        f"got {NAMELESS[name]!r}. "
        "Define it at the top of a module's file; then name it module:attribute."
    )


def test_a_function_of_the_main_script_is_refused(here: Path) -> None:
    # Loading a copy of the script would run what it does, packing among it.
    (here / "script.py").write_text("def score(row):\n    return row['x']\n")
    names: dict[str, Any] = {"__name__": "__main__"}
    code = compile((here / "script.py").read_text(), str(here / "script.py"), "exec")
    exec(code, names)  # noqa: S102 - as Python runs a script
    with pytest.raises(DeclarationError, match="got score of the main script"):
        source_of(names["score"])


def test_a_function_that_its_file_no_longer_has_is_refused(here: Path) -> None:
    path = here / "moved.py"
    path.write_text("def score(row):\n    return row['x']\n")
    names: dict[str, Any] = {"__name__": "moved"}
    exec(compile(path.read_text(), str(path), "exec"), names)  # noqa: S102 - as an import does
    path.write_text("def other(row):\n    return row['x']\n")
    with pytest.raises(DeclarationError) as caught:
        source_of(names["score"])
    assert str(caught.value) == (
        "score: expected an attribute among other, got 'score'. Name one of them."
    )


BINDING = """
import os, os.path as paths
from math import sqrt as root, pi
try:
    import fast
except ImportError:
    fast = None
if root(4) > 1:
    def branch(row): ...
else:
    branch_too: int = 3
with open(os.devnull) as handle:
    inside_with = 1
for looped in (1,):
    (first, *rest), last = ((1, 2), 3)
if (walrus := 1):
    pass
class Model:
    inner_attribute = 1
    def predict(self, row): ...
async def later(row): ...
def outer(row):
    local = 1
    return local
outer.notes = "an attribute is no name"
"""
BOUND = [
    *("os", "paths", "root", "pi", "fast", "branch", "branch_too", "handle", "inside_with"),
    *("looped", "first", "rest", "last", "walrus", "Model", "later", "outer"),
]


@pytest.mark.parametrize("name", BOUND)
def test_whatever_a_module_binds_at_its_top_can_be_named(name: str, here: Path) -> None:
    (here / "binding.py").write_text(BINDING)
    assert attribute_of(f"binding:{name}", here) == name


@pytest.mark.parametrize(
    "name", ["local", "row", "inner_attribute", "predict", "notes", "sqrt", "math", ""]
)
def test_what_a_module_does_not_bind_at_its_top_cannot(name: str, here: Path) -> None:
    (here / "binding.py").write_text(BINDING)
    with pytest.raises(DeclarationError) as caught:
        source_of(f"binding:{name}")
    assert str(caught.value) == (
        f"binding:{name}: expected an attribute among Model, branch, branch_too, fast, first, "
        f"handle, inside_with, last, later, looped, got {name!r}. Name one of them."
    )


def test_a_dotted_attribute_is_known_by_its_first_part(here: Path) -> None:
    (here / "binding.py").write_text(BINDING)
    assert attribute_of("binding:Model.predict", here) == "Model.predict"


def test_a_module_that_imports_everything_may_have_any_name(here: Path) -> None:
    (here / "everything.py").write_text("from math import *\n")
    assert attribute_of("everything:sqrt", here) == "sqrt"


def test_naming_a_module_does_not_run_it(here: Path) -> None:
    (here / "running.py").write_text("def score(row): ...\nraise SystemExit('it ran')\n")
    assert attribute_of("running:score", here) == "score"
    assert "running" not in sys.modules


def test_modules_of_the_current_folder_come_first(here: Path) -> None:
    # A name of the standard library that no one has imported yet.
    (here / "this.py").write_text("def score(row): ...\n")
    before = list(sys.path)
    assert attribute_of("this:score", here) == "score"
    assert sys.path == before


def test_modules_of_packages_and_packages_themselves_can_be_named(here: Path) -> None:
    package = here / "some_rules"
    package.mkdir()
    (package / "__init__.py").write_text("def whole(row): ...\n")
    (package / "part.py").write_text("def score(row): ...\n")
    stored = here / "stored"
    stored.mkdir()
    try:
        assert attribute_of("some_rules.part:score", stored) == "score"
        assert attribute_of("some_rules:whole", stored) == "whole"
    finally:
        sys.modules.pop("some_rules", None)
    assert sorted(path.name for path in stored.iterdir()) == ["__init__.py", "part.py"]


@pytest.mark.parametrize(
    "module", ["no_such_module", "no_such.module", ".relative", "", "math", "a/b"]
)
def test_a_module_without_a_source_file_is_refused(module: str, here: Path) -> None:
    before = list(sys.path)
    with pytest.raises(DeclarationError) as caught:
        source_of(f"{module}:score")
    assert str(caught.value) == (
        f"{module}:score: expected a Python module, got {module!r}. "
        "Name a module of the current folder or an installed one."
    )
    assert sys.path == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"def score(row:\n", "'(' was never closed"),
        (b"x = '\xe9'\n", "codec can't decode byte 0xe9"),
        (b"x = 1\0\n", "null bytes"),
    ],
)
def test_a_module_that_is_no_python_is_refused(content: bytes, words: str, here: Path) -> None:
    (here / "broken.py").write_bytes(content)
    with pytest.raises(DeclarationError) as caught:
        source_of("broken:score")
    assert str(caught.value).startswith("broken:score: expected a module, got ")
    assert words in str(caught.value)
    assert str(caught.value).endswith(". Mend the module.")


def test_a_callable_gives_values_or_labels_and_no_probabilities() -> None:
    assert python_source(score, output=None, call="row").output == Declared("value")
    assert python_source(score, output="value", call="row").output == Declared("value")
    assert python_source(score, output="label", call="row").output == Declared("label")
    with pytest.raises(DeclarationError) as caught:
        python_source(score, output="probability", call="row")
    assert str(caught.value) == (
        "--output probability: expected one of value, label for a Python callable, "
        "got probability. Choose one of them."
    )


@pytest.mark.parametrize("call", ["row", "batch"])
def test_the_artifact_says_how_it_is_called(call: Any, here: Path) -> None:
    content = b"# coding: latin-1\r\nword = '\xe9'\r\ndef score(row): ...\r\n"
    (here / "rules.py").write_bytes(content)
    stored = here / "stored"
    stored.mkdir()
    source = python_source("rules:score", output=None, call=call)
    artifact = source.write_original(stored, SIGNATURE, trust_pickle=False)
    assert (artifact.call, artifact.input, artifact.format) == (call, "rows", "python-source")
    assert (stored / "rules.py").read_bytes() == content
    assert artifact.sha256 == hashlib.sha256(content).hexdigest()
    assert artifact.size_bytes == len(content)
    assert (source.framework, source.feature_names) == ("python", None)
