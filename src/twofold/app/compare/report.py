"""Writing the report of a comparison to files."""

from __future__ import annotations

import os
from pathlib import Path

from twofold.lab.compare_costs import Derived
from twofold.lab.compare_page import render_page
from twofold.lab.compare_text import render_text
from twofold.lab.findings import Findings


def write_reports(
    found: Findings, derived: Derived, *, html: Path | None, markdown: Path | None
) -> None:
    """Write the files that are asked for, each whole or not at all.

    Raises:
        OSError: One can't be written.
    """
    if html is not None:
        _write(html, render_page(found, derived))
    if markdown is not None:
        _write(markdown, render_text(found, derived))


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8", errors="replace")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
