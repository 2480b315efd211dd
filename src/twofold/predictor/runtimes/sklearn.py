"""scikit-learn estimators, read from skops (no code runs) or trusted pickles."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from twofold.errors import ConfigError, missing_extra, problem
from twofold.model.record import Artifact
from twofold.model.signature import Signature
from twofold.predictor.runtimes.tabular import TabularRuntime

TRUSTED_PACKAGES = ("sklearn.", "scipy.sparse.")
"""Packages whose own types skops may build, besides the types it knows itself."""
TRUSTED_FUNCTIONS = "sklearn.feature_selection."
"""Functions by name could be any that a module imports: only the scores of selectors may be."""
TRUSTED_NAMES = frozenset(
    {"numpy.dtype", "functools.partial", "sklearn.utils.validation.check_array"}
)
"""Not all of NumPy: it has a type that removes the folder its state names. A partial call is as
safe as the function in it, which has to be trusted by itself; histogram gradient boosting keeps
one of `check_array` where it knows categories."""
WARNINGS = ("Found unknown categories", "X does not have valid feature names")
"""What scikit-learn says of each call although the signature decided it."""


def open_sklearn(path: Path, artifact: Artifact, signature: Signature) -> TabularRuntime:
    """Open a stored estimator.

    Raises:
        ConfigError: A library is missing, or the file asks for types that aren't trusted.
    """
    estimator = read_skops(path) if artifact.format == "skops" else read_pickle(path)
    use_one_thread(estimator)
    for words in WARNINGS:
        warnings.filterwarnings("ignore", message=words)
    call = getattr(estimator, artifact.call)

    def predict(rows: Any) -> Any:
        with np.errstate(all="ignore"):  # the door refuses what isn't finite
            return call(rows)

    return TabularRuntime(predict, artifact, signature)


def untrusted_types(path: Path) -> list[str]:
    """The types a skops file asks for that are not plain types of the known libraries."""
    sio = _skops()
    return [
        name
        for name in sio.get_untrusted_types(file=path)
        if name not in TRUSTED_NAMES and not _is_plain(name)
    ]


def _is_plain(name: str) -> bool:
    """Whether a name is a type that a trusted package defines, not one it only imports."""
    module, _, attribute = name.rpartition(".")
    if not module.startswith(TRUSTED_PACKAGES):
        return False
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    home = str(getattr(found, "__module__", ""))
    return home.startswith(TRUSTED_PACKAGES if isinstance(found, type) else TRUSTED_FUNCTIONS)


def use_one_thread(estimator: Any) -> None:
    """Let an estimator and all inside it predict with the caller's thread alone.

    Forests sum their trees in the order in which their threads come: the last bits would change
    from call to call.
    """
    for part in parts_of(estimator):
        if getattr(part, "n_jobs", 1) != 1:
            part.n_jobs = 1


def parts_of(estimator: Any) -> Iterator[Any]:
    """An estimator and every estimator fitted inside it."""
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (list, tuple)):
            waiting += item
        elif isinstance(item, dict):
            waiting += item.values()
        elif hasattr(item, "get_params") and id(item) not in seen and not isinstance(item, type):
            seen.add(id(item))
            yield item
            waiting += vars(item).values()


def read_skops(path: Path) -> Any:
    """Read an estimator from a skops file, building known types only.

    Raises:
        ConfigError: skops isn't installed, or the file asks for other types.
    """
    unknown = untrusted_types(path)
    if unknown:
        raise ConfigError(
            problem(
                str(path),
                "types of scikit-learn and NumPy only",
                ", ".join(unknown[:5]),
                "Save the estimator with joblib and pack that with --trust-pickle.",
            )
        )
    sio = _skops()
    return sio.load(path, trusted=sio.get_untrusted_types(file=path))


def read_pickle(path: Path) -> Any:
    """Read an estimator from a pickle or joblib file. This runs code that the file brings."""
    try:
        import joblib  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("joblib", "sklearn", f"reading {path.name}") from error
    return joblib.load(path)


def _skops() -> Any:
    try:
        import skops.io  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("skops", "sklearn", "this model's original runtime") from error
    return skops.io
