"""Finding files."""

from __future__ import annotations

from typing import Any

import pytest

from twofold.batch import find
from twofold.batch.find import find_files
from twofold.errors import InvalidInput


def test_too_many_files_are_refused(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "MAX_INPUT_FILES", 2)
    for name in "ab":
        bench.text("x", f"{name}.csv")
    assert [str(path)[-5:] for path in find_files(str(bench.folder))] == ["a.csv", "b.csv"]
    bench.text("x", "c.csv")
    with pytest.raises(InvalidInput, match="at most 2 files, got more than 2"):
        find_files(str(bench.folder))


def test_no_path_at_all_is_refused() -> None:
    with pytest.raises(InvalidInput, match="INPUT: expected a path"):
        find_files("")
