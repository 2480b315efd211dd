"""What a comparison has found, kept as JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from found import FOUND

from twofold.errors import InvalidInput
from twofold.lab.findings import read_findings


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_bytes(msgspec.json.encode(FOUND))
    assert read_findings(path) == FOUND


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"layout": 1, "model": "churn"}'])
def test_what_is_something_else_is_told_with_its_place(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "found.json"
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"found\.json: expected findings of a comparison"):
        read_findings(path)


def test_a_later_layout_is_told_before_what_is_new_in_it(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_bytes(b'{"layout": 2, "news": []}')
    with pytest.raises(InvalidInput, match=r"layout: expected 1, got 2\. Update twofold"):
        read_findings(path)
