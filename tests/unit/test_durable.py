"""Folders are on disk before what is in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twofold import durable
from twofold.durable import make_durably, sync


def test_what_cannot_be_synced_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")


def test_each_new_folder_is_synced_in_the_one_above_before_the_next_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, below = tmp_path / "a" / "b", (tmp_path / "a" / "b" / ".twofold",)
    done: list[tuple[Path, bool]] = []

    def look(folder: Path) -> None:
        done.append((folder, below[0].exists()))

    monkeypatch.setattr(durable, "sync", look)
    make_durably(output, *below)
    assert below[0].is_dir()
    # The deepest folder that was there may be as new as those that weren't.
    assert done == [
        (tmp_path.parent, False),
        (tmp_path, False),
        (tmp_path / "a", False),
        (output, True),
    ]


@pytest.mark.parametrize("is_new", [True, False])
def test_folder_that_may_not_be_looked_into_matters_to_who_makes_one_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_new: bool
) -> None:
    def refuse(folder: Path) -> None:
        if folder == tmp_path:
            raise PermissionError(13, os.strerror(13), str(folder))

    monkeypatch.setattr(durable, "sync", refuse)
    if not is_new:
        (tmp_path / "out").mkdir()
        make_durably(tmp_path / "out", tmp_path / "out" / "in")
        return
    with pytest.raises(PermissionError):
        make_durably(tmp_path / "out")
