"""Sessions with a PostgreSQL, over psycopg: every wait has an end, every no is in the same words.

Nothing of psycopg's is known outside of this file.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Generator, Iterable, Sequence
from typing import Any

from twofold.errors import ConfigError, missing_extra, problem
from twofold.stores.copy_format import ARRAY_OID, key_array
from twofold.stores.postgresql_address import Address, without_secrets

try:
    import psycopg
    from psycopg import adapt, conninfo, pq, sql
    from psycopg.waiting import Ready, wait_async
except ImportError as error:
    raise missing_extra("psycopg", "postgresql", "a store in PostgreSQL") from error

MIN_CONNECT_TIMEOUT_S = 2
"""libpq knows none that is shorter."""
DEFAULTS = {
    # A host that is gone is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "fallback_application_name": "twofold",
}
BOTH = {
    "client_min_messages": "error",
    "default_transaction_isolation": "read committed",
    "idle_session_timeout": "0",  # from version 14 on
    "transaction_timeout": "0",  # from version 17 on
    # What a host that is gone had locked is free after half a minute, too.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
# From version 14 on, and not on every system: a statement ends when nobody waits for it any more.
NOTICED = "SELECT set_config('client_connection_check_interval', '2s', false)"
READING = {
    # A prepared look-up by key has one plan, that was made for any number of keys.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "jit": "off",
    # A live prediction that is lost with the server's power is made once more.
    "synchronous_commit": "off",
}
SET_UP = (
    "SELECT set_config(s.name, s.value, false) FROM unnest($1::text[], $2::text[]) s (name, value) "
    "JOIN pg_settings p ON p.name = s.name AND p.setting <> s.value"
)
DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)


class Failed(Exception):
    """The server said no, or nothing.

    Attributes:
        code: SQLSTATE, if the server gave one.
        is_lost: Whether the session ended with it.
    """

    def __init__(self, words: str, code: str | None, *, is_lost: bool) -> None:
        """Keep its words."""
        super().__init__(words)
        self.code = code
        self.is_lost = is_lost


class CommitFailed(Failed):
    """The server said no to a commit, or nothing: then it may have committed all the same."""


@dataclasses.dataclass(frozen=True)
class Keys:
    """Keys as a value of a statement, of the type bytea[]."""

    keys: Sequence[bytes]


class _KeysDumper(adapt.Dumper):
    """psycopg's own for lists takes longer than the server does to find one."""

    format = pq.Format.BINARY
    oid = ARRAY_OID

    def dump(self, obj: Keys) -> bytes:
        return key_array(obj.keys)


class _NoAnswer(psycopg.OperationalError):
    pass


@functools.lru_cache(maxsize=256)
def render(template: str, schema: str, table: str = "", words: str = "") -> str:
    """Write names into a statement, quoted: of {schema}, and of the tables in it.

    Args:
        template: The statement.
        schema: The schema.
        table: Of {table}.
        words: A text for {words}.
    """
    names = ("pointers", "live", "live_counts")
    parts = {name: sql.Identifier(schema, name) for name in names}
    text: Any = template
    composed = sql.SQL(text).format(
        **parts,
        schema=sql.Identifier(schema),
        table=sql.Identifier(schema, table or "none"),
        words=sql.Literal(words),
    )
    return composed.as_string()


def check(address: Address) -> None:
    """See whether libpq knows all of an address.

    Raises:
        ConfigError: It doesn't.
    """
    try:
        conninfo.conninfo_to_dict(address.url)
    except psycopg.Error as error:
        said = without_secrets(str(error), address)
        fix = "Mend the URL."
        raise ConfigError(problem(address.url, "a URL of PostgreSQL", said, fix)) from error


def _parameters(address: Address, timeout_s: float) -> dict[str, Any]:
    given = conninfo.conninfo_to_dict(address.url)
    # As libpq has it, even where a database is in another encoding.
    more: dict[str, Any] = {"client_encoding": "utf8", **address.secrets}
    if "connect_timeout" not in given:
        more["connect_timeout"] = max(math.ceil(timeout_s), MIN_CONNECT_TIMEOUT_S)
    return {**DEFAULTS, **given, **more}


def _settings(timeout_s: float, more: dict[str, str]) -> tuple[list[str], list[str]]:
    limit = f"{math.ceil(timeout_s * 1000)}ms"
    limits = {"statement_timeout": limit, "idle_in_transaction_session_timeout": limit}
    settings = {**BOTH, **limits, **more}
    return list(settings), list(settings.values())


@contextlib.contextmanager
def _in_words(address: Address, connection: Any = None) -> Generator[None]:
    try:
        yield
    except psycopg.Error as error:
        is_lost = connection is None or connection.closed
        words = without_secrets(str(error), address) or type(error).__name__
        raise Failed(words, error.sqlstate, is_lost=is_lost) from error


def _within(waiting: Any, limit_s: float) -> Generator[Any, Any, Any]:
    """Wait as psycopg does, which wakes it up now and then, but not for longer than this."""
    ends_s = time.monotonic() + limit_s
    try:
        wanted = next(waiting)
        while True:
            ready = yield wanted
            if ready == Ready.NONE and time.monotonic() >= ends_s:
                raise _NoAnswer(f"no answer within {limit_s:g} s")
            wanted = waiting.send(ready)
    except StopIteration as end:
        return end.value


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    limit_s = 0.0

    def wait(self, gen: Any, interval: float = 0.1, *more: Any, **named: Any) -> Any:
        interval = min(interval, self.limit_s / 4)
        try:
            return super().wait(_within(gen, self.limit_s), interval, *more, **named)
        except _NoAnswer:
            self.pgconn.finish()  # what comes later would be taken for the next answer
            raise


class _AsyncConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    limit_s = 0.0

    async def wait(self, gen: Any, interval: float = 0.1, *more: Any, **named: Any) -> Any:
        interval = min(interval, self.limit_s / 4)
        try:
            # Not psycopg's own method: when it is cancelled it waits for the server, for long.
            waiting = _within(gen, self.limit_s)
            return await wait_async(waiting, self.pgconn.socket, interval, *more, **named)
        except (_NoAnswer, asyncio.CancelledError):
            self.pgconn.finish()
            raise


class Session:
    """A session that waits: for publishing."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        """Connect.

        Args:
            address: Where to.
            timeout_s: Seconds an answer may take; the first of them at least 2, as libpq has it.

        Raises:
            Failed: The server isn't there, or doesn't let us in.
        """
        self._address = address
        self._timeout_s = timeout_s
        with _in_words(address):
            self._connection = _Connection.connect(
                **_parameters(address, timeout_s),
                autocommit=True,
                prepare_threshold=None,
                cursor_factory=psycopg.RawCursor,
            )
        self._connection.limit_s = timeout_s
        self._connection.adapters.register_dumper(Keys, _KeysDumper)
        try:
            self.ask(SET_UP, *_settings(timeout_s, {}))
            self.ask(DURABLE)
            with contextlib.suppress(Failed):
                self.ask(NOTICED)
        except BaseException:
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether there is still somebody at the other end, as far as is known."""
        return not self._connection.closed

    def ask(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Execute a statement; give its rows.

        Raises:
            Failed: The server says no, or nothing in time.
        """
        statement: Any = text
        with _in_words(self._address, self._connection):
            cursor = self._connection.execute(statement, values or None, binary=True)
            return cursor.fetchall() if cursor.description else []

    def copy(self, text: str, chunks: Iterable[bytes], *, stall_s: float) -> None:
        """Send what a COPY takes.

        Args:
            text: The COPY.
            chunks: What it takes, in its format. What they raise ends it.
            stall_s: Seconds the server may take for one of them.

        Raises:
            Failed: The server says no, or takes nothing in time.
        """
        statement: Any = text
        with _in_words(self._address, self._connection):
            before_s, self._connection.limit_s = self._connection.limit_s, stall_s
            try:
                with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
                    for chunk in chunks:
                        copy.write(chunk)
            finally:
                self._connection.limit_s = before_s

    @contextlib.contextmanager
    def transaction(self, limit_s: float | None = None) -> Generator[None]:
        """A transaction; it is rolled back if what is in it raises.

        Args:
            limit_s: Seconds a statement in it may take, instead of `timeout_s`.

        Raises:
            Failed: See `ask`.
            CommitFailed: So it was at the commit.
        """
        self.ask("BEGIN")
        try:
            if limit_s is not None:
                self.ask(f"SET LOCAL statement_timeout = '{math.ceil(limit_s)}s'")
                self._connection.limit_s = limit_s
            yield
        except BaseException:
            self._connection.limit_s = self._timeout_s
            with contextlib.suppress(Failed):
                self.ask("ROLLBACK")
            raise
        try:
            self.ask("COMMIT")
        except Failed as error:
            raise CommitFailed(str(error), error.code, is_lost=error.is_lost) from error
        finally:
            self._connection.limit_s = self._timeout_s

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class AsyncSession:
    """A session of an event loop: for reading."""

    def __init__(self, connection: _AsyncConnection, address: Address) -> None:
        """Take a connection; see `connect`."""
        self._connection = connection
        self._address = address

    @classmethod
    async def connect(cls, address: Address, timeout_s: float) -> AsyncSession:
        """Connect.

        Args:
            address: Where to.
            timeout_s: Seconds it may take, and each answer later.

        Raises:
            Failed: The server isn't there, or doesn't let us in.
        """
        try:
            async with asyncio.timeout(timeout_s):
                with _in_words(address):
                    connection = await _AsyncConnection.connect(
                        **_parameters(address, timeout_s),
                        autocommit=True,
                        prepare_threshold=0,
                        cursor_factory=psycopg.AsyncRawCursor,
                    )
                connection.limit_s = timeout_s
                connection.adapters.register_dumper(Keys, _KeysDumper)
                session = cls(connection, address)
                try:
                    await session.ask(SET_UP, *_settings(timeout_s, READING))
                except BaseException:
                    await session.close()
                    raise
                return session
        except TimeoutError as error:
            raise Failed(f"no answer within {timeout_s:g} s", None, is_lost=True) from error

    @property
    def is_open(self) -> bool:
        """Whether there is still somebody at the other end, as far as is known."""
        return not self._connection.closed

    async def ask(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Execute a statement; give its rows.

        Raises:
            Failed: The server says no, or nothing in time.
        """
        statement: Any = text
        with _in_words(self._address, self._connection):
            cursor = self._connection.cursor(binary=True)
            await cursor.execute(statement, values)
            return await cursor.fetchall() if cursor.description else []

    async def close(self) -> None:
        """Hang up."""
        await self._connection.close()
