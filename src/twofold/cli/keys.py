"""`twofold keys new`, `list`, `retire`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import uuid
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from twofold.cli.common import command, data, json_option, print_json, print_result, talk
from twofold.errors import ConfigError, problem
from twofold.model.names import check_name
from twofold.model.registry import sync
from twofold.serving.key_entries import (
    Entry,
    entry_of,
    read_entries,
    with_hashes,
    with_new,
)
from twofold.serving.keys import new_key
from twofold.serving.priority import Priority
from twofold.serving.quotas import MAX_BURST_REQUESTS, MAX_PER_S, MIN_PER_S

PRIVATE = 0o600
ALLOWED = ("priority", "max_requests_per_s", "burst_requests", "models", "expires_at")

file_option = click.option(
    "--file",
    "path",
    default="keys.toml",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The keys file.",
)


@click.group()
def keys() -> None:
    """Make, list and retire the API keys of a server.

    A running server sees within a second or so that its file has changed.
    """


@keys.command()
@click.argument("name")
@file_option
@click.option(
    "--priority",
    type=click.Choice([priority.word for priority in Priority]),
    help="The highest class it may ask for.  [default: normal]",
)
@click.option(
    "--max-requests-per-s",
    type=click.FloatRange(MIN_PER_S, MAX_PER_S),
    metavar="R",
    help="Its quota, over all workers.  [default: none]",
)
@click.option(
    "--burst-requests",
    type=click.IntRange(1, MAX_BURST_REQUESTS),
    metavar="N",
    help="Requests at once after a rest.  [default: two seconds' worth]",
)
@click.option(
    "--model", "models", multiple=True, metavar="MODEL", help="A model it may ask; all by default."
)
@click.option(
    "--expires-at",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]),
    metavar="UTC",
    help="When it ends, as 2027-01-31 or 2027-01-31T12:00:00Z.  [default: never]",
)
@click.option("--rotate", is_flag=True, help="Give NAME one more key; those it has stay in force.")
@json_option
@command
def new(name: str, path: Path, as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Make a key for NAME and print it, once: the file keeps only its hash."""
    check_name(name, what="NAME")
    rotate = options.pop("rotate")
    given = {member: options[member] for member in ALLOWED if options[member] not in (None, ())}
    if rotate and given:
        flags = ", ".join("--" + member.replace("_", "-") for member in given)
        raise click.UsageError(f"--rotate leaves all else of NAME as it is: leave out {flags}.")
    if "burst_requests" in given and "max_requests_per_s" not in given:
        raise click.UsageError("--burst-requests needs --max-requests-per-s.")
    key, digest = new_key()

    def add(text: str) -> str:
        if rotate:
            held = _hashes_of(text, name, path)
            return with_hashes(text, name, (*held, digest), file=str(path))
        return with_new(text, Entry(name, (digest,), **_typed(given)), file=str(path))

    _change(path, add, create=not rotate)
    if as_json:
        print_json({"name": name, "key": key, "file": str(path)})
        return
    print_result(key)
    talk().print(f"the key of {name}, shown this once: {path} keeps only its hash", soft_wrap=True)
    if rotate:
        talk().print(f"once it is in use everywhere: twofold keys retire {name} --file {path}")


def _typed(given: dict[str, Any]) -> dict[str, Any]:
    """Turn what click read into what an entry has."""
    typed = dict(given)
    if "priority" in typed:
        typed["priority"] = Priority.parse(typed["priority"])
    if "models" in typed:
        names = (check_name(model) for model in typed["models"])
        typed["models"] = tuple(dict.fromkeys(names))
    if "expires_at" in typed:
        typed["expires_at"] = typed["expires_at"].replace(tzinfo=UTC)
    return typed


@keys.command()
@click.argument("name")
@file_option
@json_option
@command
def retire(name: str, path: Path, as_json: bool) -> None:  # noqa: FBT001
    """Put all keys of NAME but the newest out of force.

    To lock NAME out, delete its entry from the file.
    """
    retired = 0

    def drop(text: str) -> str:
        nonlocal retired
        held = _hashes_of(text, name, path)
        retired = len(held) - 1
        return with_hashes(text, name, held[-1:], file=str(path)) if retired else text

    _change(path, drop, create=False)
    if as_json:
        print_json({"name": name, "retired": retired, "file": str(path)})
    elif retired:
        talk().print(f"{name}: the newest key stays, older ones are out of force: {retired}")
    else:
        talk().print(f"{name} has but one key; nothing was changed")


def _hashes_of(text: str, name: str, path: Path) -> tuple[str, ...]:
    entries = read_entries(text, file=str(path))
    return entry_of(entries, name, file=str(path)).sha256


@keys.command("list")
@file_option
@json_option
@command
def list_(path: Path, as_json: bool) -> None:  # noqa: FBT001
    """List whose keys a file has and what they allow; never the keys or their hashes."""
    entries = read_entries(_read(path), file=str(path))
    if as_json:
        print_json([_summary(entry) for entry in entries])
        return
    if not entries:
        talk().print(f"no keys in {path}; make one with `twofold keys new NAME --file {path}`")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("name", "priority", "requests/s", "burst", "models", "keys", "expires"):
        table.add_column(title)
    now = datetime.now(UTC)
    for entry in entries:
        quota = entry.quota
        table.add_row(
            entry.name,
            entry.priority.word,
            f"{quota.max_requests_per_s:,g}" if quota else "any",
            f"{quota.burst_requests:,}" if quota else "",
            "all" if entry.models is None else ", ".join(entry.models),
            str(len(entry.sha256)),
            _expiry(entry.expires_at, now),
        )
    data.print(table)


def _summary(entry: Entry) -> dict[str, Any]:
    quota = entry.quota
    return {
        "name": entry.name,
        "priority": entry.priority.word,
        "max_requests_per_s": quota.max_requests_per_s if quota else None,
        "burst_requests": quota.burst_requests if quota else None,
        "models": entry.models,
        "keys": len(entry.sha256),
        "expires_at": entry.expires_at,
    }


def _expiry(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "never"
    return f"{at:%Y-%m-%d %H:%M:%S}" + (" (over)" if now >= at else "")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError as error:
        fix = f"Make the first key with `twofold keys new NAME --file {path}`."
        raise ConfigError(problem(str(path), "a keys file", "nothing there", fix)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(problem(str(path), "UTF-8", str(error), "Mend that byte.")) from error


def _change(path: Path, change: Callable[[str], str], *, create: bool) -> None:
    """Put a changed text in a file's place: in one step, and with no change of others lost."""
    # Through a link, so that the file that it names is replaced, and not the link.
    target = path.resolve()
    with _alone(target.parent):
        exists = target.exists()
        before = _read(path) if exists or not create else ""
        after = change(before)
        if exists and after == before:
            return
        # The file's name may not change owner or rights: a server reads it as another user.
        now = target.stat() if exists else None
        temporary = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(after.encode())
            if now is not None:
                mine = temporary.stat()
                if (mine.st_uid, mine.st_gid) != (now.st_uid, now.st_gid):
                    os.chown(temporary, now.st_uid, now.st_gid)
                temporary.chmod(stat.S_IMODE(now.st_mode))
            sync(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        sync(target.parent)


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Wait until no other command changes a file of this folder; the lock ends with the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
