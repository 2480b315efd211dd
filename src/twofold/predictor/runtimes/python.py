"""Python callables: the packed copy of a module, called with one row or with a table."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twofold.errors import ConfigError, PredictionFailed, problem
from twofold.model.columns import columns_of
from twofold.model.record import Artifact
from twofold.model.signature import Output, Signature, Value
from twofold.predictor.runtime import plain

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column

KINDS: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int64": (int,),
    "float64": (float, int),
    "float32": (float, int),
    "string": (str,),
}


def open_python(
    path: Path, artifact: Artifact, signature: Signature, output: Output
) -> PythonRuntime:
    """Load the packed copy of a module and make its model ready.

    Raises:
        ConfigError: The module can't be loaded here, or lacks the attribute.
    """
    function = load_callable(path, artifact.attribute or "", artifact.sha256)
    return PythonRuntime(function, signature, output, batch_wise=artifact.call == "batch")


def load_callable(path: Path, attribute: str, digest: str) -> Callable[[Any], Any]:
    """Load an attribute of a module's file: a function, or a class with `predict`.

    A class is made without arguments, and its `load`, if it has one, is called once.

    Raises:
        ConfigError: The module can't be loaded here, or lacks the attribute.
    """
    # The digest in the name: two versions of a module live side by side in one server.
    name = f"twofold_packed_{digest[:16]}_{path.stem}"
    module = sys.modules.get(name)
    if module is None:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ConfigError(problem(str(path), "a Python file", path.suffix, "Pack a module."))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            what = f"{type(error).__name__}: {error}"
            fix = "Install what it imports; a packed module can't import its neighbours."
            raise ConfigError(problem(path.name, "a module that loads", what, fix)) from error
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type):
        found = found()
        if hasattr(found, "load"):
            found.load()
    if hasattr(found, "predict"):
        found = found.predict
    if not callable(found):
        fix = "Name a function, or a class with predict."
        raise ConfigError(problem(f"{path.name}:{attribute}", "a callable", repr(found), fix))
    return found


class PythonRuntime:
    """Calls a function with one row as a dict, or with a table."""

    concurrent = False

    def __init__(
        self,
        function: Callable[[Any], Any],
        signature: Signature,
        output: Output,
        *,
        batch_wise: bool,
    ) -> None:
        """Call `function` for each row, or for each table if `batch_wise`."""
        self._function = function
        self._signature = signature
        self._output = output
        self._batch_wise = batch_wise
        # A row's values are what a table's rows have, but for timestamps (numbers inside).
        timed = any(field.type == "timestamp" for field in signature.fields)
        self._direct = not (batch_wise or timed)

    def predict_columns(self, columns: pa.RecordBatch) -> list[Column]:
        """Predict many rows."""
        if self._batch_wise:
            found = self._function(pa.Table.from_batches([columns]))
            listed = found.to_pylist() if hasattr(found, "to_pylist") else list(found)
        else:
            function = self._function
            listed = [function(row) for row in columns.to_pylist()]
        return [self._array(listed)]

    def predict_values(self, values: Sequence[Value]) -> tuple[Any, ...]:
        """Predict one row."""
        if self._direct:
            row = dict(zip(self._signature.names, values, strict=True))
            return (plain(self._array([self._function(row)])[0]),)
        columns = columns_of(self._signature, [values])
        return tuple(plain(column[0]) for column in self.predict_columns(columns))

    def _array(self, listed: list[Any]) -> Column:
        kind = self._output.type
        found = [plain(value) for value in listed]
        for value in found:
            wrong_bool = isinstance(value, bool) and kind != "bool"
            if wrong_bool or not isinstance(value, KINDS[kind]):
                raise PredictionFailed(
                    problem(
                        "prediction",
                        kind,
                        f"{type(value).__name__} {value!r}"[:80],
                        "The function must return such a value for every row.",
                    )
                )
        return np.array(found, object if kind == "string" else kind)
