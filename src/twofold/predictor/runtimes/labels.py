"""Labels from a booster's predictions: boosters know their classes by number only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from twofold.model.record import Artifact
from twofold.model.signature import Output

LABEL_CALLS: dict[type, str] = {bool: "label_bool", int: "label_int64", str: "label_string"}
"""The Python type of a model's classes to the `call` of its artifact."""
READERS: dict[str, Callable[[str], Any]] = {
    "label_bool": lambda text: text == "True",
    "label_int64": int,
    "label_string": str,
}


def label_step(artifact: Artifact, output: Output) -> Callable[[Any], Any]:
    """What turns a booster's predictions into what the artifact's `call` asks for.

    Args:
        artifact: Its `call` is one of `LABEL_CALLS`, or else predictions stay as they are.
        output: The classes, as text.
    """
    reader = READERS.get(artifact.call)
    if reader is None:
        return lambda found: found
    values = [reader(text) for text in output.classes or ()]
    labels = np.array(values, object if reader is str else None)
    return lambda found: labels[class_numbers(found, len(labels))]


def class_numbers(found: Any, classes: int) -> Any:
    """The number of each row's class.

    Args:
        found: Probabilities of shape (rows, classes), or of the second of two classes of shape
            (rows,), or class numbers of shape (rows,).
        classes: How many classes there are.
    """
    if found.ndim > 1:
        return found.argmax(axis=1)
    if classes == 2:  # noqa: PLR2004 - one probability stands for both
        return (found > 0.5).astype(np.int64)  # noqa: PLR2004 - the likelier one
    return found.astype(np.int64)
