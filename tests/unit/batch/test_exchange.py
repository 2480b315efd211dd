"""Two folders change names in one step."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.batch.exchange import exchange


def test_folders_have_each_others_names(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    exchange(one, other)
    assert (one / "file").read_text() == "other"
    assert (other / "file").read_text() == "one"


def test_folder_that_is_missing_is_an_error_and_the_other_stays(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    with pytest.raises(FileNotFoundError):
        exchange(one, tmp_path / "other")
    assert one.exists()
