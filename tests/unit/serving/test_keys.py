"""A key is found by its hash while it is in force; a changed file is taken over if it is sound."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from twofold.errors import ConfigError
from twofold.serving.key_entries import Entry, render
from twofold.serving.keys import (
    MAX_FILE_BYTES,
    MAX_PRESENTED_BYTES,
    Key,
    Keys,
    KeysFile,
    new_key,
)
from twofold.serving.priority import Priority
from twofold.serving.quotas import Quota, slots_of

NOW = datetime(2026, 7, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def sha(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()


DESK = Entry(
    "desk", (sha(b"old"), sha(b"new")), Priority.INTERACTIVE, 50.0, 9, ("churn",), NOW + SECOND
)
NIGHT = Entry("night", (sha(b"night"),))


def test_new_keys_are_random_long_and_known_by_their_start() -> None:
    made = [new_key() for _ in range(50)]
    assert len({key for key, _ in made}) == 50
    for key, digest in made:
        assert key.startswith("tf_")
        assert len(key) == 46
        assert sha(key.encode()) == digest
        assert Keys([Entry("n", (digest,))]).find(key.encode(), now=NOW) is not None


def test_key_is_found_with_all_that_its_entry_allows() -> None:
    keys = Keys([DESK, NIGHT])
    slots = slots_of(["desk", "night"])
    assert keys.find(b"new", now=NOW) == Key(
        slots["desk"],
        "desk",
        Priority.INTERACTIVE,
        Quota(50.0, 9),
        frozenset({"churn"}),
        NOW + SECOND,
    )
    assert keys.find(b"night", now=NOW) == Key(slots["night"], "night")


def test_every_key_of_a_name_counts_as_that_name() -> None:
    keys = Keys([NIGHT, DESK])
    assert keys.find(b"old", now=NOW) is keys.find(b"new", now=NOW)


@pytest.mark.parametrize("presented", [b"", b"New", b"new ", sha(b"new").encode(), b"\xff" * 40])
def test_what_is_no_key_is_not_found(presented: bytes) -> None:
    assert Keys([DESK, NIGHT]).find(presented, now=NOW) is None
    assert Keys([]).find(presented, now=NOW) is None


def test_long_text_is_no_key_even_if_its_hash_is_known() -> None:
    longest = b"x" * MAX_PRESENTED_BYTES
    keys = Keys([Entry("n", (sha(longest), sha(longest + b"x")))])
    assert keys.find(longest, now=NOW) is not None
    assert keys.find(longest + b"x", now=NOW) is None


def test_key_ends_at_its_instant() -> None:
    keys = Keys([DESK])
    assert keys.find(b"new", now=NOW) is not None
    assert keys.find(b"new", now=NOW + SECOND - timedelta(microseconds=1)) is not None
    assert keys.find(b"new", now=NOW + SECOND) is None


def test_no_hash_is_looked_up_but_under_a_secret_of_this_process_and_then_compared_in_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    entries = [Entry(f"n{number}", (sha(b"%d" % number),)) for number in range(8)]
    one, other = Keys(entries), Keys(entries)
    assert one.find(b"7", now=NOW) is not None
    assert compared == [(bytes.fromhex(sha(b"7")),) * 2]
    assert one.find(b"none of them", now=NOW) is None
    places = set(one._keys)
    assert places.isdisjoint(other._keys)
    assert places.isdisjoint({bytes.fromhex(entry.sha256[0]) for entry in entries})


# The file.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "keys.toml"
    write(file, DESK)
    return file


def write(path: Path, *entries: Entry) -> None:
    """Put a file in the place of another, as `twofold keys` does."""
    beside = path.with_name("beside")
    beside.write_text("\n".join(map(render, entries)), encoding="utf-8")
    beside.chmod(0o600)
    beside.replace(path)


def knows(file: KeysFile, *presented: bytes) -> list[bool]:
    return [file.keys.find(key, now=NOW) is not None for key in presented]


def test_rotated_key_is_in_force_without_a_restart(path: Path) -> None:
    file = KeysFile(path)
    before = file.keys
    assert not file.reload_if_changed()
    assert file.keys is before
    write(path, DESK, NIGHT)
    assert knows(file, b"new", b"night") == [True, False]
    assert file.reload_if_changed()
    assert knows(file, b"new", b"night") == [True, True]
    write(path, NIGHT)
    assert file.reload_if_changed()
    assert knows(file, b"new", b"night") == [False, True]
    assert not file.reload_if_changed()


def test_file_changed_in_place_is_noticed(path: Path) -> None:
    file = KeysFile(path)
    before = path.stat()
    text = path.read_text(encoding="utf-8").replace(sha(b"old"), sha(b"odd"))
    path.write_text(text, encoding="utf-8")
    # As a copy that keeps times does; the time of the change itself can't be set.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.reload_if_changed()
    assert knows(file, b"old", b"odd") == [False, True]


def errors_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    caplog.clear()
    return found


def test_broken_file_changes_nothing_and_is_told_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = KeysFile(path)
    for text in ("[[key]]\nname = 1\n", "", "# emptied by an editor\n", "[[key", "\ufeff"):
        path.write_text(text, encoding="utf-8")
        for _ in range(3):
            assert not file.reload_if_changed()
        [said] = errors_of(caplog)
        assert said.startswith(f"the keys stay as they were: {path}: ")
        assert sha(b"new") not in said
    assert knows(file, b"old", b"new") == [True, True]
    write(path, DESK, NIGHT)
    assert file.reload_if_changed()
    assert errors_of(caplog) == []


def test_file_that_is_gone_changes_nothing_until_it_is_back(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = KeysFile(path)
    away = path.with_name("away")
    path.rename(away)
    assert [file.reload_if_changed() for _ in range(3)] == [False] * 3
    assert len(errors_of(caplog)) == 1
    assert knows(file, b"new") == [True]
    away.rename(path)
    assert file.reload_if_changed()
    assert knows(file, b"new") == [True]


def test_link_that_leads_elsewhere_is_a_change(path: Path) -> None:
    link = path.with_name("link.toml")
    link.symlink_to(path)
    file = KeysFile(link)
    other = path.with_name("other.toml")
    write(other, NIGHT)
    beside = path.with_name("link-beside")
    beside.symlink_to(other)
    beside.replace(link)
    assert file.reload_if_changed()
    assert knows(file, b"new", b"night") == [False, True]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_file_that_may_not_be_read_is_refused_until_it_may(path: Path) -> None:
    file = KeysFile(path)
    path.chmod(0)
    assert not file.reload_if_changed()
    path.chmod(0o600)
    assert file.reload_if_changed()


def test_server_does_not_start_with_a_file_that_is_none_or_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    with pytest.raises(ConfigError, match=r"expected a file of keys, got No such file.*keys new"):
        KeysFile(path)
    with pytest.raises(ConfigError, match="expected a file of keys, got something else"):
        KeysFile(tmp_path)
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="expected a file of keys, got something else"):
        KeysFile(path)
    path.unlink()
    for data, words in [
        (b"", "expected at least one key, got none"),
        (b"\xff", "expected UTF-8, got "),
        (b"#" * (MAX_FILE_BYTES + 1), f"expected at most {MAX_FILE_BYTES} bytes, got more"),
        (b"x = 1\ny = 2\n", r"x: expected .*\n.*y: expected "),
    ]:
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=words):
            KeysFile(path)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_file_that_everybody_may_read_is_warned_of_and_used(
    path: Path, caplog: pytest.LogCaptureFixture, mode: int, *, warned: bool
) -> None:
    path.chmod(mode)
    file = KeysFile(path)
    assert knows(file, b"new") == [True]
    said = [record.getMessage() for record in caplog.records]
    assert said == ([f"{path} can be read by everybody here. Run: chmod o-r {path}"] * warned)
