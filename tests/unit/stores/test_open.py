"""From the address of a store to the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.errors import ConfigError
from twofold.stores.embedded import EmbeddedStore
from twofold.stores.open import is_local, open_store


def test_a_folder_is_a_store_of_its_own_and_nothing_is_made_of_it_yet(tmp_path: Path) -> None:
    for address in [str(tmp_path / "store"), "store", "../store", "C:/store"]:
        assert is_local(address)
        assert isinstance(open_store(address, timeout_s=1.0), EmbeddedStore)
    assert str(tmp_path / "store") in repr(open_store(str(tmp_path / "store"), timeout_s=1.0))
    assert not [*tmp_path.iterdir()]


def test_what_is_no_store_is_refused() -> None:
    assert not is_local("mysql://there/db")
    with pytest.raises(
        ConfigError, match=r"--store: expected a folder or a server, got mysql://\. Give"
    ):
        open_store("mysql://there/db", timeout_s=1.0)
