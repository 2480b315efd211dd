"""`twofold top`: blocks of text, JSON, and a live display that leaves the terminal as it was."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from http_thread import Quiet, serving_http
from rich.console import Console

from twofold.app.endpoint import Endpoint, Reply
from twofold.app.top import between, watch
from twofold.cli import top as command
from twofold.cli.root import main
from twofold.cli.top import MAX_HISTORY, Screen, duration, rate, sparkline
from twofold.errors import ConfigError
from twofold.lab.scrape import parsed

URL = "http://127.0.0.1:8080"
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
ENTER, LEAVE, SHOW_CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"
GONE = ConfigError(f"{URL}: expected a server that answers, got Connection refused. Start it.")


def text(answered: float, *models: str, failed: float = 0.0, slow: float = 0.0) -> str:
    """Metrics of a server that answered so many requests with each model, some of them slowly."""
    lines = ["twofold_connections 3", 'twofold_http_responses_total{status="200"} ' + str(answered)]
    for model in models or ("churn",):
        labels = f'model="{model}",version="1"'
        lines += [
            f'twofold_requests_total{{{labels},outcome="ok"}} {answered}',
            f'twofold_requests_total{{{labels},outcome="failed"}} {failed}',
            f"twofold_rows_predicted_total{{{labels}}} {2 * answered}",
        ]
        for bound, count in (("0.004", answered - slow), ("0.25", answered), ("+Inf", answered)):
            name = "twofold_request_duration_seconds_bucket"
            lines.append(f'{name}{{{labels},outcome="ok",le="{bound}"}} {count}')
    return "\n".join(lines) + "\n"


class Fake:
    """A server that gives one answer after the other, looked at by a clock of its own."""

    def __init__(self) -> None:
        self.answers: list[str | BaseException] = []
        self.now_s = 0.0
        self.waited_s: list[float] = []

    def read(self) -> Reply:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return Reply(200, answer, None)

    def wait(self, seconds: float) -> None:
        self.waited_s.append(seconds)
        self.now_s += seconds

    def watch(self, endpoint: Endpoint, **options: Any) -> Any:
        options["wait"] = self.wait
        return watch(endpoint, **options, clock=lambda: self.now_s)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(Endpoint, "read", fake.read)
    monkeypatch.setattr(command, "watch", fake.watch)
    return fake


def called(*arguments: str, code: int = 0, **environment: str) -> Result:
    result = CliRunner().invoke(main, ["top", *arguments], prog_name="twofold", env=environment)
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


# Without a terminal.


def test_one_interval_is_shown_as_text_and_the_command_ends(fake: Fake) -> None:
    fake.answers = [text(0), text(100, failed=5, slow=50)]
    result = called(URL)
    assert fake.waited_s == [1.0]
    assert result.stderr == ""
    head, *lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC {URL} over 1\.00 s", head)
    assert lines == [
        "connections 3 2xx/s 100 worker restarts 0 reloads 0",
        "event loop lag 0 µs model restarts 0 refused 0",
        "",
        "requests/s answered shed late failed invalid rows/s waiting in hand",
        "churn@1 100 0 0 5 0 200 0 0",
        "",
        "times p50 p90 p99 queue p99 predict p50 predict p99",
        "churn@1 4 ms 201 ms 245 ms - - -",
        "",
    ]
    assert "\x1b" not in result.stdout


def test_so_many_intervals_are_shown_as_asked_for(fake: Fake) -> None:
    fake.answers = [text(0), text(10), text(30), text(60)]
    result = called(URL, "--count", "3", "--interval-s", "0.5")
    assert re.findall(r"churn@1 +(\d+) +0", result.stdout) == ["20", "40", "60"]
    assert result.stdout.count(f"{URL}  over 0.50 s\n") == 3


def test_json_is_one_object_an_interval_with_units_in_its_names(fake: Fake) -> None:
    fake.answers = [text(0), text(100, failed=5), text(50)]
    lines = called(URL, "--json", "--count", "2", "--interval-s", "2").stdout.splitlines()
    first, second = map(json.loads, lines)
    assert datetime.fromisoformat(first.pop("at")).tzinfo == UTC
    assert first == {
        "interval_s": 2.0,
        "is_restarted": False,
        "server": {
            "connections": 3.0,
            "responses_per_s": {"2xx": 50.0},
            "event_loop_lag_s": 0.0,
            "worker_restarts": 0.0,
            "model_process_restarts": 0.0,
            "reloads_switched": 0.0,
            "reloads_refused": 0.0,
        },
        "models": [
            {
                "model": "churn",
                "version": "1",
                "answered_per_s": 50.0,
                "shed_per_s": 0.0,
                "late_per_s": 0.0,
                "failed_per_s": 2.5,
                "invalid_per_s": 0.0,
                "rows_per_s": 100.0,
                "p50_s": 0.002,
                "p90_s": pytest.approx(0.0036),
                "p99_s": pytest.approx(0.00396),
                "queue_p99_s": None,
                "predict_p50_s": None,
                "predict_p99_s": None,
                "waiting_requests": 0.0,
                "in_hand_requests": 0.0,
            }
        ],
    }
    assert second["is_restarted"]
    assert second["models"][0]["answered_per_s"] == 25.0


def test_json_without_a_count_is_one_object(fake: Fake) -> None:
    fake.answers = [text(0), text(1)]
    assert called(URL, "--json").stdout.count("\n") == 1


def test_server_that_is_not_there_is_an_error_in_the_house_form(fake: Fake) -> None:
    fake.answers = [GONE, GONE]
    result = called(URL, code=1)
    assert (result.stdout, result.stderr) == ("", f"error: {GONE}\n")
    result = called(URL, "--json", code=1)
    assert json.loads(result.stdout) == {
        "error": str(GONE),
        "code": "ConfigError",
        "exit_code": 1,
    }


def test_server_that_goes_away_is_said_once_and_waited_for(fake: Fake) -> None:
    fake.answers = [text(0), text(10), GONE, GONE, GONE, text(50), text(60)]
    result = called(URL, "--count", "6")
    assert result.stderr.splitlines() == [
        f"{GONE} Trying again until it is back.",
        f"{URL} is back",
    ]
    assert re.findall(r"churn@1 +(\d+) +0", result.stdout) == ["10", "10", "10"]
    assert f"{URL}  over 4.00 s\n" in result.stdout


def test_server_that_is_away_at_the_end_is_an_error(fake: Fake) -> None:
    fake.answers = [text(0), GONE]
    assert called(URL, code=1).stderr == f"error: {GONE}\n"


def test_restart_of_the_server_is_said(fake: Fake) -> None:
    fake.answers = [text(50), text(20)]
    assert f"{URL}  over 1.00 s  restarted meanwhile\n" in called(URL).stdout


def test_interrupt_ends_watching_and_is_no_failure(fake: Fake) -> None:
    fake.answers = [text(0), text(10), KeyboardInterrupt()]
    result = called(URL, "--count", "0")
    assert "churn@1" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing argument 'URL'."),
        (("churn",), "URL: expected that of a server, got 'churn'. Give the URL that `twofold"),
        ((URL, "--interval-s", "0"), "0.0 is not in the range"),
        ((URL, "--interval-s", "nan"), "--interval-s: expected a number, got nan."),
        ((URL, "--count", "-1"), "-1 is not in the range"),
    ],
)
def test_wrong_arguments_are_wrong_usage(
    fake: Fake, arguments: tuple[str, ...], words: str
) -> None:
    assert words in called(*arguments, code=2).stderr
    assert not fake.waited_s


# On a terminal.


def test_live_display_gives_the_terminal_back_after_an_interrupt(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "is_live", lambda: True)
    fake.answers = [text(0), text(10), GONE, text(1000), KeyboardInterrupt()]
    result = called(URL, "--count", "0", FORCE_COLOR="1", TERM="xterm", COLUMNS="100", LINES="30")
    shown = result.stdout
    assert shown.index(ENTER) < shown.index("answered") < shown.index(LEAVE)
    assert shown.rindex(SHOW_CURSOR) > shown.rindex("answered")
    assert "away since" in shown
    assert "the first figures come in 1 s" in shown
    assert result.stderr == ""


def test_error_comes_after_the_display_is_left(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "is_live", lambda: True)
    fake.answers = [GONE]
    result = called(URL, code=1, FORCE_COLOR="1", TERM="xterm")
    assert LEAVE in result.stdout
    assert "error: " in result.stderr


class Counting(Quiet, http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        Counting.asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text(Counting.asked).encode())


@pytest.fixture
def server_url() -> Iterator[str]:
    with serving_http(Counting) as url:
        yield url


def until(words: bytes, keyboard: int) -> bytes:
    """What a terminal is sent until these words have come."""
    shown = b""
    while words not in shown:
        assert select.select([keyboard], [], [], 30)[0], shown
        shown += os.read(keyboard, 65536)
    return shown


@pytest.mark.parametrize(
    ("leave", "code"),
    [
        (lambda process, keyboard: os.write(keyboard, b"xq"), 0),
        (lambda process, keyboard: process.send_signal(signal.SIGINT), 0),
        (lambda process, keyboard: process.send_signal(signal.SIGTERM), 128 + signal.SIGTERM),
    ],
    ids=["q", "SIGINT", "SIGTERM"],
)
def test_terminal_is_as_it_was_however_one_leaves(
    server_url: str, leave: Callable[[Any, int], object], code: int
) -> None:
    keyboard, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(
        [sys.executable, "-m", "twofold", "top", server_url, "--interval-s", "0.1"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
    ) as process:
        shown = until(b"churn@1", keyboard)
        assert not termios.tcgetattr(terminal)[3] & termios.ECHO
        leave(process, keyboard)
        shown += until(LEAVE.encode(), keyboard)
        assert process.wait(30) == code
    assert termios.tcgetattr(terminal) == before
    os.close(terminal)
    with contextlib.suppress(OSError):  # nobody has the other end any more
        while more := os.read(keyboard, 65536):
            shown += more
    os.close(keyboard)
    assert SHOW_CURSOR.encode() in shown[shown.rindex(b"churn@1") :]
    assert b"Traceback" not in shown


# What the live display shows.


def drawn(screen: Screen, width: int = 80, height: int = 24) -> list[str]:
    """The lines of a display on a terminal of that size."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, color_system=None)
    console.print(screen.view(width, height))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def seen(*looks: str | ConfigError) -> Screen:
    """A display after looks a second apart, the first of which only begins."""
    screen = Screen(URL, 1.0)
    before = None
    for second, look in enumerate(looks):
        at = AT + timedelta(seconds=second)
        if isinstance(look, ConfigError):
            screen.see(look, at)
            continue
        scrape = parsed(look, at_s=float(second))
        if before is not None:
            screen.see(between(before, scrape), at)
        before = scrape
    return screen


def test_display_fits_a_terminal_of_eighty_columns() -> None:
    screen = seen(*(text(count**4, failed=count) for count in range(30)))
    lines = drawn(screen)
    assert lines[0] == f"twofold top  {URL}  every 1 s  12:00:29 UTC  q leaves"
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert lines[-2:] == [
        "answered/s  last 58 intervals                                            highest",
        "churn@1" + "▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▃▃▃▄▄▄▅▅▆▇▇█".rjust(63) + "    92,625",
    ]


def test_sparkline_goes_back_a_minute_of_seconds_where_there_is_room() -> None:
    screen = seen(*(text(count) for count in range(2 * MAX_HISTORY)))
    assert "█" * MAX_HISTORY in drawn(screen, 200, 50)[-1]
    assert "█" * (MAX_HISTORY + 1) not in drawn(screen, 200, 50)[-1]


def test_gap_of_an_absent_server_is_a_blank_and_its_return_is_seen() -> None:
    away = seen(text(0), text(8), GONE, GONE)
    lines = drawn(away, 300, 24)
    assert lines[1] == f"away since 12:00:02 UTC, trying again: {GONE}"
    assert lines[-1].split()[1:] == ["█", "8"]
    back = seen(text(0), text(8), GONE, text(16))
    lines = drawn(back, 300, 24)
    assert not [line for line in lines if "away" in line]
    assert "█ ▅" in lines[-1]


def test_restart_is_remembered() -> None:
    screen = seen(text(10), text(20), text(5), text(6))
    assert drawn(screen)[1] == "restarted about 12:00:02 UTC"


def test_models_that_do_not_fit_are_the_least_busy_ones() -> None:
    names = [f"m{number}" for number in range(20)]

    def look(scale: float) -> str:
        return "".join(text(scale * (number % 5), name) for number, name in enumerate(names))

    lines = drawn(seen(look(0), look(9)))
    assert len(lines) <= 24
    assert lines[-1] == "and 17 less busy; a higher terminal shows more"
    assert re.findall(r"^(m\d+)@1 +36 ", "\n".join(lines), re.MULTILINE) == ["m4", "m9", "m14"]


def test_long_name_keeps_its_version() -> None:
    screen = seen(text(0, "x" * 64), text(5, "x" * 64))
    lines = drawn(screen)
    assert re.findall(r"^\S+@1", "\n".join(lines), re.MULTILINE) == ["…xxxxxxxx@1"] * 3
    assert max(map(len, lines)) <= 80
    assert "x" * 64 + "@1" in " ".join(drawn(screen, 200, 24))


def test_name_can_not_command_the_terminal() -> None:
    name = "\x1b]0;mine\x07"
    screen = seen(text(0, name), text(5, name))
    assert r"'\x1b]0;mine\x07@1'" in " ".join(drawn(screen, 200))


@pytest.mark.parametrize(
    ("seconds", "shown", "colour"),
    [
        (None, "-", "dim"),
        (0.0, "0 µs", "green"),
        (0.0000127, "12.7 µs", "green"),
        (0.00025, "250 µs", "green"),
        (0.01, "10 ms", "green"),
        (0.0321, "32.1 ms", "yellow"),
        (0.1001, "100 ms", "red"),
        (1.5, "1.5 s", "red"),
        (10.0, ">10 s", "red"),
    ],
)
def test_time_has_its_unit_and_the_colour_of_its_size(
    seconds: float | None, shown: str, colour: str
) -> None:
    found = duration(seconds)
    assert (found.plain, found.style) == (shown, colour)


@pytest.mark.parametrize(
    ("per_s", "shown"),
    [(0.0, "0"), (0.031, "0.031"), (2.94, "2.9"), (9.96, "10"), (12.7, "13"), (46119.4, "46,119")],
)
def test_rate_has_as_many_digits_as_one_reads(per_s: float, shown: str) -> None:
    assert rate(per_s) == shown


def test_sparkline_has_the_highest_as_a_whole_bar_and_blanks_where_nothing_is_known() -> None:
    assert sparkline([0.0, None, 1.0, 7.0, 3.5]) == "▁ ▂█▅"
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([None]) == " "
    assert sparkline([]) == ""
