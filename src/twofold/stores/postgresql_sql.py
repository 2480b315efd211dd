"""What a PostgreSQL that holds snapshots is asked; names are in braces, values are $1, $2, ...

A snapshot is a table of its own, that never changes once it is there:

    rows_MODEL_SNAPSHOT (key, value)        both are hashes of names; a comment says which
    pointers (model, switches, pointer)     convert_from(pointer, 'UTF8') is JSON
    live (model, switches, key, value)      kept since the pointer was moved for the so many-th time
    live_counts (model, switches, keys)     how many of them there are
"""

from __future__ import annotations

import hashlib

HAS_TABLES = (
    "SELECT count(*) = cardinality($2::text[]) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = $1 AND c.relname = ANY($2::text[])"
)
OWN_TABLES = ["pointers", "live", "live_counts"]
LOCK_SCHEMA = "SELECT pg_advisory_xact_lock($1::bigint)"
HAS_SCHEMA = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
CREATE_SCHEMA = "CREATE SCHEMA IF NOT EXISTS {schema}"
# The key comes first: whatever a planner thinks of the others, it is looked for by it.
# The names of models are plain: the order of some language would only cost time.
CREATE_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS {pointers} (
        model text COLLATE "C" PRIMARY KEY, switches bigint NOT NULL, pointer bytea NOT NULL,
        moved_at timestamp with time zone NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS {live} (
        model text COLLATE "C", switches bigint, key bytea, value bytea NOT NULL,
        PRIMARY KEY (key, model, switches)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS {live_counts} (
        model text COLLATE "C" PRIMARY KEY, switches bigint NOT NULL, keys bigint NOT NULL
    )
    """,
)

TRY_LOCK = "SELECT pg_try_advisory_lock($1::bigint)"
HOLDS_LOCK = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND granted "
    "AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = $1::bigint)"
)

POINTER = "SELECT pointer FROM {pointers} WHERE model = $1"
POINTER_TO_MOVE = POINTER + " FOR UPDATE"
POINTER_TO_KEEP = POINTER + " FOR SHARE"
MOVE = (
    "INSERT INTO {pointers} AS old (model, switches, pointer) VALUES ($1, $2, $3) "
    "ON CONFLICT (model) DO UPDATE SET switches = excluded.switches, pointer = excluded.pointer, "
    "moved_at = now() WHERE old.switches = $4 RETURNING 1"
)
FORGET_LIVE = "DELETE FROM {live} WHERE model = $1 AND switches <> $2"
COUNT_LIVE = (
    "INSERT INTO {live_counts} (model, switches, keys) VALUES ($1, $2, 0) "
    "ON CONFLICT (model) DO UPDATE SET switches = excluded.switches, keys = 0"
)

# It is never changed: there is nothing to vacuum, and no vacuum to wait for when it is dropped.
CREATE = (
    "CREATE TABLE {table} (key bytea NOT NULL, value bytea NOT NULL) "
    "WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)"
)
COMMENT = "COMMENT ON TABLE {table} IS {words}"
# Frozen at once, so that no reader has to find out whether a row may be seen.
COPY = "COPY {table} (key, value) FROM STDIN WITH (FORMAT binary, FREEZE)"
CREATE_INDEX = "CREATE UNIQUE INDEX ON {table} (key) WITH (fillfactor = 100)"
TWICE = "SELECT key FROM {table} GROUP BY key HAVING count(*) > 1 LIMIT 1"
ANALYZE = "ANALYZE {table}"
# 60 bits of each row's SHA-256 (`copy_format.checksum`), added up: the order doesn't matter.
COUNT = (
    "SELECT count(*), coalesce(sum(('x' || left(encode("
    "sha256(int4send(octet_length(key)) || key || value), 'hex'), 15))::bit(60)::bigint), 0)::text "
    "FROM {table}"
)
TABLES = (
    "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = $1 AND c.relkind = 'r' AND starts_with(c.relname::text, $2)"
)
DROP = "DROP TABLE IF EXISTS {table}"

FIND = "SELECT key, value FROM {table} WHERE key = ANY($1::bytea[])"
# All of it is seen as it was at one instant: so there is no pointer to read before or after.
LOOK_UP = (
    "SELECT key, value, -2::bigint FROM {table} WHERE key = ANY($1::bytea[]) "
    "UNION ALL SELECT key, value, -1 FROM {live} "
    "WHERE model = $2 AND switches = $3 AND key = ANY($1::bytea[]) "
    "UNION ALL SELECT NULL, NULL, switches FROM {pointers} WHERE model = $2"
)
BATCH, LIVE = -2, -1
"""The third column of LOOK_UP; of the pointer's line it is `switches`."""
# The line of the count is locked until it is committed, and a switch changes it: so nothing is
# kept that belongs to a switch before.
KEEP = (
    "WITH there AS (SELECT FROM {live} WHERE model = $1 AND switches = $2 AND key = $3), "
    "counted AS (UPDATE {live_counts} SET keys = keys + "
    "CASE WHEN EXISTS (SELECT FROM there) THEN 0 ELSE 1 END "
    "WHERE model = $1 AND switches = $2 AND (keys < $5 OR EXISTS (SELECT FROM there)) RETURNING 1) "
    "INSERT INTO {live} (model, switches, key, value) "
    "SELECT $1, $2::bigint, $3::bytea, $4::bytea FROM counted "
    "ON CONFLICT (key, model, switches) DO UPDATE SET value = excluded.value RETURNING 1"
)

UNDEFINED_TABLE, INVALID_SCHEMA = "42P01", "3F000"
UNIQUE_VIOLATION = "23505"
GONE = {
    UNDEFINED_TABLE,
    INVALID_SCHEMA,
    "XX000",  # a table that was dropped at the same instant
    "40001",  # a replica has to drop it
}
"""What is said of a table that was dropped: there is a newer snapshot."""


def table_of(model: str, snapshot: str) -> str:
    """The name of a snapshot's table."""
    return prefix_of(model) + _digest(snapshot)


def prefix_of(model: str) -> str:
    """What the tables of all of a model's snapshots begin with."""
    return f"rows_{_digest(model)}_"


def lock_of(*names: str) -> int:
    """The number of the advisory lock of a schema, or of a model in it."""
    return int.from_bytes(bytes.fromhex(_digest("twofold", *names)), "big", signed=True)


def _digest(*names: str) -> str:
    # No name has a NUL in it.
    return hashlib.blake2b("\0".join(names).encode(), digest_size=8).hexdigest()
