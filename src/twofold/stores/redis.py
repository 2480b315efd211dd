"""Redis and Valkey, one server or a cluster: connections, and what goes wrong with them.

What a server acknowledged is there for good only as far as the server sees to it. One without
persistence starts anew with nothing, and readers say so; a replica that takes over may lack the
last switch, and the run is to be published again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from typing import Any

from twofold.errors import ConfigError, missing_extra, problem
from twofold.stores.publish_redis import RedisPublication, publishing_redis
from twofold.stores.read_redis import MAX_CONNECTIONS, RedisReader
from twofold.stores.redis_address import RedisAddress, parse_address
from twofold.stores.redis_layout import Command, Names
from twofold.stores.snapshot import Pointer, decode_pointer

LEASE_S = 10.0
"""So long after a publisher died, another one may begin. It is renewed several times meanwhile."""
ATTEMPTS = 1
"""How often a cluster is asked again, after its nodes were looked up anew."""


class RedisStore:
    """A place for the snapshots of models, on a Redis or Valkey server, or a cluster of them."""

    def __init__(self, url: str, *, timeout_s: float, lease_s: float = LEASE_S) -> None:
        """Connect to nothing yet.

        Args:
            url: See `parse_address`.
            timeout_s: How long an answer is waited for. A look-up of a reader takes no longer; a
                publication waits so long at each of its many steps, in a cluster for each node.
            lease_s: How long the right to publish outlives its publisher.

        Raises:
            ConfigError: It is no such URL, or the extra isn't installed.
        """
        self._address = parse_address(url)
        self._driver = _driver()
        self._timeout_s = timeout_s
        self._lease_s = lease_s

    def __repr__(self) -> str:
        """Show where it is."""
        return f"RedisStore({self._address.shown!r})"

    @contextlib.contextmanager
    def publishing(self, model: str) -> Generator[RedisPublication]:
        """See `Store.publishing`.

        Raises:
            LeaseHeld: Another process has it.
            StoreUnavailable: The store doesn't answer.
            ConfigError: The server throws keys away when its memory is full.
        """
        with self._server() as server:
            server.check_eviction()
            with publishing_redis(server, model, lease_s=self._lease_s) as publication:
                yield publication

    def pointer(self, model: str) -> Pointer:
        """See `Store.pointer`.

        Raises:
            StoreUnavailable: The store doesn't answer.
        """
        with self._server() as server:
            (found,) = server.send([("HGET", Names(model).pointer, "pointer")])
        return decode_pointer(found, f"{self._address.shown} {model}") if found else Pointer()

    def reader(self, model: str) -> RedisReader:
        """See `Store.reader`. It belongs to the event loop that it is first used in."""
        driver = self._driver
        with in_words(self._address, driver):
            made = driver.asyncio.RedisCluster if self._address.is_cluster else driver.asyncio.Redis
            client = made.from_url(
                self._address.url,
                max_connections=MAX_CONNECTIONS,
                **self._options(driver, driver.asyncio.retry.Retry),
            )
        channel = RedisChannel(self._address, driver, client)
        return RedisReader(channel, model, timeout_s=self._timeout_s)

    @contextlib.contextmanager
    def _server(self) -> Generator[RedisServer]:
        driver = self._driver
        with in_words(self._address, driver):
            made = driver.RedisCluster if self._address.is_cluster else driver.Redis
            options = self._options(driver, driver.retry.Retry)
            client = made.from_url(self._address.url, **options)
        try:
            yield RedisServer(self._address, driver, client)
        finally:
            with contextlib.suppress(driver.RedisError, OSError):
                client.close()

    def _options(self, driver: Any, retry: Any) -> dict[str, Any]:
        attempts = ATTEMPTS if self._address.is_cluster else 0
        return {
            "username": self._address.user,
            "password": self._address.password,
            "socket_timeout": self._timeout_s,
            "socket_connect_timeout": self._timeout_s,
            "retry": retry(driver.backoff.NoBackoff(), attempts),
            "protocol": 2,  # which every server knows
        }


class RedisServer:
    """See `publish_redis.Server`. Several threads may use it."""

    def __init__(self, address: RedisAddress, driver: Any, client: Any) -> None:
        """Wrap a client."""
        self.address = address.shown
        self._address = address
        self._driver = driver
        self._client = client

    def send(self, commands: Sequence[Command]) -> list[Any]:
        """See `publish_redis.Server`."""
        with in_words(self._address, self._driver):
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return checked(pipeline.execute(raise_on_error=self._address.is_cluster))

    def check_eviction(self) -> None:
        """Refuse a server that may throw rows away.

        Raises:
            ConfigError: It does when its memory is full.
            StoreUnavailable: It doesn't answer.
        """
        with in_words(self._address, self._driver):
            try:
                if self._address.is_cluster:
                    nodes = self._driver.RedisCluster.PRIMARIES
                    told = self._client.info("memory", target_nodes=nodes)
                else:
                    told = self._client.info("memory")
            except self._driver.exceptions.NoPermissionError:
                return  # We are not to know.
        # By node, if there is more than one.
        for memory in [told] if "maxmemory_policy" in told else told.values():
            policy = str(memory.get("maxmemory_policy", ""))
            if memory.get("maxmemory") and policy.startswith("allkeys"):
                wanted = "maxmemory-policy noeviction, or one of volatile-..."
                fix = "Set it: otherwise predictions are lost one by one when memory is full."
                raise ConfigError(problem(self.address, wanted, policy, fix))


class RedisChannel:
    """See `read_redis.Channel`."""

    def __init__(self, address: RedisAddress, driver: Any, client: Any) -> None:
        """Wrap a client."""
        self.address = address.shown
        self.is_ordered = not address.is_cluster
        self._address = address
        self._driver = driver
        self._client = client

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """See `read_redis.Channel`."""
        with in_words(self._address, self._driver):
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return checked(await pipeline.execute(raise_on_error=self._address.is_cluster))

    async def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(self._driver.RedisError, OSError):
            await self._client.aclose()


@contextlib.contextmanager
def in_words(address: RedisAddress, driver: Any) -> Generator[None]:
    """Raise what goes wrong as `StoreUnavailable`."""
    try:
        yield
    except (
        driver.RedisError,
        driver.exceptions.RedisClusterException,
        OSError,  # with those of TLS
        ValueError,  # of a parameter
    ) as error:
        raise address.failed(str(error) or type(error).__name__) from error


def checked(answers: list[Any]) -> list[Any]:
    """Give the answers if none is a refusal, and otherwise raise it as the server said it.

    The client would put the command before it, with what was to be written. In a cluster it has
    to, for it looks at the nodes anew only if it raises.
    """
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _driver() -> Any:
    try:
        import redis  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("redis", "redis", "a store on Redis") from error
    return redis
