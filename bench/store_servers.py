"""The servers of stores: Redis, which is started, and PostgreSQL, if it is there."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Generator
from pathlib import Path

from serving import free_port

START_S = 10.0
POSTGRESQL = (os.environ.get("PGHOST", "127.0.0.1"), int(os.environ.get("PGPORT", "5432")))


class NoServer(Exception):
    """There is none; the text says how to have one."""


@contextlib.contextmanager
def redis_server(folder: Path) -> Generator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a Redis that keeps nothing on disk: its URL, and its process."""
    if shutil.which("redis-server") is None:
        raise NoServer("no redis-server: apt-get install redis-server")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        _wait(port)
        yield f"redis://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def postgresql_schema() -> Generator[str]:
    """The URL of a schema of its own in the PostgreSQL that is there; it is dropped at the end."""
    import psycopg
    from psycopg import sql

    user, database = os.environ.get("PGUSER", "postgres"), os.environ.get("PGDATABASE", "test")
    host, port = POSTGRESQL
    url = f"postgresql://{user}@{host}:{port}/{database}"
    schema = f"bench_{uuid.uuid4().hex[:8]}"
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.Error as error:
        raise NoServer(f"no PostgreSQL at {host}:{port}: set PGHOST and PGPORT") from error
    try:
        yield f"{url}?schema={schema}"
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            name = sql.Identifier(schema)
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))


def _wait(port: int) -> None:
    until_s = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.02)
        else:
            return
