"""What the commands share: exit codes, JSON on one line, flags made from settings."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from twofold import errors
from twofold.cli.common import (
    EXIT_CODES,
    command,
    flags_of,
    json_option,
    print_json,
    settings_flags,
    settings_from,
)
from twofold.settings import setting
from twofold.wire.statuses import WireError

CODES: dict[type[errors.TwofoldError], int] = {
    errors.TwofoldError: 1,
    errors.DeclarationError: 1,
    errors.ConfigError: 1,
    errors.InvalidInput: 1,
    errors.UnknownModel: 1,
    errors.Refused: 1,
    errors.Overloaded: 1,
    errors.QuotaExceeded: 1,
    errors.Draining: 1,
    errors.DeadlineExceeded: 1,
    errors.PredictionFailed: 1,
    errors.BudgetExceeded: 3,
    errors.DeliveryFailed: 1,
    errors.CommitUnknown: 4,
    errors.DeliveryUnknown: 4,
    errors.GatesShut: 3,
    errors.LeaseHeld: 5,
    errors.StoreUnavailable: 1,
    errors.UnknownKey: 1,
    errors.Stale: 1,
}


def kinds(base: type[errors.TwofoldError]) -> Iterator[type[errors.TwofoldError]]:
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


def error_of(kind: type[errors.TwofoldError]) -> errors.TwofoldError:
    """An error of a kind, all with the same message."""
    more = {"retry_after_s": 1} if kind is errors.Overloaded else {}
    return kind("x: expected a, got b. Mend it.", **more)


def raising(error: BaseException, *arguments: str) -> Result:
    """Call a command that raises."""

    @click.command()
    @json_option
    @command
    def failing(as_json: bool) -> None:
        raise error

    return CliRunner().invoke(failing, arguments)


def test_every_kind_of_error_has_a_code() -> None:
    found = {kind for kind in kinds(errors.TwofoldError) if kind.__module__ == errors.__name__}
    assert found == set(CODES)
    assert set(EXIT_CODES.values()) == {3, 4, 5}


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_an_error_ends_the_command_with_its_code_and_its_message(
    kind: type[errors.TwofoldError],
) -> None:
    result = raising(error_of(kind))
    assert result.exit_code == CODES[kind]
    assert result.stdout == ""
    assert result.stderr == "error: x: expected a, got b. Mend it.\n"


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_with_json_an_error_is_a_document_on_stdout_too(kind: type[errors.TwofoldError]) -> None:
    result = raising(error_of(kind), "--json")
    assert result.exit_code == CODES[kind]
    assert json.loads(result.stdout) == {
        "error": "x: expected a, got b. Mend it.",
        "code": kind.__name__,
        "exit_code": CODES[kind],
    }
    assert result.stderr == "error: x: expected a, got b. Mend it.\n"


def test_an_error_of_another_floor_is_a_failure() -> None:
    assert raising(WireError("not_json", "body: expected JSON")).exit_code == 1


def test_a_class_below_one_with_a_code_of_its_own_has_that_code() -> None:
    class DiskGone(errors.CommitUnknown):
        pass

    result = raising(DiskGone("where"), "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (4, "DiskGone")


def test_a_long_message_stays_on_one_line() -> None:
    message = "in.csv: expected " + "a very long list of things, " * 20 + "got none."
    assert raising(errors.InvalidInput(message)).stderr == f"error: {message}\n"


@pytest.mark.parametrize(
    "text", ["[bold]", "a[/red]b", "[link=x]y", "[1, 2]", "[[x]]", "100%", "{x}"]
)
def test_a_message_is_shown_as_it_is_whatever_markup_is_in_it(text: str) -> None:
    assert raising(errors.InvalidInput(text)).stderr == f"error: {text}\n"


def test_an_interrupted_command_says_so_without_a_trace() -> None:
    for arguments in ((), ("--json",)):
        result = raising(KeyboardInterrupt(), *arguments)
        assert result.exit_code == 130
        assert (result.stdout, result.stderr) == ("", "interrupted; nothing is broken\n")


def test_an_error_nobody_foresaw_is_not_swallowed() -> None:
    result = raising(ZeroDivisionError("a bug"))
    assert isinstance(result.exception, ZeroDivisionError)


def test_wrong_usage_found_inside_a_command_stays_wrong_usage() -> None:
    result = raising(click.UsageError("--type x: expected COL=TYPE."))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith("Error: --type x: expected COL=TYPE.\n")


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path: Path) -> None:
    @command
    def writing() -> None:
        raise BrokenPipeError

    path = tmp_path / "out"
    with path.open("w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
        with pytest.raises(SystemExit) as caught:
            writing()
        # What is still to be flushed at the end must not fail again.
        out.write("the rest")
    assert caught.value.code == 128 + 13
    assert path.read_text(encoding="utf-8") == ""


def test_a_command_gives_back_what_its_function_returns() -> None:
    @command
    def adding(one: int, *, other: int) -> int:
        """Add."""
        return one + other

    assert adding(1, other=2) == 3
    assert (adding.__name__, adding.__doc__) == ("adding", "Add.")


def printed(value: Any) -> str:
    @click.command()
    def show() -> None:
        print_json(value)

    result = CliRunner().invoke(show)
    assert result.exit_code == 0
    return result.stdout


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(DOCUMENTS)
def test_a_document_is_one_line_that_reads_back_the_same(value: Any) -> None:
    line = printed(value)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert json.loads(line) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_printed_to_its_last_bit(value: float) -> None:
    assert float(printed(value)) == value


def test_numbers_that_json_does_not_have_are_null() -> None:
    assert printed([float("nan"), float("inf")]) == "[null,null]\n"


@dataclasses.dataclass(frozen=True)
class Oven:
    """Made-up settings."""

    degrees: int = setting(180, "How hot.", minimum=0, maximum=300)
    fan_speed: float = setting(0.5, "How windy.")


def baked(*arguments: str) -> tuple[Result, dict[str, Any]]:
    """Call a command that has the flags of the oven; give what reached it."""
    taken: dict[str, Any] = {}

    @click.command()
    @click.argument("cake")
    @settings_flags("oven", Oven)
    def bake(cake: str, **flags: Any) -> None:
        taken.update(flags_of("oven", Oven, flags), rest=flags, cake=cake)

    return CliRunner().invoke(bake, arguments), taken


def test_a_setting_is_a_flag_that_is_none_unless_given() -> None:
    assert baked("pie")[1] == {
        "oven.degrees": None,
        "oven.fan_speed": None,
        "rest": {},
        "cake": "pie",
    }
    found = baked("pie", "--fan-speed", "x", "--degrees=200")[1]
    assert (found["oven.degrees"], found["oven.fan_speed"]) == ("200", "x")


def test_the_flags_of_settings_stand_in_the_help_as_they_were_declared() -> None:
    said = " ".join(baked("--help")[0].stdout.split())
    assert (
        "--degrees VALUE How hot. [default: 180] --fan-speed VALUE How windy. [default: 0.5]"
    ) in said


def test_taking_flags_out_leaves_the_others() -> None:
    values = {"degrees": "1", "fan_speed": None, "key": "id"}
    assert flags_of("oven", Oven, values) == {"oven.degrees": "1", "oven.fan_speed": None}
    assert values == {"key": "id"}


def test_settings_are_read_with_the_flags_on_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("twofold.toml").write_text("[serve]\nport = 1\nworkers = 1\n", encoding="utf-8")
    monkeypatch.setenv("TWOFOLD_SERVE_WORKERS", "2")
    found = settings_from({"serve.workers": "3", "serve.port": None, "registry": None})
    assert (found.serve.workers, found.serve.port) == (3, 1)


def test_a_wrong_setting_is_wrong_usage_with_every_problem_in_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("twofold.toml").write_text("[serve]\nport = -1\n", encoding="utf-8")
    with pytest.raises(click.UsageError) as caught:
        settings_from({"batch.workers": "many"})
    lines = caught.value.message.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["twofold.toml", "--workers"]
    assert isinstance(caught.value.__cause__, errors.ConfigError)
