"""A diagnosis as text and as JSON; the exit code says whether anything is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result

from twofold.app.doctor import Diagnosis
from twofold.cli import doctor as command
from twofold.cli.doctor import lines
from twofold.cli.root import main
from twofold.errors import ConfigError
from twofold.lab.fault import Fault, Finding, Severity

URL = "http://127.0.0.1:8080"
WELL = Diagnosis(URL, 6, 5.0, 1_234.0, ("churn@3",), 2.0, ())
FINDING = Finding(
    fault=Fault.OVERLOADED,
    severity=Severity.FAULT,
    what="churn@3 is overloaded: 150/s are offered.",
    evidence=("offered: 150/s", "answered: " + "50/s " * 25),
    fix="Add workers.",
    since=datetime(2026, 7, 1, 12, 0, 5, tzinfo=UTC),
    who="loader",
)
ILL = Diagnosis(URL, 6, 5.0, 1_234.0, ("churn@3", "evil\x1b[2J@1"), 2.0, (FINDING,))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the server is asked with, and in `found` what comes of it."""
    asked: dict[str, Any] = {"found": WELL}

    def look_after(endpoint: Any, **how: Any) -> Diagnosis:
        asked.update(how, url=endpoint.url)
        if isinstance(asked["found"], Exception):
            raise asked["found"]
        return asked["found"]

    monkeypatch.setattr(command, "look_after", look_after)
    return asked


def called(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments], prog_name="twofold")


def test_of_a_server_that_is_well_one_line_says_so_and_one_what_was_looked_at(
    asked: dict[str, Any],
) -> None:
    result = called(URL, "--seconds", "3", "--interval-s", "0.5")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "nothing wrong",
        "looked at churn@3: 6 looks in 5.0 s, requests: 1,234, workers: 2",
    ]
    assert (asked["url"], asked["seconds"], asked["interval_s"]) == (URL, 3.0, 0.5)


def test_what_is_wrong_is_said_with_evidence_and_fix_and_the_command_fails(
    asked: dict[str, Any],
) -> None:
    asked["found"] = ILL
    result = called(URL)
    assert result.exit_code == 1
    said = result.stdout.splitlines()
    assert said[:3] == [
        "1. fault: overloaded, since 12:00:05 UTC",
        "   churn@3 is overloaded: 150/s are offered.",
        "   - offered: 150/s",
    ]
    assert "   Fix: Add workers." in said
    assert "error" not in result.stderr


def test_long_lines_are_wrapped_and_nothing_reaches_the_terminal_as_a_command() -> None:
    said = list(lines(ILL))
    assert max(map(len, said)) <= 100
    assert not any("\x1b" in line for line in said)
    assert sum(line.startswith("     50/s") for line in said) == 1


def test_json_has_all_of_it(asked: dict[str, Any]) -> None:
    asked["found"] = ILL
    result = called(URL, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["looks"], told["requests"], told["workers"]) == (6, 1_234.0, 2.0)
    [finding] = told["findings"]
    assert (finding["fault"], finding["severity"]) == ("overloaded", "fault")
    assert (finding["who"], finding["since"]) == ("loader", "2026-07-01T12:00:05Z")
    asked["found"] = WELL
    result = called(URL, "--json")
    assert (result.exit_code, json.loads(result.stdout)["findings"]) == (0, [])


def test_server_that_is_away_is_an_error(asked: dict[str, Any]) -> None:
    asked["found"] = ConfigError("url: expected a server that answers, got nothing. Start it.")
    result = called(URL)
    assert result.exit_code == 1
    assert result.stderr.endswith("error: url: expected a server that answers, got nothing. "
                                  "Start it.\n")  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [("nothing",), (URL, "--seconds", "nan"), (URL, "--interval-s", "0")]
)
def test_wrong_usage_is_refused(asked: dict[str, Any], arguments: tuple[str, ...]) -> None:
    assert called(*arguments).exit_code == 2
