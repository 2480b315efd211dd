"""A model that fails on one value, packed by `bad`."""

from __future__ import annotations

from typing import Any

POISON = 666.0


def predict(table: Any) -> Any:
    """Twice the first field; raises if it is the poisonous value in any row."""
    values = table.column(0).to_numpy()
    if (values == POISON).any():
        raise ValueError("poison")
    return (values * 2.0).tolist()
