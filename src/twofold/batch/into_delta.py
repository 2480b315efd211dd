"""A Delta table as a target: the rows of a run in one commit, which says whose they are.

The commit has a transaction identifier of the run. Of two commits with the same one that know
nothing of each other, Delta lets one through; and whoever looks later finds it in the log.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from twofold.batch.committed import Committed, streamed
from twofold.batch.delta import PREFIX, TableName, store_options, table_name
from twofold.batch.objects import words_of
from twofold.batch.table_types import plain_type
from twofold.batch.target import DeliveryState, Look, NotDelivered, another_run, differing
from twofold.batch.watch import Step
from twofold.errors import InvalidInput, missing_extra, problem

if TYPE_CHECKING:
    from deltalake import DeltaTable

ATTEMPTS = 5
"""At a commit to a table that others change meanwhile; appends alone don't disturb each other."""
REACH = "Mend the path, or the store's environment variables."
NAMES = "Choose another --run-id or table, or delete the rows of that run."
MEND = "Leave it out of --keep, or convert it."


@dataclasses.dataclass(frozen=True)
class IntoDelta:
    """A table, absolute or the URL of one."""

    root: str
    has_types = True

    @property
    def name(self) -> str:
        """As it is recorded."""
        return f"{PREFIX}{self.root}"

    def check(self, run_id: str, schema: pa.Schema | None) -> None:
        """See `Target.check`."""
        wanted = None if schema is None else _plain(schema)
        table = self._open()
        if table is None:
            return
        if wanted is not None:
            _check_columns(table, wanted)
        self._refuse_rows(table, run_id)

    def deliver(self, run: Committed, look: Look) -> DeliveryState:
        """See `Target.deliver`."""
        look.step(Step.DELIVER)
        wanted = _plain(run.schema())
        conflict = ""
        for _ in range(ATTEMPTS):
            table = self._open()
            if table is None:
                table = self._create(wanted)
            there = table.transaction_version(_transaction_of(run))
            if there is not None and there >= run.generation:
                return DeliveryState.ALREADY_DELIVERED
            _check_columns(table, wanted)
            if there is None:
                self._refuse_rows(table, run.run_id)
            try:
                self._write(table, run, wanted, look, is_repair=there is not None)
            except _Conflict as error:
                conflict = str(error)
                continue
            return DeliveryState.DELIVERED
        got = f"{ATTEMPTS} conflicts, the last one: {conflict}"
        raise NotDelivered("a table that isn't changed all the time", got, "Deliver it again.")

    def _open(self) -> DeltaTable | None:
        deltalake = _deltalake()
        try:
            return deltalake.DeltaTable(self.root, storage_options=store_options(self.root))
        except deltalake.exceptions.TableNotFoundError:
            return None
        except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
            raise NotDelivered("a Delta table, or none yet", words_of(error), REACH) from error

    def _create(self, schema: pa.Schema) -> DeltaTable:
        deltalake = _deltalake()
        try:
            options = store_options(self.root)
            return deltalake.DeltaTable.create(
                self.root, schema=schema, mode="ignore", storage_options=options
            )
        except deltalake.exceptions.CommitFailedError:
            # Somebody else did so just now.
            return deltalake.DeltaTable(self.root, storage_options=store_options(self.root))
        except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
            got = words_of(error)
            raise NotDelivered("a place to make a Delta table in", got, REACH) from error

    def _refuse_rows(self, table: DeltaTable, run_id: str) -> None:
        """Of a run whose transaction isn't in the log the table may have no rows."""
        deltalake = _deltalake()
        if "run_id" not in pa.schema(table.schema()).names:
            return
        query = f"SELECT 1 FROM rows_there WHERE {_rows_of(run_id)} LIMIT 1"  # noqa: S608 - a checked name
        try:
            answer = deltalake.QueryBuilder().register("rows_there", table).execute(query)
            found = pa.table(answer.read_all()).num_rows
        except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
            got = words_of(error)
            raise NotDelivered("a table that can be read", got, "Mend it.") from error
        if found:
            raise another_run(run_id, NAMES)

    def _write(
        self, table: DeltaTable, run: Committed, wanted: pa.Schema, look: Look, *, is_repair: bool
    ) -> None:
        deltalake = _deltalake()
        names = pa.schema(table.schema()).names
        schema = pa.schema([wanted.field(name) for name in names])
        mine = deltalake.Transaction(_transaction_of(run), run.generation)
        how: dict[str, Any] = {"mode": "append"}
        if is_repair:
            how = {"mode": "overwrite", "predicate": _rows_of(run.run_id)}
        try:
            with streamed(run, schema, look.rows) as rows:
                deltalake.write_deltalake(
                    table,
                    rows,
                    commit_properties=deltalake.CommitProperties(app_transactions=[mine]),
                    **how,
                )
        except deltalake.exceptions.CommitFailedError as error:
            raise _Conflict(words_of(error)) from error
        except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
            # A store may have taken the commit whose answer didn't come.
            got = words_of(error)
            fix = "Mend it."
            raise NotDelivered("a table that takes the rows", got, fix) from error


class _Conflict(Exception):
    """Others changed the table meanwhile; nothing of ours is in it."""


def into_delta(text: str) -> IntoDelta:
    """Read `delta:PATH`.

    Raises:
        InvalidInput: It has a version, a secret, or no path.
    """
    if not text.removeprefix(PREFIX):
        fix = "Name it: delta:PATH."
        raise InvalidInput(problem("--into delta:", "the folder of a table", "none", fix))
    name = table_name(text)
    if not isinstance(name, TableName) or name.version is not None:
        fix = "Leave out what is behind the @."
        raise InvalidInput(problem(f"--into {text}", "a table", "a version of one", fix))
    return IntoDelta(name.root)


def _transaction_of(run: Committed) -> str:
    return f"twofold/{run.run_id}/{run.identity}"


def _rows_of(run_id: str) -> str:
    # Names of runs have no quotes (see `check_name`).
    return f"run_id = '{run_id}'"


def _plain(schema: pa.Schema) -> pa.Schema:
    fields: list[pa.Field] = []
    for field in schema:
        kind = plain_type(field.type)
        if kind is None:
            got = f"{field.name} of type {field.type}"
            raise NotDelivered("columns that a Delta table can have", got, MEND)
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def _check_columns(table: DeltaTable, wanted: pa.Schema) -> None:
    there = pa.schema(table.schema())
    ours = {field.name: str(_inner(field.type)) for field in wanted}
    theirs = {field.name: str(_inner(field.type)) for field in there}
    if error := differing(ours, theirs):
        raise error


def _inner(kind: pa.DataType) -> pa.DataType:
    """Without the names that libraries give to what is in a list."""
    if pa.types.is_list(kind):
        return pa.list_(_inner(kind.value_type))
    if pa.types.is_struct(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        return pa.struct([(field.name, _inner(field.type)) for field in fields])
    return kind


def _deltalake() -> Any:
    try:
        import deltalake  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("deltalake", "delta", "writing to a Delta table") from error
    return deltalake
