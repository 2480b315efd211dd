"""A sample as its author gave it: what the model itself is asked to predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def is_pandas(data: Any) -> bool:
    """Whether this is pandas' own frame; nothing is imported to find out."""
    return type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "iloc")


def take_given(given: Any, names: Sequence[str], places: Any) -> Any:
    """Some rows of a frame or an Arrow table, with the model's columns, as a pandas frame.

    Args:
        given: A pandas frame, or an Arrow table.
        names: The columns.
        places: Indices of the rows.

    Returns:
        The frame; None if the table can't be one here, because pandas isn't installed.
    """
    if is_pandas(given):
        return given[list(names)].iloc[places]
    try:
        return given.select(list(names)).to_pandas().iloc[places]
    except ImportError:
        return None
