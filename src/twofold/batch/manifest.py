"""The manifest: the list of files that *is* the output of a run, and what it was made of."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from twofold.batch.statistics import Statistics
from twofold.errors import InvalidInput, TwofoldError, problem

MANIFEST_FILE = "manifest.json"


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a run.

    Attributes:
        name: Its name in the run's folder.
        rows: Rows in it.
        bytes: Its length.
        sha256: Digest of its bytes, hexadecimal.
    """

    name: str
    rows: int
    bytes: int
    sha256: str


class InputFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the input, and what binds its content.

    Attributes:
        path: Absolute, or a URL.
        bytes: Its length.
        rows: Its rows, if known before reading.
        digest: Of its whole content; or, if `modified_ns` is given, of its first and last 64 KiB
            (where a Parquet file keeps counts and statistics of all its columns): `xxh128:` and
            its XXH3 of 128 bits, which shows a change by accident, at the speed of memory; of the
            kept answer to a query, `sha256:` and that. Empty for an object of a store, which
            `etag`, `version` and `modified_ns` stand for.
        modified_ns: For large files: when it was last written, nanoseconds since 1970, which
            stands for the content that wasn't hashed.
        etag: What the store calls the content of an object.
        version: Its version, where its bucket keeps them.
        folders: Columns that the names of its folders, or the log of its Delta table, give, and
            their values.
    """

    path: str
    bytes: int
    rows: int | None = None
    digest: str = ""
    modified_ns: int | None = None
    etag: str | None = None
    version: str | None = None
    folders: dict[str, str | None] = {}


class InputEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The input of a run.

    Attributes:
        given: What was given: a path, folder or glob, made absolute; a URL; a Delta table and
            its version, as `delta:PATH@VERSION`; or a database, without a password.
        format: `parquet`, `csv`, `arrow`, `jsonl`, `delta` or `sql`.
        fingerprint: Binds the content of the files, the columns of their folders and their order.
        files: In the order of the rows; of a query its result, which was kept until the commit.
        query: What the database was asked.
        read_at: When it answered.
    """

    given: str
    format: str
    fingerprint: str
    files: tuple[InputFile, ...]
    query: str | None = None
    read_at: datetime | None = None


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The model version that predicted."""

    name: str
    version: str
    digest: str


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the part files, its type in Arrow's words."""

    name: str
    type: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What else shapes the bytes of the parts."""

    partition_rows: int
    format: str = "parquet"
    compression: str


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the quarantine that were mended and put into their places.

    Attributes:
        input: Where they came from.
        repaired_at: When; it stands beside their predictions.
        rows_in: Rows given.
        rows_predicted: Of these, those predicted; the others are still in the quarantine.
    """

    input: InputEntry
    repaired_at: datetime
    rows_in: int
    rows_predicted: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A committed run.

    An undisturbed run and one that was killed and resumed write the same parts, byte for byte;
    of the manifest, only `finished_at` tells them apart.

    Attributes:
        format: Version of this layout.
        run_id: The run.
        model: What predicted.
        input: What was predicted.
        as_of: When the input was true, as declared; else `started_at`.
        started_at: When the run first started.
        finished_at: When its last row was predicted.
        predicted_at: The one instant written beside every prediction: `started_at`.
        rows_in: Rows of the input; always `rows_predicted + rows_quarantined`.
        rows_predicted: Rows in `files`.
        rows_quarantined: Rows in `quarantine`.
        key: The input's key column.
        keep: The input's columns that were copied.
        columns: Of the part files.
        files: The parts, in the order of the input's rows.
        quarantine: The rows set aside; None if there are none.
        settings: What else shapes the bytes.
        repairs: What was put in afterwards, in the order in which it was.
        statistics: What fields and predictions held; None if an attempt at the run left it out.
        into: Where else it was to be delivered to when it was committed, without passwords.
    """

    format: Literal[1] = 1
    run_id: str
    model: ModelEntry
    input: InputEntry
    as_of: datetime
    started_at: datetime
    finished_at: datetime
    predicted_at: datetime
    rows_in: int
    rows_predicted: int
    rows_quarantined: int
    key: str | None
    keep: tuple[str, ...]
    columns: tuple[Column, ...]
    files: tuple[FileEntry, ...]
    quarantine: FileEntry | None
    settings: Settings
    repairs: tuple[Repair, ...] = ()
    statistics: Statistics | None = None
    into: tuple[str, ...] = ()


def check_counts(manifest: Manifest) -> None:
    """Check that no row was lost or doubled.

    Raises:
        TwofoldError: `rows_in` isn't what was predicted and set aside, or the files hold other
            numbers of rows.
    """
    set_aside = manifest.quarantine.rows if manifest.quarantine else 0
    counted = sum(file.rows for file in manifest.files)
    wanted = (manifest.rows_predicted, manifest.rows_quarantined, manifest.rows_in)
    if wanted != (counted, set_aside, counted + set_aside):
        raise TwofoldError(
            problem(
                manifest.run_id,
                f"{manifest.rows_in} rows in, {manifest.rows_predicted} predicted and "
                f"{manifest.rows_quarantined} set aside",
                f"files with {counted} and {set_aside}",
                "Nothing was committed. Delete the run's staging folder and start it again.",
            )
        )


def render_manifest(manifest: Manifest) -> bytes:
    """Write a manifest as JSON for people and programs."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a committed run; None if the folder doesn't exist.

    Raises:
        InvalidInput: Something else is there.
    """
    if not folder.exists():
        return None
    try:
        return msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        fix = "Choose another --run-id or --output, or move the folder away."
        raise InvalidInput(
            problem(str(folder), "a committed run or nothing", f"neither: {error}", fix)
        ) from error
