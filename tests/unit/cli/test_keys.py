"""`twofold keys new`, `list`, `retire`: the key is shown once, the file keeps only its hash."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from twofold.cli.keys import _expiry
from twofold.serving.key_entries import MAX_HASHES, Entry, read_entries
from twofold.serving.keys import Keys, KeysFile
from twofold.serving.priority import Priority

FILE = Path("keys.toml")
FOUR = (
    *("--priority", "interactive", "--max-requests-per-s", "50", "--burst-requests", "9"),
    *("--model", "churn", "--model", "fraud", "--model", "churn", "--expires-at", "2027-01-31"),
)


def sha(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def entries() -> dict[str, Entry]:
    return {
        entry.name: entry
        for entry in read_entries(FILE.read_text(encoding="utf-8"), file="keys.toml")
    }


def in_force(key: str) -> bool:
    return KeysFile(FILE).keys.find(key.encode(), now=datetime.now(UTC)) is not None


# Making.


def test_new_key_is_the_result_and_its_hash_is_in_a_file_of_ones_own(cli: Any) -> None:
    result = cli("keys", "new", "desk")
    key = result.stdout.strip()
    assert result.stdout == f"{key}\n"
    assert result.stderr == "the key of desk, shown this once: keys.toml keeps only its hash\n"
    assert entries() == {"desk": Entry("desk", (sha(key),))}
    assert in_force(key)
    text = FILE.read_text(encoding="utf-8")
    assert key not in text
    assert text.startswith("# Keys of `twofold serve`: their hashes alone.")
    assert stat.S_IMODE(FILE.stat().st_mode) == 0o600


def test_all_that_a_key_may_do_is_kept(cli: Any) -> None:
    made = cli.json("keys", "new", "desk", *FOUR, "--file", "other.toml")
    assert (made["name"], made["file"]) == ("desk", "other.toml")
    [found] = read_entries(Path("other.toml").read_text(encoding="utf-8"), file="")
    assert found == Entry(
        "desk",
        (sha(made["key"]),),
        Priority.INTERACTIVE,
        50.0,
        9,
        ("churn", "fraud"),
        datetime(2027, 1, 31, tzinfo=UTC),
    )
    assert not FILE.exists()
    cli("keys", "new", "noon", "--expires-at", "2027-01-31T12:30:00Z")
    assert entries()["noon"].expires_at == datetime(2027, 1, 31, 12, 30, tzinfo=UTC)


def test_keys_are_added_below_and_comments_stay(cli: Any) -> None:
    first = cli("keys", "new", "desk").stdout.strip()
    FILE.write_text("# of Anna's team\n" + FILE.read_text(encoding="utf-8"), encoding="utf-8")
    before = FILE.read_text(encoding="utf-8")
    second = cli("keys", "new", "nightly", "--priority", "background").stdout.strip()
    assert FILE.read_text(encoding="utf-8").startswith(before)
    assert in_force(first)
    assert in_force(second)
    assert entries()["nightly"].priority is Priority.BACKGROUND


def test_name_that_the_file_has_is_refused_with_the_way_to_a_second_key(cli: Any) -> None:
    cli("keys", "new", "desk")
    before = FILE.read_bytes()
    error = cli.json("keys", "new", "desk", code=1)
    assert error == {
        "error": "desk: expected a name that is not in keys.toml, got one that is. "
        "Add --rotate to give it one more key, or choose another name.",
        "code": "InvalidInput",
        "exit_code": 1,
    }
    assert FILE.read_bytes() == before


@pytest.mark.parametrize("name", ["", "a b", "-", "../x", "x" * 65])
def test_what_is_no_name_is_refused_and_no_file_made(cli: Any, name: str) -> None:
    error = cli.json("keys", "new", name, code=1)
    assert error["error"].startswith("NAME: expected 1 to 64 letters")
    assert not FILE.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--priority", "urgent"], "'urgent' is not one of 'interactive', 'normal', 'background'"),
        (["--max-requests-per-s", "0"], "is not in the range"),
        (["--max-requests-per-s", "1", "--burst-requests", "0"], "is not in the range"),
        (["--burst-requests", "5"], "--burst-requests needs --max-requests-per-s."),
        (["--expires-at", "tomorrow"], "'tomorrow' does not match the formats"),
        (["--rotate", "--model", "m"], "leaves all else of NAME as it is: leave out --model"),
    ],
)
def test_wrong_options_are_wrong_usage_and_no_file_is_made(
    cli: Any, options: list[str], words: str
) -> None:
    assert words in cli.said("keys", "new", "desk", *options, code=2)
    assert not FILE.exists()


@pytest.mark.parametrize(
    ("option", "value", "got"),
    [("--model", "churn@3", "got 'churn@3'."), ("--max-requests-per-s", "nan", "got nan.")],
)
def test_value_that_no_entry_may_have_is_refused_and_no_file_made(
    cli: Any, option: str, value: str, got: str
) -> None:
    assert got in cli.json("keys", "new", "desk", option, value, code=1)["error"]
    assert not FILE.exists()


# Rotating.


def test_rotated_name_has_both_keys_until_the_old_one_is_retired(cli: Any) -> None:
    old = cli("keys", "new", "desk", *FOUR).stdout.strip()
    other = cli("keys", "new", "nightly").stdout.strip()
    result = cli("keys", "new", "desk", "--rotate")
    young = result.stdout.strip()
    assert result.stderr.endswith(
        "once it is in use everywhere: twofold keys retire desk --file keys.toml\n"
    )
    assert [in_force(key) for key in (old, young, other)] == [True] * 3
    before = entries()["desk"]
    assert before.models == ("churn", "fraud")
    assert cli.said("keys", "retire", "desk") == (
        "desk: the newest key stays, older ones are out of force: 1"
    )
    assert [in_force(key) for key in (old, young, other)] == [False, True, True]
    assert entries()["desk"].quota == before.quota


def test_retiring_what_has_one_key_changes_nothing(cli: Any) -> None:
    key = cli("keys", "new", "desk").stdout.strip()
    before = FILE.stat()
    assert cli.said("keys", "retire", "desk") == "desk has but one key; nothing was changed"
    assert cli.json("keys", "retire", "desk") == {"name": "desk", "retired": 0, "file": "keys.toml"}
    assert FILE.stat().st_ino == before.st_ino
    assert in_force(key)


def test_no_name_gathers_keys_without_end(cli: Any) -> None:
    cli("keys", "new", "desk")
    for _ in range(MAX_HASHES - 1):
        cli("keys", "new", "desk", "--rotate")
    said = cli.said("keys", "new", "desk", "--rotate", code=1)
    assert said.endswith("Put old ones out of force with `twofold keys retire`.")
    assert cli.json("keys", "retire", "desk")["retired"] == MAX_HASHES - 1


@pytest.mark.parametrize("command", [("new", "--rotate"), ("retire",)])
def test_unknown_name_or_file_can_not_be_changed(cli: Any, command: tuple[str, ...]) -> None:
    error = cli.json("keys", *command, "desk", code=1)
    assert error["error"].startswith("keys.toml: expected a keys file, got nothing there. Make the")
    cli("keys", "new", "other")
    error = cli.json("keys", *command, "desk", code=1)
    assert error["error"].startswith("keys.toml: expected a key among: other, got 'desk'.")


# Listing.


def test_list_shows_what_keys_allow_and_never_the_keys(cli: Any) -> None:
    keys = [cli("keys", "new", "desk", *FOUR).stdout, cli("keys", "new", "nightly").stdout]
    keys.append(cli("keys", "new", "nightly", "--rotate").stdout)
    cli("keys", "new", "steady", "--max-requests-per-s", "1500", "--expires-at", "2020-01-01")
    lines = [" ".join(line.split()) for line in cli("keys", "list").stdout.splitlines()]
    assert lines == [
        "name priority requests/s burst models keys expires",
        "desk interactive 50 9 churn, fraud 1 2027-01-31 00:00:00" + " (over)" * in_the_past(2027),
        "nightly normal any all 2 never",
        "steady normal 1,500 3,000 all 1 2020-01-01 00:00:00 (over)",
    ]
    result = cli("keys", "list", "--json")
    for key in keys:
        assert sha(key.strip()) in FILE.read_text(encoding="utf-8")
        assert sha(key.strip()) not in result.stdout
    assert cli.json("keys", "list")[:2] == [
        {
            "name": "desk",
            "priority": "interactive",
            "max_requests_per_s": 50.0,
            "burst_requests": 9,
            "models": ["churn", "fraud"],
            "keys": 1,
            "expires_at": "2027-01-31T00:00:00Z",
        },
        {
            "name": "nightly",
            "priority": "normal",
            "max_requests_per_s": None,
            "burst_requests": None,
            "models": None,
            "keys": 2,
            "expires_at": None,
        },
    ]


def in_the_past(year: int) -> bool:
    return datetime.now(UTC) >= datetime(year, 1, 31, tzinfo=UTC)


def test_expiry_is_told_with_whether_it_is_over() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert _expiry(at, at) == "2026-01-31 12:00:00 (over)"
    assert _expiry(at, datetime(2026, 1, 31, 11, tzinfo=UTC)) == "2026-01-31 12:00:00"


def test_list_of_no_keys_says_how_to_make_one(cli: Any) -> None:
    FILE.write_text("", encoding="utf-8")
    result = cli("keys", "list")
    assert result.stdout == ""
    assert result.stderr == (
        "no keys in keys.toml; make one with `twofold keys new NAME --file keys.toml`\n"
    )
    assert cli.json("keys", "list") == []


@pytest.mark.parametrize("command", [("list",), ("new", "n"), ("retire", "n")])
def test_broken_file_is_told_with_all_its_problems_and_left_alone(
    cli: Any, command: tuple[str, ...]
) -> None:
    for data, words in ((b"x = 1\n[[key]]\n", "key 1.sha256: expected"), (b"\xff", "UTF-8")):
        FILE.write_bytes(data)
        error = cli.json("keys", *command, code=1)
        assert error["code"] == "ConfigError"
        assert words in error["error"]
        assert FILE.read_bytes() == data


# Writing.


def test_file_keeps_its_rights_and_the_link_that_leads_to_it(cli: Any) -> None:
    cli("keys", "new", "desk", "--file", "real.toml")
    Path("real.toml").chmod(0o640)
    FILE.symlink_to("real.toml")
    key = cli("keys", "new", "nightly").stdout.strip()
    assert FILE.is_symlink()
    assert stat.S_IMODE(Path("real.toml").stat().st_mode) == 0o640
    assert in_force(key)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_file_keeps_its_owner(cli: Any) -> None:
    cli("keys", "new", "desk")
    os.chown(FILE, 1234, 1235)
    cli("keys", "new", "nightly")
    assert (FILE.stat().st_uid, FILE.stat().st_gid) == (1234, 1235)


def test_failed_write_leaves_the_file_as_it_was_and_nothing_beside_it(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("keys", "new", "desk")
    before, beside = FILE.read_bytes(), sorted(Path().iterdir())

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("twofold.cli.keys.sync", full)
    result = cli("keys", "new", "nightly", code=1)
    assert result.stdout == ""
    assert "No space left on device" in result.stderr
    assert (FILE.read_bytes(), sorted(Path().iterdir())) == (before, beside)


def test_folder_that_is_not_there_is_told(cli: Any) -> None:
    error = cli.json("keys", "new", "desk", "--file", "no/keys.toml", code=1)
    assert "No such file or directory" in error["error"]


def test_commands_at_once_lose_no_key(cli: Any) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "twofold", "keys", "new", f"team-{number}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for number in range(6)
    ]
    keys = [process.communicate(timeout=60)[0].strip() for process in started]
    assert set(entries()) == {f"team-{number}" for number in range(6)}
    found = Keys(list(entries().values()))
    for number, key in enumerate(keys):
        named = found.find(key.encode(), now=datetime.now(UTC))
        assert named is not None
        assert named.name == f"team-{number}"
