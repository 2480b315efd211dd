"""Finding the files of an input, on the disk or in a store."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from twofold.batch.delta import LOG
from twofold.batch.formats import SUFFIXES
from twofold.batch.objects import (
    ObjectFile,
    Place,
    find_objects,
    fixed_part,
    has_objects,
    is_object_url,
    split_url,
)
from twofold.batch.parallel import in_parallel
from twofold.errors import InvalidInput, problem

MAX_INPUT_FILES = 100_000
MAX_ASKED = 8
"""Folders of a store asked about at a time."""


def find_files(text: str) -> list[Place]:
    """Find the files that a path, a folder, a glob or a URL stands for, in their order.

    Raises:
        InvalidInput: None is there, or too many.
        ConfigError: The extra that the store needs isn't installed.
    """
    if not text:
        fix = "Name a file, a folder or a glob."
        raise InvalidInput(problem("INPUT", "a path", "an empty one", fix))
    if is_object_url(text):
        return _find_objects(text)
    given = Path(text)
    if given.is_dir():
        below = (path for path in given.rglob("*") if path.suffix.lower() in SUFFIXES)
        found = [path for path in below if path.is_file() and not _is_hidden(path, given)]
    elif given.exists():
        found = [given]
    else:
        # Path.glob takes no absolute patterns.
        matches = glob.glob(text, recursive=True)  # noqa: PTH207
        found = [path for path in map(Path, matches) if path.is_file()]
    for folder in sorted({folder for path in found for folder in path.absolute().parents}):
        if (folder / LOG).is_dir():
            raise _below_table(text, str(folder))
    return _first_of(text, found, "path")


def _find_objects(url: str) -> list[Place]:
    root, key = split_url(url)
    tables: set[str] = set()

    def files() -> Iterator[ObjectFile]:
        for file in find_objects(url, suffixes=SUFFIXES, marker=LOG):
            if LOG in file.folders:
                tables.add("/".join(file.folders[: file.folders.index(LOG)]))
            else:
                yield file

    try:
        found = _first_of(url, files(), "URL")
        # Those above what was listed; the last of them is called "." and is the bucket itself.
        above = [str(path) for path in PurePosixPath(fixed_part(key)).parents]
        are_tables = in_parallel(partial(_is_table, root), above, limit=MAX_ASKED)
    except OSError as error:
        fix = "Mend the URL, or the store's environment variables."
        raise InvalidInput(problem(url, "objects that can be read", str(error), fix)) from error
    tables.update(folder for folder, is_one in zip(above, are_tables, strict=True) if is_one)
    for folder in sorted(tables):
        if folder in (".", "") or any(str(file).startswith(f"{root}/{folder}/") for file in found):
            raise _below_table(url, f"{root}/{folder}".rstrip("/."))
    return found


def _is_table(root: str, folder: str) -> bool:
    try:
        return has_objects(root, f"{folder}/{LOG}/".removeprefix("./"))
    except PermissionError:
        return False  # who may only read what is asked for needn't see what lies beside it


def _first_of(text: str, files: Iterable[Place], what: str) -> list[Place]:
    found = list(itertools.islice(files, MAX_INPUT_FILES + 1))
    if not found:
        raise InvalidInput(
            problem(
                text,
                "a Parquet, CSV, JSON Lines or Arrow IPC file, a folder of such files, or a glob",
                "nothing there",
                f"Mend the {what}; file names must end in {', '.join(SUFFIXES)}.",
            )
        )
    if len(found) > MAX_INPUT_FILES:
        fix = "Give a part of them to each of several runs."
        got = f"more than {MAX_INPUT_FILES}"
        raise InvalidInput(problem(text, f"at most {MAX_INPUT_FILES} files", got, fix))
    return sorted(found, key=str)


def _below_table(text: str, table: str) -> InvalidInput:
    # Its files alone have rows that were deleted, or are there twice.
    fix = f"Read it as delta:{table}, or copy what is wanted elsewhere."
    return InvalidInput(problem(text, "files of no Delta table", f"some of {table}", fix))


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
