"""A Redis store without a server: what it says, and what it loads."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest

from twofold.errors import ConfigError, StoreUnavailable
from twofold.stores.open import is_local, open_store
from twofold.stores.redis import RedisStore


@pytest.fixture
def port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_server_that_is_not_there_is_said_without_the_password(scheme: str, port: int) -> None:
    store = RedisStore(f"{scheme}://user:hu%21sh@127.0.0.1:{port}", timeout_s=1.0)

    async def find() -> None:
        reader = store.reader("churn")
        try:
            await reader.find([b"a"])
        finally:
            await reader.close()

    def publish() -> None:
        with store.publishing("churn"):
            pytest.fail("there is no server")

    for call in (lambda: store.pointer("churn"), publish, lambda: asyncio.run(find())):
        with pytest.raises(StoreUnavailable, match=rf"^redis.*127\.0\.0\.1:{port}") as caught:
            call()
        assert "hu" not in str(caught.value).replace("that", "")
        assert "user:" not in str(caught.value)
    assert repr(store).startswith(f"RedisStore('{scheme}://127.0.0.1:{port}")


def test_a_url_of_another_kind_is_refused_at_once() -> None:
    with pytest.raises(ConfigError):
        RedisStore("http://h", timeout_s=1.0)


def test_the_client_is_loaded_with_the_first_store_and_its_absence_is_said() -> None:
    code = (
        "import sys; import twofold.stores.redis; from twofold.stores.open import open_store; "
        "assert 'redis' not in sys.modules; sys.modules['redis'] = None; "
        "open_store('redis://127.0.0.1:1', timeout_s=1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs redis, which is not installed" in done.stderr
    assert "twofold[redis]" in done.stderr


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "rediss+cluster"])
def test_a_store_is_opened_by_its_url(scheme: str) -> None:
    store = open_store(f"{scheme}://u:hush@h", timeout_s=1.0)
    assert isinstance(store, RedisStore)
    assert not is_local(f"{scheme}://h")
