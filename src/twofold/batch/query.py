"""A query as an input: what identifies it, and its rows, asked for once.

A query has no order and may answer otherwise the next time. So its answer is kept beside the run
(see `Stage.keep_answer`), and the run and all its resumptions read that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import msgspec
import pyarrow as pa

from twofold.batch import adbc, duckdb
from twofold.batch.formats import SQL
from twofold.batch.inputs import Input, OpenFile
from twofold.batch.manifest import FileEntry, InputFile
from twofold.batch.sql_types import plain_batch
from twofold.errors import InvalidInput, problem
from twofold.model.signature import Signature

POSTGRESQL = ("postgresql", "postgres")
PASSWORD = re.compile(r"^(\w+://[^/?#@:]*):([^/?#]*)@")
NUMBERS = ("float32", "float64", "int64")
SECRETS = {"password", "sslpassword", "passfile"}


@dataclasses.dataclass(frozen=True)
class Query:
    """A query to a database.

    Attributes:
        given: The database, without a password: what is recorded.
        text: What it is asked.
        address: What the driver is given.
    """

    given: str
    text: str
    address: str = dataclasses.field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Binds the database and the question; what is answered is bound by the ledger."""
        return hashlib.sha256(msgspec.json.encode([self.given, self.text])).hexdigest()


def is_database(text: str) -> bool:
    """Whether an input is a database."""
    return text.partition(":")[0] in {*POSTGRESQL, "sqlite", "duckdb"}


def parse_query(text: str, query: str | None) -> Query | None:
    """Take an input as a query; None if it is no database.

    Raises:
        InvalidInput: A database without a query, or a query without a database.
    """
    if not is_database(text):
        if query is not None:
            fix = "Name a database (postgresql://..., sqlite:FILE, duckdb:FILE), or leave it out."
            raise InvalidInput(problem("--query", "a database as INPUT", "another input", fix))
        return None
    scheme, _, place = text.partition(":")
    given = without_password(text) if scheme in POSTGRESQL else text
    if query is None or not query.strip():
        fix = 'Say what to read: --query "SELECT ...".'
        raise InvalidInput(problem(given, "a query", "none", fix))
    if scheme in POSTGRESQL:
        return Query(given, query, text)
    if not place and scheme == "sqlite":
        fix = "Name it: sqlite:FILE."
        raise InvalidInput(problem(given, "the file of a database", "none", fix))
    path = str(Path(place).absolute()) if place else ""
    if path and not Path(path).is_file():
        fix = "Mend the path."
        raise InvalidInput(problem(given, "the file of a database", "nothing there", fix))
    return Query(f"{scheme}:{path}", query, path)


def without_password(url: str, where: str = "INPUT") -> str:
    """Take the secrets out of a PostgreSQL URL.

    Args:
        url: The URL.
        where: What the reader gave it as.

    Raises:
        InvalidInput: One may be where it can't be told from the rest.
    """
    found = PASSWORD.sub(r"\1@", url)
    base, sign, parameters = found.partition("?")
    given = url.partition("?")[0]
    if given.count("@") > 1 or ("#" in found and "@" in found.partition("#")[2]):
        raise InvalidInput(
            problem(
                where,
                "a URL postgresql://USER@HOST/DATABASE",
                "one with an @ or # in its password",
                "Write %40 for @ and %23 for #; or give the password in PGPASSWORD or ~/.pgpass.",
            )
        )
    if sign:
        kept = [
            (name, value)
            for name, value in parse_qsl(parameters, keep_blank_values=True)
            if name.lower() not in SECRETS
        ]
        found = base + ("?" + urlencode(kept) if kept else "")
    return found


@contextlib.contextmanager
def asked(query: Query) -> Generator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """Ask the database; its rows come as they are taken, in bounded memory.

    Raises:
        InvalidInput: The database says no; the message has its words.
        ConfigError: The extra isn't installed.
    """
    scheme = query.given.partition(":")[0]
    if scheme == "duckdb":
        rows = duckdb.ask(query.address, query.text)
    elif scheme == "sqlite":
        rows = adbc.ask_sqlite(query.address, query.text)
    else:
        rows = adbc.ask_postgresql(query.address, query.text)
    try:
        with rows as reader:
            _check_names(query, reader.schema)
            yield reader.schema, _batches(query, reader)
    except (adbc.Failed, duckdb.Failed) as error:
        raise _said(query, error) from error


def as_input(query: Query, schema: pa.Schema) -> Input:
    """The answer before it is read, for looking at its columns; the schema is plain."""
    nothing = OpenFile(
        Path(query.given), schema, None, 0, 0, tuple(schema.names), shown=query.given
    )
    return Input(query.given, query.given, SQL, (nothing,))


def kept_input(query: Query, path: Path, entry: FileEntry) -> tuple[Input, tuple[InputFile, ...]]:
    """The answer as it was kept."""
    schema, rows = SQL.reader.describe(path)
    stat = path.stat()
    names = tuple(schema.names)
    file = OpenFile(path, schema, rows, stat.st_size, stat.st_mtime_ns, names, shown=query.given)
    described = InputFile(
        path=entry.name, bytes=entry.bytes, rows=rows, digest=f"sha256:{entry.sha256}"
    )
    return Input(query.given, query.given, SQL, (file,)), (described,)


def numbers_of(signature: Signature) -> list[str]:
    """The fields that are numbers."""
    return [field.name for field in signature.fields if field.type in NUMBERS]


def tables_of(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Those columns of the batches that the schema has, in its types."""
    for batch in batches:
        if batch.num_rows:
            yield pa.Table.from_batches([plain_batch(batch.select(schema.names), schema)], schema)


def _batches(query: Query, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    try:
        yield from reader
    except (adbc.Failed, duckdb.Failed, pa.ArrowException, OSError) as error:
        raise _said(query, error) from error


def _check_names(query: Query, schema: pa.Schema) -> None:
    doubled = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if doubled:
        fix = "Give each column a name of its own with AS."
        got = f"several named {', '.join(doubled)}"
        raise InvalidInput(problem(query.given, "columns of different names", got, fix))


def words_of(error: Exception, address: str) -> str:
    """What a database says, in a line, without the password of its address."""
    secret = PASSWORD.match(address)
    said = " ".join(str(error).split())
    if secret and secret[2]:
        said = said.replace(secret[2], "...")
    if secret or any(f"{name}=" in address for name in SECRETS):
        said = re.sub(r'(password|"[^"]*://)[^\s"]*', r"\1...", said)
    return said[:500].rstrip(".")


def _said(query: Query, error: Exception) -> InvalidInput:
    said = words_of(error, query.address)
    fix = "Mend the query or the connection; passwords are taken from PGPASSWORD and ~/.pgpass."
    if not query.given.startswith(POSTGRESQL):
        fix = "Mend the query."
    return InvalidInput(problem(query.given, "an answer", said, fix))
