"""A model as a Python function: packed as source, predicted on its original runtime."""

from __future__ import annotations

from typing import Any


def length(row: dict[str, Any]) -> str:
    """Say in a word how long a visit will be."""
    minutes = 5.0 + row["people"] if row["is_first"] else 2.0
    minutes += len(row["note"]) + row["since"].hour + min(abs(row["weight"] or 0.0), 100.0)
    return "short" if minutes < 20.0 else "länger"
