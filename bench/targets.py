"""Figures beside their targets: what a benchmark prints, and what it keeps."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Target:
    """What a figure should be: at least or at most a number, in a unit."""

    limit: float
    at_least: bool = True
    unit: str = ""

    def is_met(self, value: float) -> bool:
        """Whether a figure is as it should be."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        """As in `>= 0.65`."""
        return f"{'>=' if self.at_least else '<='} {shown(self.limit, self.unit)}"


def at_least(limit: float, unit: str = "") -> Target:
    """A target that a figure must reach."""
    return Target(limit, at_least=True, unit=unit)


def at_most(limit: float, unit: str = "") -> Target:
    """A target that a figure must not pass."""
    return Target(limit, at_least=False, unit=unit)


@dataclass
class Report:
    """All figures of a run, printed as they come.

    Attributes:
        parts: Part, then figure.
        missed: Targets that weren't met, by name.
        unmeasured: Targets whose figures couldn't be had.
        failed: Parts that couldn't be measured to their end, and why.
    """

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def begin(self, part: str, about: str) -> None:
        """Begin a part."""
        self.parts[part] = {}
        print(f"\n== {part}: {about}", flush=True)

    def keep(self, name: str, value: Any) -> None:
        """Keep a figure of the present part without printing it."""
        self.parts[next(reversed(self.parts))][name] = value

    def check(self, name: str, value: float | None, target: Target | None, note: str = "") -> None:
        """Print a figure, and whether it is what it should be; None: it wasn't measured."""
        unit = target.unit if target else ""
        text = "-" if value is None else shown(value, unit)
        verdict = ""
        where = f"{next(reversed(self.parts))}: {name}"
        if target is not None and value is None:
            self.unmeasured.append(where)
        elif target is not None and value is not None:
            verdict = "ok" if target.is_met(value) else "MISSED"
            if verdict == "MISSED":
                self.missed.append(where)
        wanted = f"({target})" if target else ""
        print(f"  {name:<58} {text:>10} {wanted:<14} {verdict:<7}{note}".rstrip(), flush=True)
        self.keep(name, {"value": value, "target": wanted, "verdict": verdict, "note": note})

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table whose first column is text and whose others are figures."""
        widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
        for row in [heads, *rows]:
            cells = [f"{row[0]:<{widths[0]}}"]
            cells += [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
            print("  " + "  ".join(cells).rstrip(), flush=True)

    def fail(self, error: Exception) -> None:
        """Say why the present part ends here."""
        self.failed[next(reversed(self.parts))] = str(error)
        print(f"  FAILED: {error}", flush=True)

    def end(self, path: Path | None) -> None:
        """Say what was missed; write all figures to a file."""
        print()
        print(f"MISSED: {'; '.join(self.missed)}" if self.missed else "no target missed")
        if self.unmeasured:
            print(f"not measured: {'; '.join(self.unmeasured)}")
        if self.failed:
            print(f"FAILED: {', '.join(self.failed)}")
        if path is not None:
            about = {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": platform.platform(),
                "python": platform.python_version(),
                "cores": os.cpu_count(),
            }
            found = {"about": about, "parts": self.parts, "missed": self.missed}
            found |= {"unmeasured": self.unmeasured, "failed": self.failed}
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def shown(value: float, unit: str = "") -> str:
    """A number with as many digits as say something."""
    if not math.isfinite(value):
        return "never"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3  # noqa: PLR2004
    text = f"{value:,.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}{' ' + unit if unit else ''}"


def median(values: Sequence[float]) -> float | None:
    """The median; None of none."""
    return statistics.median(values) if values else None
