"""Taking the input of a run: looked at before the run begins; a database is asked once it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime

import pyarrow as pa

from twofold.batch.inputs import Input, describe_files, fingerprint, open_input
from twofold.batch.layout import Layout
from twofold.batch.ledger import Answered
from twofold.batch.manifest import InputFile
from twofold.batch.query import (
    Query,
    as_input,
    asked,
    kept_input,
    numbers_of,
    parse_query,
    tables_of,
)
from twofold.batch.sql_types import plain_schema, unreadable
from twofold.batch.stage import Stage
from twofold.errors import InvalidInput, problem
from twofold.model.signature import Signature


@dataclasses.dataclass(frozen=True)
class Given:
    """An input as it is given: files, which are there, or a query, which isn't asked yet.

    Attributes:
        text: What is recorded of it.
        fingerprint: What identifies it.
        source: The files, if it is some.
        files: What binds their content.
        query: The query, if it is one.
    """

    text: str
    fingerprint: str
    source: Input | None = None
    files: tuple[InputFile, ...] = ()
    query: Query | None = None


@dataclasses.dataclass(frozen=True)
class Taken:
    """An input that can be read (`answered` if it is the answer to a query)."""

    source: Input
    files: tuple[InputFile, ...]
    answered: Answered | None = None


def look_at(text: str, query: str | None, recorded: str | None) -> Given:
    """Look at an input; no database is asked.

    Args:
        text: What the caller wrote.
        query: What to ask, if it is a database.
        recorded: What an earlier attempt recorded of its input.

    Raises:
        InvalidInput: It can't be read, or is a query without a database, or the reverse.
        ConfigError: What it needs isn't installed.
    """
    found = parse_query(text, query)
    if found is not None:
        return Given(found.given, found.fingerprint, query=found)
    source = open_input(text, recorded)
    files = describe_files(source)
    return Given(source.given, fingerprint(files), source, files)


def take(
    given: Given,
    signature: Signature,
    lay_out: Callable[[Input], Layout],
    stage: Stage,
    *,
    answered: Answered | None,
    clock: Callable[[], datetime],
) -> Taken:
    """Give the files, or the answer to the query: that of an earlier attempt, or a new one.

    Args:
        given: The input.
        signature: The model's: what its fields are is what the database's numbers become.
        lay_out: Checks the columns, before any row is read.
        stage: Where the answer is kept.
        answered: The answer that is kept there already.
        clock: Asked for the time of the record.

    Raises:
        InvalidInput: The database says no, or its columns don't fit.
    """
    if given.source is not None:
        return Taken(given.source, given.files)
    if given.query is None:
        raise ValueError("an input is files or a query")
    if answered is None:
        with asked(given.query) as (schema, batches):
            read_at = clock()
            plain = plain_schema(schema, numbers_of(signature))
            columns = lay_out(as_input(given.query, plain)).read
            wanted = pa.schema([plain.field(name) for name in columns])
            for name, got in unreadable(schema, columns).items():
                fix = "Write CAST(... AS text) or CAST(... AS numeric) in the query."
                where = f"{given.query.given}: {name}"
                raise InvalidInput(problem(where, "a type that files have", got, fix))
            answered = stage.keep_answer(tables_of(batches, wanted), wanted, read_at)
    source, files = kept_input(given.query, stage.answer, answered.file)
    return Taken(source, files, answered)
