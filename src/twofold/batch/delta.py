"""Delta tables: the files of one version, and what the table's log says beside them.

The files are read as any Parquet file. A table whose files alone don't give its rows (deletion
vectors, mapped columns) is refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from twofold.batch.objects import (
    LIMITS,
    MAX_RETRIES,
    RETRY_TIMEOUT_S,
    check_endpoint,
    has_objects,
    is_object_url,
    split_url,
    words_of,
)
from twofold.errors import InvalidInput, missing_extra, problem

if TYPE_CHECKING:
    from deltalake import DeltaTable

PREFIX = "delta:"
LOG = "_delta_log"
READABLE_FEATURES = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
"""What a reader must know of such a table doesn't concern its data files."""
CHECKED_FEATURES = {"deletionVectors", "columnMapping"}
"""A table may have these without making use of them."""
STORE_OPTIONS = {
    **LIMITS,
    "max_retries": str(MAX_RETRIES),
    "retry_timeout": f"{RETRY_TIMEOUT_S}s",
}
PURGE = "REORG TABLE ... APPLY (PURGE) in Spark writes such files again; then name that version."


@dataclasses.dataclass(frozen=True)
class TableName:
    """What a text says of a table: where it is (absolute), and which version, if it says so."""

    root: str
    version: int | None

    def __str__(self) -> str:
        """As it is recorded."""
        return f"{PREFIX}{self.root}" + ("" if self.version is None else f"@{self.version}")


@dataclasses.dataclass(frozen=True)
class TableFile:
    """A data file: where it is, and its columns that the log has, not the file."""

    path: str
    partition: Mapping[str, pa.Scalar]


@dataclasses.dataclass(frozen=True)
class TableVersion:
    """One version of a table; its files in the order of their paths."""

    name: TableName
    schema: pa.Schema
    files: tuple[TableFile, ...]


def table_name(text: str) -> TableName | None:
    """Tell whether an input is a Delta table, and which.

    Raises:
        InvalidInput: A URL can't be asked.
    """
    if text.startswith(PREFIX):
        path = text.removeprefix(PREFIX)
        found = re.fullmatch(r"(.+)@(\d{1,18})", path)
        root, version = (found[1], int(found[2])) if found else (path, None)
        return TableName(_absolute(root), version)
    if is_object_url(text):
        root, key = split_url(text)
        folder = key.rstrip("/") + "/" if key.strip("/") else ""
        is_plain = not re.search(r"[*?\[]", key) and "." not in key.rpartition("/")[2]
        if is_plain and _has_objects(text, root, f"{folder}{LOG}/"):
            return TableName(_absolute(text), None)
        return None
    return TableName(_absolute(text), None) if (Path(text) / LOG).is_dir() else None


def pinned(name: TableName, recorded: str | None) -> TableName:
    """Take the version that a run began with, where the text alone says none."""
    if name.version is not None or recorded is None or not recorded.startswith(f"{name}@"):
        return name
    version = recorded.rpartition("@")[2]
    return TableName(name.root, int(version)) if version.isdecimal() else name


def open_table(name: TableName) -> TableVersion:
    """Read the log of a table.

    Raises:
        InvalidInput: There is no such table or version, or its files can't be read alone.
        ConfigError: The extra isn't installed, or the store's endpoint can't be right.
    """
    try:
        from deltalake import DeltaTable  # noqa: PLC0415 - an extra
        from deltalake.exceptions import DeltaError  # noqa: PLC0415
    except ImportError as error:
        raise missing_extra("deltalake", "delta", "reading a Delta table") from error
    is_url = is_object_url(name.root)
    options = store_options(name.root)
    try:
        table = DeltaTable(name.root, version=name.version, storage_options=options)
        schema = pa.schema(table.schema())
        actions = pa.table(table.get_add_actions(flatten=False))
        _check_readable(name, table)
    except (DeltaError, OSError, ValueError) as error:
        wanted = "a Delta table" + ("" if name.version is None else f" with version {name.version}")
        what = "URL, the version or the store's environment" if is_url else "path or the version"
        fix = f"Mend the {what}; versions end with the table's log retention."
        raise InvalidInput(problem(str(name), wanted, words_of(error), fix)) from error
    paths = actions.column("path").to_pylist()
    partitions = table.metadata().partition_columns
    values = actions.column("partition") if partitions else None
    files: list[TableFile] = []
    for index, path in enumerate(paths):
        if "://" in path or path.startswith("/"):
            fix = "Copy the table in full; it is a shallow clone of another one."
            raise InvalidInput(problem(str(name), "files below the table's folder", path, fix))
        row = values[index] if values is not None else {}
        constants = {key: row[key].cast(schema.field(key).type) for key in partitions}
        files.append(TableFile(f"{name.root}/{unquote(path)}", constants))
    version = TableName(name.root, table.version())
    return TableVersion(version, schema, tuple(sorted(files, key=lambda file: file.path)))


def store_options(root: str) -> dict[str, str] | None:
    """How long a store that a table is in may be asked; None on disk.

    Raises:
        ConfigError: The store's endpoint can't be right.
    """
    if not is_object_url(root):
        return None
    check_endpoint(root)
    return STORE_OPTIONS


def _check_readable(name: TableName, table: DeltaTable) -> None:
    protocol, facts = table.protocol(), table.metadata().configuration
    features = set(protocol.reader_features or ())
    unknown = features - READABLE_FEATURES - CHECKED_FEATURES
    wanted = "a table whose files can be read as they are"
    if unknown:
        fix = "Export the rows to Parquet files."
        got = f"the feature {', '.join(sorted(unknown))}"
        raise InvalidInput(problem(str(name), wanted, got, fix))
    mode = facts.get("delta.columnMapping.mode", "none")
    if mode != "none":
        fix = "Write it again without delta.columnMapping.mode, or export it to Parquet files."
        raise InvalidInput(problem(str(name), wanted, f"columns mapped by {mode}", fix))
    if "deletionVectors" in features and _count(table.deletion_vectors()):
        raise InvalidInput(problem(str(name), wanted, "deletion vectors in some of them", PURGE))


def _count(vectors: Any) -> int:
    return pa.RecordBatchReader.from_stream(vectors).read_all().num_rows


def _absolute(root: str) -> str:
    if is_object_url(root):
        split_url(root)  # or a secret could be recorded
        return root.rstrip("/")
    return str(Path(root).absolute())


def _has_objects(text: str, root: str, folder: str) -> bool:
    try:
        return has_objects(root, folder)
    except OSError as error:
        fix = "Mend the URL, or the store's environment variables."
        raise InvalidInput(problem(text, "objects that can be read", str(error), fix)) from error
