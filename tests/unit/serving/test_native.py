"""The native parts of the server are used where they were built, and missed nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from twofold.serving.native import native


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    native.cache_clear()
    yield
    native.cache_clear()


def test_native_parts_are_found_where_they_were_built() -> None:
    found = native()
    if found is None:
        pytest.skip("no native code was built")
    assert found.__name__ == "twofold._wire"
    assert native() is found


def test_server_does_without_them_where_no_compiler_was_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As the import system has it for a module that can't be imported.
    monkeypatch.setitem(sys.modules, "twofold._wire", None)
    assert native() is None
